"""Probabilities at stride 4 of a padded input, brought to frames in two bilinear steps.

First to the padded input (four times the nodes), which is cut to the input; then to the frame. Both
steps are linear along each axis, so that a pixel is a mean of at most 3 x 3 nodes, whose weights
are worked out once per size. Positions are those of torch's ``interpolate(mode="bilinear",
align_corners=False)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd

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

    def around(self, first: int, last: int) -> Reach | None:
        """The positions that the nodes `first` .. `last` have a part in; None for none.

        Positions and pixels of the input are taken in units between which the ratio of the second
        step has no rest, so that a part is resized as the whole would be.
        """
        size = len(self.node)
        units = gcd(self.cut, size)
        pixels, positions = self.cut // units, size // units
        begin = max((STRIDE * first - 3) // pixels, 0)
        end = min((STRIDE * last + 6) // pixels + 1, units)
        if begin >= end:
            return None  # in the padding

        # One unit and one node more on each side, for the means at the border.
        outer, beyond = max(begin - 1, 0), min(end + 1, units)
        start, stop = outer * pixels, beyond * pixels
        node = max(start // STRIDE - 1, 0)
        return Reach(
            nodes=slice(node, min((stop - 1) // STRIDE + 2, self.nodes)),
            cut=slice(start - STRIDE * node, stop - STRIDE * node),
            size=(beyond - outer) * positions,
            inner=slice((begin - outer) * positions, (end - outer) * positions),
            first=begin * positions,
        )

    def spread(self, values: np.ndarray) -> np.ndarray:
        """The positions along the first axis of `values`, which are of the nodes (n, ...)."""
        total = np.zeros(0, np.float32)
        for tap, weight in enumerate(self.weight.reshape(_TAPS, -1, *[1] * (values.ndim - 1))):
            part = values.take(np.minimum(self.node + tap, self.nodes - 1), axis=0)
            part *= weight
            total = part if tap == 0 else np.add(total, part, out=part)
        return total


@dataclass(frozen=True, slots=True)
class Reach:
    """A run of positions along one axis, and what they are resized from.

    nodes: that are brought to pixels of the input, of which `cut` are brought to `size` positions,
    of which `inner` are those that were asked for; they begin with the position `first`.
    """

    nodes: slice
    cut: slice
    size: int
    inner: slice
    first: int


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


def part_above(
    logits: np.ndarray, high: np.ndarray, least: float, rows: Axis, columns: Axis
) -> Part | None:
    """Where a mask brought to the frame is above `least`; None where no pixel can be.

    A pixel is a mean of nodes, so that only pixels near a high node have to be looked at.

    Args:
        logits: float32 (h, w) of the nodes; their sigmoid is what is brought to the frame.
        high: bool (h, w), at least the nodes whose probability is above `least`.
    """
    down = np.flatnonzero(high.any(axis=1))
    if not len(down):
        return None
    across = np.flatnonzero(high[down[0] : down[-1] + 1].any(axis=0))
    y, x = rows.around(int(down[0]), int(down[-1])), columns.around(int(across[0]), int(across[-1]))
    if y is None or x is None:
        return None

    values = sigmoid(logits[y.nodes, x.nodes])
    height, width = values.shape
    input_px = cv2.resize(values, (STRIDE * width, STRIDE * height))[y.cut, x.cut]
    frame_px = input_px
    if input_px.shape != (y.size, x.size):
        frame_px = cv2.resize(input_px, (x.size, y.size))
    return Part(y.first, x.first, frame_px[y.inner, x.inner] > least)


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
        lines = rows.spread(nodes).reshape(-1, width, count)  # (H, w, P)
        found = np.zeros((len(y), count), np.float32)
        for tap in range(_TAPS):
            column = np.minimum(columns.node[x] + tap, columns.nodes - 1)
            found += lines[y, column] * columns.weight[tap, x, None]
        ids[y, x] = found.argmax(axis=1)
    return ids
