"""Options of requests: every field carries the words of its option, and a command is made of them.

A field of a record is an option where its annotation holds an :class:`Option`:

    window: Annotated[int, Option("Frames that are taken at once.", panel="Clips", least=1)] = 1

A field whose type is a record gives the options of that record in its place. All other fields are
for Python alone. `vidparse.cli.command` makes commands of records; nothing here needs its library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin, get_type_hints

Parse = Callable[[str, str], object]  # text and flag -> value, or UsageError


@dataclass(frozen=True, slots=True)
class Option:
    """How a field is given on the command line.

    help: a line for `--help`. In it "{choices}" stands for the names of `choices` ("a, b, c"), and
        "{choice}" for the same with a last "or".
    flag, short: with their dashes; without a flag it is the name of the field.
    panel: the part of the help page that lists it.
    least, most: bounds of a number.
    choices: the table whose names it takes, one of `vidparse.cli.options.CHOICES`.
    parse: makes the value of a text; without it the field's type says how.
    each: the same for every text of a field that holds several, and may be given several times.
    text: the default as a user would write it, where the field's own is no text.
    negates: the flag sets a field to False that is True without it.
    sees: gets the value before the command begins.
    """

    help: str
    flag: str = ""
    short: str = ""
    panel: str = ""
    least: float | None = None
    most: float | None = None
    choices: str = ""
    parse: Parse | None = None
    each: Parse | None = None
    text: str | None = None
    negates: bool = False
    sees: Callable[..., object] | None = None


@dataclass(frozen=True, slots=True)
class Argument(Option):
    """A field that is given by its place. metavar: its name on the help page."""

    metavar: str = ""
    show_default: bool = True


@dataclass(frozen=True, slots=True)
class Given:
    """An option, and the field that it fills.

    kind: the type of the field. default: its value where the option is not given; MISSING: none.
    """

    name: str
    kind: object
    option: Option
    default: object

    @property
    def flag(self) -> str:
        return self.option.flag or f"--{self.name.replace('_', '-')}"

    @property
    def is_repeated(self) -> bool:
        """True if it may be given several times."""
        return self.option.parse is None and get_origin(self.kind) is tuple

    def value(self, word: object) -> object:
        """The field's value for what the command line found: a bool, number, path, text or list.

        Raises:
            UsageError: a text that does not say such a value.
        """
        option = self.option
        if self.is_repeated:
            words, each = word if isinstance(word, list) else [], option.each
            return tuple(one if each is None else each(one, self.flag) for one in words)
        if option.parse is not None and isinstance(word, str):
            return option.parse(word, self.flag)
        return not word if option.negates else word


@dataclass(frozen=True, slots=True)
class Part:
    """The options of a record, which is made of their values.

    name: the field or parameter that holds it.
    is_optional: it is made only if one of its options is given; they have no defaults.
    """

    name: str
    record: type
    members: tuple[Given | Part, ...]
    is_optional: bool = False

    def value(self, words: Mapping[str, object]) -> object:
        """The record, or None. Raises: UsageError: as of `Given.value`, or as the record does."""
        values = {member.name: member_value(member, words) for member in self.members}
        if self.is_optional:
            values = {name: value for name, value in values.items() if value is not None}
            if not values:
                return None
        return self.record(**values)


def member_value(member: Given | Part, words: Mapping[str, object]) -> object:
    """The value of a field, by what the command line found under the names of all options."""
    if isinstance(member, Part):
        return member.value(words)
    return member.value(words[member.name])


def options_of(members: tuple[Given | Part, ...]) -> Iterator[Given]:
    """All options, those of records within records in their place."""
    for member in members:
        if isinstance(member, Part):
            yield from options_of(member.members)
        else:
            yield member


def part_of(name: str, record: type, *, is_optional: bool = False) -> Part:
    """The options that the fields of a record are, in order."""
    hints = get_type_hints(record, include_extras=True)
    members = []
    for field in fields(record):
        default = None if is_optional else field.default
        if found := member_of(field.name, hints[field.name], default):
            members.append(found)
    return Part(name, record, tuple(members), is_optional)


def member_of(name: str, hint: object, default: object = MISSING) -> Given | Part | None:
    """The option or record that an annotation asks for; None for what is no option."""
    if get_origin(hint) is Annotated:
        kind, *extras = get_args(hint)
        option = next((extra for extra in extras if isinstance(extra, Option)), None)
        return None if option is None else Given(name, kind, option, default)

    kind, is_optional = without_none(hint)
    if isinstance(kind, type) and is_dataclass(kind):
        found = part_of(name, kind, is_optional=is_optional)
        return found if found.members else None
    return None


def without_none(kind: object) -> tuple[object, bool]:
    """`X | None` -> X and True; any other type as it is, and False."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    left = tuple(one for one in kinds if one is not NoneType)
    return (left[0] if len(left) == 1 else kind), len(left) < len(kinds)
