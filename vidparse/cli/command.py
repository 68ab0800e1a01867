"""Commands of Typer, made of functions whose parameters are requests: `vidparse.requests.option`.

Typer reads the words. Its hooks add the rest: a command is made once it is called, help pages are
those of `vidparse.cli.help`, and only numbers are given to the library's types, which take time to
load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, Signature, unwrap
from math import isnan
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from vidparse.cli.commands import COMMANDS, listed, loaded
from vidparse.cli.complaints import (
    COMPLAINT,
    Context,
    Parsed,
    no_such,
    number_error,
    worded,
)
from vidparse.cli.help import command_page, program_page
from vidparse.cli.options import completions
from vidparse.cli.terminal import show_page
from vidparse.errors import UsageError
from vidparse.requests.option import Argument, Given, comma_list, members_of, options_of, values_of

PROGRAM = "vidparse"


class Worded:
    """The pages of commands and groups, and complaints about their words, in our form."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        try:
            rest: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        except COMPLAINT as complaint:
            raise worded(complaint, ctx) from None
        return rest

    def get_help_option(self, ctx: Context) -> Parsed:
        option: Parsed = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None and "process_value" not in vars(option):
            _read_sparingly(option)
        return option

    def format_help(self, ctx: Context, formatter: object) -> None:
        show_page(_page(self, ctx))


class Command(Worded, TyperCommand):
    """A command of a function whose parameters are requests."""


class Group(Worded, TyperGroup):
    """A group whose commands are loaded, and get their options, once one of them is called.

    To make the options of all would take longer than to import this whole package.
    """

    def resolve_command(self, ctx: Context, args: list[str]) -> Parsed:
        group = _name_of(ctx)
        if args[0] not in self.commands and not ctx.resilient_parsing:
            raise no_such("command", args[0], listed(group), ctx.command_path)

        own, stub, rest = super().resolve_command(ctx, args)
        name = f"{group} {own}".strip()
        return own, stub if stub is None else command_of(name, _function_at(name)), rest


def call(
    command: Parsed, words: Sequence[str] | None, program: str = PROGRAM, kept: str = ""
) -> object:
    """Call a command, or the application, by words; what its function returns, or an exit code.

    Args:
        words: None: those of the process, where Windows leaves patterns of names as they are.
        program: the name before the words.
        kept: for completion: see `vidparse.cli.completion`.

    Raises:
        UsageError: an unknown word, or a value that is missing or invalid.
    """
    own = None if words is None else list(words)
    return command.main(own, prog_name=program, obj=kept, standalone_mode=False)


def command_of(name: str, function: Callable[..., object]) -> Parsed:
    """The parser of a command, or of a group, whose function runs where no command is named.

    Args:
        name: as in COMMANDS: "models show".
    """
    options = _options_of(function)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    if listed(name):
        add_commands(app, name)
        app.callback(cls=Group, invoke_without_command=True)(_with_options(function, options))
    else:
        # Words that are left over are refused in our words.
        left = {"allow_extra_args": True}
        app.command(cls=Command, context_settings=left)(_with_options(function, options))

    command = parser_of(app, options)
    command.name = name.split()[-1]
    return command


def parser_of(app: typer.Typer, options: Sequence[Given] = ()) -> Parsed:
    """The parser of an application, whose values are made of words by `options`."""
    command: Parsed = typer.main.get_command(app)
    given = {one.name: one for one in options}
    for parameter in command.params:
        _read_sparingly(parameter, given.get(parameter.name))
    return command


def add_commands(app: typer.Typer, group: str = "") -> None:
    """Add the commands of a group, by the table of commands; their modules are loaded later."""
    for name, summary in listed(group).items():

        def stub() -> None:
            raise AssertionError("only the list of commands is made of this")

        stub.__doc__ = summary
        app.command(name)(stub)


def show_group(context: typer.Context) -> None:
    """Show the page of a group that is called without a command, as an error."""
    if context.invoked_subcommand is None:
        show_page(f"{_page(context.command, context)}\n")
        raise SystemExit(UsageError.exit_code)


def _function_at(name: str) -> Callable[..., object]:
    return loaded(name) if COMMANDS[name][0] else show_group


def _page(command: Parsed, context: Context) -> str:
    name = _name_of(context) or str(command.name)
    is_program = context.parent is None and isinstance(command, Group)
    return program_page() if is_program else command_page(name, unwrap(command.callback))


def _name_of(context: Context) -> str:
    """The name of a command as the table has it; "" for the program itself."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(names)


def _options_of(function: Callable[..., object]) -> list[Given]:
    return list(options_of(tuple(filter(None, members_of(function).values()))))


def _with_options(function: Callable[..., object], options: list[Given]) -> Callable[..., object]:
    """A function of options, as Typer reads it, that calls `function` with their values.

    Options that are not given are left to the defaults of records.
    """
    members = members_of(function)
    if function is show_group:
        return function
    strange = [name for name, member in members.items() if member is None]
    assert not strange, f"{function}: {strange} are no options"

    @wraps(function)
    def run(context: typer.Context, **words: object) -> object:
        if context.invoked_subcommand is not None:
            return None
        if context.args:
            raise UsageError(
                f"'{context.args[0]}': one word too many; see {context.command_path} --help"
            )
        found = {name: word for name, word in words.items() if word is not None}
        for one in options:
            if one.option.sees is not None:
                default = None if one.is_required else one.default
                one.option.sees(found.get(one.name, default))
        return function(**values_of(filter(None, members.values()), found))

    # Show Typer a signature of options: it reads that, not the function's own.
    context = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *map(_parameter, options)]
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _parameter(given: Given) -> Parameter:
    """A parameter that Typer makes an option or argument of."""
    option, kind = given.option, given.word_type
    word: Parsed = list[kind] if given.is_repeated else kind  # type: ignore[valid-type]
    least, most = (option.least, option.most) if kind in (int, float) else (None, None)

    # Give shells the help up to the names in it, which would have to be loaded.
    about = option.help.partition("{")[0].strip()
    words = _completer(given) if option.choices else None
    if isinstance(option, Argument):
        metavar = option.metavar or None
        info = typer.Argument(
            metavar=metavar, help=about, autocompletion=words, min=least, max=most
        )
    else:
        long = f"{given.flag}/{given.negation}" if given.negation else given.flag
        flags = filter(None, (long, option.short))
        info = typer.Option(*flags, help=about, autocompletion=words, min=least, max=most)
    return Parameter(
        given.name,
        Parameter.KEYWORD_ONLY,
        default=Parameter.empty if given.is_required else None,
        annotation=Annotated[word if given.is_required else word | None, info],
    )


def _read_sparingly(parameter: Parsed, given: Given | None = None) -> None:
    """Let Typer make a value only where it has work to do: its types take as long to load as it.

    What is not given is None, or no words; and words that stand for themselves are left to us.
    Numbers are Typer's own business, and so are switches, and the lack of what is required.
    """
    typed: Callable[[Context, object], object] = parameter.process_value

    def read(context: Context, word: object) -> object:
        is_given = word is not None and word != ()
        if not is_given and not parameter.required:
            return () if given is not None and given.is_repeated else None
        if is_given and given is not None and given.word_type in (str, Path):
            return _of_texts(given.word_type, word)
        try:
            value = typed(context, word)
        except typer.BadParameter:
            if not is_given or given is None:
                raise
            raise number_error(given, word) from None

        # Refuse nan, which older ones take: it is neither below nor above a bound.
        if given is not None and isinstance(value, float) and isnan(value):
            raise number_error(given, word)
        return value

    parameter.process_value = read


def _of_texts(kind: type, word: object) -> object:
    return tuple(map(kind, word)) if isinstance(word, (list, tuple)) else kind(word)


def _completer(given: Given) -> Callable[[typer.Context, str], list[str]]:
    option = given.option

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        kept = context.find_root().obj or ""
        several = option.parse is comma_list
        words = completions(option.choices, f"{kept}{incomplete}", several=several)
        return [word.removeprefix(kept) for word in words]

    return complete
