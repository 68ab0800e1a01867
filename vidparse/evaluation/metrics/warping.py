"""Label maps brought back along an optical flow."""

from __future__ import annotations

import numpy as np


def warp_labels(labels: np.ndarray, flow: np.ndarray, *, outside: int = 0) -> np.ndarray:
    """Label map at t + 1 brought back to t along the flow, as the published TC code does it.

    That code normalises positions for aligned corners and samples them for unaligned ones, so a
    pixel reads round((x + fx) * W / (W - 1) - 1/2), half to even, in float32.

    Args:
        labels: (H, W) ids at t + 1. flow: float32 (2, H, W), pixels right and down, t to t + 1.
        outside: id of what the flow takes out of the picture; the published code has class 0.

    Raises:
        ValueError: the flow is not one of this picture.
    """
    height, width = labels.shape
    flow = np.asarray(flow, np.float32)
    if flow.shape != (2, height, width):
        raise ValueError(f"flow is {flow.shape}, labels are {labels.shape}")

    x = _sampled(np.arange(width, dtype=np.float32)[None] + flow[0], width)
    y = _sampled(np.arange(height, dtype=np.float32)[:, None] + flow[1], height)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)  # False for a flow of NaN

    # Skip the masks where nothing lies outside, which is the common case.
    whole = bool(inside.all())
    if not whole:
        x[~inside] = y[~inside] = 0

    pixel = y.astype(np.int32) * np.int32(width) + x.astype(np.int32)
    warped = labels.reshape(-1).take(pixel)
    if not whole:
        warped[~inside] = outside
    return warped


def _sampled(position: np.ndarray, size: int) -> np.ndarray:
    """Index (still float) that the published sampler reads for a position in pixels; in place."""
    position *= np.float32(2)
    position /= np.float32(max(size - 1, 1))
    position -= np.float32(1)  # -1..1 between the centres of the corner pixels
    position += np.float32(1)
    position *= np.float32(size / 2)
    position -= np.float32(0.5)
    return np.rint(position, out=position)
