"""Traces of the pixels of a frame to a key frame, step by step along the flow.

Ids are looked up once, at the key frame itself: masks that are warped from frame to frame get
blurred a little at every step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidparse.flow import FlowEstimator
from vidparse.flow.round_trip import round_trip_error

_LOOSE, _SHARE = 4.0, 0.01  # errors that pass: square pixels, and of the squared length


@dataclass(frozen=True, slots=True)
class Step:
    """The motion from the pixels of a frame to a frame beside it.

    flow: float32 (2, H, W), pixels right and down. seen: float32 (H, W), 0..1: how sure it is that
        the same point is seen in both.
    """

    flow: np.ndarray
    seen: np.ndarray


def steps_between(flow: FlowEstimator, one: np.ndarray, other: np.ndarray) -> tuple[Step, Step]:
    """The steps from `one` to `other` and back; RGB uint8 (H, W, 3) both."""
    there, back = flow.between(one, other), flow.between(other, one)
    return Step(there, seen_in_both(there, back)), Step(back, seen_in_both(back, there))


def seen_in_both(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    """The agreement of a flow with that of the way back: float32 (H, W), 0..1.

    1 / (1 + r^2), r being the error of the way there and back: the tolerance is wide and steep, as
    errors of a pixel at each of many steps hide nothing.
    """
    error = round_trip_error(flow, back, slack_px2=_LOOSE, share=_SHARE)
    seen: np.ndarray = 1 / (1 + error * error)
    return seen


@dataclass(frozen=True, slots=True)
class Trace:
    """The place of every pixel of a frame at a key frame.

    offset: float32 (2, H, W), pixels right and down, from the frame to the key frame.
    seen: float32 (H, W), 0..1: how sure it is that the point was in sight all the way.
    """

    offset: np.ndarray
    seen: np.ndarray

    @classmethod
    def at_key(cls, size_hw: tuple[int, int]) -> Trace:
        """The trace of the key frame itself."""
        return cls(np.zeros((2, *size_hw), np.float32), np.ones(size_hw, np.float32))

    def after(self, step: Step) -> Trace:
        """The trace of a frame beside this one, by the step from there to here.

        The trace of the nearest pixel is taken, and the rest of the way kept: to interpolate
        between traces would mix motions where one thing hides another.
        """
        height, width = self.seen.shape
        x = _nearest(np.arange(width, dtype=np.float32), step.flow[0], width)
        y = _nearest(np.arange(height, dtype=np.float32)[:, None], step.flow[1], height)
        at = y * width + x
        offset = np.stack([step.flow[i] + self.offset[i].take(at) for i in (0, 1)])
        return Trace(offset, self.seen.take(at) * step.seen)


def _nearest(places: np.ndarray, flow: np.ndarray, size: int) -> np.ndarray:
    """Indices int32 (H, W) of the pixels nearest to where a flow leads, within the picture."""
    found = np.rint(places + flow)
    return np.clip(found, 0, size - 1, out=found).astype(np.int32)
