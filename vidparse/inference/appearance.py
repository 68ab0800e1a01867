"""The looks of objects, to know them again, and the motion of the background.

Frames are looked at as small pictures: colours of an object are the same in them, and they cost
little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vidparse.image import Image

LONGEST_PX = 640  # of a small picture
BINS = 12  # of each channel
_CHANNELS = ((0, 256), (80, 96), (80, 96))  # lowest value and extent of L, a, b in 8 bits
_CORNERS, _APART_PX = 120, 8  # of the background, that the camera's motion is seen by
_LEAST_CORNERS = 12
_GREY_SHRINK = 2  # from the small picture to the one that motion is seen in


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A frame made small: its colours, Lab in 8 bits (h, w, 3), and its light, uint8 (h/2, w/2)."""

    lab: np.ndarray
    grey: np.ndarray

    @classmethod
    def of(cls, image: Image) -> Thumbnail:
        height, width = image.size_hw
        scale = min(1.0, LONGEST_PX / max(height, width))
        rgb = image.rgb((max(1, round(height * scale)), max(1, round(width * scale))))
        lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
        size_wh = (max(1, rgb.shape[1] // _GREY_SHRINK), max(1, rgb.shape[0] // _GREY_SHRINK))
        grey = cv2.resize(lab[..., 0], size_wh, interpolation=cv2.INTER_AREA)
        return cls(lab, grey)

    def slots_of(self, ids: np.ndarray, listed: Sequence[int]) -> np.ndarray:
        """The map (H, W) of this frame as small as the view: uint16 (h, w).

        Returns:
            1 + the place in `listed` of each pixel, 0 for ids that are not there.
        """
        height, width = self.lab.shape[:2]
        bits = ids.view(np.float32) if ids.dtype == np.uint32 else ids  # OpenCV has no uint32

        # Take one pixel per cell: a mean of ids would name an object that is not there.
        small = cv2.resize(bits, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

        # Keep one entry of 0 after the last id: clipping sends all higher ids there.
        table = np.zeros(max(listed, default=0) + 2, np.uint16)
        table[np.asarray(listed, np.int64)] = np.arange(1, len(listed) + 1)
        return table.take(small.view(ids.dtype), mode="clip")

    def looks(self, slots: np.ndarray, count: int) -> np.ndarray:
        """The looks of each of `count` objects: square roots of histograms of L, a and b.

        Their scalar product is the mean Bhattacharyya coefficient of the three, which Comaniciu,
        Ramesh and Meer compare objects by ("Kernel-based object tracking", PAMI 2003, section
        3.1). A pixel counts for the two bins that it lies between.

        Args:
            slots: see :meth:`slots_of`.

        Returns:
            float32 (count, 3 BINS), of length 1; zeros for an object too small to be seen.
        """
        inside = np.flatnonzero(slots)
        object_of = slots.ravel()[inside].astype(np.int64) - 1
        pixels = self.lab.reshape(-1, 3)[inside]  # (P, 3)

        histograms = np.zeros((count, 3, BINS))
        for channel in range(3):
            # Count values first: one small product then shares all pixels among bins.
            code = object_of * 256 + pixels[:, channel]
            counts = np.bincount(code, minlength=count * 256).reshape(count, 256)
            histograms[:, channel] = counts @ _shares(channel)

        # Divide by the sum of all three channels, so that the roots have length 1.
        total = np.maximum(histograms.sum((1, 2), keepdims=True), 1)
        looks: NDArray[np.float32] = np.sqrt(histograms / total).astype(np.float32)
        return looks.reshape(count, 3 * BINS)

    def camera_since(
        self, before: Thumbnail, slots: np.ndarray, size_hw: tuple[int, int]
    ) -> np.ndarray:
        """The motion of background points: turned, scaled and shifted, float64 (2, 3).

        Corners outside objects are followed (Lucas and Kanade's method in pyramids; Bouguet, 2001),
        and most of them agree on the answer. It is "nowhere" where too few can be followed.

        Args:
            before: the frame before, of the same size.
            slots: of this frame; see :meth:`slots_of`.
            size_hw: of the frame, in whose pixels the answer is.
        """
        still = np.eye(2, 3)
        height, width = self.grey.shape

        # Seek corners outside objects alone, since objects move by themselves.
        small = cv2.resize(slots, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        free = (small == 0).view(np.uint8)
        corners = cv2.goodFeaturesToTrack(self.grey, _CORNERS, 0.01, _APART_PX, mask=free)
        if corners is None or len(corners) < _LEAST_CORNERS:
            return still

        # Follow them from this frame back, since it is here that the objects are known.
        found, status, _ = cv2.calcOpticalFlowPyrLK(
            self.grey, before.grey, corners, np.empty_like(corners)
        )
        good = status.ravel() > 0
        if good.sum() < _LEAST_CORNERS:
            return still

        # Let the majority decide: some corners lie on things that move and were not found.
        camera, agree = cv2.estimateAffinePartial2D(
            found[good], corners[good], ransacReprojThreshold=1.5
        )

        # Stand still where few corners agree: a wrong motion would shift every track at once.
        if camera is None or agree.sum() < max(_LEAST_CORNERS, good.sum() / 3):
            return still

        # Bring the shift to the frame's pixels, whose centres lie (scale - 1) / 2 further in.
        scale = size_hw[1] / width
        camera[:, 2] = scale * camera[:, 2] + (scale - 1) / 2 * (1 - camera[:, :2].sum(1))
        return camera


def slot_ious(a: np.ndarray, a_count: int, b: np.ndarray, b_count: int) -> NDArray[np.float64]:
    """IoU float64 (N, M) of the objects of two maps of slots (h, w)."""
    # Count all pairs in one pass: a comparison per pair would read the maps N * M times.
    columns = b_count + 1
    codes = a.astype(np.int32) * np.int32(columns) + b
    shared = np.bincount(codes.ravel(), minlength=(a_count + 1) * columns)
    shared = shared.reshape(a_count + 1, columns)
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    iou: NDArray[np.float64] = shared / np.maximum(union, 1)
    return iou[1:, 1:]


@cache
def _shares(channel: int) -> NDArray[np.float64]:
    """The weight of each of 256 values of a channel in each bin: (256, BINS)."""
    lowest, extent = _CHANNELS[channel]
    place = np.clip((np.arange(256) - lowest) * (BINS / extent) - 0.5, 0, BINS - 1)
    share: NDArray[np.float64] = 1 - np.abs(place[:, None] - np.arange(BINS))
    return np.clip(share, 0, 1)
