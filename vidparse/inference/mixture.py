"""Scores of many runs of networks over one picture, averaged as probabilities at its size.

Scores stay as small as networks give them. They are brought to full size and made probabilities a
band of rows at a time, so that memory beyond them does not grow with the size of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

RefineRows = Callable[[slice, np.ndarray], np.ndarray]  # rows, their probabilities (K, n, W)

_BAND_VALUES = 1 << 17  # probabilities computed at a time
_LEAST_SCORE = np.float32(-1e30)  # stands for -inf, which cannot be interpolated


@dataclass(frozen=True, slots=True)
class Span:
    """The pixels that one axis of a patch covers, and the scores that each is interpolated from.

    first: pixel of the picture. before, after: positions of scores (N,), a pixel each.
    weight: share of `after`, float32 (N,). share: how much the patch counts at each, float32 (N,).
    """

    first: int
    before: NDArray[np.intp]
    after: NDArray[np.intp]
    weight: NDArray[np.float32]
    share: NDArray[np.float32]

    @property
    def stop(self) -> int:
        return self.first + len(self.before)


@dataclass(frozen=True, slots=True)
class Patch:
    """The answer of a network for a part of the picture.

    scores: float32 (K, h, w), logits.
    class_ids: class of the answer that each of the K belongs to; None where they are the same.
    vote: how much it counts beside patches of other networks, 1 on the mean.
    """

    scores: NDArray[np.float32]
    rows: Span
    columns: Span
    class_ids: tuple[int, ...] | None = None
    vote: float = 1.0


def windows(side: int, length: int, stride: int = 0) -> list[tuple[int, int]]:
    """Windows [start, stop) that cover a side, each `stride` after the one before it.

    The last one ends with the side. stride 0: 2/3 of a window. length 0: one window, the whole
    side.
    """
    if length == 0 or length >= side:
        return [(0, side)]
    stride = stride or -(-2 * length // 3)
    starts = [*range(0, side - length, stride), side - length]
    return [(start, start + length) for start in starts]


def spans(size: int, side: int, places: Sequence[tuple[int, int]], count: int) -> list[Span]:
    """The spans of a picture that windows over a network's input cover, along one axis.

    Args:
        size: of the picture, pixels.
        side: of the input, pixels.
        places: the windows [start, stop) of the input; together they cover it.
        count: how many scores each gave.
    """
    centre = (np.arange(size) + 0.5) * (side / size)  # of each pixel, in pixels of the input

    # Share each pixel among the windows that see it, so that overlaps count once.
    inside = [(centre >= start) & (centre < stop) for start, stop in places]
    times = np.sum(inside, axis=0)
    found = []

    for (start, stop), here in zip(places, inside, strict=True):
        position = (centre[here] - start) * (count / (stop - start)) - 0.5
        position = np.clip(position, 0, count - 1)
        before = position.astype(np.intp)
        found.append(
            Span(
                first=int(here.argmax()),
                before=before,
                after=np.minimum(before + 1, count - 1),
                weight=(position - before).astype(np.float32),
                share=(1 / times[here]).astype(np.float32),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Mixture:
    """The answer of several runs of networks to one frame: their mean probability.

    size_hw: of the frame. classes: K.
    looks: how many times the patches cover the frame: the sum at each pixel of their shares, times
        their votes.
    """

    patches: tuple[Patch, ...]
    size_hw: tuple[int, int]
    classes: int
    looks: float = 1.0

    @classmethod
    def of_scores(cls, scores: np.ndarray, size_hw: tuple[int, int]) -> Self:
        """One network's scores (K, h, w) as they are."""
        sides = zip(size_hw, scores.shape[1:], strict=True)
        (rows,), (columns,) = (spans(size, count, [(0, count)], count) for size, count in sides)
        return cls((Patch(scores, rows, columns),), size_hw, len(scores))

    def bands(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows of the frame and their probabilities, float32 (K, n, W), from top to bottom.

        Where a score is NaN or +inf, probabilities are NaN.
        """
        height, width = self.size_hw

        # Size bands by the deepest patch: a model may have more classes than the answer.
        deepest = max(self.classes, *(len(patch.scores) for patch in self.patches))
        step = max(1, _BAND_VALUES // (deepest * width))
        for top in range(0, height, step):
            rows = slice(top, min(top + step, height))
            total = np.zeros((self.classes, rows.stop - top, width), np.float32)
            for patch in self.patches:
                _add(patch, rows, total)
            total /= self.looks
            yield rows, total

    def first(self, frames: int) -> Self:
        """The answer to the first frames of the clip, which is one."""
        return self

    def ids(
        self,
        *,
        void: int,
        dtype: DTypeLike,
        least: float = 0.0,
        refine: RefineRows | None = None,
    ) -> np.ndarray:
        """The likeliest class of each pixel (H, W); `void` below `least`, and at NaN.

        Args:
            least: probability from which on a class counts.
            refine: makes probabilities (K, n, W) of some rows those that are chosen from.
        """
        ids = np.empty(self.size_hw, dtype)
        for rows, probabilities in self.bands():
            if refine is not None:
                probabilities = refine(rows, probabilities)
            ids[rows] = choose(probabilities, least, void=void, dtype=dtype)
        return ids


def choose(
    probabilities: np.ndarray, least: float, *, void: int, dtype: DTypeLike = np.uint8
) -> np.ndarray:
    """The likeliest class of each pixel (n, W); `void` below `least` and at NaN.

    Args:
        probabilities: float32 (K, n, W).
    """
    ids: np.ndarray = probabilities.argmax(axis=0).astype(dtype)

    # Negate the comparison: NaN compares false, and is void then.
    with np.errstate(invalid="ignore"):
        ids[~(probabilities.max(axis=0) >= least)] = void
    return ids


def _add(patch: Patch, rows: slice, total: np.ndarray) -> None:
    """Add the probabilities of a patch to these rows, float32 (K, n, W)."""
    top, bottom = max(rows.start, patch.rows.first), min(rows.stop, patch.rows.stop)
    if top >= bottom:
        return
    here = slice(top - patch.rows.first, bottom - patch.rows.first)
    probabilities = _softmax(_interpolated(patch, here))  # (K', n, N)
    probabilities *= patch.vote * patch.rows.share[here, None] * patch.columns.share
    part = total[:, top - rows.start : bottom - rows.start]
    part = part[..., patch.columns.first : patch.columns.stop]  # (K, n, N)
    if patch.class_ids is None:
        part += probabilities
        return

    # Add plane by plane: an index of all would keep only one of classes that become one.
    for class_id, plane in zip(patch.class_ids, probabilities, strict=True):
        part[class_id] += plane


def _interpolated(patch: Patch, here: slice) -> NDArray[np.float32]:
    """Scores of some rows of a patch at the picture's size, float32 (K, n, N)."""
    rows, columns = patch.rows, patch.columns
    before, after, weight = rows.before[here], rows.after[here], rows.weight[here]
    low, high = int(before[0]), int(after[-1]) + 1

    # Go across while rows are the few of the network's, and down after.
    few: NDArray[np.float32] = np.maximum(patch.scores[:, low:high], _LEAST_SCORE)  # (K, h', w)
    wide = few.take(columns.before, axis=-1)  # (K, h', N)
    wide += (few.take(columns.after, axis=-1) - wide) * columns.weight
    full = wide[:, before - low]  # (K, n, N)
    full += (wide[:, after - low] - full) * weight[:, None]
    return full


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities over the first axis, in place."""
    with np.errstate(invalid="ignore"):  # inf - inf
        scores -= scores.max(axis=0)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=0)
    return scores
