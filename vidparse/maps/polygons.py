"""Masks as polygons, and back: outlines along the edges of pixels, filled by pixel centres.

Coordinates count from the corner of the first pixel, so that its centre is (0.5, 0.5), as COCO,
CVAT, YOLO and LabelMe have them. A pixel is inside where its centre is (even-odd rule): outlines
that are not simplified give their mask back exactly, holes and touching corners included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

LEAST_IOU = 0.98  # of a simplified outline with its mask
_TOLERANCES_PX = (1.0, 0.75, 0.5)  # tried in this order; after them the outline stays as it is
_MOST_CROSSINGS = 1 << 27  # of edges and rows of pixels, for one filled shape


def rings_of(mask: np.ndarray) -> list[list[np.ndarray]]:
    """The outlines of a mask: for every connected part its outer ring, then those of its holes.

    Parts are connected over corners, too. Rings are int64 (N, 2) of x and y, without the first
    point again at the end.

    Args:
        mask: bool (H, W).
    """
    # Double the mask: OpenCV goes through centres of pixels, and half a doubled one is its edge.
    doubled = np.repeat(np.repeat(mask.astype(np.uint8), 2, axis=0), 2, axis=1)
    found, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if tree is None:
        return []

    # Give every hole to the part that it is in; OpenCV lists a part before its holes.
    parts: dict[int, list[np.ndarray]] = {}
    for place, (contour, (_, _, _, parent)) in enumerate(zip(found, tree[0], strict=True)):
        ring = _without_straights((contour[:, 0].astype(np.int64) + 1) // 2)
        parts.setdefault(place if parent < 0 else int(parent), []).append(ring)
    return [parts[place] for place in sorted(parts)]


def _without_straights(ring: np.ndarray) -> np.ndarray:
    """A ring of steps along edges, less points that repeat or lie on a straight line."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    back = (before * after).sum(axis=1) < 0  # a point where the ring turns round
    kept: np.ndarray = ring[turns | back]
    return kept


def polygons_of(mask: np.ndarray, *, least_iou: float = LEAST_IOU) -> list[np.ndarray]:
    """One polygon per connected part of a mask, float64 (N, 2), for formats that hold no holes.

    A hole is joined to its outline by a bridge without width. Stairs of pixels become lines as far
    as the polygons keep at least `least_iou` with the mask; 1 keeps every pixel.

    Args:
        mask: bool (H, W).
    """
    parts = rings_of(mask)
    exact = [bridged(rings) for rings in parts]
    if least_iou >= 1:
        return exact
    for tolerance in _TOLERANCES_PX:
        polygons = [bridged([_simplified(ring, tolerance) for ring in rings]) for rings in parts]
        if overlap(filled(polygons, mask.shape), mask) >= least_iou:
            return polygons
    return exact


def _simplified(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """Douglas and Peucker's ring; a part that would lose its area keeps its points."""
    simple = cv2.approxPolyDP(ring.astype(np.float32)[:, None], tolerance, closed=True)[:, 0]
    return simple.astype(np.float64) if len(simple) >= 3 else ring


def bridged(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Rings as one, float64 (N, 2): each further one is joined by a line that goes and comes back.

    The two lines of a bridge lie on each other, and no centre of a pixel is between them.
    """
    whole = np.asarray(rings[0], np.float64)
    for ring in rings[1:]:
        other = np.asarray(ring, np.float64)

        # Leave at the point that is nearest to some point of the other ring.
        corner = other[np.argmin(other[:, 0])]
        leave = int(np.argmin(((whole - corner) ** 2).sum(axis=1)))
        enter = int(np.argmin(((other - whole[leave]) ** 2).sum(axis=1)))
        turned = np.roll(other, -enter, axis=0)
        parts = [whole[: leave + 1], turned, turned[:1], whole[leave:]]
        whole = np.concatenate(parts)
    return whole


def filled(polygons: Iterable[np.ndarray], size_hw: tuple[int, ...]) -> np.ndarray:
    """bool (H, W): pixels whose centres are inside an odd number of turns of the polygons.

    Args:
        polygons: floats (N, 2) of x and y; what is outside the picture is cut off.

    Raises:
        ValueError: they have so many points that the shape would take gigabytes.
    """
    height, width = size_hw
    edges = [(ring, np.roll(ring, -1, axis=0)) for ring in polygons if len(ring) > 2]
    if not edges:
        return np.zeros((height, width), bool)
    start = np.concatenate([one for one, _ in edges]).astype(np.float64)
    end = np.concatenate([other for _, other in edges]).astype(np.float64)

    # Let every edge go down, so that the two lines of a bridge cross rows at the same places.
    up = start[:, 1] > end[:, 1]
    start[up], end[up] = end[up], start[up]
    first = np.clip(np.ceil(start[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(end[:, 1] - 0.5), 0, height).astype(np.int64)  # exclusive
    counts = last - first
    if counts.sum() > _MOST_CROSSINGS:
        raise ValueError(f"{len(start)} points are too many for one shape")

    # Find where each edge crosses the middle of each row between its ends.
    edge = np.repeat(np.arange(len(start)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    fall = np.where(counts > 0, end[:, 1] - start[:, 1], 1.0)
    slope = (end[:, 0] - start[:, 0]) / fall
    x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope[edge]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)

    crossings = np.bincount(row * (width + 1) + column, minlength=height * (width + 1))
    inside = np.cumsum(crossings.reshape(height, width + 1), axis=1) & 1
    return inside[:, :width].astype(bool)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks, bool (H, W); 1 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0
