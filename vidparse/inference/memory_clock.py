"""The pace of a memory: it moves on by the time of the video, as it was taught, not by frames."""

from __future__ import annotations

from dataclasses import dataclass

# Intervals without a frame: the past is then farther than it ever was taught. No whole number,
# which rounded stamps would meet by chance.
FORGETS_AFTER = 10.5


@dataclass(frozen=True, slots=True)
class ClockState:
    """All that a clock remembers of a video, in seconds on the input's clock.

    moved_s: the frame with which the memory last moved on. last_s: the frame before.
    """

    moved_s: float
    last_s: float


class MemoryClock:
    """Decides for each frame of a video if it goes into the memory of a network.

    Where frames come faster than the interval, the nearest to it goes in: of 1/15 s every second
    frame at 30 fps, every fourth one at 60. The frames between are answered with the memory as it
    is. Where they come slower each one goes in, and a gap of more than ten intervals makes it
    forget. Frames without a known time, as those of a folder of pictures, all go in.

    Args:
        interval_s: of the frames that the memory was taught with; None: every frame goes in.

    Attributes:
        state: its memory, to be kept and set again; None before the first frame.
    """

    def __init__(self, interval_s: float | None) -> None:
        self._interval_s = interval_s
        self.state: ClockState | None = None

    def forgets(self, time_s: float | None) -> bool:
        """True where a frame comes so late that nothing leads up to it, by `Frame.known_time_s`."""
        if self._interval_s is None or self.state is None or time_s is None:
            return False
        return time_s - self.state.last_s > FORGETS_AFTER * self._interval_s

    def moves(self, time_s: float | None, *, begins: bool) -> bool:
        """True where the memory moves on with this frame, which is then the one before.

        Args:
            begins: the memory is empty, so that this frame opens it.
        """
        if self._interval_s is None or time_s is None:
            return True
        before = self.state
        moves = begins or before is None
        if before is not None and not moves:
            # Look half a frame ahead: the frame nearest to the interval is the one. Frames of the
            # same time, or of one that runs backwards, count as far enough apart.
            step_s = time_s - before.last_s
            moves = step_s <= 0 or time_s - before.moved_s >= self._interval_s - step_s / 2
        self.state = ClockState(time_s if moves or before is None else before.moved_s, time_s)
        return moves
