"""A frame's propagated segments, and how far the keys that they come from agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.maps import Prediction

KEY, BOTH, BEFORE, AFTER, NONE = "key", "both", "before", "after", "none"  # origins


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

    disagreement: 1 less the mean IoU of the labels, 0..1. A pixel on which the keys differ counts
        the more the evener their votes are and the less they show: 1 where the votes are equal and
        neither shows it, 0 where one key decides or shows it for sure.
    worst: the label of least IoU.
    """

    disagreement: float
    worst: int

    @classmethod
    def of(
        cls,
        labels: Sequence[np.ndarray],
        votes: Sequence[np.ndarray],
        seen: Sequence[np.ndarray],
        count: int,
        *,
        void: int | None = None,
    ) -> Comparison:
        """Compare two maps of labels.

        Args:
            labels: uint16 (H, W) of each key. votes: of each, float32 (H, W). seen: of its trace.
            void: the label of pixels that nobody labelled, about which nobody can differ; None:
                there is none.
        """
        # Leave void out: a band that one key lacks would outweigh all that is in doubt.
        one, other = labels
        counts = np.ones(one.shape, bool) if void is None else (one != void) & (other != void)
        same, differs = counts & (one == other), counts & (one != other)
        both = np.bincount(one[same], minlength=count)

        # Count a pixel of two labels in the union of each.
        evenness = 2 * np.minimum(*votes) / (votes[0] + votes[1])
        doubt = (evenness * (1 - np.maximum(*seen)))[differs]
        union = both.astype(np.float64)
        for differing in (one[differs], other[differs]):
            union += np.bincount(differing, doubt, count)
        present = np.flatnonzero(union)
        if not len(present):
            return cls(0.0, int(one.flat[0]))
        iou = both[present] / union[present]
        return cls(float(1 - iou.mean()), int(present[iou.argmin()]))
