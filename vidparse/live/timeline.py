"""When live pictures were taken, and their place in the outputs, by their stamps and their coming.

The stamps of a stream are even and begin anywhere; the moments at which its pictures come are true
to the clock on the wall, but late by what lay in buffers, and uneven. A picture is never taken
after it has come, nor later behind the one before it than by its stamp. So the time of taking is
the earlier of the two, which the fastest pictures on the way decide.
"""

from __future__ import annotations

import time
from fractions import Fraction

from vidparse.arrival import Arrival

_DRIFT = 2e-4  # by which the clock of a source may be slow; those of cameras are within 1e-4
_SLACK_S = 0.25  # between the outputs' clock and the wall's before it is made up for
_SLEW = Fraction(1, 100)  # of a step, at most, to make up for it
_GAP_S = 2.0  # a shorter jump of the stamps is no gap
_GAP_STEPS = 10  # nor one of fewer of the usual steps


class Timeline:
    """Gives each picture of successive connections the time it was taken at, and its pts.

    Args:
        time_base: of `pts`, in seconds.
        has_stamps: stamps give the time; False: a format without, so that only the arrival does.
        keeps_pace: the source goes with the clock on the wall. False for files and pipes, which
            may come faster: their own stamps stay as they are.
    """

    def __init__(self, time_base: Fraction, *, has_stamps: bool, keeps_pace: bool) -> None:
        self._base = time_base
        self._has_stamps, self._keeps_pace = has_stamps, keeps_pace
        self._is_new = True  # the next picture is the first of a connection
        self._stamp: Fraction | None = None  # seconds, of the last picture
        self._taken_s = 0.0  # when it was
        self._step_s = 0.0  # before it
        self._pts: int | None = None
        self._anchor_s = 0.0  # the moment at which pts would be 0
        self.shift_s = Fraction(0)  # from stamps to the times of the outputs

    def connected(self) -> None:
        """A new connection: its stamps have nothing to do with those before."""
        self._is_new = True

    def place(self, stamp_s: Fraction, now_s: float) -> tuple[int, Arrival]:
        """The pts of a picture, and when it was taken.

        Args:
            stamp_s: its time by the source, in seconds.
            now_s: when it came, on the clock `time.monotonic`.
        """
        before_s, is_first = self._taken_s, self._pts is None
        step = None if self._is_new or self._stamp is None else float(stamp_s - self._stamp)
        self._taken_s = self._moment(step, now_s)
        gap_s = 0.0 if is_first else self._gap(step, self._taken_s - before_s)

        # Keep the source's own times as long as one connection lasts, from the first one on.
        if not self._has_stamps:
            stamp_s = Fraction(self._taken_s)
        if is_first:
            self.shift_s = Fraction(0) if self._has_stamps else -stamp_s
            self._anchor_s = self._taken_s - float(stamp_s + self.shift_s)
        elif self._is_new:
            self.shift_s = Fraction(self._taken_s - self._anchor_s) - stamp_s
        elif self._keeps_pace and self._has_stamps and step is not None:
            self._follow_wall(stamp_s, step, self._taken_s - before_s)

        # Let times rise, whatever clocks do.
        pts = round((stamp_s + self.shift_s) / self._base)
        self._pts = pts = pts if self._pts is None else max(pts, self._pts + 1)
        self._stamp, self._is_new = stamp_s, False
        utc_s = time.time() - max(0.0, time.monotonic() - self._taken_s)
        return pts, Arrival(self._taken_s, utc_s, gap_s)

    def _moment(self, step: float | None, now_s: float) -> float:
        """When the picture was taken: not after it came, nor more than a step after the last."""
        if step is None or not self._has_stamps or step <= 0:
            return now_s
        return min(now_s, self._taken_s + step * (1 + _DRIFT))

    def _gap(self, step: float | None, away_s: float) -> float:
        """Seconds for which the source was away before this picture; 0: it was not."""
        if self._is_new:
            return max(away_s, 1e-3)
        if not self._has_stamps:
            step = away_s
        usual_s, self._step_s = self._step_s, step or 0.0
        jumps = step is not None and step > max(_GAP_S, _GAP_STEPS * usual_s) and usual_s > 0
        return max(away_s, 1e-3) if jumps else 0.0

    def _follow_wall(self, stamp_s: Fraction, step: float, lasted_s: float) -> None:
        """Keep outputs with the clock on the wall, where that of the source is off."""
        late_s = self._taken_s - self._anchor_s - float(stamp_s + self.shift_s)

        # Pictures that come at once were waiting in the source: the anchor was set too late.
        if late_s < 0 and lasted_s < step / 2:
            self._anchor_s += late_s
            return
        if abs(late_s) > _SLACK_S:
            most = _SLEW * Fraction(step)
            self.shift_s += max(-most, min(most, Fraction(late_s)))
