"""Trimaps: surely inside, surely outside, and a band between that is unknown.

The band is as wide as the edge is unsure: it holds all pixels whose probability is neither high nor
low, at least a few to both sides of the edge itself, and at most a share of the frame's height: a
matting tool learns the object's colours from what is surely inside.
"""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.maps.matte import Matte

OUTSIDE, UNKNOWN, INSIDE = 0, 128, 255
SURE = 0.9  # probability from which on a pixel needs no more looking at
_LINES_PER_PIXEL = 240  # of the frame, per pixel that the band reaches to both sides at least
_WIDEST = 1 / 36  # of the frame's height: how far it reaches at most


def trimap_of(matte: Matte) -> np.ndarray:
    """OUTSIDE, UNKNOWN or INSIDE of each pixel, uint8 (H, W)."""
    height, width = matte.alpha.shape
    inside = cv2.resize(matte.inside, (width, height), interpolation=cv2.INTER_LINEAR)
    least = round(255 * (1 - SURE))
    unsure = cv2.inRange(inside, least, 255 - least)  # type: ignore[call-overload]

    # Widen the edge where alpha is between, so that hair that the picture showed is in it.
    between = cv2.inRange(matte.alpha, least, 255 - least)  # type: ignore[call-overload]
    unsure = cv2.bitwise_or(unsure, between)
    edge = np.where(matte.alpha > 127, np.uint8(INSIDE), np.uint8(OUTSIDE))
    far = _distance(edge)
    unsure[far > max(2.0, height * _WIDEST)] = 0
    unsure[far <= 1 + height // _LINES_PER_PIXEL] = 255

    edge[unsure > 0] = UNKNOWN
    return edge


def _distance(mask: np.ndarray) -> np.ndarray:
    """Pixels from each pixel to the nearest on the other side of a mask's edge, float32 (H, W)."""
    height, width = mask.shape
    outside = cv2.bitwise_not(mask)
    if not mask.any() or not outside.any():
        return np.full((height, width), np.inf, np.float32)
    near, beyond = (cv2.distanceTransform(one, cv2.DIST_L2, 3) for one in (mask, outside))
    return np.maximum(near, beyond)
