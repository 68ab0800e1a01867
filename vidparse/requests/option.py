"""Options of requests: every field carries the words of its option, and a command is made of them.

A field of a record is an option where its annotation holds an :class:`Option`:

    window: Annotated[int, Option("Frames that are taken at once.", panel="Clips", least=1)] = 1

A field whose type is a record gives the options of that record in its place. All other fields are
for Python alone. `vidparse.cli.command` makes commands of records; nothing here needs its library.

Functions such as :func:`seconds` make the value of an option of a text and the flag before it, with
errors that name the right form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from fractions import Fraction
from functools import cache
from inspect import Parameter, signature
from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin, get_type_hints

from vidparse.errors import UsageError
from vidparse.limits import LARGEST, SMALLEST

Parse = Callable[[str, str], object]  # text and flag -> value, or UsageError
DEFAULT_CUT = 0.08  # threshold of `vidparse.inference.cuts`
AUTO = "auto"  # key frames where the pictures change
SPLITS = ("train", "val", "test")  # usual ones; data may have others
KEY_FRAME_WORDS = (AUTO,)
CUT_WORDS = ("auto", "off")
_FURTHEST_KEYS = 1000  # frames from one to the next
PIPE_FORMATS = ("y4m", "matroska", "nut", "raw")
_NUMBER = re.compile(r"[0-9]{1,12}\.?[0-9]{0,9}|\.[0-9]{1,9}")
_DURATION = re.compile(rf"({_NUMBER.pattern})(ms|s|m|h|d)?")
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, None: 1000}
_RATE = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9}|/[0-9]{1,9})?")
_SLOWEST, _FASTEST = Fraction(1, 100_000), 1000  # pictures per second; about one per day


@dataclass(frozen=True, slots=True)
class Option:
    """The form in which a field is given on the command line.

    help: a line for `--help`. In it "{choices}" stands for the names of `choices` ("a, b, c"), and
        "{choice}" for the same with a last "or".
    flag, short: with their dashes; without a flag it is the name of the field.
    panel: the part of the help page that lists it.
    least, most: bounds of a number.
    choices: the table whose names it takes, one of `vidparse.cli.options.CHOICES`.
    parse: makes the value of a text; without it the field's type does.
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
    def negation(self) -> str:
        """The flag that turns a switch off which is on by default; "" for all other options."""
        named = self.option.flag or self.option.short or self.option.negates
        return "" if named or self.default is not True else f"--no-{self.flag.removeprefix('--')}"

    @property
    def is_repeated(self) -> bool:
        """True if it may be given several times."""
        return self.option.parse is None and get_origin(self.kind) is tuple

    @property
    def is_required(self) -> bool:
        return self.default is MISSING

    @property
    def word_type(self) -> type:
        """The type of each word that a user gives: a text stands for all that is made of one."""
        kind, _ = without_none(self.kind)
        if self.option.parse is not None or self.option.each is not None:
            return str
        word = get_args(kind)[0] if self.is_repeated else kind
        assert isinstance(word, type)  # or the option lacks `parse`
        return word

    def value(self, word: object) -> object:
        """The field's value for what the command line found: a bool, number, path, text or list.

        Raises:
            UsageError: a text that is no such value.
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
        values = values_of(self.members, words)
        if self.is_optional and not values:
            return None
        return self.record(**values)


def values_of(members: Iterable[Given | Part], words: Mapping[str, object]) -> dict[str, object]:
    """Values of fields, by what the command line found; the others are left to their defaults.

    Raises:
        UsageError: as of `Given.value`, or as a record does.
    """
    values = {}
    for member in members:
        if isinstance(member, Part):
            record = member.value(words)
            if record is not None:
                values[member.name] = record
        elif member.name in words:
            values[member.name] = member.value(words[member.name])
    return values


def options_of(members: tuple[Given | Part, ...]) -> Iterator[Given]:
    """All options, those of records within records in their place."""
    for member in members:
        if isinstance(member, Part):
            yield from options_of(member.members)
        else:
            yield member


def part_of(name: str, record: type, *, is_optional: bool = False) -> Part:
    """The options that the fields of a record are, in order."""
    return Part(name, record, fields_of(record, is_optional=is_optional), is_optional)


@cache
def fields_of(record: type, *, is_optional: bool = False) -> tuple[Given | Part, ...]:
    """The same without a name; the hints of a large record take milliseconds to read."""
    hints = get_type_hints(record, include_extras=True)
    found = (
        member_of(field.name, hints[field.name], None if is_optional else field.default)
        for field in fields(record)
    )
    return tuple(member for member in found if member)


def members_of(function: Callable[..., object]) -> dict[str, Given | Part | None]:
    """The records and single options that a function takes, by the names of its parameters."""
    hints = get_type_hints(function, include_extras=True)
    found = {}
    for name, parameter in signature(function).parameters.items():
        default = MISSING if parameter.default is Parameter.empty else parameter.default
        found[name] = member_of(name, hints[name], default)
    return found


def member_of(name: str, hint: object, default: object = MISSING) -> Given | Part | None:
    """The option or record of an annotation; None where it is none."""
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


def word(text: str, flag: str) -> str:
    """A text as it is, for fields that take more than texts from Python."""
    return text


def comma_list(text: str, flag: str) -> tuple[str, ...]:
    """`a,b` -> ("a", "b")."""
    items = tuple(item.strip() for item in text.split(",") if item.strip())
    if not items:
        raise UsageError(f"{flag} '{text}': names nothing; separate names by commas")
    return items


def window_lengths(text: str, flag: str) -> tuple[int, ...]:
    """Lengths in frames: `1,2,4,6`."""
    items = comma_list(text, flag)
    if not all(item.isdecimal() and 0 < int(item) <= 1000 for item in items):
        raise UsageError(f"{flag} '{text}': not lengths of 1 to 1000 frames; write 1,2,4,6")
    return tuple(dict.fromkeys(int(item) for item in items))


def votes(text: str, flag: str) -> tuple[float, ...]:
    """Numbers, of which some may be equal: `0.7,0.3`."""
    return _numbers(text, flag, "0.7,0.3")


def scales(text: str, flag: str) -> tuple[float, ...]:
    """Numbers, each once: `0.5,1,1.5`."""
    return tuple(dict.fromkeys(_numbers(text, flag, "0.5,1,1.5")))


def _numbers(text: str, flag: str, example: str) -> tuple[float, ...]:
    try:
        return tuple(float(item) for item in comma_list(text, flag))
    except ValueError:
        raise UsageError(f"{flag} '{text}': not numbers; write {example}") from None


def seconds(text: str, flag: str) -> float:
    """`12.5`, `200ms`, `30s`, `10m`, `24h`, `7d`, `1:02` or `01:02:03.250`.

    Equal times are equal numbers, however they are written: frames begin at 1.4 s, not behind.

    Raises:
        UsageError: none of these.
    """
    if match := _DURATION.fullmatch(text.strip()):
        return float(Fraction(match[1]) * _UNITS_MS[match[2]] / 1000)

    # Each part counts 60 of the one behind it.
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(_NUMBER.fullmatch(part.strip()) for part in parts):
        raise UsageError(
            f"{flag} '{text}': not a time; write seconds (12.5), 200ms, 10m, 24h or HH:MM:SS"
        )
    total = Fraction(0)
    for part in parts:
        total = total * 60 + Fraction(part.strip())
    return float(total)


def frame_rate(text: str, flag: str) -> Fraction:
    """Frames per second, exact: `25`, `29.97`, `30000/1001`."""
    try:
        # Without exponents: Fraction would multiply out 1e999999999.
        rate = Fraction(text) if _RATE.fullmatch(text) else Fraction(0)
    except ZeroDivisionError:
        rate = Fraction(0)
    if not _SLOWEST <= rate <= _FASTEST:
        raise UsageError(f"{flag} '{text}': not a frame rate; write 25 or 30000/1001")
    return rate


def input_size(text: str, flag: str = "size") -> int | tuple[int, int]:
    """`360` (short side) or `640x360` (width x height, returned as (h, w)).

    Raises:
        UsageError: neither, or a side outside 32..8192.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise UsageError(f"size '{text}': not a size; write 360 (short side) or 640x360")
    sides = [int(part) for part in parts]
    if not all(SMALLEST <= side <= LARGEST for side in sides):
        raise UsageError(f"size '{text}': sides must lie in {SMALLEST}..{LARGEST} pixels")
    return sides[0] if len(sides) == 1 else (sides[1], sides[0])


def cut_threshold(text: str, flag: str = "--cut") -> float | None:
    """`auto`, `off` or a threshold; None means off.

    Raises:
        UsageError: none of these.
    """
    if text == "auto":
        return DEFAULT_CUT
    if text == "off":
        return None
    try:
        threshold = float(text)
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold <= 2:
        raise UsageError(
            f"{flag} '{text}': write auto, off or a threshold from 0 to 2, such as 0.1"
        )
    return threshold


def key_frames(text: str | int, flag: str = "keyframes") -> str | int:
    """`auto`, or the number of frames from one key frame to the next.

    Raises:
        UsageError: neither.
    """
    if text == AUTO:
        return AUTO
    word = str(text)
    if not word.isdecimal() or not 1 <= int(word) <= _FURTHEST_KEYS:
        raise UsageError(
            f"{flag} '{text}': write auto, or every how many frames the network runs, "
            f"1 to {_FURTHEST_KEYS}"
        )
    return int(word)


def assignment(text: str, flag: str) -> tuple[str, str]:
    """`field=value` -> both; the value stays a text."""
    key, found, value = text.partition("=")
    if not found or not key.strip():
        raise UsageError(f"{flag} '{text}': write field=value")
    return key.strip(), value.strip()


def pipe_format(text: str, flag: str) -> str:
    """The form of a pipe, one of PIPE_FORMATS."""
    if text not in PIPE_FORMATS:
        raise UsageError(f"{flag} '{text}': unknown; use {', '.join(PIPE_FORMATS)}")
    return text
