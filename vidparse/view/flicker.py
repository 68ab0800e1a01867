"""Flicker: classes that change where the picture does not."""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.inference.cuts import CutDetector

STILL = 4  # steps of 255 in luma, up to which a pixel counts as unchanged
LEAST_STILL = 0.05  # of the picture, below which nothing is measured: a fast pan
UNKNOWN = -1


class FlickerMeter:
    """The share of still pixels whose class is another one than in the frame before.

    A pixel is still if its luma, in the page's size and smoothed over 3 x 3 pixels, changes by
    STILL at most. In contrast to TC it needs no optical flow, and what moves does not count. At a
    cut, where pixels look still by chance, there is none.
    """

    def __init__(self) -> None:
        self._cuts = CutDetector()
        self._luma: np.ndarray | None = None
        self._classes: np.ndarray | None = None

    def see(self, luma: np.ndarray, classes: np.ndarray) -> float:
        """The flicker from the frame before to this one, 0 to 1; UNKNOWN where there is none.

        Args:
            luma: uint8 (h, w). classes: integers (h, w).
        """
        smooth = cv2.blur(luma, (3, 3))
        before, known = self._luma, self._classes
        self._luma, self._classes = smooth, classes
        is_cut = self._cuts.is_cut(luma.astype(np.float32) / 255)
        if before is None or known is None or is_cut:
            return UNKNOWN
        still = cv2.absdiff(smooth, before) <= STILL
        count = int(np.count_nonzero(still))
        if count < LEAST_STILL * still.size:
            return UNKNOWN
        return int(np.count_nonzero(still & (classes != known))) / count
