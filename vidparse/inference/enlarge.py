"""Maps at stride 4 of a padded input, brought to frames in two bilinear steps, cell by cell.

First to the padded input (four times the nodes), which is cut to the input; then to the frame. Both
steps are linear along each axis, so that a pixel is a mean of at most 3 x 3 nodes, whose weights
are worked out once per size. The pixels that lie between the same nodes are a *cell*. Where its
nodes agree all its pixels do, as nearly everywhere; only the others are interpolated. All weights
of a cell are means of the few of its *hull*, by which most of the others are known to agree, too.
Pixels of a cell are bits of a few integers, by which masks are counted and merged. Positions are
those of torch's ``interpolate(mode="bilinear", align_corners=False)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

STRIDE = 4  # pixels of the input per node
_TAPS = 3
_WORD_BITS = 64
# Pixels interpolated at a time, so that they stay in the cache. A power of two would put all pixels
# of a cell a multiple of 4096 bytes apart, where writes hold up reads: five times as slow.
_BLOCK_VALUES = 60_000

Taps = tuple[np.ndarray, ...]  # one array for each of the S nodes of a cell along an axis


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a frame: N positions in K cells.

    node: the nodes of each cell, int64 (S, K), S 2 or 3. taps: the same in nodes that have margins
    (see :meth:`Grid.with_margins`), each an index of K of them. count: how many positions each cell
    holds (K,). place: which they are, int64 (P, K); a cell of fewer repeats its last one. weights:
    of each node at the last of them, float32 (P' <= P, K); before these it has none. hull: likewise
    at S points (S, K), whose means all others are. cell: of each position (N,).
    """

    node: np.ndarray
    taps: tuple[slice | np.ndarray, ...]
    count: np.ndarray
    place: np.ndarray
    weights: Taps
    hull: Taps
    cell: np.ndarray

    @property
    def places(self) -> int:
        """P, the most positions that a cell holds."""
        return len(self.place)


@lru_cache(maxsize=32)
def axis_of(nodes: int, cut: int, size: int) -> Axis:
    """From `nodes` to `STRIDE * nodes` pixels, cut to `cut`, brought to `size`."""
    low, _, share = _steps(nodes, STRIDE * nodes)
    near, far, step = _steps(cut, size)

    # Before the first node begins a cell of its own: all cells between hold equally many.
    first = (near - STRIDE // 2) // STRIDE
    cells, start, count = np.unique(first, return_index=True, return_counts=True)

    # Add up the four ways from a position over two pixels to their two nodes.
    weight = np.zeros((_TAPS, size))
    for pixel, part in ((near, 1 - step), (far, step)):
        beyond = low[pixel] - first  # 0 or 1
        np.add.at(weight, (beyond, np.arange(size)), part * (1 - share[pixel]))
        np.add.at(weight, (beyond + 1, np.arange(size)), part * share[pixel])
    weight = weight[: 2 if not weight[2:].any() else _TAPS].astype(np.float32)

    # Over a cell they change evenly, but for a turn at the last pixel before its middle node.
    place = start + np.minimum(np.arange(count.max())[:, None], count - 1)  # (P, K)
    inside = weight.take(place, axis=1)  # (S, P, K)
    hull = inside[:, [0, -1]]
    if len(weight) == _TAPS:
        turn = np.array([1 / 8, 7 / 8, 0], np.float32)
        hull = np.insert(hull, 1, turn[:, None], axis=1)

    # Read nodes by slices where cells follow each other: a slice copies nothing.
    tap = np.arange(len(weight))[:, None]
    is_run = cells[-1] - cells[0] == len(cells) - 1
    taps = [slice(row[0], row[-1] + 1) if is_run else row for row in cells + 1 + tap]
    node = np.clip(cells + tap, 0, nodes - 1)
    cell = np.repeat(np.arange(len(cells)), count)
    return Axis(node, tuple(taps), count, place, _taps(inside), _taps(hull), cell)


def _taps(weight: np.ndarray) -> Taps:
    """Weights (S, P, K) of each node without those of the first positions, where they are 0."""
    begin = [0, *(weight[1:] > 0).any(axis=2).argmax(axis=1)]
    return tuple(one[first:].copy() for one, first in zip(weight, begin, strict=True))


def _steps(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two inputs that each output lies between, and the share of the second."""
    ratio = np.float64(np.float32(inputs) / np.float32(outputs))  # torch has it in float32
    place = np.maximum((np.arange(outputs) + 0.5) * ratio - 0.5, 0).astype(np.float32)
    low = np.minimum(np.floor(place).astype(np.intp), inputs - 1)
    return low, np.minimum(low + 1, inputs - 1), (place - low).astype(np.float64)


@dataclass(frozen=True)
class Grid:
    """The cells of a frame (H, W) over nodes (h, w): K of them, row by row, of P pixels at most.

    Pixels of n cells are uint64 (n, B): bit i of the words is pixel i of the cell, row by row; what
    a cell does not have is 0.
    """

    nodes_hw: tuple[int, int]
    rows: Axis
    columns: Axis

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return len(self.rows.count), len(self.columns.count)

    @cached_property
    def size_hw(self) -> tuple[int, int]:
        """H and W."""
        return len(self.rows.cell), len(self.columns.cell)

    @cached_property
    def area(self) -> NDArray[np.int64]:
        """Pixels of each cell, int64 (K,)."""
        return np.outer(self.rows.count, self.columns.count).reshape(-1)

    @cached_property
    def whole(self) -> np.ndarray:
        """All pixels of each cell, uint64 (K, B)."""
        down = np.arange(self.rows.places) < self.rows.count[:, None]  # (Ky, Py)
        across = np.arange(self.columns.places) < self.columns.count[:, None]
        inside = down[:, None, :, None] & across[:, None]  # (Ky, Kx, Py, Px)
        return _packed(inside.reshape(len(self.area), -1).T)

    def split(self, cells: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of cells (n,)."""
        row = cells // self.shape[1]
        return row, cells - row * self.shape[1]

    def with_margins(self, values: np.ndarray) -> np.ndarray:
        """Nodes (..., h, w) with one more before and two after, which repeat the outermost."""
        height, width = self.nodes_hw

        # Repeat the outermost nodes: positions beyond their centres keep their value.
        wide = np.empty((*values.shape[:-2], height + _TAPS, width + _TAPS), values.dtype)
        wide[..., 1 : height + 1, 1 : width + 1] = values
        wide[..., 0, :] = wide[..., 1, :]
        wide[..., height + 1 :, :] = wide[..., height : height + 1, :]
        wide[..., 0] = wide[..., 1]
        wide[..., width + 1 :] = wide[..., width : width + 1]
        return wide

    def tally(self, marks: np.ndarray) -> np.ndarray:
        """The count of marked nodes of each cell, uint8 (M, K), of marks bool (M, h, w)."""
        # Add along one axis and then the other: S + S' sums in place of S * S'.
        wide = self.with_margins(marks).view(np.uint8)
        down = wide[:, self.rows.taps[0]].copy()
        for tap in self.rows.taps[1:]:
            down += wide[:, tap]
        total = down[:, :, self.columns.taps[0]].copy()
        for tap in self.columns.taps[1:]:
            total += down[:, :, tap]
        return total.reshape(len(marks), -1)

    @property
    def most(self) -> int:
        """Nodes of a cell, as :meth:`tally` counts them."""
        return len(self.rows.taps) * len(self.columns.taps)

    def nodes_of(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Place in h * w of the nodes of n cells, int64 (S, S', n)."""
        row, column = self.split(cells)
        down = self.rows.node.take(row, axis=1) * self.nodes_hw[1]
        place: NDArray[np.int64] = down[:, None] + self.columns.node.take(column, axis=1)
        return place

    def blocks(self, count: int) -> Iterator[slice]:
        """Runs of `count` cells that are interpolated at a time."""
        size = max(1, _BLOCK_VALUES // (self.rows.places * self.columns.places))
        for first in range(0, count, size):
            yield slice(first, min(first + size, count))

    def weights_of(self, cells: NDArray[np.int64], *, hull: bool = False) -> tuple[Taps, Taps]:
        """The weights down and across for :func:`interpolated` of n cells, or of their hulls."""
        down, across = (one.hull if hull else one.weights for one in (self.rows, self.columns))
        row, column = self.split(cells)
        return _taken(down, row), _taken(across, column)

    def pixels(self, inside: NDArray[np.bool_], cells: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The pixels (n, B) of cells that are true in bool (Py, Px, n)."""
        packed: NDArray[np.uint64] = _packed(inside.reshape(-1, inside.shape[-1]))

        # Clear the bits beyond a cell that is smaller than others: they repeat its last pixel.
        packed &= self.whole[cells]
        return packed

    def unpacked(self, pixels: np.ndarray) -> np.ndarray:
        """The pixels (n, B) of cells as bool (Py, Px, n)."""
        count = self.rows.places * self.columns.places
        bits = _turned(_unpacked(pixels)[:, :count])
        return bits.reshape(self.rows.places, self.columns.places, len(pixels)).view(bool)

    def places(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Place in H * W of the pixels of n cells, int64 (Py, Px, n)."""
        row, column = self.split(cells)
        down = self.rows.place.take(row, axis=1) * self.size_hw[1]
        place: NDArray[np.int64] = down[:, None] + self.columns.place.take(column, axis=1)
        return place

    def places_of(
        self, pixels: NDArray[np.uint64], cells: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Place in H * W of each of the pixels (n, B) of cells, and the row of its cell in them."""
        bits = _unpacked(pixels)
        bit = np.flatnonzero(bits.view(bool))
        owner = bit // bits.shape[1]
        row, column = self.split(cells)
        width = self.size_hw[1]
        first = self.rows.place[0].take(row) * width + self.columns.place[0].take(column)
        inside = np.arange(self.rows.places)[:, None] * width + np.arange(self.columns.places)
        place: NDArray[np.int64] = first.take(owner) + inside.take(bit - owner * bits.shape[1])
        return place, owner

    def fill(self, frame: np.ndarray, values: np.ndarray) -> None:
        """Give the cells of a frame (H, W) the values (K,)."""
        lines = values.reshape(self.shape).repeat(self.columns.count, axis=1)
        lines.take(self.rows.cell, axis=0, out=frame, mode="clip")


@lru_cache(maxsize=8)
def grid_of(nodes_hw: tuple[int, int], input_hw: tuple[int, int], size_hw: tuple[int, int]) -> Grid:
    """From nodes at `STRIDE` of a padded input, which is cut to `input_hw`, to `size_hw`."""
    rows, columns = (axis_of(*one) for one in zip(nodes_hw, input_hw, size_hw, strict=True))
    return Grid(nodes_hw, rows, columns)


def interpolated(values: np.ndarray, down: Taps, across: Taps) -> np.ndarray:
    """Pixels float32 (..., Py, Px, n) of n cells with values (..., S, S', n) at their nodes."""
    lines = values[..., 0, None, :] * across[0]  # (..., S, Px, n)

    # Add further nodes from where their weights begin: before that they are 0.
    for tap, weight in enumerate(across[1:], 1):
        part = values[..., tap, None, :] * weight
        lines[..., len(across[0]) - len(weight) :, :] += part
    pixels: np.ndarray = lines[..., 0, None, :, :] * down[0][:, None]
    for tap, weight in enumerate(down[1:], 1):
        part = lines[..., tap, None, :, :] * weight[:, None]
        pixels[..., len(down[0]) - len(weight) :, :, :] += part
    return pixels


def _taken(taps: Taps, places: NDArray[np.int64]) -> Taps:
    # One cell beside the next: rows of a few pixels each would take five times as long.
    return tuple(one.take(places, axis=1) for one in taps)


def _packed(inside: np.ndarray) -> NDArray[np.uint64]:
    """Bool (P, n) as uint64 (n, B)."""
    places, count = inside.shape
    words = -(-places // _WORD_BITS)
    bits = np.zeros((words * _WORD_BITS, count), np.uint8)
    bits[:places] = inside
    packed: NDArray[np.uint64] = np.packbits(_turned(bits), bitorder="little").view(np.uint64)
    return packed.reshape(count, words)


def _unpacked(pixels: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The bits of uint64 (n, B), 0 or 1, uint8 (n, B * 64)."""
    bits = np.unpackbits(pixels.reshape(-1).view(np.uint8), bitorder="little")
    return bits.reshape(len(pixels), pixels.shape[1] * _WORD_BITS)


def _turned(bits: np.ndarray) -> np.ndarray:
    """Rows as columns, several times as quick as a copy by numpy."""
    return cv2.transpose(bits) if bits.size else bits.T


def count_pixels(pixels: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The number of pixels, int64 (n,), in each of n cells (n, B)."""
    # Neighbouring sums of 1, 2 and 4 bits, then those of 8 added by one multiplication.
    sums = pixels - ((pixels >> np.uint64(1)) & np.uint64(0x5555555555555555))
    pairs = np.uint64(0x3333333333333333)
    sums = (sums & pairs) + ((sums >> np.uint64(2)) & pairs)
    sums = (sums + (sums >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    counts = (sums * np.uint64(0x0101010101010101)) >> np.uint64(56)
    total: NDArray[np.int64] = counts.sum(axis=1).view(np.int64)
    return total
