"""Segments joined over a window of frames, kept up by adding the new frame and taking off the old.

What a window holds are sums over its frames by id, so a step costs the segments of two frames and
of the window, however long that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.evaluation.metrics.overlaps import FrameOverlaps, SegmentTable

_FRAMES, _AREA, _KIND, _KIND_SQUARED = range(4)  # rows of a tube table


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums by key: keys ascending (N,), values (C, N), int64; a key leaves when row 0 is 0."""

    keys: np.ndarray
    values: np.ndarray

    @classmethod
    def of_nothing(cls, rows: int) -> Sums:
        return cls(np.empty(0, np.int64), np.empty((rows, 0), np.int64))

    def plus(self, added: Sums, *removed: Sums) -> Sums:
        """These sums with some added and others taken off."""
        parts = [(self.keys, self.values), (added.keys, added.values)]
        parts += [(other.keys, -other.values) for other in removed]
        keys = np.concatenate([part[0] for part in parts])
        if not len(keys):
            return self
        values = np.concatenate([part[1] for part in parts], axis=1)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        values = np.add.reduceat(values[:, order], starts, axis=1)
        stays = values[0] != 0
        return Sums(keys[starts][stays], values[:, stays])


@dataclass(frozen=True, slots=True)
class Tubes:
    """Segments of one side of a window, by ascending id; (N,) each."""

    ids: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray  # bool
    areas: np.ndarray


@dataclass(frozen=True, slots=True)
class JoinedFrame:
    """One frame in the form that windows add."""

    overlaps: FrameOverlaps
    pairs: Sums  # pixels by pair code
    truth: Sums  # tube table by id
    predicted: Sums

    @classmethod
    def of(cls, overlaps: FrameOverlaps) -> JoinedFrame:
        return cls(
            overlaps,
            Sums(overlaps.codes, overlaps.pixels[None]),
            _table(overlaps.truth),
            _table(overlaps.predicted),
        )


def _table(segments: SegmentTable) -> Sums:
    kind = segments.categories * 2 + segments.crowd
    return Sums(
        segments.ids, np.stack([np.ones_like(kind), segments.areas, kind, kind * kind])
    )  # (4, N)


class Window:
    """The last k frames of a video, joined."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.clear()

    def clear(self) -> None:
        """Another video begins."""
        self.pairs = Sums.of_nothing(1)
        self._truth, self._predicted = Sums.of_nothing(4), Sums.of_nothing(4)

    def step(self, frames: Sequence[JoinedFrame]) -> None:
        """Move on by a frame; `frames` are the video's latest, at least k + 1 if it has so many."""
        new, old = frames[-1], frames[-1 - self.length : -self.length]  # old: none at first
        self.pairs = self.pairs.plus(new.pairs, *(frame.pairs for frame in old))
        self._truth = self._truth.plus(new.truth, *(frame.truth for frame in old))
        self._predicted = self._predicted.plus(new.predicted, *(frame.predicted for frame in old))

    def truth(self, frames: Sequence[JoinedFrame]) -> Tubes:
        """Tubes of the ground truth; category and crowd flag from their first frame."""
        return _tubes(self._truth, [frame.truth for frame in frames[-self.length :]])

    def predicted(self, frames: Sequence[JoinedFrame]) -> Tubes:
        """Tubes of the prediction, likewise."""
        return _tubes(self._predicted, [frame.predicted for frame in frames[-self.length :]])


def _tubes(sums: Sums, frames: Sequence[Sums]) -> Tubes:
    count, total = sums.values[_FRAMES], sums.values[_KIND]
    kinds = total // count
    # Mean square and squared mean are equal only when a tube is the same in all of its frames.
    if (count * sums.values[_KIND_SQUARED] != total * total).any():
        for frame in reversed(frames):
            kinds[np.searchsorted(sums.keys, frame.keys)] = frame.values[_KIND]
    return Tubes(sums.keys, kinds >> 1, (kinds & 1).astype(bool), sums.values[_AREA])
