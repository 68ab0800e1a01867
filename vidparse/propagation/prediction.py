"""A frame's propagated segments, and how far the keys that they come from agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.maps import Prediction

KEY, BOTH, BEFORE, AFTER, NONE = "key", "both", "before", "after", "none"  # origins
_SIGHT = 0.1  # from which on a trace counts as seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagated(Prediction):
    """Propagated segments of one frame.

    confidence: uint8 (H, W), 0 (no key shows it) to 255 (of a key frame).
    origin: KEY of a key frame; BOTH, BEFORE or AFTER where masks come from keys on both sides, or
        on one; NONE where its shot has no key.
    disagreement: see `Comparison`; None where there are no two keys.
    worst: class id of the label on which the keys agree least.
    """

    confidence: np.ndarray
    origin: str
    disagreement: float | None = None
    worst: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The masks from one key beside those from the other.

    disagreement: 1 less the mean IoU of the labels, where both keys show what is there: 0..1.
    worst: the label of least IoU.
    """

    disagreement: float
    worst: int

    @classmethod
    def of(cls, labels: Sequence[np.ndarray], seen: Sequence[np.ndarray], count: int) -> Comparison:
        """Compare two maps of labels, uint16 (H, W), where both traces are seen, float32 (H, W)."""
        sight = (seen[0] > _SIGHT) & (seen[1] > _SIGHT)
        one, other = labels[0][sight], labels[1][sight]
        both = np.bincount(one[one == other], minlength=count)
        any_ = np.bincount(one, minlength=count) + np.bincount(other, minlength=count) - both
        present = np.flatnonzero(any_)
        if not len(present):
            return cls(1.0, 0)
        iou = both[present] / any_[present]
        return cls(float(1 - iou.mean()), int(present[iou.argmin()]))
