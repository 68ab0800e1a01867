"""Overlaps of two maps: their segments, and the pixels that pairs of ids share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.maps import VOID, SegmentMap, bands, find_runs

_SHIFT = 32  # pair code = (truth id << 32) | predicted id
_LOW = (1 << _SHIFT) - 1
_MAX_ID = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """Segments of one map by ascending id; int64 (N,) each, crowd bool (N,)."""

    ids: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray  # as its json claims (ground truth only), else counted
    listed: np.ndarray  # the same ids in the order of the list

    def categories_of(self, ids: np.ndarray, *, void: int) -> np.ndarray:
        """Category of every id; `void` for VOID. Every other id must be one of these."""
        if not len(self.ids):
            return np.full(len(ids), void, np.int64)
        place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[place] == ids, self.categories[place], void)


@dataclass(frozen=True, slots=True)
class FrameOverlaps:
    """Pairs of ids that share pixels, by ascending code, and the segments of either map."""

    codes: np.ndarray  # int64 (N,)
    pixels: np.ndarray  # int64 (N,)
    truth: SegmentTable
    predicted: SegmentTable


def frame_overlaps(
    truth: SegmentMap, prediction: SegmentMap, *, known: np.ndarray
) -> FrameOverlaps:
    """Count a frame.

    Args:
        truth, prediction: panoptic maps, ids VOID or from 1 to 2**31 - 1. Areas of the segments of
            `truth` are trusted, as the published evaluators do; those of `prediction` are counted.
        known: bool (K,), the categories that segments may have.

    Raises:
        ValueError: shapes differ, an id is out of range, not listed or listed twice, or a category
            is not known.
    """
    if truth.ids.shape != prediction.ids.shape:
        raise ValueError(f"truth is {truth.ids.shape}, prediction {prediction.ids.shape}")
    codes, pixels = count_pairs(truth.ids, prediction.ids)
    true_ids, predicted_ids = split_codes(codes)
    return FrameOverlaps(
        codes,
        pixels,
        _table("ground truth", truth, true_ids, pixels, known, trusted=True),
        _table("prediction", prediction, predicted_ids, pixels, known, trusted=False),
    )


def count_pairs(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the id pairs of two maps (H, W), ascending, and how many pixels have each.

    Raises:
        ValueError: an id is below 0 or above 2**31 - 1.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth is {truth.shape}, prediction {prediction.shape}")
    codes, pixels = np.empty(0, np.int64), np.empty(0, np.int64)
    for rows in bands(truth):
        more = _count_band(truth[rows], prediction[rows])
        codes, pixels = more if not len(codes) else _added(codes, pixels, *more)
    return codes, pixels


def _count_band(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Count runs and not pixels, which are far more.
    runs = find_runs(truth, prediction)
    if not len(runs.values):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    one, other = runs.values.astype(np.int64), runs.others[0].astype(np.int64)
    low, high = min(one.min(), other.min()), max(one.max(), other.max())
    if low < 0 or high > _MAX_ID:
        raise ValueError(f"segment ids must lie in 0..{_MAX_ID}, found {low}..{high}")

    # Code a pair as one number, so that one sort counts all of them.
    pairs = (one << _SHIFT) | other
    codes = np.unique(pairs)
    place = np.searchsorted(codes, pairs)  # a third of the time of unique's return_inverse
    return codes, np.bincount(place, weights=runs.lengths).astype(np.int64)


def _added(
    codes: np.ndarray, pixels: np.ndarray, more_codes: np.ndarray, more_pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Counts of two bands as one."""
    every, place = np.unique(np.concatenate([codes, more_codes]), return_inverse=True)
    total = np.zeros(len(every), np.int64)
    np.add.at(total, place, np.concatenate([pixels, more_pixels]))
    return every, total


def split_codes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth ids and predicted ids of pair codes."""
    return codes >> _SHIFT, codes & _LOW


def _table(
    who: str,
    given: SegmentMap,
    ids: np.ndarray,
    pixels: np.ndarray,
    known: np.ndarray,
    *,
    trusted: bool,
) -> SegmentTable:
    """Segments of one map; `ids` occur in it, with `pixels` each time.

    Args:
        trusted: areas are those of the segments, not counted.
    """
    rows = np.array(
        [(one.id, one.class_id, one.is_crowd, one.area) for one in given.segments or ()], np.int64
    ).reshape(-1, 4)
    rows_by_id = np.argsort(rows[:, 0], kind="stable")
    listed, categories, crowd, areas = rows[rows_by_id].T

    strange = (categories < 0) | (categories >= len(known))
    strange[~strange] = ~known[categories[~strange]]
    if strange.any():
        segment, category = listed[strange][0], categories[strange][0]
        raise ValueError(f"{who}: segment {segment} has unknown category {category}")
    if VOID in listed:
        raise ValueError(f"{who}: id {VOID} is void and cannot be listed")
    if (listed[1:] == listed[:-1]).any():
        segment = listed[1:][listed[1:] == listed[:-1]][0]
        raise ValueError(f"{who}: segment {segment} is listed twice")
    missing = np.setdiff1d(ids, np.append(listed, VOID))
    if len(missing):
        raise ValueError(f"{who}: id {missing[0]} is in the picture but not in its list")

    # Count areas of predictions: as published, only a truth is taken at its word.
    if not trusted:
        areas = np.zeros(len(listed), np.int64)
        inside = ids != VOID
        np.add.at(areas, np.searchsorted(listed, ids[inside]), pixels[inside])
    return SegmentTable(listed, categories, crowd != 0, areas, rows[:, 0])


# Segments joined over a window of frames, kept up by adding the new frame and taking off the old:
# sums by id, so a step costs the segments of two frames and of the window, however long that is.
_FRAMES, _AREA, _KIND, _KIND_SQUARED = range(4)  # rows of a tube table


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums by key: keys ascending (N,), values (C, N), int64; a key leaves when row 0 is 0."""

    keys: np.ndarray
    values: np.ndarray

    @classmethod
    def of_nothing(cls, rows: int) -> Sums:
        return cls(np.empty(0, np.int64), np.empty((rows, 0), np.int64))

    def plus(self, added: Sums, *removed: Sums) -> Sums:
        """These sums with some added and others taken off."""
        parts = [(self.keys, self.values), (added.keys, added.values)]
        parts += [(other.keys, -other.values) for other in removed]
        keys = np.concatenate([part[0] for part in parts])
        if not len(keys):
            return self
        values = np.concatenate([part[1] for part in parts], axis=1)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]

        # Add up equal keys, which are neighbours once sorted.
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        values = np.add.reduceat(values[:, order], starts, axis=1)
        stays = values[0] != 0
        return Sums(keys[starts][stays], values[:, stays])


@dataclass(frozen=True, slots=True)
class Tubes:
    """Segments of one side of a window, by ascending id; (N,) each."""

    ids: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray  # bool
    areas: np.ndarray


@dataclass(frozen=True, slots=True)
class JoinedFrame:
    """One frame in the form that windows add."""

    overlaps: FrameOverlaps
    pairs: Sums  # pixels by pair code
    truth: Sums  # tube table by id
    predicted: Sums

    @classmethod
    def of(cls, overlaps: FrameOverlaps) -> JoinedFrame:
        return cls(
            overlaps,
            Sums(overlaps.codes, overlaps.pixels[None]),
            _sums_of(overlaps.truth),
            _sums_of(overlaps.predicted),
        )


def _sums_of(segments: SegmentTable) -> Sums:
    kind = segments.categories * 2 + segments.crowd
    return Sums(
        segments.ids, np.stack([np.ones_like(kind), segments.areas, kind, kind * kind])
    )  # (4, N)


class Window:
    """The last k frames of a video, joined."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.clear()

    def clear(self) -> None:
        """Another video begins."""
        self.pairs = Sums.of_nothing(1)
        self._truth, self._predicted = Sums.of_nothing(4), Sums.of_nothing(4)

    def step(self, frames: Sequence[JoinedFrame]) -> None:
        """Move on by a frame; `frames` are the video's latest, at least k + 1 if it has so many."""
        new, old = frames[-1], frames[-1 - self.length : -self.length]  # old: none at first
        self.pairs = self.pairs.plus(new.pairs, *(frame.pairs for frame in old))
        self._truth = self._truth.plus(new.truth, *(frame.truth for frame in old))
        self._predicted = self._predicted.plus(new.predicted, *(frame.predicted for frame in old))

    def truth(self, frames: Sequence[JoinedFrame]) -> Tubes:
        """Tubes of the ground truth; category and crowd flag from their first frame."""
        return _tubes(self._truth, [frame.truth for frame in frames[-self.length :]])

    def predicted(self, frames: Sequence[JoinedFrame]) -> Tubes:
        """Tubes of the prediction, likewise."""
        return _tubes(self._predicted, [frame.predicted for frame in frames[-self.length :]])


def _tubes(sums: Sums, frames: Sequence[Sums]) -> Tubes:
    count, total = sums.values[_FRAMES], sums.values[_KIND]
    kinds = total // count
    # Mean square and squared mean are equal only when a tube is the same in all of its frames.
    if (count * sums.values[_KIND_SQUARED] != total * total).any():
        for frame in reversed(frames):
            kinds[np.searchsorted(sums.keys, frame.keys)] = frame.values[_KIND]
    return Tubes(sums.keys, kinds >> 1, (kinds & 1).astype(bool), sums.values[_AREA])
