"""Texts of options into values, with errors that say what would have been right.

Each function takes the text and the flag that it stands behind.
"""

from __future__ import annotations

import re
from fractions import Fraction

from vidparse.errors import UsageError
from vidparse.limits import LARGEST, SMALLEST

DEFAULT_CUT = 0.08  # threshold of `vidparse.inference.cuts`
PIPE_FORMATS = ("y4m", "matroska", "nut", "raw")
_RATE = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9}|/[0-9]{1,9})?")
_SLOWEST, _FASTEST = Fraction(1, 100_000), 1000  # pictures per second; about one per day


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
    """`12.5`, `1:02` or `01:02:03.250`."""
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or any(not 0 <= n < float("inf") for n in numbers):
        raise UsageError(f"{flag} '{text}': not a time; write seconds (12.5) or HH:MM:SS")
    total = 0.0
    for number in numbers:
        total = total * 60 + number
    return total


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
