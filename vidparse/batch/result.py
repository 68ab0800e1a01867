"""The result for one input of a batch, and what is known of its turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vidparse.arrival import LiveReport
from vidparse.errors import VidparseError
from vidparse.inference import RunReport

if TYPE_CHECKING:
    from vidparse.inference.pace import PaceReport


@dataclass(frozen=True, slots=True)
class InputResult:
    """The result for one input."""

    name: str
    outputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    frames: int = 0  # that went into the outputs
    skipped: int = 0  # damaged packets or images passed over
    redone: int = 0  # ranges done again, after a worker was killed
    report: RunReport | None = None
    error: VidparseError | None = None
    engine: str = ""  # of the network, and the reason for it
    settled: bool = False  # by an earlier call, as the ledger has it
    live: LiveReport | None = None  # of a live input
    pace: PaceReport | None = None  # where a rate was to be kept up with
    is_skipped: bool = False  # as its outputs were there


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that is known once an input's turn is over.

    written: outputs, of which some may have come up on the way. seconds: the turn took.
    """

    result: InputResult
    written: tuple[str, ...] = ()
    seconds: float = 0.0
