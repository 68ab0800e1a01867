"""Probabilities at stride 4 of a padded input, brought to frames in two bilinear steps.

First to the padded input (four times the nodes), which is cut to the input; then to the frame. Both
steps are linear along each axis, so that a pixel is a mean of at most 3 x 3 nodes, whose weights
are worked out once per size. Positions are those of torch's ``interpolate(mode="bilinear",
align_corners=False)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from vidparse.inference.kernels import sigmoid
from vidparse.inference.upsample import upsample_argmax

STRIDE = 4  # pixels of the input per node
_TAPS = 3


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of both steps.

    nodes: how many there are. cut: pixels of the input. node: the first of those that each of the
    N positions of the frame is a mean of (N,). weight: of it and the next two, float32 (3, N).
    near, far: pixels of the input between which each position lies (N,).
    """

    nodes: int
    cut: int
    node: np.ndarray
    weight: np.ndarray
    near: np.ndarray
    far: np.ndarray

    @property
    def is_one_step(self) -> bool:
        """True where the frame has the size of the input."""
        return len(self.node) == self.cut

    def reach(self, first: int, last: int) -> slice:
        """The positions that the nodes `first` .. `last` have a part in."""
        start = np.searchsorted(self.node, first - _TAPS + 1)
        return slice(int(start), int(np.searchsorted(self.node, last, side="right")))

    def spread(self, values: np.ndarray, where: slice, axis: int, *, first: int = 0) -> np.ndarray:
        """The positions `where` along an axis of `values`, whose nodes begin with `first`."""
        shape = [1] * values.ndim
        shape[axis] = -1
        total = np.zeros(0, np.float32)
        for tap in range(_TAPS):
            weight = self.weight[tap, where].reshape(shape)
            if tap and not weight.any():
                continue
            node = np.minimum(self.node[where] + tap, self.nodes - 1) - first
            part = values.take(node, axis=axis)
            part *= weight
            if tap:
                total += part
            else:
                total = part
        return total


@lru_cache(maxsize=16)
def axis_of(nodes: int, cut: int, size: int) -> Axis:
    """From `nodes` to `STRIDE * nodes` pixels, cut to `cut`, brought to `size`."""
    low, _, share = _steps(nodes, STRIDE * nodes)
    low, share = low[:cut], share[:cut]
    near, far, step = _steps(cut, size)

    # Add up the four ways from a position over two pixels to their two nodes.
    weight = np.zeros((_TAPS, size))
    for pixel, part in ((near, 1 - step), (far, step)):
        beyond = low[pixel] - low[near]  # 0 or 1
        np.add.at(weight, (beyond, np.arange(size)), part * (1 - share[pixel]))
        np.add.at(weight, (beyond + 1, np.arange(size)), part * share[pixel])
    return Axis(nodes, cut, low[near], weight.astype(np.float32), near, far)


def _steps(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two inputs that each output lies between, and the share of the second."""
    ratio = np.float64(np.float32(inputs) / np.float32(outputs))  # torch has it in float32
    place = np.maximum((np.arange(outputs) + 0.5) * ratio - 0.5, 0).astype(np.float32)
    low = np.minimum(np.floor(place).astype(np.intp), inputs - 1)
    return low, np.minimum(low + 1, inputs - 1), (place - low).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Part:
    """The pixels of one object in one frame: inside, bool (h, w), from row and column on."""

    top: int
    left: int
    inside: np.ndarray

    def of(self, frame: np.ndarray) -> np.ndarray:
        """The same place (h, w) of a map of the frame (H, W), as a view."""
        height, width = self.inside.shape
        return frame[self.top : self.top + height, self.left : self.left + width]


@dataclass(frozen=True, slots=True)
class Crop:
    """The nodes of a mask around those that are high.

    top, left: of `values` among all nodes. values: float32 (h, w), probabilities.
    rows, columns: first and last that hold a high one, among all nodes.
    """

    top: int
    left: int
    values: np.ndarray
    rows: tuple[int, int]
    columns: tuple[int, int]


def crop_of(logits: np.ndarray, high: np.ndarray) -> Crop | None:
    """The part of a mask (h, w) that pixels near a high node are means of; None where none is.

    high: bool (h, w).
    """
    down = np.flatnonzero(high.any(axis=1))
    if not len(down):
        return None
    across = np.flatnonzero(high[down[0] : down[-1] + 1].any(axis=0))
    rows, columns = (int(down[0]), int(down[-1])), (int(across[0]), int(across[-1]))
    top, left = max(rows[0] - _TAPS + 1, 0), max(columns[0] - _TAPS + 1, 0)
    values = sigmoid(logits[top : rows[1] + _TAPS, left : columns[1] + _TAPS])
    return Crop(top, left, values, rows, columns)


def part_above(crop: Crop, least: float, rows: Axis, columns: Axis) -> Part | None:
    """Where a mask brought to the frame is above `least`; None where it is only in the padding.

    A pixel is a mean of nodes, so that only those near a node above `least`, which must be among
    the high ones of the crop, have to be looked at.
    """
    down, across = rows.reach(*crop.rows), columns.reach(*crop.columns)
    if down.start >= down.stop or across.start >= across.stop:
        return None
    strip = columns.spread(crop.values, across, axis=1, first=crop.left)
    values = rows.spread(strip, down, axis=0, first=crop.top)
    return Part(down.start, across.start, values > least)


def greatest(values: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """Which of P values is the greatest at each pixel of the frame; the first where equal.

    Args:
        values: float32 (P, h, w), P at least 1, of the nodes.

    Returns:
        unsigned integers (H, W).
    """
    count, height, width = values.shape
    dtype = np.dtype(np.uint8 if count < 128 else np.uint16)
    full = upsample_argmax(values, (STRIDE * height, STRIDE * width), dtype=dtype)
    winner = full[: rows.cut, : columns.cut]
    if rows.is_one_step and columns.is_one_step:
        return winner

    # Where the four pixels around have one winner it wins; a mark is put on the others.
    mark = dtype.type(1 << (8 * dtype.itemsize - 1))
    below = winner[np.minimum(np.arange(rows.cut) + 1, rows.cut - 1)]
    differs = winner != below
    right = np.minimum(np.arange(columns.cut) + 1, columns.cut - 1)
    differs |= winner != winner[:, right]
    differs |= winner != below[:, right]
    marked = winner | (differs * mark)
    ids = cv2.transpose(cv2.transpose(marked[rows.near])[columns.near])

    # Only there all are compared.
    y, x = np.nonzero(ids >= mark)
    if len(y):
        nodes = np.ascontiguousarray(values.transpose(1, 2, 0)).reshape(height, -1)
        lines = rows.spread(nodes, slice(None), axis=0).reshape(-1, width, count)  # (H, w, P)
        found = np.zeros((len(y), count), np.float32)
        for tap in range(_TAPS):
            column = np.minimum(columns.node[x] + tap, columns.nodes - 1)
            found += lines[y, column] * columns.weight[tap, x, None]
        ids[y, x] = found.argmax(axis=1)
    return ids
