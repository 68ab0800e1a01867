"""Dense inverse search (Kroeger et al., ECCV 2016): flow without weights, in milliseconds."""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.flow.estimator import check_pair

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
# OpenCV refuses sides below 12, and reads past its buffers (NaN, or a crash) when a side is too
# short for one 8 px patch at the presets' finest scale of 1/4: below 32.
_SMALLEST_SIDE = 64


class DisFlow:
    """OpenCV's DIS on luma. The result does not depend on the number of threads.

    Pictures with a side under 64 px are continued by their edge pixels first.

    Args:
        preset: ultrafast, fast or medium.
    """

    def __init__(self, preset: str = "medium") -> None:
        if preset not in PRESETS:
            raise ValueError(f"preset '{preset}': use {', '.join(PRESETS)}")
        self.preset = preset
        self.name = f"DIS {preset}"
        self.key = f"dis-{preset}"

    def between(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Flow float32 (2, H, W) from a to b, both RGB uint8 (H, W, 3)."""
        check_pair(a, b)
        height, width = a.shape[:2]
        search = cv2.DISOpticalFlow.create(PRESETS[self.preset])  # holds buffers: one a call
        flow = search.calc(_luma(a), _luma(b), None)  # type: ignore[call-overload]  # (h, w, 2)
        return np.ascontiguousarray(flow[:height, :width].transpose(2, 0, 1))


def _luma(picture: np.ndarray) -> np.ndarray:
    """uint8 (h, w), grown to the right and down to the smallest side."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    below, beside = max(0, _SMALLEST_SIDE - height), max(0, _SMALLEST_SIDE - width)
    if not below and not beside:
        return grey
    return cv2.copyMakeBorder(grey, 0, below, 0, beside, cv2.BORDER_REPLICATE)
