"""Help pages, made of the table of commands and of the records that commands take."""

from __future__ import annotations

from vidparse.cli.commands import COMMANDS, OPTIONS, SUMMARY, listed
from vidparse.cli.panels import (
    FAINT,
    KIND,
    MARK,
    NEGATION,
    OPTION,
    PROSE,
    REQUIRED,
    SWITCH,
    Page,
    screen_page,
)

TYPE_CHECKING = False  # read as true by type checkers, as in vidparse/__init__.py
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vidparse.cli.panels import Cell, Row
    from vidparse.requests.option import Given, Option

_SELF = ("--help", "-h", "Show this message and exit.")


def program_page() -> str:
    """The page of `vidparse` itself; its table is all that is loaded for it."""
    page = screen_page()
    page.usage("vidparse [OPTIONS] COMMAND [ARGS]...")
    page.prose(SUMMARY)
    rows = [_switch(flag, "", text) for flag, text in OPTIONS.items()]
    page.table("Options", [*rows, _switch(*_SELF)])
    _add_commands(page, "")
    return str(page)


def command_page(name: str, function: Callable[..., object]) -> str:
    """The page of a command, or of a group: `function` runs where none of its commands is named.

    Tables whose names the page lists are loaded.
    """
    from inspect import getdoc

    from vidparse.requests.option import Argument, members_of, options_of

    given = list(options_of(tuple(filter(None, members_of(function).values()))))
    arguments = [one for one in given if isinstance(one.option, Argument)]
    options = [one for one in given if not isinstance(one.option, Argument)]

    page = screen_page()
    words = [f"vidparse {name} [OPTIONS]", *map(_usage_of, arguments)]
    page.usage(" ".join([*words, "COMMAND [ARGS]..."] if listed(name) else words))
    page.prose(COMMANDS[name][1] if listed(name) else getdoc(function) or "")
    _add_options(page, "Arguments", arguments)
    _add_options(page, "Options", [one for one in options if not one.option.panel], _switch(*_SELF))
    for panel in dict.fromkeys(one.option.panel for one in options if one.option.panel):
        _add_options(page, panel, [one for one in options if one.option.panel == panel])
    _add_commands(page, name)
    return str(page)


def _add_commands(page: Page, group: str) -> None:
    rows = [([(name, OPTION)], [(text, PROSE)]) for name, text in listed(group).items()]
    page.table("Commands", rows)


def _add_options(page: Page, title: str, options: Sequence[Given], *more: Row) -> None:
    rows = [*map(_row, options), *more]
    marks = ["*" if one.is_required else "" for one in options] + [""] * len(more)
    if any(marks):  # a column that is there only for them
        rows = [([(mark, MARK)], *row) for mark, row in zip(marks, rows, strict=True)]
    page.table(title, rows)


def _row(given: Given) -> Row:
    """The row of an option or argument."""
    from vidparse.requests.option import Argument

    option, kind = given.option, f"<{_kind_of(given)}>{_range_of(given)}"
    about: Cell = [(_text_of(option), PROSE)]
    if given.is_required:
        about = [*about, ("[required]", REQUIRED)]
    elif default := _default_of(given):
        about = [*about, (f"[default: {default}]", FAINT)]

    if isinstance(option, Argument):
        name = option.metavar or given.name + ("..." if given.is_repeated else "")
        return _cells("", name, "", kind, about)
    return _cells(given.flag, option.short, given.negation, kind, about)


def _switch(flag: str, short: str, text: str) -> Row:
    """The row of an option that takes no value."""
    return _cells(flag, short, "", "<bool>", [(text, PROSE)])


def _cells(flag: str, short: str, negation: str, kind: str, about: Cell) -> Row:
    unused = ("", PROSE)  # short forms of negations have a column, too
    first = ((flag, OPTION), (short, SWITCH), (negation, NEGATION), unused, (kind, KIND))
    return (*([piece] for piece in first), about)


def _text_of(option: Option) -> str:
    """The help of an option, with the names of the table that it takes."""
    if "{choice" not in option.help:
        return option.help
    from vidparse.cli.options import names_of

    names = names_of(option.choices)
    either = f"{', '.join(names[:-1])} or {names[-1]}"
    return option.help.replace("{choices}", ", ".join(names)).replace("{choice}", either)


def _usage_of(argument: Given) -> str:
    """An argument in the line of usage."""
    name = getattr(argument.option, "metavar", "") or argument.name
    brackets = f"{{{name}}}" if argument.is_required else f"[{name}]"
    return f"{brackets}..." if argument.is_repeated else brackets


def _kind_of(given: Given) -> str:
    """The type of what a user writes."""
    option, kind = given.option, given.word_type
    name = kind.__name__.lower()
    if given.is_repeated:
        return f"list[{name}]"
    return name if (option.least, option.most) == (None, None) else f"{name} range"


def _range_of(given: Given) -> str:
    least, most = given.option.least, given.option.most
    if least is None:
        return "" if most is None else f" [x<={most}]"
    return f" [x>={least}]" if most is None else f" [{least}<=x<={most}]"


def _default_of(given: Given) -> str:
    """The default as a user would write it; "" where there is none to show."""
    option, default = given.option, given.default
    if given.negation and default is True:
        return given.flag.removeprefix("--")
    if option.text is not None or default is None or isinstance(default, bool) or given.is_repeated:
        return option.text or ""
    return str(default)
