"""Commands from functions whose parameters are requests: see `vidparse.requests.option`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import MISSING
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from vidparse.cli.options import completions, names_of
from vidparse.requests.option import (
    Argument,
    Given,
    Option,
    Part,
    comma_list,
    member_of,
    member_value,
    options_of,
    without_none,
)

_CHOICES = re.compile(r"\{(\w+)( or)?\}")  # in a help text: the names of a table


class Command(TyperCommand):
    """A command whose help lists the names in tables, which are loaded when help is shown."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for parameter in self.params:
            text = getattr(parameter, "help", None)
            if text:
                parameter.help = _CHOICES.sub(_listed, text)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


class Commands(TyperGroup):
    """A group whose commands get their options once one of them is called.

    To make the options of all would take longer than to import this whole package.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        function = getattr(getattr(command, "callback", None), "takes_requests", None)
        if function is not None:
            app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            app.command(name, cls=Command)(with_options(function))
            command = typer.main.get_command(app)
        return name, command, rest


def add_command(app: typer.Typer, name: str, function: Callable[..., None]) -> None:
    """Add a command to an application of :class:`Commands`; its options are made later."""

    @wraps(function)
    def listed() -> None:
        raise AssertionError("only the list of commands is made of this")

    del listed.__wrapped__  # type: ignore[attr-defined]  # or its parameters were taken for options
    listed.__annotations__ = {}
    listed.takes_requests = function  # type: ignore[attr-defined]
    app.command(name)(listed)


def members_of(function: Callable[..., object]) -> dict[str, Given | Part | None]:
    """The records and single options that a function takes, by the names of its parameters."""
    hints = get_type_hints(function, include_extras=True)
    found = {}
    for name, parameter in signature(function).parameters.items():
        default = MISSING if parameter.default is Parameter.empty else parameter.default
        found[name] = member_of(name, hints[name], default)
    return found


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
    option, kind, default = given.option, given.kind, given.default

    # A text stands for every value that is made of one.
    inner, may_be_none = without_none(kind)
    if given.is_repeated:
        inner = list[str if option.each else get_args(inner)[0]]  # type: ignore[misc]
        default, may_be_none = (MISSING, False) if default is MISSING else (None, True)
    elif option.parse is not None:
        inner, may_be_none = str, default is None and option.text is None
        default = option.text if option.text is not None else default
    elif option.negates:
        default = False
    elif default is None:
        may_be_none = True

    wanted: Any = inner  # `Annotated` takes no type that a checker cannot know
    if may_be_none:
        wanted = wanted | None
    return Parameter(
        given.name,
        Parameter.KEYWORD_ONLY,
        default=Parameter.empty if default is MISSING else default,
        annotation=Annotated[wanted, _typer_info(given, inner)],
    )


def _typer_info(given: Given, kind: object) -> object:
    option = given.option
    facts: dict[str, Any] = {
        "help": option.help.replace("{choices}", f"{{{option.choices}}}").replace(
            "{choice}", f"{{{option.choices} or}}"
        ),
        "rich_help_panel": option.panel or None,
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


def _listed(found: re.Match[str]) -> str:
    names = names_of(found[1])
    if not found[2]:
        return ", ".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"
