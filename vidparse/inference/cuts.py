"""Hard cuts between shots, so that what is remembered of one never paints the next."""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.requests.option import DEFAULT_CUT

THUMBNAIL_HW = (36, 64)


class CutDetector:
    """Compares each picture with the one before, as small grey pictures.

    The score of a pair is mean |a - b| (of values 0..1) times 1 - the correlation of a and b: high
    only when the pictures differ both in value and in structure. A flash or a change of exposure
    keeps the structure, a moving camera changes little from one frame to the next. One detector is
    for one video.

    Args:
        threshold: least score at which a cut is seen, 0 (at every picture) to 2.
    """

    def __init__(self, threshold: float = DEFAULT_CUT) -> None:
        self._threshold = threshold
        self._last: np.ndarray | None = None

    def is_cut(self, picture: np.ndarray) -> bool:
        """True if a new shot begins with this picture, float32 (H, W) with values 0..1."""
        height, width = THUMBNAIL_HW
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        last, self._last = self._last, small
        return last is not None and pair_score(last, small) >= self._threshold


def pair_score(a: np.ndarray, b: np.ndarray) -> float:
    """The difference of two pictures, from 0 (the same) to 2; float32 (H, W), 0..1."""
    difference = float(np.abs(a - b).mean())

    # Take the means off, so that a flash leaves the correlation as it is.
    centred_a, centred_b = a - a.mean(), b - b.mean()
    energy = float(np.sqrt((centred_a**2).sum() * (centred_b**2).sum()))
    if energy < 1e-6:  # a uniform picture has no structure: go by the values
        return 2 * difference
    return max(0.0, difference * (1 - float((centred_a * centred_b).sum()) / energy))
