"""Class ids that are off by one: the commonest mistake in files of predictions, found and named."""

from __future__ import annotations

import numpy as np

from vidparse.evaluation.metrics.measure import Counts

OFFSETS = (0, -1, 1)  # added to the ids of a prediction
_SAMPLES = 100  # rows and columns of a frame that are looked at, about
# An offset is named where it brings at least this share of the pixels right, and so many times
# the share of the ids as they are.
_LEAST_SHARE, _TIMES = 0.3, 3


class OffsetCounts:
    """Agreement with the truth of class ids as they are, one lower and one higher.

    A grid of pixels per frame is enough: an offset of all ids shows in any sample.
    """

    def __init__(self, num_classes: int) -> None:
        self._classes = num_classes
        self._start_video()

    def _start_video(self) -> None:
        self._truth = np.zeros(self._classes, np.int64)
        self._right = np.zeros((len(OFFSETS), self._classes), np.int64)

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Add a frame: class ids (H, W) each; ids of `truth` that are no class do not count."""
        step = max(1, min(truth.shape) // _SAMPLES)
        wanted = truth[::step, ::step].astype(np.int64)
        given = prediction[::step, ::step].astype(np.int64)
        labelled = (wanted >= 0) & (wanted < self._classes)
        wanted, given = wanted[labelled], given[labelled]

        self._truth += np.bincount(wanted, minlength=self._classes)
        for row, offset in zip(self._right, OFFSETS, strict=True):
            row += np.bincount(wanted[given + offset == wanted], minlength=self._classes)

    def end_video(self) -> Counts:
        """Sampled pixels of each class "truth" (K,), and those "right" by offset (3, K)."""
        counts = {"truth": self._truth, "right": self._right}
        self._start_video()
        return counts


def better_offset(counts: Counts) -> tuple[int, float, float] | None:
    """An offset that fits far better than none: it, its share of right pixels, and that of none.

    None where the ids fit best as they are, or no offset fits well. More than one class must gain:
    a network that takes one class for its neighbour has another fault.
    """
    total = counts["truth"].sum()
    if not total:
        return None
    shares = counts["right"].sum(axis=1) / total  # (3,)
    best = int(shares.argmax())
    clear = shares[best] >= _LEAST_SHARE and shares[best] > _TIMES * shares[0]
    gained = (counts["right"][best] > counts["truth"] / 2).sum()
    if not clear or gained < 2:
        return None
    return OFFSETS[best], float(shares[best]), float(shares[0])
