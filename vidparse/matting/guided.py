"""The guided filter with a colour guide: what it filters gets the edges of a picture.

He, Sun and Tang, "Guided Image Filtering" (ECCV 2010, and TPAMI 2013, equations 19 to 21). In each
window the output is linear in the guide's three channels, by least squares with a penalty; a pixel
takes the mean of the lines of all windows that hold it. Lines are found at a low resolution and
enlarged, the "fast guided filter" (He and Sun, 2015), so that cost does not depend on the window.
Written here, since OpenCV has it in its contributed modules only.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


class GuidedFilter:
    """The windows of one picture, by which any number of masks are filtered.

    Args:
        guide: RGB float32 (h, w, 3), values 0..1.
        radius: of the windows, pixels: they are 2 radius + 1 wide.
        penalty: of steep lines ("epsilon"): edges of a contrast below its root are smoothed over.
    """

    def __init__(self, guide: NDArray[np.float32], radius: int, penalty: float) -> None:
        self._guide, self._radius = guide, radius
        self._mean = self._averaged(guide)

        # Work out the six different entries of each window's covariance.
        red, green, blue = cv2.split(guide)
        squares = self._averaged(cv2.merge([red * red, red * green, red * blue]))
        others = self._averaged(cv2.merge([green * green, green * blue, blue * blue]))
        mean = self._mean
        rr, rg, rb = (squares[..., i] - mean[..., 0] * mean[..., i] for i in range(3))
        gg = others[..., 0] - mean[..., 1] ** 2 + penalty
        gb = others[..., 1] - mean[..., 1] * mean[..., 2]
        bb = others[..., 2] - mean[..., 2] ** 2 + penalty
        rr = rr + penalty

        # Invert them by cofactors: thousands of calls for small matrices would take seconds.
        self._inverse = (
            (gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg),
            (rb * gb - rg * bb, rr * bb - rb * rb, rb * rg - rr * gb),
            (rg * gb - rb * gg, rb * rg - rr * gb, rr * gg - rg * rg),
        )
        first = self._inverse[0]
        # Keep what rounding may turn around positive: the penalty bounds it from below.
        self._scale = 1 / np.maximum(rr * first[0] + rg * first[1] + rb * first[2], penalty**3)

    def lines(self, mask: NDArray[np.float32]) -> NDArray[np.float32]:
        """The line of each pixel, float32 (h, w, 4): three slopes, and the value at black.

        Args:
            mask: float32 (h, w).
        """
        mean = self._averaged(mask)
        with_guide = self._averaged(self._guide * mask[..., None])
        joint = cv2.split(with_guide - self._mean * mean[..., None])
        slopes = [
            sum((entry * one for entry, one in zip(row, joint, strict=True)), np.float32(0))
            * self._scale
            for row in self._inverse
        ]
        rest = mean - sum(
            (slope * self._mean[..., i] for i, slope in enumerate(slopes)), np.float32(0)
        )
        return self._averaged(cv2.merge([*slopes, rest]))

    def _averaged(self, values: np.ndarray) -> NDArray[np.float32]:
        side = 2 * self._radius + 1
        mean = cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT)
        return np.asarray(mean, np.float32)


def applied(lines: NDArray[np.float32], picture: np.ndarray) -> NDArray[np.float32]:
    """The filtered mask at the size of a picture, float32 (H, W).

    Args:
        lines: float32 (h, w, 4), of the picture made smaller, or of the picture itself.
        picture: RGB uint8 (H, W, 3).
    """
    height, width = picture.shape[:2]
    red, green, blue, rest = (
        cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in cv2.split(lines)
    )
    for slope, channel in zip((red, green, blue), cv2.split(picture), strict=True):
        rest = cv2.add(rest, cv2.multiply(slope, channel, scale=1 / 255, dtype=cv2.CV_32F))
    found: NDArray[np.float32] = np.asarray(rest, np.float32)
    return found
