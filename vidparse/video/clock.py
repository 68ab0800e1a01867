"""Presentation times as the file gives them, with the few repairs that real files need."""

from __future__ import annotations

from fractions import Fraction
from typing import Any


class Clock:
    """Gives each decoded frame its pts: the file's own unless it is missing or runs backwards.

    Old formats (AVI) store no presentation times; with reordered frames the guesses made for them
    run backwards while the decoding times of the frames, as they come out, do not. So whichever of
    the two has run backwards less often is believed.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None) -> None:
        self._step = max(1, round(1 / (rate * time_base))) if rate else 1
        self._a_second = max(1, round(1 / time_base))
        self.repaired = 0
        self.restart()

    def restart(self) -> None:
        """After a seek the next frame may be earlier than the last one."""
        self._last: int | None = None
        self._shift = 0  # added after the file's clock was set back
        self._seen = {"pts": (None, 0), "dts": (None, 0)}  # last value, times it ran backwards

    def pts(self, frame: Any) -> int:
        """Strictly increasing, in time base units; call once a frame, in presentation order."""
        last = self._last
        step = frame.duration or self._step
        stamp = self._believed(frame)
        pts = stamp + self._shift if stamp is not None else 0 if last is None else last + step
        if last is not None and pts <= last:
            self.repaired += 1
            if last - pts > self._a_second:  # glued recordings: go on where the first one ended
                self._shift += last + step - pts
                pts = last + step
            else:
                pts = last + 1
        self._last = pts
        return pts

    def _believed(self, frame: Any) -> int | None:
        for kind, stamp in (("pts", frame.pts), ("dts", frame.dts)):
            before, faults = self._seen[kind]
            if stamp is not None:
                fault = before is not None and stamp <= before
                self._seen[kind] = stamp, faults + fault
        if frame.dts is not None and self._seen["pts"][1] > self._seen["dts"][1]:
            return frame.dts
        return frame.dts if frame.pts is None else frame.pts
