"""Motion between small grey pictures, and scores that are carried along it."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

_SHRINK = 2  # network input to the picture that is compared
_SMALLEST_SIDE = 64  # below it OpenCV's DIS reads past its buffers
_FINEST_SCALE = 1  # flow at 1/2 of the small picture, 1/4 of the input: as fine as the scores
CHANNELS = 32  # carried at a time, so that they stay in the cache; OpenCV 5 allows 128


def small_picture(picture: np.ndarray) -> np.ndarray:
    """uint8 (H', W') of float32 (H, W) with values 0..1."""
    height, width = (max(side // _SHRINK, _SMALLEST_SIDE) for side in picture.shape)
    return cv2.convertScaleAbs(resized(picture, (height, width)), alpha=255)


def resized(array: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """Area average when shrinking, bilinear otherwise."""
    height, width = size_hw
    shrinking = height <= array.shape[0] and width <= array.shape[1]
    return cv2.resize(
        array, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )


def flow_of(
    now: np.ndarray,
    before: np.ndarray,
    guess: np.ndarray | None = None,
    *,
    finest_scale: int = _FINEST_SCALE,
) -> np.ndarray:
    """Flow float32 (H', W', 2) from one small picture to another, pixels right and down.

    By dense inverse search (DIS; Kroeger et al., ECCV 2016).

    Args:
        guess: a flow to begin with, such as that of the frame before.
        finest_scale: 0: at the size of the pictures; 1: at half of it, in less than half the time.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(finest_scale)
    begin = None if guess is None else guess.copy()  # it is written to
    return search.calc(now, before, begin)  # type: ignore[arg-type]


def difference(now: np.ndarray, before: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """uint8 (H', W'): |now - before, brought here by the flow|, both uint8 (H', W')."""
    columns, rows = grid(now.shape)
    brought = cv2.remap(
        before,
        columns + flow[..., 0],
        rows + flow[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.absdiff(now, brought)


def places(flow: np.ndarray, size_hw: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns x and rows y of scores (h, w) that a flow (H', W', 2) points to.

    Returns:
        x, y, float32 (h, w), and where they lie inside the picture, bool (h, w).
    """
    height, width = size_hw
    scale = np.float32(width / flow.shape[1]), np.float32(height / flow.shape[0])
    flow = resized(flow, size_hw)  # (h, w, 2)
    columns, rows = grid(size_hw)
    x = columns + flow[..., 0] * scale[0]
    y = rows + flow[..., 1] * scale[1]

    # Count up to the edge of the outermost pixels, half a pixel beyond their centres.
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return x, y, inside


def carried(scores: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Scores float32 (K, h, w), K at most CHANNELS, read bilinearly at x, y, float32 (h, w)."""
    height, width = x.shape
    # With the channels side by side every position is looked up once and not K times.
    nodes = cv2.transpose(scores.reshape(-1, height * width))  # (h * w, K)
    nodes = nodes.reshape(height, width, -1)
    nodes = cv2.remap(nodes, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.transpose(nodes.reshape(height * width, -1)).reshape(-1, height, width)


@lru_cache(maxsize=8)
def grid(size_hw: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Column and row numbers, float32 (1, W) and (H, 1)."""
    height, width = size_hw
    return np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
