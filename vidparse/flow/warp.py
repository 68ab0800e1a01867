"""Pictures brought to where they were, along a flow."""

from __future__ import annotations

import cv2
import numpy as np

_BORDERS = {"replicate": cv2.BORDER_REPLICATE, "constant": cv2.BORDER_CONSTANT}


def warp_image(image: np.ndarray, flow: np.ndarray, *, border: str = "replicate") -> np.ndarray:
    """Backward warp: out(x) = image(x + flow(x)), bilinear.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32.
        flow: (2, H, W), pixels right and down, from the wanted picture to `image`.
        border: what lies outside the picture: its edge pixels ("replicate") or 0 ("constant").

    Returns:
        Shape and type of `image`.
    """
    if border not in _BORDERS:
        raise ValueError(f"border '{border}': use {' or '.join(_BORDERS)}")
    height, width = image.shape[:2]
    if flow.shape != (2, height, width):
        raise ValueError(f"flow is {flow.shape}, image is {image.shape}")
    x = np.arange(width, dtype=np.float32)[None] + flow[0].astype(np.float32, copy=False)
    y = np.arange(height, dtype=np.float32)[:, None] + flow[1].astype(np.float32, copy=False)
    warped = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=_BORDERS[border])
    return warped.reshape(image.shape)  # OpenCV drops a last axis of 1
