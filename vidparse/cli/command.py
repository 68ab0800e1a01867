"""Commands from functions whose parameters are requests: see `vidparse.requests.option`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING
from functools import partial, wraps
from inspect import Parameter, Signature, getdoc, signature, unwrap
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from vidparse.cli.commands import listed, loaded
from vidparse.cli.help import command_page, program_page
from vidparse.cli.options import completions
from vidparse.cli.terminal import show_page
from vidparse.requests.option import (
    Argument,
    Given,
    Option,
    comma_list,
    member_value,
    members_of,
    options_of,
    without_none,
)

Loaded = typer.Typer | Callable[..., object]  # a group, or the function of a command


class Command(TyperCommand):
    """A command of a function whose parameters are requests."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        show_page(command_page(_name_of(ctx) or str(self.name), _function_of(self)))


class Commands(TyperGroup):
    """A group whose commands are loaded, and get their options, once one of them is called.

    To make the options of all would take longer than to import this whole package.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        load = getattr(getattr(command, "callback", None), "load", None)
        if load is not None:
            command = _command_of(str(name), load())
        return name, command, rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        name = _name_of(ctx)
        show_page(command_page(name, _function_of(self)) if name else program_page())


def add_command(app: typer.Typer, name: str, function: Callable[..., None]) -> None:
    """Add a command to an application of :class:`Commands`; its options are made later."""
    _add_later(app, name, getdoc(function) or "", lambda: function)


def add_commands(app: typer.Typer, group: str = "") -> None:
    """Add the commands of a group, by the table of commands; their modules are loaded later."""
    for name, summary in listed(group).items():
        _add_later(app, name, summary, partial(loaded, f"{group} {name}".strip()))


def _add_later(app: typer.Typer, name: str, summary: str, load: Callable[[], Loaded]) -> None:
    def stub() -> None:
        raise AssertionError("only the list of commands is made of this")

    stub.__doc__ = summary
    stub.load = load  # type: ignore[attr-defined]
    app.command(name)(stub)


def _command_of(name: str, found: Loaded) -> Any:
    """The parser of a group, which is an application of its own, or of a command's function."""
    if isinstance(found, typer.Typer):
        app = found
    else:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(name, cls=Command)(with_options(found))
    command = typer.main.get_command(app)
    command.name = name
    return command


def _function_of(command: Any) -> Callable[..., object]:
    """The function that a command or group was made of."""
    return unwrap(command.callback)


def _name_of(context: Any) -> str:
    """The name of a command as the table has it; "" for the program itself."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(names)


def with_options(function: Callable[..., object]) -> Callable[..., object]:
    """A function of options, as Typer reads it, that calls `function` with their values.

    A parameter that is neither a record nor an option is left to Typer.
    """
    members = members_of(function)
    own = signature(function).parameters
    hints = get_type_hints(function, include_extras=True)

    @wraps(function)
    def run(**words: object) -> object:
        values = {
            name: words[name] if member is None else member_value(member, words)
            for name, member in members.items()
        }
        return function(**values)

    # Show Typer a signature of options: it reads that, not the function's own.
    parameters = []
    for name, member in members.items():
        if member is None:
            parameters.append(own[name].replace(annotation=hints[name]))
        else:
            parameters += [_parameter(option) for option in options_of((member,))]
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _parameter(given: Given) -> Parameter:
    """A parameter that Typer makes an option or argument of."""
    option, default = given.option, given.default
    inner: Any = given.word_type  # `Annotated` takes no type that a checker cannot know
    _, may_be_none = without_none(given.kind)
    if given.is_repeated:
        inner = list[inner]
        default, may_be_none = (MISSING, False) if default is MISSING else (None, True)
    elif option.parse is not None:
        may_be_none = default is None and option.text is None
        default = option.text if option.text is not None else default
    elif option.negates:
        default = False
    elif default is None:
        may_be_none = True

    return Parameter(
        given.name,
        Parameter.KEYWORD_ONLY,
        default=Parameter.empty if default is MISSING else default,
        annotation=Annotated[inner | None if may_be_none else inner, _typer_info(given, inner)],
    )


def _typer_info(given: Given, kind: object) -> object:
    option = given.option
    facts: dict[str, Any] = {
        "help": option.help,
        "min": option.least,
        "max": option.most,
    }
    if option.choices:
        facts["autocompletion"] = _completer(option)
    if option.sees is not None:
        facts["callback"] = _watcher(option.sees)
    if isinstance(option, Argument):
        metavar = option.metavar or None
        return typer.Argument(metavar=metavar, show_default=option.show_default, **facts)

    # A switch that is off has one flag; one that is on has another one that turns it off.
    flags = [flag for flag in (option.flag, option.short) if flag]
    if kind is bool and not flags and given.default is False:
        flags = [given.flag]
    return typer.Option(*flags, **facts)


def _completer(option: Option) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return completions(option.choices, incomplete, several=option.parse is comma_list)

    return complete


def _watcher(sees: Callable[..., object]) -> Callable[[object], object]:
    def watch(value: object) -> object:
        sees(value)
        return value

    return watch
