"""A request of degraded frames: burst, or burst:SEED."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from vidparse.errors import UsageError
from vidparse.requests.option import Option

DegradationKind = Literal["burst", "noise", "night", "jpeg", "light", "mixed"]
DEGRADATIONS = get_args(DegradationKind)


@dataclass(frozen=True, slots=True)
class Degradation:
    """A kind of change to pictures, and the seed of its draws.

    Raises:
        UsageError: an unknown kind.
    """

    kind: str
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in DEGRADATIONS:
            raise UsageError(
                f"degradation '{self.kind}': unknown; use {', '.join(DEGRADATIONS)}, with a seed "
                "as in burst:1"
            )

    def __str__(self) -> str:
        return f"{self.kind}:{self.seed}"


def parse_degradation(text: str, flag: str = "degrade") -> Degradation:
    """`burst` or `burst:7`. Raises: UsageError: an unknown kind, or a seed that is none."""
    kind, colon, seed = text.partition(":")
    if colon and not (seed.isascii() and seed.isdecimal() and len(seed) < 10):
        raise UsageError(f"{flag} '{text}': '{seed}' is no seed; write a whole number, as burst:1")
    return Degradation(kind, int(seed or 0))


Degrade = Annotated[
    Degradation | None,
    Option(
        "Score on worse pictures, labels as they are: {choices}, with a seed as burst:1. burst: "
        "noise, blur or JPEG on half of the frames.",
        choices="degradations",
        parse=parse_degradation,
    ),
]
