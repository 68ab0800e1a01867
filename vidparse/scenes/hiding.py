"""Which objects cannot be seen because nearer ones hide all of them: saves painting those."""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.scenes.camera import NEAR_M
from vidparse.scenes.quads import LAYER_PLOTS, Quads

_CELL_PX = 4  # hiding is decided on a coarse grid, always in favour of painting
_SMALLEST_PX = 20  # lesser hiders are not worth the time
_LARGE_PX2 = 4000  # quads above this are looked at one by one
_CORE = np.ones((3, 3), np.uint8)


def hidden_rows(
    quads: Quads, homographies: np.ndarray, box: np.ndarray, size_hw: tuple[int, int]
) -> np.ndarray:
    """True for quads, given in painting order, that are hidden or belong to a hidden object; (N,).

    An object is a run of quads with one anchor. box: pixel bounds x0, y0, x1, y1, (N, 4).
    """
    hidden = np.zeros(len(quads), np.bool_)
    first = int(np.searchsorted(quads.layer, LAYER_PLOTS))
    if first == len(quads):
        return hidden
    anchor = quads.anchor[first:]
    changes = np.flatnonzero((anchor[1:] != anchor[:-1]).any(1)) + 1
    starts = np.concatenate([[0], changes]) + first
    grid = np.concatenate([box[:, :2] // _CELL_PX, -(-box[:, 2:] // _CELL_PX)], axis=1)
    low = np.minimum.reduceat(grid[:, :2], starts, axis=0)
    high = np.maximum.reduceat(grid[:, 2:], starts, axis=0)
    large = (box[:, 2:] - box[:, :2]).prod(1) > _LARGE_PX2
    cells = grid.tolist()
    outlines, hides = _hiders(quads, homographies, box)
    shape = tuple(-(-n // _CELL_PX) for n in size_hw)
    covered = np.zeros(shape, np.bool_)
    ends = np.append(starts[1:], len(quads)).tolist()
    spans = zip(starts.tolist(), ends, low.tolist(), high.tolist(), strict=True)
    for start, end, (x0, y0), (x1, y1) in reversed(list(spans)):
        if covered[y0:y1, x0:x1].all():
            hidden[start:end] = True
            continue
        for row in reversed(range(start, end)):
            x0, y0, x1, y1 = cells[row]
            if large[row] and covered[y0:y1, x0:x1].all():
                hidden[row] = True
            elif hides[row]:
                _cover(covered, outlines[row], (x0, y0, x1, y1))
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


def _cover(covered: np.ndarray, outline: np.ndarray, cells: tuple[int, int, int, int]) -> None:
    """Mark the cells that lie wholly inside a convex outline."""
    x0, y0, x1, y1 = cells
    part = covered[y0:y1, x0:x1]
    mask = np.zeros(part.shape, np.uint8)
    points = np.round(np.clip((outline - (x0, y0)) * 16, -(2**24), 2**24)).astype(np.int32)
    cv2.fillConvexPoly(mask, points, 1, cv2.LINE_8, 4)
    part |= cv2.erode(mask, _CORE).view(np.bool_)
