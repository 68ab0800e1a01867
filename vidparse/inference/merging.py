"""Masks of a clip merged so that none overlap: things one over the other, stuff where none is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vidparse.inference.enlarge import Grid, count_pixels
from vidparse.inference.kernels import sigmoid
from vidparse.inference.upsample import upsample_argmax

MOST_OVERLAP = 0.5  # share of a thing's pixels that better ones may have taken in a frame
LEAST_STUFF_AREA = 4096  # pixels of a class in a clip


@dataclass(frozen=True, slots=True)
class Mask:
    """The pixels of an object in the cells of a clip's frames; see :class:`Grid`.

    cells: those with pixels, rising, t * K + the cell of frame t, int64 (n,). pixels: uint64
    (n, B). counts: how many they are, int64 (n,).
    """

    cells: np.ndarray
    pixels: np.ndarray
    counts: np.ndarray

    @classmethod
    def none(cls, grid: Grid) -> Mask:
        """The mask without a pixel."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, grid.whole[:0], nothing)

    @classmethod
    def joined(cls, parts: Sequence[Mask]) -> Mask:
        """One of parts of successive frames."""
        return cls(
            np.concatenate([one.cells for one in parts]),
            np.concatenate([one.pixels for one in parts]),
            np.concatenate([one.counts for one in parts]),
        )

    def within(self, rows: np.ndarray | slice) -> Mask:
        """Those of its cells."""
        return Mask(self.cells[rows], self.pixels[rows], self.counts[rows])


def masks_above(
    grid: Grid, logits: np.ndarray, high: np.ndarray, least: float, frame: int
) -> list[Mask]:
    """The pixels where each of M masks, brought to one frame of a clip, is above `least`.

    Args:
        logits: float32 (M, h, w) of the nodes; their sigmoid is what is brought to the frame.
        high: bool (M, h, w), the nodes whose probability is above `least`.
        frame: which one of the clip.
    """
    tally = grid.tally(high)  # (M, K)
    count, cells = tally.shape
    touched = np.flatnonzero(tally)
    ends = np.searchsorted(touched, np.arange(count + 1) * cells)
    owner = np.repeat(np.arange(count), np.diff(ends))
    cell = touched - owner * cells
    pixels, counts = grid.whole[cell], grid.area[cell]

    # Interpolate where the nodes of a cell do not agree.
    mixed = np.flatnonzero(tally.reshape(-1)[touched] != grid.most)
    flat, nodes = logits.reshape(-1), logits[0].size if count else 0
    for block in grid.blocks(len(mixed)):
        rows = mixed[block]
        values = sigmoid(flat.take(grid.nodes_of(cell[rows]) + owner[rows] * nodes))
        inside = grid.interpolated(values, cell[rows]) > least
        pixels[rows] = grid.pixels(inside, cell[rows])
    counts[mixed] = count_pixels(pixels[mixed])

    whole = Mask(cell + frame * cells, pixels, counts)
    return [whole.within(slice(*span)) for span in pairwise(ends.tolist())]


class Canvas:
    """The things of a clip, drawn one after the other, the better ones first.

    Args:
        rule: see :func:`vidparse.inference.decode_clip`.
    """

    def __init__(self, grid: Grid, frames: int, *, rule: str) -> None:
        self.grid, self.frames = grid, frames
        self._is_official = rule == "official"
        self._cells = len(grid.area)
        self._taken = np.zeros((frames * self._cells, grid.whole.shape[1]), np.uint64)
        self._drawn: list[Mask] = []

    def draw(self, mask: Mask) -> bool:
        """Draw a thing, whose number is one more than that of the last that was drawn, from 1.

        Returns:
            False where it is left out of all frames, and nothing was drawn.
        """
        before = self._taken[mask.cells]
        hidden = before & mask.pixels
        ends = np.searchsorted(mask.cells, np.arange(self.frames + 1) * self._cells)
        own = _sums(mask.counts, ends)
        lost = _sums(count_pixels(hidden), ends) if hidden.any() else np.zeros_like(own)
        passing = (own > 0) & (lost <= MOST_OVERLAP * own)
        if not passing.any():
            return False

        if not self._is_official and not passing.all():
            rows = np.repeat(passing, np.diff(ends))
            mask, before, hidden = mask.within(rows), before[rows], hidden[rows]
        self._taken[mask.cells] = before | mask.pixels
        if not self._is_official and hidden.any():
            mask = Mask(mask.cells, mask.pixels ^ hidden, mask.counts)
        self._drawn.append(mask)
        return True

    def free(self, frame: int) -> np.ndarray:
        """The pixels uint64 (K, B) of a frame that no thing took."""
        taken = self._taken[frame * self._cells : (frame + 1) * self._cells]
        return self.grid.whole & ~taken

    def visible(self) -> list[Mask]:
        """The pixels that show of each thing that was drawn; their counts are not kept up."""
        if not self._is_official:
            return self._drawn
        later = np.zeros_like(self._taken)
        seen = []
        for mask in reversed(self._drawn):
            over = later[mask.cells]
            later[mask.cells] = over | mask.pixels
            seen.append(Mask(mask.cells, mask.pixels & ~over, mask.counts))
        return seen[::-1]


def _sums(counts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sums of counts (n,) between successive ends (T + 1,)."""
    total = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=total[1:])
    return np.diff(total[ends])


@dataclass(frozen=True, slots=True)
class Winners:
    """The greatest of some values at the pixels of a frame, by its place among them.

    whole: at the first node of each cell (K,), which is right for those that are not mixed.
    mixed: cells where it is not the same everywhere (m,). inside: the pixels of these that are
    wanted, bool (m, P). winner: at the pixels of these (m, P).
    """

    whole: np.ndarray
    mixed: np.ndarray
    inside: np.ndarray
    winner: np.ndarray


def greatest(grid: Grid, values: np.ndarray, wanted: np.ndarray) -> Winners:
    """The greatest of C values at the pixels of a frame, the first one where some are equal.

    Inside a cell a value stays between its least and its greatest node. One whose greatest is below
    the least of another cannot win; few are left at most places.

    Args:
        values: float32 (C, h, w), C at least 1, of the nodes.
        wanted: the pixels to look at, uint64 (K, B).
    """
    dtype = np.dtype(np.uint8 if len(values) <= 256 else np.uint16)
    wide = grid.with_margins(upsample_argmax(values, values.shape[1:], dtype=dtype))
    corners = [wide[down][:, across] for down in grid.rows.taps for across in grid.columns.taps]
    differs = np.zeros(grid.shape, bool)
    for corner in corners[1:]:
        differs |= corner != corners[0]
    differs &= wanted.any(axis=1).reshape(grid.shape)

    mixed = np.flatnonzero(differs)
    winner = np.empty((len(mixed), grid.rows.places * grid.columns.places), dtype)
    nodes = np.ascontiguousarray(values.reshape(len(values), -1))
    for block in grid.blocks(len(mixed)):
        winner[block] = _winners_inside(grid, nodes, mixed[block]).T
    return Winners(corners[0].reshape(-1), mixed, grid.unpacked(wanted[mixed]), winner)


def _winners_inside(grid: Grid, nodes: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The greatest of C values of the nodes (C, h * w) at the pixels of n cells, (P, n)."""
    corner = nodes.take(grid.nodes_of(cells), axis=1)  # (C, S, S', n)
    bound = corner.min(axis=(1, 2)).max(axis=0)
    possible = corner.max(axis=(1, 2)) >= bound  # (C, n)

    # Take each cell's first candidate, then the second of those that have two, and so on.
    count = np.count_nonzero(possible, axis=0)
    order = np.argsort(-count, kind="stable")
    count = count[order]
    candidate = np.flatnonzero(possible.T[order]) % len(nodes)  # (all,), those of a cell rising
    begin = np.cumsum(count) - count
    best = np.full((grid.rows.places, grid.columns.places, len(cells)), -np.inf, np.float32)
    winner = np.zeros(best.shape, np.min_scalar_type(len(nodes)))
    for rank in range(count[0]):
        few = int(np.searchsorted(-count, -rank))  # the first so many have more than `rank`
        number, cell = candidate[begin[:few] + rank], order[:few]
        mine = np.moveaxis(corner[number, :, :, cell], 0, -1)
        value = grid.interpolated(mine, cells[cell])
        np.copyto(winner[..., :few], number, where=value > best[..., :few], casting="unsafe")
        np.maximum(best[..., :few], value, out=best[..., :few])

    found = np.empty((winner[..., 0].size, len(cells)), winner.dtype)
    found[:, order] = winner.reshape(found.shape)
    return found


def fill_stuff(
    canvas: Canvas,
    winners: Sequence[Winners],
    class_ids: np.ndarray,
    *,
    least_area: int = LEAST_STUFF_AREA,
) -> list[int]:
    """The places in `class_ids` of the classes that fill what no thing of a clip took.

    Args:
        winners: place in `class_ids` of the winner at each free pixel, frame by frame.
        class_ids: rising; pixels of class 0 stay free.
        least_area: free pixels in all frames that a class needs.
    """
    areas = np.zeros(len(class_ids))
    for t, won in enumerate(winners):
        left = count_pixels(canvas.free(t))
        left[won.mixed] = 0
        areas += np.bincount(won.whole, left, len(class_ids))
        areas += np.bincount(won.winner[won.inside], minlength=len(class_ids))
    return [i for i, area in enumerate(areas) if class_ids[i] > 0 and area >= max(least_area, 1)]


def painted(canvas: Canvas, winners: Sequence[Winners], table: np.ndarray) -> np.ndarray:
    """The map of a clip, uint16 (T, H, W): things under their numbers, stuff under the table's.

    Args:
        winners: of each frame; () where there is no stuff.
        table: the number of each of their classes, 0 for one that stays free, uint16.
    """
    grid, things = canvas.grid, canvas.visible()
    cells = len(grid.area)
    mask = Mask.joined([Mask.none(grid), *things])
    numbers = np.arange(1, len(things) + 1, dtype=np.uint16)
    numbers = np.repeat(numbers, [len(one.cells) for one in things])

    # Fill cells that are alike everywhere.
    sheets = np.zeros((canvas.frames, cells), np.uint16)
    for sheet, won in zip(sheets, winners, strict=False):
        table.take(won.whole, out=sheet, mode="clip")
    is_whole = (mask.pixels == grid.whole[mask.cells % cells]).all(axis=1)
    sheets.reshape(-1)[mask.cells[is_whole]] = numbers[is_whole]
    ids = np.stack([grid.filled(sheet) for sheet in sheets])

    # Set the pixels of the others.
    for frame, won in zip(ids, winners, strict=False):
        place = grid.places(won.mixed)[won.inside]
        frame.reshape(-1)[place] = table.take(won.winner[won.inside])
    part = np.flatnonzero(~is_whole)
    number, cell = np.divmod(mask.cells[part], cells)
    inside = grid.unpacked(mask.pixels[part])
    place = grid.places(cell) + (number * ids[0].size)[:, None]
    ids.reshape(-1)[place[inside]] = np.repeat(numbers[part], np.count_nonzero(inside, axis=1))
    return ids
