"""Runs of equal pixels: maps are made of them, and they are far fewer than the pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict

import cv2
import numpy as np

_BAND_PX = 1 << 22  # pixels whose runs are held at once


class RunLengths(TypedDict):
    """COCO's compressed run lengths of a mask: its height and width, and the runs."""

    size: list[int]
    counts: str


@dataclass(frozen=True, slots=True)
class PixelRuns:
    """A map, or several maps of one size, as runs of pixels in which none of them changes.

    size_hw: of the maps. down_columns: runs go down the columns, left to right (the order of
        COCO); False: along the rows. No run spans two lines.
    values: of the first map, (R,) in its own type; others: of the other maps, likewise.
    starts, lengths: int64 (R,), in pixels of that order.
    """

    size_hw: tuple[int, int]
    down_columns: bool
    values: np.ndarray
    others: tuple[np.ndarray, ...]
    starts: np.ndarray
    lengths: np.ndarray

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """The values (N,) that occur, ascending, and the pixels of each, int64 (N,)."""
        found, place = np.unique(self.values, return_inverse=True)
        return found, np.bincount(place, self.lengths, len(found)).astype(np.int64)

    def regions(self) -> Iterator[tuple[int, int, tuple[int, int, int, int]]]:
        """Every value with its pixels and their box (x, y, width, height), ascending."""
        if not len(self.values):
            return
        line_length = self.size_hw[0] if self.down_columns else self.size_hw[1]

        # Put the runs of a value side by side: what follows goes over each group once.
        order = np.argsort(self.values, kind="stable")
        values, lengths = self.values[order], self.lengths[order]
        groups = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        present, areas = values[groups], np.add.reduceat(lengths, groups)

        # Find boxes by the ends of runs: no pixel is looked at again.
        line, first = np.divmod(self.starts[order], line_length)
        low_line, low = line[groups], np.minimum.reduceat(first, groups)  # lines ascend
        high_line = np.maximum.reduceat(line, groups) + 1
        high = np.maximum.reduceat(first + lengths, groups)

        x, y = (low_line, low) if self.down_columns else (low, low_line)
        right, bottom = (high_line, high) if self.down_columns else (high, high_line)
        boxes = np.stack([x, y, right - x, bottom - y], axis=1)  # (K, 4)
        for number, area, box in zip(present.tolist(), areas.tolist(), boxes.tolist(), strict=True):
            yield number, area, (box[0], box[1], box[2], box[3])

    def run_lengths(self, value: int) -> RunLengths:
        """COCO run lengths of one value, for pycocotools.

        The runs must go down the columns.
        """
        from pycocotools import mask as coco

        if not self.down_columns:
            raise ValueError("COCO counts pixels down the columns")
        mine = self.values == value
        start, length = self.starts[mine], self.lengths[mine]
        end = start + length

        # Runs that meet across the foot of a column and the head of the next are one to COCO.
        apart = np.flatnonzero(start[1:] != end[:-1])
        start = np.concatenate([start[:1], start[1:][apart]])
        end = np.concatenate([end[:-1][apart], end[-1:]])

        counts = np.empty(2 * len(start), np.int64)
        counts[0::2] = start - np.concatenate([[0], end[:-1]])[: len(start)]
        counts[1::2] = end - start
        height, width = self.size_hw
        tail = height * width - int(counts.sum())
        if tail:
            counts = np.append(counts, tail)
        packed = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
        return {"size": [height, width], "counts": packed["counts"].decode("ascii")}


def find_runs(ids: np.ndarray, *others: np.ndarray, down_columns: bool = False) -> PixelRuns:
    """Cut maps (H, W) of integers, all of one size, into runs.

    Raises:
        ValueError: sizes differ.
    """
    height, width = ids.shape
    maps = (ids, *others)
    if any(one.shape != ids.shape for one in others):
        raise ValueError(f"maps of {' and '.join(str(one.shape) for one in maps)}")
    flats = [(_transposed(one) if down_columns else one).reshape(-1) for one in maps]  # (H * W,)

    # Mark each pixel where any map changes, and each that begins a line.
    changed = np.ones(ids.size, bool)
    np.not_equal(flats[0][1:], flats[0][:-1], out=changed[1:])
    for flat in flats[1:]:
        changed[1:] |= flat[1:] != flat[:-1]
    changed[:: height if down_columns else width or 1] = True  # a run ends with its line

    starts = _set_places(changed)
    lengths = np.diff(starts, append=ids.size)
    values, *rest = (flat[starts] for flat in flats)
    return PixelRuns((height, width), down_columns, values, tuple(rest), starts, lengths)


def _set_places(flags: np.ndarray) -> np.ndarray:
    """Places int64 (N,) of the few flags that are set, of bool (P,), ascending."""
    # Look at eight flags at once: a pixel in hundreds begins a run.
    whole = flags[: len(flags) // 8 * 8]
    words = np.flatnonzero(whole.view(np.uint64) != 0)
    found = np.flatnonzero(whole.reshape(-1, 8)[words])
    tail = len(whole) + np.flatnonzero(flags[len(whole) :])
    return np.concatenate([words[found >> 3] * 8 + (found & 7), tail])


def recode(
    codes: np.ndarray, keys: np.ndarray, values: np.ndarray, *, otherwise: int | None = None
) -> np.ndarray:
    """Replace every code by the value of its key.

    Args:
        codes: integers (H, W). keys: integers (N,), ascending, no two alike. values: any (N,).
        otherwise: the value of codes that are no key; None: there must be none.

    Returns:
        (H, W) in the type of `values`.

    Raises:
        KeyError: a code is no key; the code is its argument.
    """
    recoded = np.empty(codes.shape, values.dtype)
    for rows in bands(codes):
        runs = find_runs(codes[rows])
        at = np.minimum(np.searchsorted(keys, runs.values), max(len(keys) - 1, 0))

        # No key at all is a case of its own: there is nothing to index.
        wrong = runs.values != keys[at] if len(keys) else np.ones(len(runs.values), bool)
        if wrong.any() and otherwise is None:
            raise KeyError(int(runs.values[wrong][0]))
        found = values[at] if len(keys) else np.zeros(len(at), values.dtype)
        found[wrong] = 0 if otherwise is None else otherwise
        recoded[rows] = np.repeat(found, runs.lengths).reshape(runs.size_hw)
    return recoded


def count_codes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The codes (N,) of a map (H, W) that occur, ascending, and the pixels of each, int64 (N,)."""
    return find_runs(codes).counts()


def regions_of(ids: np.ndarray) -> dict[int, tuple[int, tuple[int, int, int, int]]]:
    """Every id of a map (H, W), ascending, with its pixels and their box (x, y, width, height)."""
    found: dict[int, tuple[int, tuple[int, int, int, int]]] = {}
    for rows in bands(ids):
        for number, area, (x, y, width, height) in find_runs(ids[rows]).regions():
            y += rows.start
            if number in found:
                other, (left, top, wide, high) = found[number]
                right, bottom = max(x + width, left + wide), max(y + height, top + high)
                x, y, area = min(x, left), min(y, top), area + other
                width, height = right - x, bottom - y
            found[number] = area, (x, y, width, height)
    return dict(sorted(found.items()))


def bands(ids: np.ndarray) -> Iterator[slice]:
    """Rows of a map (H, W), some at a time: in noise every pixel is a run, which takes 32 bytes."""
    height, width = ids.shape
    rows = max(1, _BAND_PX // max(width, 1))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def _transposed(ids: np.ndarray) -> np.ndarray:
    """The map (W, H) with lines and columns exchanged, contiguous."""
    if ids.dtype == np.uint32 and ids.flags.c_contiguous:
        return cv2.transpose(ids.view(np.int32)).view(np.uint32)
    if ids.dtype in (np.uint8, np.uint16, np.int32) and ids.flags.c_contiguous:
        return cv2.transpose(ids)  # several times numpy's speed
    return np.ascontiguousarray(ids.T)
