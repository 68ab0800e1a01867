"""Options of redaction: which classes are made unknowable, how, and how far around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vidparse.errors import UsageError
from vidparse.requests.option import Option, comma_list

PANEL = "Redaction"
WAYS = ("blur", "pixelate", "fill")
_MOST_FRAMES = 30  # of the union to both sides; that many pictures are held twice


@dataclass(frozen=True, slots=True)
class Margin:
    """A distance in pixels, or as a share of the frame's height."""

    pixels: int = 0
    share: float = 0.0

    def of(self, height: int) -> int:
        """In pixels of a frame of so many lines."""
        return self.pixels + round(self.share * height)


def margin(text: str, flag: str) -> Margin:
    """`12` pixels, or `2%` of the height.

    Raises:
        UsageError: neither, or more than half of the height.
    """
    number, found, rest = text.partition("%")
    try:
        if found and not rest and 0 <= float(number) <= 50:
            return Margin(share=float(number) / 100)
        if not found and number.isdecimal() and int(number) <= 10_000:
            return Margin(pixels=int(number))
    except ValueError:
        pass
    raise UsageError(
        f"{flag} '{text}': not a margin; write pixels (12) or a share of the height (2%)"
    )


@dataclass(frozen=True, slots=True)
class RedactOptions:
    """The wish for a video in which some classes cannot be known again.

    redact: one of WAYS; None: none was named, which is "blur" where redaction is an output.
    redact_classes: names; None: all countable things.
    redact_margin: hidden round them.
    redact_union: frames before and after whose objects are hidden in a frame, too.
    """

    redact: Annotated[
        str | None,
        Option(
            "Make classes unknowable: {choice}; --save redact.",
            panel=PANEL,
            choices="ways",
        ),
    ] = None
    redact_classes: Annotated[
        str | tuple[str, ...] | None,
        Option(
            "Which: person,car. Default: all countable things.",
            panel=PANEL,
            parse=comma_list,
        ),
    ] = None
    redact_margin: Annotated[
        Margin,
        Option(
            "Hidden round them: pixels, or a share of the height.",
            panel=PANEL,
            parse=margin,
            text="2%",
        ),
    ] = Margin(share=0.02)
    redact_union: Annotated[
        int,
        Option(
            "Frames before and after whose objects are hidden in a frame, too.",
            panel=PANEL,
            least=0,
            most=_MOST_FRAMES,
        ),
    ] = 3

    def __post_init__(self) -> None:
        """Raises UsageError when a value is unknown or out of range."""
        if self.redact is not None and self.redact not in WAYS:
            raise UsageError(f"redact '{self.redact}': unknown; use {', '.join(WAYS)}")
        if not 0 <= self.redact_union <= _MOST_FRAMES:
            raise UsageError(f"redact-union {self.redact_union}: give 0 to {_MOST_FRAMES} frames")
