"""Masks of a clip merged so that none overlap: things one over the other, stuff where none is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vidparse.inference.enlarge import Grid, count_pixels, interpolated
from vidparse.inference.kernels import sigmoid
from vidparse.inference.upsample import upsample_argmax

MOST_OVERLAP = 0.5  # share of a thing's pixels that better ones may have taken in a frame
LEAST_STUFF_AREA = 4096  # pixels of a class in a clip
LEAST_FILLING = 0.1  # probability of a thing at a gap, which must be above it


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
    # Skip cells without a high node: a pixel is a mean of nodes, so none is above there.
    tally = grid.tally(high)  # (M, K)
    count, cells = tally.shape
    touched = np.flatnonzero(tally > 0)
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
        inside = interpolated(values, *grid.weights_of(cell[rows])) > least
        pixels[rows] = grid.pixels(inside, cell[rows])
    counts[mixed] = count_pixels(pixels[mixed])

    whole = Mask(cell + frame * cells, pixels, counts)
    return [whole.within(slice(*span)) for span in pairwise(ends.tolist())]


class Canvas:
    """The things of a clip, drawn one after the other, the better ones first.

    Args:
        rule: see :func:`vidparse.inference.decode_clip`; "filled" draws as "intended" does.
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
        # Test each frame by itself: a thing may be hidden in some and seen in others.
        before = self._taken[mask.cells]
        hidden = before & mask.pixels
        ends = np.searchsorted(mask.cells, np.arange(self.frames + 1) * self._cells)
        own = _sums(mask.counts, ends)
        lost = _sums(count_pixels(hidden), ends) if hidden.any() else np.zeros_like(own)
        passing = (own > 0) & (lost <= MOST_OVERLAP * own)
        if not passing.any():
            return False

        # Drop the frames where it is hidden; the published code draws it in all or none.
        if not self._is_official and not passing.all():
            rows = np.repeat(passing, np.diff(ends))
            mask, before, hidden = mask.within(rows), before[rows], hidden[rows]
        self._taken[mask.cells] = before | mask.pixels

        # Leave better things their pixels; the published code draws over them.
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

        # Go back from the last that was drawn: what later ones cover does not show.
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

    whole: the only one of each cell (K,) that is not mixed. mixed: cells with wanted pixels where
    more than one may be the greatest (m,). inside: the pixels of these that are wanted, bool
    (Py, Px, m). winner: at the pixels of these (Py, Px, m).
    """

    whole: np.ndarray
    mixed: np.ndarray
    inside: np.ndarray
    winner: np.ndarray


def greatest(grid: Grid, values: np.ndarray, wanted: np.ndarray) -> Winners:
    """The greatest of C values at the pixels of a frame, the first one where some are equal.

    The pixels of a cell are means of the points of its hull. A value that is less than another one
    at all of these cannot win; one or two are left at most places.

    Args:
        values: float32 (C, h, w), C at least 1, of the nodes.
        wanted: the pixels to look at, uint64 (K, B).
    """
    dtype = np.dtype(np.uint8 if len(values) < 256 else np.uint16)
    wide = grid.with_margins(upsample_argmax(values, values.shape[1:], dtype=dtype))

    # Where the nodes of a cell agree nothing else can win.
    corners = [wide[down][:, across] for down in grid.rows.taps for across in grid.columns.taps]
    differs = np.zeros(grid.shape, bool)
    for corner in corners[1:]:
        differs |= corner != corners[0]
    differs &= wanted.any(axis=1).reshape(grid.shape)

    cells = np.flatnonzero(differs)

    # Bring cells with as many candidates together; those with one are not mixed.
    nodes = np.ascontiguousarray(values.reshape(len(values), -1))
    possible = _possible(grid, nodes, cells)
    whole = corners[0].reshape(-1).copy()
    whole[cells] = possible.argmax(axis=0)
    count = np.count_nonzero(possible, axis=0)
    order = np.argsort(count, kind="stable")[np.count_nonzero(count == 1) :][::-1]
    mixed = cells[order]
    winner = _winners_inside(grid, nodes, mixed, possible[:, order].T, dtype)
    return Winners(whole, mixed, grid.unpacked(wanted[mixed]), winner)


def _possible(grid: Grid, nodes: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """bool (C, n): those of C values of nodes (C, h * w) that may be the greatest in n cells."""
    possible = np.empty((len(nodes), len(cells)), bool)
    for block in grid.blocks(len(cells)):
        corner = nodes.take(grid.nodes_of(cells[block]), axis=1)
        ends = interpolated(corner, *grid.weights_of(cells[block], hull=True))
        ends = ends.reshape(len(nodes), -1, ends.shape[-1])  # (C, points, n)

        # Compare with the value whose least is greatest, which rules out the most others.
        safest = ends.min(axis=1).argmax(axis=0)
        least = np.take_along_axis(ends, safest[None, None], axis=0)
        possible[:, block] = (ends >= least).any(axis=1)
    return possible


def _winners_inside(
    grid: Grid, nodes: np.ndarray, cells: np.ndarray, possible: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """The greatest of the possible values (n, C) at the pixels of n cells, (Py, Px, n).

    Args:
        nodes: (C, h * w). cells: those with the most possible values come first.
    """
    cell, candidate = np.nonzero(possible)  # those of a cell rising
    count = np.bincount(cell, minlength=len(cells))
    begin = np.cumsum(count) - count

    # Take each cell's first candidate, then the second, and so on.
    winner = np.empty((grid.rows.places, grid.columns.places, len(cells)), dtype)
    flat = nodes.reshape(-1)
    for block in grid.blocks(len(cells)):
        node, weights = grid.nodes_of(cells[block]), grid.weights_of(cells[block])
        won = winner[..., block]
        for rank in range(count[block.start]):
            few = int(np.searchsorted(-count[block], -rank))  # the first so many have more
            number = candidate[begin[block][:few] + rank]
            part = (tuple(one[:, :few] for one in taps) for taps in weights)
            value = interpolated(flat.take(node[..., :few] + number * len(nodes[0])), *part)
            if rank == 0:
                won[:], best = number, value
                continue
            wins = (value > best[..., :few]).view(np.uint8) * number.astype(dtype)
            np.maximum(won[..., :few], wins, out=won[..., :few])  # later candidates are greater
            np.maximum(best[..., :few], value, out=best[..., :few])
    return winner


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
        # Count cells of one winner as a whole, and only mixed ones pixel by pixel.
        left = count_pixels(canvas.free(t))
        left[won.mixed] = 0
        areas += np.bincount(won.whole, left, len(class_ids))

        # Send pixels that things took to a bin of their own, which is dropped.
        inside = np.where(won.inside, won.winner, len(class_ids))
        areas += np.bincount(inside.reshape(-1), minlength=len(class_ids) + 1)[:-1]
    return [i for i, area in enumerate(areas) if class_ids[i] > 0 and area >= max(least_area, 1)]


def painted(canvas: Canvas, winners: Sequence[Winners], table: np.ndarray) -> np.ndarray:
    """The map of a clip, int32 (T, H, W): things under their numbers, stuff under the table's.

    Args:
        winners: of each frame; () where there is no stuff.
        table: the number of each of their classes, 0 for one that stays free, int32.
    """
    grid, things = canvas.grid, canvas.visible()
    cells = len(grid.area)
    mask = Mask.joined([Mask.none(grid), *things])
    numbers = np.arange(1, len(things) + 1, dtype=np.int32)
    numbers = np.repeat(numbers, [len(one.cells) for one in things])

    # Fill cells that are alike everywhere.
    sheets = np.zeros((canvas.frames, cells), np.int32)
    for sheet, won in zip(sheets, winners, strict=False):
        sheet[:] = table.take(won.whole)
    is_whole = (mask.pixels == grid.whole[mask.cells % cells]).all(axis=1)
    sheets.reshape(-1)[mask.cells[is_whole]] = numbers[is_whole]
    ids = np.empty((canvas.frames, *grid.size_hw), np.int32)
    for frame, sheet in zip(ids, sheets, strict=True):
        grid.fill(frame, sheet)

    # Set the pixels of the others, those of things over stuff.
    for frame, won in zip(ids, winners, strict=False):
        frame.reshape(-1)[grid.places(won.mixed)] = table.take(won.winner)
    part = np.flatnonzero(~is_whole)
    frame_of, cell = np.divmod(mask.cells[part], cells)
    place, owner = grid.places_of(mask.pixels[part], cell)
    ids.reshape(-1)[place + frame_of[owner] * ids[0].size] = numbers[part][owner]
    return ids


def fill_gaps(grid: Grid, ids: np.ndarray, features: np.ndarray, kernels: np.ndarray) -> None:
    """Give each pixel that nothing took to the thing that is likeliest there, by "filled".

    Most gaps are parts of things whose mask is unsure: windows of cars, people who overlap.

    Args:
        ids: of a frame, int32 (H, W), 0 for nothing; changed.
        features: of the frame, float32 (D, h, w), at the grid's nodes.
        kernels: of the things 1..N, float32 (N, D).
    """
    is_gap = ids == 0
    if not len(kernels) or not is_gap.any():
        return

    # Let "nothing" stand before the things, with the probability that they must beat.
    logits = (kernels @ features.reshape(len(features), -1)).reshape(-1, *grid.nodes_hw)
    values = np.empty((len(kernels) + 1, *grid.nodes_hw), np.float32)
    values[0] = LEAST_FILLING
    sigmoid(logits, out=values[1:])

    # Look at the cells with gaps only.
    rows, columns = np.nonzero(is_gap)
    cells = np.unique(grid.rows.cell[rows] * grid.shape[1] + grid.columns.cell[columns])
    wanted = np.zeros_like(grid.whole)
    wanted[cells] = grid.pixels(is_gap.reshape(-1)[grid.places(cells)], cells)
    won = greatest(grid, values, wanted)

    likeliest = np.empty_like(ids)
    grid.fill(likeliest, won.whole.astype(ids.dtype))
    likeliest.reshape(-1)[grid.places(won.mixed)] = won.winner
    ids[is_gap] = likeliest[is_gap]
