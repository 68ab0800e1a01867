"""The arrival of live frames, and what became of all of them: records that cross module borders."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Arrival:
    """The time at which a live picture was taken, by its stamp and by the moment it came.

    clock_s: on the clock of this process (`time.monotonic`). utc_s: seconds since 1970.
    gap_s: seconds before it in which the source was away; 0: it follows the picture before.
    """

    clock_s: float
    utc_s: float
    gap_s: float = 0.0

    @property
    def utc(self) -> str:
        """The time as ISO 8601, to the millisecond: "2026-11-30T01:25:02.040Z"."""
        return utc_text(self.utc_s)


def utc_text(utc_s: float) -> str:
    """Seconds since 1970 as ISO 8601, to the millisecond, rounded down."""
    moment = datetime.fromtimestamp(int(utc_s * 1000) / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


@dataclass(frozen=True, slots=True)
class LiveReport:
    """The fate of the frames of a live input, and the delay of those in the outputs.

    written: frames in the outputs. passed_over: frames that a newer one replaced (`latest`).
    too_late: frames dropped by --max-latency. gaps: times that the source was away, and `gap_s`
    the seconds in all. The rest: seconds from the taking of a picture to its outputs.
    """

    written: int
    passed_over: int
    too_late: int
    gaps: int
    gap_s: float
    median_s: float
    p95_s: float
    most_s: float
