"""Key frames: the network runs at some frames, and its scores move along the flow to the others.

Deep Feature Flow (Zhu et al., CVPR 2017) runs a network at every N-th frame and brings its features
to the frames between along the flow from each of them to the key frame. Here the scores are
brought, so that it works with any network that looks at each frame alone.

Clockwork convnets (Shelhamer et al., ECCV workshops 2016) run a layer again where its input has
changed, and Li et al. (CVPR 2018) choose key frames by how far the answer is expected to be off.
`auto` chooses them by the pictures. The part of each picture that differs from the key frame as the
flow brings it, or that comes from outside of it, is added up since the key frame; the next one is
due where the sum exceeds a bound. Moving cameras reach it in few frames, still ones never.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidparse.errors import UsageError
from vidparse.inference.answer import Answer, Scores
from vidparse.inference.clips import Prepared
from vidparse.inference.motion import (
    CHANNELS,
    carried,
    difference,
    flow_of,
    places,
    small_picture,
)
from vidparse.inference.runners.runner import Runner
from vidparse.models.description import SEMANTIC
from vidparse.requests.option import AUTO

_TOLERANCE = 24  # of 255: a greater difference is change
_MOST_CHANGED = 0.05  # pictures, added up since the key frame
_FURTHEST = 12  # frames from a key frame to the next

_BIN_STEP = 1.02  # from bin to bin of Durations: quantiles are exact to 1 %
_LEAST_S = 1e-6
_BINS = math.ceil(math.log(1e4 / _LEAST_S, _BIN_STEP))  # up to hours


class Durations:
    """Counts of times by their length, whose memory does not grow with their number."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self.most_s = 0.0

    def add(self, time_s: float) -> None:
        place = math.log(max(time_s, _LEAST_S) / _LEAST_S, _BIN_STEP)
        self._counts[min(int(place), _BINS - 1)] += 1
        self.most_s = max(self.most_s, time_s)

    def quantile_s(self, share: float) -> float:
        """The time that this share of all does not exceed, within 1 %; 0 where there is none."""
        total = np.cumsum(self._counts)
        if not total[-1]:
            return 0.0
        place = int(np.searchsorted(total, share * total[-1]))

        # Take the middle of the bin, but no more than the greatest, which is known exactly.
        middle: float = _LEAST_S * _BIN_STEP ** (place + 0.5)
        return min(middle, self.most_s)


@dataclass(frozen=True, slots=True)
class KeyFrameReport:
    """Key frames of a run, and the time from a frame's network input to its scores.

    frames: in all. keys: at which the network ran.
    """

    frames: int
    keys: int
    median_s: float
    p95_s: float
    most_s: float

    @property
    def share(self) -> float:
        return self.keys / self.frames if self.frames else 0.0


def check_key_frames(runner: Runner, *, stabilize: bool) -> None:
    """Raises: UsageError: scores of this network cannot be carried, or are changed in between."""
    why = ""
    if runner.description.task != SEMANTIC:
        why = "the model finds objects, and only scores of classes are carried"
    elif runner.remembers:
        why = "the model has a memory that needs every frame"
    elif runner.window > 1 or runner.takes_pixels:
        why = "the model does not take one frame at a time"
    if why:
        raise UsageError(f"keyframes: {why}; leave it out, or use a model of single frames")
    if stabilize:
        raise UsageError(
            "keyframes: scores between key frames come along the motion already; "
            "leave out keyframes or stabilize"
        )


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """The last key frame, and how things have moved on since; its arrays stay as they are.

    picture: uint8 (H', W'), made small. scores: float32 (K, h, w).
    flow: float32 (H', W', 2) from the last frame to the key frame; None at the key frame itself.
    changed: parts of pictures that the flow does not explain, added up. age: frames since then.
    """

    picture: np.ndarray
    scores: np.ndarray
    flow: np.ndarray | None = None
    changed: float = 0.0
    age: int = 0


class KeyFrames:
    """The scores of each frame of a video, for which the network runs at key frames alone.

    Args:
        predict: the network's scores of a clip of one frame.
        every: frames from one key frame to the next; AUTO: as the pictures change.
    """

    def __init__(self, predict: Callable[[Sequence[Prepared]], Answer], every: int | str) -> None:
        self._predict = predict
        self._is_adaptive = every == AUTO
        self._furthest = _FURTHEST if isinstance(every, str) else every
        self._key: KeyFrame | None = None
        self._keys = self._frames = 0
        self._times = Durations()

    @property
    def state(self) -> KeyFrame | None:
        """The last key frame, to be kept and set again; None: the next frame is one."""
        return self._key

    @state.setter
    def state(self, state: KeyFrame | None) -> None:
        self._key = state

    def reset(self) -> None:
        """A new video: the next frame is a key frame."""
        self._key = None

    def answer(self, clip: Sequence[Prepared]) -> Answer:
        """The scores of a clip of one frame."""
        (one,) = clip
        assert one.green is not None  # made where scores are carried

        # Carry nothing across cuts or changes of size.
        small = small_picture(one.green)
        if one.begins_shot or (self._key is not None and self._key.picture.shape != small.shape):
            self.reset()
        self._key = None if self._key is None else self._moved(self._key, small)
        if self._key is not None:
            return Scores(_carried(self._key)[None])

        answer = self._predict(clip)
        assert isinstance(answer, Scores)  # see `check_key_frames`
        self._key = KeyFrame(small, answer.values[0])
        self._keys += 1
        return answer

    def count(self, time_s: float) -> None:
        """Count a frame, for whose scores it took so long."""
        self._frames += 1
        self._times.add(time_s)

    def report(self) -> KeyFrameReport:
        """The frames that were counted so far, of all videos."""
        times = self._times
        middle_s, late_s = times.quantile_s(0.5), times.quantile_s(0.95)
        return KeyFrameReport(self._frames, self._keys, middle_s, late_s, times.most_s)

    def _moved(self, key: KeyFrame, small: np.ndarray) -> KeyFrame | None:
        """The key frame as seen from the next picture; None where that is a key frame itself."""
        if key.age + 1 >= self._furthest:
            return None

        # Search on from the last flow, since the way to the key frame grows with its age.
        flow = flow_of(small, key.picture, key.flow, finest_scale=0)
        now = replace(key, flow=flow, age=key.age + 1)
        if not self._is_adaptive:
            return now

        # Count as change what the flow leaves unexplained, be it covered, new or from outside.
        *_, inside = places(flow, small.shape)
        explained = (difference(small, key.picture, flow) <= _TOLERANCE) & inside
        now = replace(now, changed=key.changed + 1 - float(explained.mean()))
        return now if now.changed <= _MOST_CHANGED else None


def _carried(key: KeyFrame) -> np.ndarray:
    """The scores of the key frame where things are now, float32 (K, h, w)."""
    assert key.flow is not None
    x, y, _ = places(key.flow, key.scores.shape[1:])
    groups = range(0, len(key.scores), CHANNELS)
    return np.concatenate([carried(key.scores[i : i + CHANNELS], x, y) for i in groups])
