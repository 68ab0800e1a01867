"""Option texts into values, with errors that say what would have been right."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

from vidparse.errors import UsageError

if TYPE_CHECKING:
    from vidparse.inference import Merging
    from vidparse.video import RawPipe

_RATE = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9}|/[0-9]{1,9})?")
_SLOWEST, _FASTEST = Fraction(1, 100_000), 1000  # pictures a second; about one a day
PIPE_FORMATS = ("y4m", "matroska", "nut", "raw")


def comma_list(text: str | None, flag: str) -> tuple[str, ...] | None:
    """`a,b` -> ("a", "b"); None stays None."""
    if text is None:
        return None
    items = tuple(item.strip() for item in text.split(",") if item.strip())
    if not items:
        raise UsageError(f"{flag} '{text}': names nothing; separate names by commas")
    return items


def parse_windows(text: str | None) -> tuple[int, ...] | None:
    """Window lengths in frames: `1,2,4,6`."""
    if text is None:
        return None
    items = comma_list(text, "--windows") or ()
    if not all(item.isdecimal() and 0 < int(item) <= 1000 for item in items):
        raise UsageError(f"--windows '{text}': not lengths of 1 to 1000 frames; write 1,2,4,6")
    return tuple(dict.fromkeys(int(item) for item in items))


def parse_merging(
    rule: str | None, min_area: int | None, min_score: float | None
) -> Merging | None:
    """The merging of masks into segments; None where no option is given."""
    from vidparse.inference import Merging

    if rule is None and min_area is None and min_score is None:
        return None
    return Merging(rule or "intended", min_area or 0, min_score or 0.0)


def parse_time(text: str | None, flag: str) -> float | None:
    """Seconds from `12.5`, `1:02` or `01:02:03.250`."""
    if text is None:
        return None
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or any(not 0 <= n < float("inf") for n in numbers):
        raise UsageError(f"{flag} '{text}': not a time; write seconds (12.5) or HH:MM:SS")
    seconds = 0.0
    for number in numbers:
        seconds = seconds * 60 + number
    return seconds


def parse_rate(text: str | None) -> Fraction | None:
    """Frames per second, exact: `25`, `29.97`, `30000/1001`."""
    if text is None:
        return None
    try:
        # Without exponents: Fraction would multiply out 1e999999999.
        rate = Fraction(text) if _RATE.fullmatch(text) else Fraction(0)
    except ZeroDivisionError:
        rate = Fraction(0)
    if not _SLOWEST <= rate <= _FASTEST:
        raise UsageError(f"--rate '{text}': not a frame rate; write 25 or 30000/1001")
    return rate


def assignments(items: Iterable[str] | None, flag: str = "--set") -> dict[str, str]:
    """`field=value` texts as a table; values stay texts."""
    table = {}
    for item in items or ():
        key, found, value = item.partition("=")
        if not found or not key.strip():
            raise UsageError(f"{flag} '{item}': write field=value")
        table[key.strip()] = value.strip()
    return table


def stdout_format(pipe: str | None) -> str | None:
    """`--pipe` as the form of stdout.

    Raises:
        UsageError: not a form that pipes can have.
    """
    if pipe is not None and pipe not in PIPE_FORMATS:
        raise UsageError(f"--pipe '{pipe}': unknown; use {', '.join(PIPE_FORMATS)}")
    return pipe


def raw_pipe(
    pipe: str | None, size: str | None, rate: str | None, pixel_format: str
) -> RawPipe | None:
    """The layout of raw frames on stdin; None when the pipe describes itself.

    Raises:
        UsageError: --pipe raw without --size WxH or --rate.
    """
    if pipe != "raw":
        return None
    from vidparse.video import RawPipe

    sides = (size or "").lower().split("x")
    exact_rate = parse_rate(rate)
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise UsageError("--pipe raw: needs the size of the frames; add --size 1280x720")
    if exact_rate is None:
        raise UsageError("--pipe raw: needs the frame rate; add --rate 25 or --rate 30000/1001")
    return RawPipe((int(sides[1]), int(sides[0])), exact_rate, pixel_format)
