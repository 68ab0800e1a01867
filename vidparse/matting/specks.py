"""Alpha without the specks that texture leaves: dark bricks beside dark jeans, and the like.

The lines of the guided filter are found in a small picture. In the picture itself contrast is
greater, and single pixels beside an edge look like the object, or pixels of the object like what is
behind it.
"""

from __future__ import annotations

import cv2
import numpy as np

_SMALLEST = 1 / 20000  # of the frame: a smaller spot is a speck
_SEEN, _WHOLE = 40, 215  # alpha from which on a pixel shows, and below which one is no whole pixel
_WIDE = 5  # pixels: of the window whose median takes the place of a speck


def without_specks(alpha: np.ndarray, area: int, finer: int) -> np.ndarray:
    """Alpha uint8 (h, w) whose spots and holes of a few pixels are like what is round them.

    Lines stay, however thin they are, where they touch the object.

    Args:
        alpha: of a frame, or of a part of it. area: of the frame, pixels.
        finer: how many times the picture is larger than the one that edges were looked for in.
    """
    if finer > 1:
        alpha = cv2.medianBlur(alpha, 3 if finer < 4 else 5)
    specks: np.ndarray = np.zeros(alpha.shape, np.uint8)
    for mask in (alpha > _SEEN, alpha < _WHOLE):
        cv2.drawContours(specks, _small(mask.view(np.uint8), area * _SMALLEST), -1, 255, cv2.FILLED)
    if not specks.any():
        return alpha
    return np.where(specks > 0, cv2.medianBlur(alpha, _WIDE), alpha)


def _small(mask: np.ndarray, area: float) -> list[np.ndarray]:
    """The outlines of regions of a mask that have fewer pixels."""
    outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return []
    return [
        outline
        for outline, (_, _, _, parent) in zip(outlines, tree[0], strict=True)
        if parent < 0 and _pixels(outline) < area  # those with a parent go round a hole
    ]


def _pixels(outline: np.ndarray) -> float:
    """The number of pixels in and on an outline through their middles, by Pick's theorem."""
    return cv2.contourArea(outline) + len(outline) / 2 + 1
