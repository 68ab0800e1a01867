"""Counts of a live run, whose memory does not grow with its length."""

from __future__ import annotations

import time
from collections.abc import Callable

from vidparse.arrival import Arrival, LiveReport, utc_text
from vidparse.errors import counted
from vidparse.frame import Frame
from vidparse.inference.keyframes import Durations

_NAMED_GAPS = 3


class Tally:
    """The fate of the frames of a live input.

    Each number is changed by one thread alone: those of gaps and frames that were passed over by
    the reader, of late ones by the network's, of written ones by the outputs'.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latency = Durations()
        self.written = self.passed_over = self.too_late = self.gaps = 0
        self.gap_s = 0.0
        self._named: list[str] = []  # the first gaps

    def age_s(self, frame: Frame) -> float:
        """Seconds since a frame was taken."""
        return 0.0 if frame.arrival is None else self._clock() - frame.arrival.clock_s

    def wrote(self, frame: Frame) -> None:
        """Count a frame that all outputs have."""
        self.written += 1
        self._latency.add(max(0.0, self.age_s(frame)))

    def saw_gap(self, arrival: Arrival) -> None:
        """Count a gap that ends with this frame."""
        self.gaps += 1
        self.gap_s += arrival.gap_s
        if len(self._named) < _NAMED_GAPS:
            begun = utc_text(arrival.utc_s - arrival.gap_s)
            self._named.append(f"{arrival.gap_s:.1f} s from {begun}")

    def notes(self) -> list[str]:
        """Notes on gaps, one line."""
        if not self.gaps:
            return []
        more = f" and {self.gaps - _NAMED_GAPS} more" if self.gaps > _NAMED_GAPS else ""
        return [
            f"{counted(self.gaps, 'gap')} of {self.gap_s:.1f} s in all: "
            f"{', '.join(self._named)}{more}"
        ]

    def report(self) -> LiveReport:
        """The counts so far."""
        times = self._latency
        return LiveReport(
            self.written,
            self.passed_over,
            self.too_late,
            self.gaps,
            self.gap_s,
            times.quantile_s(0.5),
            times.quantile_s(0.95),
            times.most_s,
        )
