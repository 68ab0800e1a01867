"""Low-resolution class scores to full-size class ids: exact, at a fraction of the work.

By hand: libraries interpolate every class at every pixel, which takes three times as long.

``interpolate(scores, size).argmax(classes)`` does C * H * W work and keeps one number in C. Nearly
all of it can be proved unnecessary. Call the score positions *nodes*. Four neighbouring nodes bound
a *cell*, and a pixel inside it, at fractions (ty, tx) of its height and width, gets from each class
the mean of its scores at the four corners, weighted (1-ty)(1-tx), (1-ty)tx, ty(1-tx) and ty tx.
These weights are never negative and sum to one, hence:

1. A class that wins at all four corners wins in the whole cell: its lead over any other class is
   >= 0 at the corners, and so is every weighted mean of it. Such cells are plain fills.
2. Inside the cell a class stays between its least and its greatest corner score. A class whose
   greatest is below the least of some corner's winner cannot win. Of any number of classes this
   leaves two *candidates* in most of the other cells, three or four in some.

So only cells on region borders are interpolated, and only for their candidates. With two of them
the sign of their interpolated difference decides. Comparisons are strict and in ascending class
id, so equal scores give the lowest id, as argmax does. Scores without regions (an untrained
network) leave too many candidates; then every class is resized in turn, which is no slower.

Positions follow torch's ``interpolate(mode="bilinear", align_corners=False)``: output i lies at
``(i + 0.5) * n_in / n_out - 0.5``, held inside the first and last node; shrinking does not average.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

_BAND_SCORES = 1 << 21  # scores transposed at a time (8 MB), which bounds memory for large inputs
_BLOCK_VALUES = 1 << 16  # scores or pixels computed at a time, so that they stay in the cache
_FEW_CLASSES = 32  # up to here a running maximum over class planes beats argmax over nodes
_CROWDED = 0.1  # of all classes at all pixels: from here on resizing every class is cheaper


def upsample_argmax(
    scores: np.ndarray, size_hw: tuple[int, int], *, dtype: DTypeLike = np.uint8
) -> np.ndarray:
    """Class ids of bilinearly resized scores, without resizing them.

    Equal to ``torch.nn.functional.interpolate(scores, size_hw, mode="bilinear",
    align_corners=False)`` and argmax over classes, except where two classes are within float
    rounding of each other; equal scores give the lowest id. Runs on the calling thread, mostly
    without the GIL; memory beyond the result does not grow with C * H * W.

    Args:
        scores: float32 (C, h, w), finite; a class that must not win may be -inf everywhere.
            Whatever the values (NaN too), each id returned is below C.
        size_hw: height and width of the result in pixels, larger or smaller than (h, w).
        dtype: unsigned integer type of the result; must hold C - 1.

    Returns:
        ids, `dtype` (H, W), C-contiguous.

    Raises:
        ValueError: empty or not 3-D scores, an empty size, or ids that do not fit `dtype`.
    """
    dtype = np.dtype(dtype)
    if scores.ndim != 3 or 0 in scores.shape or min(size_hw) < 1:
        raise ValueError(f"scores {scores.shape} to {size_hw}: need (C, h, w) and (H, W), all >= 1")
    if dtype.kind != "u" or len(scores) - 1 > np.iinfo(dtype).max:
        raise ValueError(f"{len(scores)} classes do not fit {dtype}: use a wider unsigned type")

    classes, in_height, in_width = scores.shape
    scores = np.ascontiguousarray(scores, np.float32)
    if size_hw == (in_height, in_width):
        return _running_argmax(scores, dtype)

    planes = scores.reshape(classes, -1)  # (C, h * w)
    y_axis, x_axis = _axis(in_height, size_hw[0]), _axis(in_width, size_hw[1])

    # Work in bands that stay in the cache; one odd band falls back to the plain way.
    ids = np.empty(size_hw, dtype)
    for y_band in _bands(y_axis, max(1, _BAND_SCORES // (classes * in_width))):
        first, last = int(y_band.before[0]), int(y_band.after[-1])
        band = planes[:, first * in_width : (last + 1) * in_width]  # (C, h' * w)
        if not _paint(ids, band, first, y_band, x_axis):
            return _running_argmax(_resized_planes(scores, size_hw), dtype)
    return ids


@dataclass(frozen=True, slots=True)
class _Axis:
    """The K non-empty cells along one axis; P is the most output positions that any of them holds.

    before, after: nodes at the two ends (K,); the same node twice if all positions lie on it.
    count: how many output positions each cell holds (K,), all >= 1.
    position: which they are (P, K); a cell with fewer repeats its last one.
    weight: share of the `after` node at each of them, float32 (P, K), 0 <= weight < 1.
    """

    before: np.ndarray
    after: np.ndarray
    count: np.ndarray
    position: np.ndarray
    weight: np.ndarray


@lru_cache(maxsize=32)
def _axis(n_in: int, n_out: int) -> _Axis:
    # torch rounds the ratio to float32 and fuses multiplication and subtraction. In float64 the
    # product is exact, so rounding the difference once gives torch's weights to the last bit.
    ratio = np.float64(np.float32(n_in) / np.float32(n_out))
    source = ((np.arange(n_out) + 0.5) * ratio - 0.5).astype(np.float32)

    # Give positions before the first and after the last node a cell of that one node.
    node = np.clip(np.floor(source), -1, n_in - 1)
    between_nodes = (node >= 0) & (node < n_in - 1)
    fraction = np.where(between_nodes, source - node, np.float32(0))
    node, start, count = np.unique(node.astype(np.intp), return_index=True, return_counts=True)
    position = start + np.minimum(np.arange(count.max())[:, None], count - 1)  # (P, K)
    weight = fraction[position]
    before = np.maximum(node, 0)
    return _Axis(before, before + weight.any(axis=0), count, position, weight)


def _bands(axis: _Axis, max_nodes: int) -> Iterator[_Axis]:
    """Split an axis into runs of cells that touch at most `max_nodes` nodes (or are one cell)."""
    start, cells = 0, len(axis.before)
    while start < cells:
        stop = int(np.searchsorted(axis.after, axis.before[start] + max_nodes))
        run = slice(start, max(stop, start + 1))
        yield _Axis(
            axis.before[run],
            axis.after[run],
            axis.count[run],
            axis.position[:, run],
            axis.weight[:, run],
        )
        start = run.stop


def _paint(ids: np.ndarray, band: np.ndarray, first: int, y: _Axis, x: _Axis) -> bool:
    """Write the rows of `ids` (H, W) that lie in the cells of `y`.

    band: scores (C, h' * w) of the node rows first, first + 1, ..., first + h' - 1.
    Returns False, with nothing written, when so many classes meet that this would not pay.
    """
    # One node's scores side by side, so that looking at a node is one contiguous read.
    nodes = cv2.transpose(band)  # (h' * w, C)
    winner = _node_winners(band, nodes).astype(ids.dtype)  # (h' * w,)

    in_width = len(winner) // int(y.after[-1] - first + 1)
    above = (y.before[:, None] - first) * in_width  # (Ky, 1)
    below = (y.after[:, None] - first) * in_width
    corners = (above + x.before, above + x.after, below + x.before, below + x.after)
    upper_left, *others = (winner.take(node) for node in corners)  # each (Ky, Kx)
    mixed = np.zeros(upper_left.shape, bool)
    for other in others:
        mixed |= other != upper_left

    # One output row of every row of cells; it is swept down through the cells.
    sheet = upper_left.repeat(x.count, axis=1)  # (Ky, W)
    row, column = mixed.nonzero()  # (n,)
    if not len(row):
        for position in y.position:
            ids[position] = sheet
        return True
    cells = _mixed_cells(nodes, winner, np.stack([node[mixed] for node in corners]))
    if len(cells.class_id) > _CROWDED * len(band) * mixed.size:
        return False
    row, column = row[cells.order], column[cells.order]
    inside = _ids_inside(nodes, cells, y.weight[:, row], x.weight[:, column], ids.dtype)
    target = row * sheet.shape[1] + x.position[:, column]  # (Px, n)
    _sweep(ids, y, sheet, target.reshape(-1), inside.reshape(len(inside), -1))
    return True


def _sweep(
    ids: np.ndarray, y: _Axis, sheet: np.ndarray, target: np.ndarray, inside: np.ndarray
) -> None:
    """Write the rows of `ids` in the order of their place in their cell, all cells at once.

    target: flat position (m,) in `sheet` of every pixel column of the mixed cells.
    inside: its ids (Py, m) from top to bottom. Few change on the way, and only those are touched.
    """
    columns = len(target)
    change = np.flatnonzero(inside[1:] != inside[:-1])
    changed_id = inside[1:].reshape(-1)[change]
    step_end = np.searchsorted(change, np.arange(len(inside)) * columns)  # [0] is 0
    changed_target = target[change % columns]

    pixels = sheet.reshape(-1)
    pixels[target] = inside[0]
    ids[y.position[0]] = sheet
    for position, begin, end in zip(y.position[1:], step_end[:-1], step_end[1:], strict=True):
        pixels[changed_target[begin:end]] = changed_id[begin:end]
        ids[position] = sheet


def _node_winners(planes: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Argmax over classes (n,), lowest id on ties, of the same scores as (C, n) and as (n, C)."""
    if len(planes) > _FEW_CLASSES:
        winner: NDArray[np.intp] = nodes.argmax(axis=1)
        return winner
    return _running_argmax(planes, np.dtype(np.uint8))


def _running_argmax(planes: Iterable[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """Argmax, lowest id on ties, over the score planes of class 0, 1, ...: two planes of memory."""
    planes = iter(planes)
    best = next(planes).copy()
    wins = np.empty(best.shape, bool)
    winner, winning_id = np.zeros(best.shape, dtype), np.empty(best.shape, dtype)
    for class_id, plane in enumerate(planes, 1):
        np.greater(plane, best, out=wins)
        np.multiply(wins.view(np.uint8), dtype.type(class_id), out=winning_id)
        np.maximum(winner, winning_id, out=winner)  # ids ascend: the latest winner's is greatest
        np.maximum(best, plane, out=best)
    return winner


def _resized_planes(scores: np.ndarray, size_hw: tuple[int, int]) -> Iterator[np.ndarray]:
    """Each class plane (H, W) in turn, in one and the same array."""
    plane = np.empty(size_hw, np.float32)
    for nodes in scores:
        small = np.maximum(nodes, np.float32(-1e30))  # between two -inf lies a NaN
        yield cv2.resize(small, plane.shape[::-1], dst=plane, interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True, slots=True)
class _Cells:
    """n cells whose corners disagree, those with the most candidates first.

    order: where each was in the list it was made from (n,).
    corner: flat index (4, n) into the scores (nodes, C) of class 0 at the upper left, upper right,
        lower left and lower right node.
    begin, count: its candidates are ``class_id[begin : begin + count]``, ascending; count >= 2.
    """

    order: np.ndarray
    corner: np.ndarray
    begin: np.ndarray
    count: np.ndarray
    class_id: np.ndarray


def _mixed_cells(nodes: np.ndarray, winner: np.ndarray, corners: np.ndarray) -> _Cells:
    """Find the classes that can win anywhere in each cell (fact 2 of the module docstring).

    nodes: scores (nodes, C). winner: (nodes,). corners: node number (4, n).
    """
    cells, classes = corners.shape[1], nodes.shape[1]
    flat = nodes.reshape(-1)
    corner = corners * classes
    corner_winner = winner.take(corners).astype(np.intp)  # (4, n)
    # (4 corners, 4 winners, n) -> the greatest of the winners' least scores (n,)
    bound = flat.take(corner[:, None] + corner_winner).min(axis=0).max(axis=0)

    found = []
    block = max(1, _BLOCK_VALUES // classes)
    for start in range(0, cells, block):
        stop = start + block
        greatest = nodes.take(corners[0, start:stop], axis=0)  # (block, C)
        for node in corners[1:, start:stop]:
            np.maximum(greatest, nodes.take(node, axis=0), out=greatest)
        # Not ">=": a NaN must leave candidates, so that every id written is a class.
        possible = ~(greatest < bound[start:stop, None])
        found.append(np.flatnonzero(possible) + start * classes)
    cell, class_id = np.divmod(np.concatenate(found), classes)

    count = np.bincount(cell, minlength=cells)
    begin = np.cumsum(count) - count

    # Put crowded cells first: those that have a candidate of some rank are then a prefix.
    order = np.argsort(-count, kind="stable")
    return _Cells(order, corner[:, order], begin[order], count[order], class_id)


def _ids_inside(
    nodes: np.ndarray, cells: _Cells, ty: np.ndarray, tx: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """Ids (Py, Px, n) of the pixels of mixed cells, at the weights ty (Py, n) and tx (Px, n)."""
    flat = nodes.reshape(-1)
    ids = np.empty((len(ty), *tx.shape), dtype)
    crowded = int(np.count_nonzero(cells.count > 2))
    block = max(1, _BLOCK_VALUES // (len(ty) * len(tx)))
    for resolve, first, last in (_resolve_many, 0, crowded), (_resolve_two, crowded, len(tx[0])):
        for start in range(first, last, block):
            run = slice(start, min(start + block, last))
            ids[..., run] = resolve(flat, cells, run, ty[:, None, run], tx[:, run], dtype)
    return ids


def _resolve_two(
    flat: np.ndarray, cells: _Cells, run: slice, ty: np.ndarray, tx: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """Ids (Py, Px, k) in cells with two candidates: the sign of their difference decides."""
    begin, corner = cells.begin[run], cells.corner[:, run]
    low, high = cells.class_id[begin], cells.class_id[begin + 1]
    lead = flat.take(corner + high)  # (4, k)
    lead -= flat.take(corner + low)
    top, bottom = _edges(lead, tx)
    high_wins = (bottom - top) * ty > -top  # (Py, Px, k)
    ids: np.ndarray = high_wins.view(np.uint8) * (low ^ high).astype(dtype)
    ids ^= low.astype(dtype)
    return ids


def _resolve_many(
    flat: np.ndarray, cells: _Cells, run: slice, ty: np.ndarray, tx: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """Ids (Py, Px, k) in cells with any number of candidates: a running maximum over them."""
    begin, count, corner = cells.begin[run], cells.count[run], cells.corner[:, run]
    best = np.full((len(ty), *tx.shape), -np.inf, np.float32)  # (Py, Px, k)
    ids = np.zeros(best.shape, dtype)
    for rank in range(count[0]):
        k = int(np.searchsorted(-count, -rank))  # the first k cells have more than `rank`
        class_id = cells.class_id[begin[:k] + rank]
        top, bottom = _edges(flat.take(corner[:, :k] + class_id), tx[:, :k])
        value = (bottom - top) * ty[..., :k]
        value += top
        # Masked assignment is many times slower than arithmetic on all of a small array.
        change = ids[..., :k] ^ class_id.astype(dtype)
        change *= (value > best[..., :k]).view(np.uint8)
        ids[..., :k] ^= change
        np.maximum(best[..., :k], value, out=best[..., :k])
    return ids


def _edges(corner_score: np.ndarray, tx: np.ndarray) -> np.ndarray:
    """Scores (2, Px, k) along the top and bottom edges of cells, from those (4, k) at corners."""
    left, right = corner_score[::2, None], corner_score[1::2, None]  # (2, 1, k)
    edges: np.ndarray = (right - left) * tx
    edges += left
    return edges
