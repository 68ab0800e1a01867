"""Which objects cannot be seen because nearer ones hide all of them: saves painting those."""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.scenes.camera import NEAR_M
from vidparse.scenes.quads import LAYER_PLOTS, Quads

_CELL_PX = 4  # hiding is decided on a coarse grid, always in favour of painting
_SMALLEST_PX = 20  # lesser hiders are not worth the time
_CORE = np.ones((3, 3), np.uint8)


def hidden_rows(
    quads: Quads, homographies: np.ndarray, box: np.ndarray, size_hw: tuple[int, int]
) -> np.ndarray:
    """True for the quads, given in painting order, that belong to wholly hidden objects; (N,).

    An object is a run of quads with one anchor. box: pixel bounds x0, y0, x1, y1, (N, 4).
    """
    hidden = np.zeros(len(quads), np.bool_)
    first = int(np.searchsorted(quads.layer, LAYER_PLOTS))
    if first == len(quads):
        return hidden
    anchor = quads.anchor[first:]
    changes = np.flatnonzero((anchor[1:] != anchor[:-1]).any(1)) + 1
    starts = np.concatenate([[0], changes]) + first
    low = np.minimum.reduceat(box[:, :2], starts, axis=0) // _CELL_PX
    high = -(-np.maximum.reduceat(box[:, 2:], starts, axis=0) // _CELL_PX)
    outlines, hides = _hiders(quads, homographies, box)
    shape = tuple(-(-n // _CELL_PX) for n in size_hw)
    covered = np.zeros(shape, np.bool_)
    ends = np.append(starts[1:], len(quads)).tolist()
    spans = zip(starts.tolist(), ends, low.tolist(), high.tolist(), strict=True)
    for start, end, (x0, y0), (x1, y1) in reversed(list(spans)):
        if covered[y0:y1, x0:x1].all():
            hidden[start:end] = True
            continue
        for row in range(start, end):
            if hides[row]:
                _cover(covered, outlines[row], box[row] // _CELL_PX)
    return hidden


def _hiders(
    quads: Quads, homographies: np.ndarray, box: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Corners (N, 4, 2) in grid cells of the solid part of each quad, and which are of use (N,)."""
    s, t = quads.solid[:, [0, 2, 2, 0]], quads.solid[:, [1, 1, 3, 3]]  # (N, 4)
    across, down, origin = (homographies[:, None, :, i] for i in range(3))
    corners = origin + s[..., None] * across + t[..., None] * down  # (N, 4, 3)
    depth = corners[..., 2]
    outlines = (corners[..., :2] / np.maximum(depth, NEAR_M)[..., None] + 0.5) / _CELL_PX - 0.5
    size = box[:, 2:] - box[:, :2]
    solid = (quads.solid[:, 2] > quads.solid[:, 0]) & (quads.solid[:, 3] > quads.solid[:, 1])
    return outlines, solid & (depth.min(1) >= NEAR_M) & (size.min(1) >= _SMALLEST_PX)


def _cover(covered: np.ndarray, outline: np.ndarray, cells: np.ndarray) -> None:
    """Mark the cells that lie wholly inside a convex outline."""
    x0, y0, x1, y1 = (int(n) for n in cells)
    part = covered[y0 : y1 + 1, x0 : x1 + 1]
    mask = np.zeros(part.shape, np.uint8)
    points = np.int32(np.round(np.clip((outline - (x0, y0)) * 16, -(2**24), 2**24)))
    cv2.fillConvexPoly(mask, points, 1, cv2.LINE_8, 4)
    part |= cv2.erode(mask, _CORE).view(np.bool_)
