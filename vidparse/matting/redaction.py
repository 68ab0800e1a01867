"""Pictures whose objects cannot be known again.

Blurred and pixelated regions keep the means of blocks that grow with the object, about a dozen
along its longer side, and nothing else: a Gaussian blur could be computed back, what a mean leaves
out cannot.
"""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.image import Yuv420

_BLOCKS = 12  # along the longer side of an object
_SMALLEST_BLOCK = 8  # pixels


def with_margin(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A mask of 0 and 255 (H, W), grown by so many pixels to all sides, corners too."""
    if pixels < 1:
        return mask
    square = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)  # OpenCV goes along its sides
    return cv2.dilate(mask, square)


def redacted(image: Yuv420, mask: np.ndarray, way: str) -> Yuv420:
    """A new picture; `image` is left as it is.

    Args:
        mask: 0 or 255 (H, W), what is to be hidden.
        way: "blur", "pixelate" or "fill".
    """
    height, width = mask.shape
    luma, u, v = planes = [plane.copy() for plane in image.planes]
    hidden = Yuv420(luma, u, v, image.matrix, image.full_range)

    # Hide a chroma sample where any of its four pixels is hidden.
    even = cv2.copyMakeBorder(mask, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    rows = cv2.max(even[::2], even[1::2])
    small = cv2.max(rows[:, ::2], rows[:, 1::2])
    if way == "fill":
        black = 0 if image.full_range else 16
        for plane, value, where in zip(
            planes, (black, 128, 128), (mask, small, small), strict=True
        ):
            plane[where > 0] = value
        return hidden

    count, regions, stats, _ = cv2.connectedComponentsWithStats(mask)
    smooth = cv2.INTER_LINEAR if way == "blur" else cv2.INTER_NEAREST
    for region in range(1, count):
        x, y, across, down = stats[region, :4].tolist()
        block = max(_SMALLEST_BLOCK, -(-max(across, down) // _BLOCKS))
        own = regions[y : y + down, x : x + across] == region
        for plane, source, step in zip(planes, image.planes, (1, 2, 2), strict=True):
            # Take whole chroma samples: a region may begin in the middle of one.
            top, left = y // step, x // step
            bottom, right = -(-(y + down) // step), -(-(x + across) // step)
            part = source[top:bottom, left:right]
            shape = [max(1, round(side * step / block)) for side in part.shape]
            means = cv2.resize(part, shape[::-1], interpolation=cv2.INTER_AREA)
            coarse = cv2.resize(means, part.shape[::-1], interpolation=smooth)
            inside = own if step == 1 else small[top:bottom, left:right] > 0
            plane[top:bottom, left:right][inside] = coarse[inside]
    return hidden
