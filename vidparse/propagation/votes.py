"""The label of every pixel of a frame, by the votes of the key frames that it can be traced to.

Labels are numbers from 0 that stand for the segments of both keys, so that work and memory do not
grow with the number of segments, but for those nearby.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.propagation.traces import Trace

_LEAST = 1e-5  # the vote of a pixel that cannot be traced, beside 1 of one that can
BEHIND = 0.01  # the vote of the label behind
_SIGHT = 0.3  # from which on a trace shows what is there
_BAND_PX = 1 << 17  # pixels that are worked on at a time, to stay in the cache
_CELL = 8  # pixels, side of the cells that labels are counted in
_REACH = 4.0  # cells: deviation of the window of what is nearby
_CHANNELS = 32  # that OpenCV blurs at a time
_CLASSES = 256  # of a network, void among them
_LEAST_CLUE = 0.3
_SPECK = 9  # pixels, side of the window of specks
_SURE = 0.6  # votes from which on a label stays


@dataclass(frozen=True, slots=True)
class View:
    """A key frame as it is seen from another frame.

    labels: uint16 (H, W) of the key. trace: of the frame to the key. share: 0..1, how much it
        counts for its distance; the shares of all keys sum up to 1.
    """

    labels: np.ndarray
    trace: Trace
    share: float

    @property
    def weight(self) -> np.ndarray:
        """Of each pixel's vote, float32 (H, W)."""
        return (self.trace.seen + np.float32(_LEAST)) * np.float32(self.share)

    def nearest(self) -> np.ndarray:
        """Labels uint16 (H, W) of the pixels at the other ends of the trace."""
        height, width = self.labels.shape
        found = np.empty_like(self.labels)
        for rows in _bands(height, width):
            x, y = self._places(rows)
            at = np.rint(y).astype(np.int32) * width + np.rint(x).astype(np.int32)
            found[rows] = self.labels.take(at)
        return found

    def corners(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """The four pixels round the end of each trace: labels uint16 and weights (4, n, W)."""
        height, width = self.labels.shape
        x, y = self._places(rows)
        left = np.minimum(x.astype(np.int32), max(width - 2, 0))
        top = np.minimum(y.astype(np.int32), max(height - 2, 0))
        right, below = x - left, y - top

        at = top * width + left
        over, under = (1 if width > 1 else 0), (width if height > 1 else 0)
        labels = np.stack([self.labels.take(at + by) for by in (0, over, under, over + under)])
        sides = ((1 - right) * (1 - below), right * (1 - below), (1 - right) * below, right * below)
        weight = (self.trace.seen[rows] + np.float32(_LEAST)) * np.float32(self.share)
        return labels, np.stack([side * weight for side in sides])

    def _places(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows in the key, float32 (n, W), kept within the picture."""
        height, width = self.labels.shape
        offset = self.trace.offset[:, rows]
        x = np.arange(width, dtype=np.float32) + offset[0]
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + offset[1]
        return np.clip(x, 0, width - 1, out=x), np.clip(y, 0, height - 1, out=y)


@dataclass(frozen=True, slots=True)
class Clues:
    """A network's classes in a frame, and weights of labels for them.

    classes: uint8 (H, W). weights: float32 (labels, 256), 0..1; 1 for the best label of a class.
    """

    classes: np.ndarray
    weights: np.ndarray


def clue_weights(
    labels: Sequence[np.ndarray], classes: Sequence[np.ndarray], count: int
) -> np.ndarray:
    """Weights of labels for a network's classes, by the key frames: float32 (labels, 256).

    The share of each class in a label, beside that in the label where it is greatest; none is below
    a fifth, so that what a key shows plainly stays.

    Args:
        labels: uint16 (H, W) of each key. classes: uint8 (H, W) of the network there.
    """
    joint = np.ones((count, _CLASSES))  # no class is impossible
    for one, named in zip(labels, classes, strict=True):
        codes = one.astype(np.int64) * _CLASSES + named
        joint += np.bincount(codes.ravel(), minlength=joint.size).reshape(joint.shape)
    share = joint / joint.sum(axis=1, keepdims=True)
    weights = _LEAST_CLUE + share / share.max(axis=0)
    return (weights / (1 + _LEAST_CLUE)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a vote.

    labels: uint16 (H, W). confidence: float32 (H, W), 0..1: the votes for the label.
    """

    labels: np.ndarray
    confidence: np.ndarray


def vote(
    views: Sequence[View], count: int, *, behind: float = BEHIND, clues: Clues | None = None
) -> Verdict:
    """The label with most votes at every pixel.

    A trace votes for the labels of the four pixels round its end, by bilinear weights, with the
    weight of its view. The label behind, see `label_behind`, has a small vote of its own, which
    decides where no key shows what is there.

    Args:
        views: of one key or two.
        count: number of labels.
        behind: the vote of the label behind.
        clues: of a network; they decide where keys do not.
    """
    height, width = views[0].labels.shape
    labels = np.empty((height, width), np.uint16)
    confidence = np.empty((height, width), np.float32)
    hidden = label_behind(views, count)

    for rows in _bands(height, width):
        found = [view.corners(rows) for view in views]
        named = np.concatenate([*(one for one, _ in found), hidden[None, rows]])  # (V, n, W)
        votes = np.concatenate([weights for _, weights in found])
        last = np.full((1, *votes.shape[1:]), behind, np.float32)
        labels[rows], confidence[rows] = _winners(named, np.concatenate([votes, last]), clues, rows)
    return Verdict(labels, np.minimum(confidence, 1))


def _winners(
    named: np.ndarray, votes: np.ndarray, clues: Clues | None, rows: slice
) -> tuple[np.ndarray, np.ndarray]:
    """The label (n, W) with most votes, and these, of labels and votes (V, n, W) in some rows."""
    labels, most = named[0].copy(), votes.sum(axis=0)
    split = (named != named[:1]).any(axis=0)

    # Count only where voters differ: nearly everywhere they do not.
    found, weight = named[:, split], votes[:, split]  # (V, m)
    if clues is not None:
        weight = weight * clues.weights[found, clues.classes[rows][split]]
    best = np.full(found.shape[1], -1, np.float32)
    chosen = np.zeros(len(best), np.uint16)
    for one in found:
        total = (weight * (found == one)).sum(axis=0)
        better = total > best
        best[better], chosen[better] = total[better], one[better]
    labels[split], most[split] = chosen, best
    return labels, most


def without_specks(verdict: Verdict) -> Verdict:
    """The verdict with specks gone where it is unsure: there the median of 9x9 pixels counts.

    It has to be the label of most of them, since between three labels a median may be the wrong
    one. Thin things that both keys show stay.
    """
    labels = verdict.labels
    is_narrow = int(labels.max(initial=0)) < 256
    side = _SPECK if is_narrow else 5  # OpenCV has no wider one of 16 bits
    middle = cv2.medianBlur(labels.astype(np.uint8) if is_narrow else labels, side)
    y, x = np.nonzero((middle != labels) & (verdict.confidence < _SURE))
    chosen = middle[y, x]

    reach = side // 2
    round_it = np.pad(labels, reach, mode="edge")
    count = np.zeros(len(y), np.int32)
    for dy, dx in np.ndindex(side, side):
        count += round_it[y + dy, x + dx] == chosen
    most = 2 * count > side * side
    found = labels.copy()
    found[y[most], x[most]] = chosen[most]
    return Verdict(found, verdict.confidence)


def label_behind(views: Sequence[View], count: int) -> np.ndarray:
    """The label of what comes into sight, uint16 (H, W).

    What comes into sight was hidden behind something, whose label the trace still finds. Of the
    labels that the traces find, and of one key also those in sight nearby, it is the one that
    reaches furthest: things in front are smaller than what they hide.
    """
    nearest = [view.nearest() for view in views]
    shares = np.zeros(count)
    for view in views:
        shares += np.bincount(view.labels.ravel(), minlength=count) / view.labels.size
    behind = nearest[0]
    other = nearest[1] if len(views) > 1 else _around(views[0], nearest[0], shares)
    order = shares.argsort().argsort()  # the place of each label by its share
    return np.where(order.take(other) > order.take(behind), other, behind)


def _around(view: View, nearest: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The label in sight near every pixel that covers most of the picture: uint16 (H, W)."""
    height, width = nearest.shape
    count = len(shares)
    high, wide = -(-height // _CELL), -(-width // _CELL)

    # Count a pixel in four each way: the window is much larger.
    cells = np.arange(0, height, 4)[:, None] // _CELL * wide + np.arange(0, width, 4) // _CELL
    codes = (cells * count + nearest[::4, ::4]).ravel()
    sight = view.trace.seen[::4, ::4] > _SIGHT
    mass = np.bincount(codes, sight.ravel(), high * wide * count)
    near = mass.reshape(high, wide, count).astype(np.float32)
    for first in range(0, count, _CHANNELS):
        part = np.ascontiguousarray(near[..., first : first + _CHANNELS])
        near[..., first : first + _CHANNELS] = cv2.GaussianBlur(
            part, (0, 0), _REACH, borderType=cv2.BORDER_REPLICATE
        ).reshape(part.shape)

    # Take a high power of the share: a little of what reaches far outweighs much of a thing.
    best = (near * (shares**4).astype(np.float32)).argmax(axis=2).astype(np.uint16)
    return best.repeat(_CELL, axis=0)[:height].repeat(_CELL, axis=1)[:, :width]


def _bands(height: int, width: int) -> Iterator[slice]:
    rows = max(1, _BAND_PX // max(width, 1))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
