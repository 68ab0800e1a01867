"""Results of a `segment` call: for each input, and in all."""

from __future__ import annotations

from dataclasses import dataclass

from vidparse.errors import Interrupted, VidparseError
from vidparse.inference import RunReport


@dataclass(frozen=True, slots=True)
class InputResult:
    """The result for one input."""

    name: str
    outputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    frames: int = 0  # that went into the outputs
    skipped: int = 0  # damaged packets or images passed over
    report: RunReport | None = None
    error: VidparseError | None = None
    engine: str = ""  # what the network ran in, and why


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a whole call."""

    model: str
    weights_sha256: str
    backend: str
    device: str
    precision: str
    engine: str  # all three for people
    chosen: str  # why, where `auto` chose the backend; else ""
    inputs: tuple[InputResult, ...]

    @property
    def exit_code(self) -> int:
        """0, the error's own code when there was one input, else 1 when some failed."""
        failed = [result.error for result in self.inputs if result.error is not None]
        if not failed:
            return 0
        if any(isinstance(error, Interrupted) for error in failed):
            return Interrupted.exit_code
        return failed[0].exit_code if len(self.inputs) == 1 else 1
