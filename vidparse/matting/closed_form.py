"""Alpha by closed-form matting, with the optional library pymatting.

Levin, Lischinski and Weiss, "A Closed-Form Solution to Natural Image Matting" (TPAMI 2008): colours
on both sides of an edge lie on lines in small windows, and a trimap marks known pixels. It takes
seconds per frame, and only the part of the picture round the unknown band is looked at.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vidparse.maps.matte import Matte
from vidparse.matting.trimap import UNKNOWN, trimap_of

_MARGIN_PX = 16


def closed_form_alpha(picture: np.ndarray, inside: NDArray[np.float32]) -> np.ndarray:
    """Alpha uint8 (H, W) of a small probability.

    Args:
        picture: RGB uint8 (H, W, 3). inside: float32 (h, w).
    """
    from pymatting import estimate_alpha_cf

    height, width = picture.shape[:2]
    levels = np.rint(inside * 255).astype(np.uint8)
    soft = cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR)
    trimap = trimap_of(Matte("", np.where(soft > 127, np.uint8(255), np.uint8(0)), levels))
    alpha = trimap.copy()

    # Solve for the part around the band alone: the rest is known, and time grows with pixels.
    x, y, across, down = cv2.boundingRect((trimap == UNKNOWN).view(np.uint8))
    if not across:
        return alpha
    rows = slice(max(0, y - _MARGIN_PX), y + down + _MARGIN_PX)
    columns = slice(max(0, x - _MARGIN_PX), x + across + _MARGIN_PX)
    part = trimap[rows, columns].astype(np.float64) / 255
    part[trimap[rows, columns] == UNKNOWN] = 0.5

    # Keep the scores where one side is not known at all: the two cannot be compared.
    if part.max() < 1 or part.min() > 0:
        alpha[rows, columns] = soft[rows, columns]
        return alpha
    found = estimate_alpha_cf(picture[rows, columns].astype(np.float64) / 255, part)
    alpha[rows, columns] = np.clip(np.rint(found * 255), 0, 255).astype(np.uint8)
    return alpha
