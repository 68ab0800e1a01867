"""What panoptic measures need of a frame: its segments, and the pixels that pairs of ids share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidparse.panoptic import VOID, PanopticMap

_SHIFT = 32  # pair code = (truth id << 32) | said id
_LOW = (1 << _SHIFT) - 1
_MAX_ID = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Segments:
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
    truth: Segments
    said: Segments


def frame_overlaps(truth: PanopticMap, said: PanopticMap, *, known: np.ndarray) -> FrameOverlaps:
    """Count a frame.

    Args:
        truth, said: ids (H, W), VOID or from 1 to 2**31 - 1; areas claimed by `truth` are trusted,
            as the published evaluators do, those of `said` are not.
        known: bool (K,), the categories that segments may have.

    Raises:
        ValueError: shapes differ, an id is out of range, not listed or listed twice, or a category
            is not known.
    """
    if truth.ids.shape != said.ids.shape:
        raise ValueError(f"truth is {truth.ids.shape}, prediction {said.ids.shape}")
    codes, pixels = count_pairs(truth.ids, said.ids)
    true_ids, said_ids = split_codes(codes)
    return FrameOverlaps(
        codes,
        pixels,
        _segments("ground truth", truth, true_ids, pixels, known, claimed=truth.areas),
        _segments("prediction", said, said_ids, pixels, known),
    )


def count_pairs(truth: np.ndarray, said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the id pairs of two maps, ascending, and how many pixels have each.

    Maps are made of runs, so runs are found first and only their pairs are sorted.

    Raises:
        ValueError: an id is below 0 or above 2**31 - 1.
    """
    truth, said = truth.reshape(-1), said.reshape(-1)
    if not len(truth):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    changes = truth[1:] != truth[:-1]
    changes |= said[1:] != said[:-1]
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=len(truth))
    one, other = truth[starts].astype(np.int64), said[starts].astype(np.int64)
    low, high = min(one.min(), other.min()), max(one.max(), other.max())
    if low < 0 or high > _MAX_ID:
        raise ValueError(f"segment ids must lie in 0..{_MAX_ID}, found {low}..{high}")
    runs = (one << _SHIFT) | other
    codes = np.unique(runs)
    place = np.searchsorted(codes, runs)  # a third of the time of unique's return_inverse
    return codes, np.bincount(place, weights=lengths).astype(np.int64)


def split_codes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth ids and said ids of pair codes."""
    return codes >> _SHIFT, codes & _LOW


def _segments(
    who: str,
    given: PanopticMap,
    ids: np.ndarray,
    pixels: np.ndarray,
    known: np.ndarray,
    *,
    claimed: np.ndarray | None = None,
) -> Segments:
    """Segments of one map; `ids` occur in it, with `pixels` each time."""
    rows = np.asarray(given.segments, np.int64).reshape(-1, 3)
    rows_by_id = np.argsort(rows[:, 0], kind="stable")
    listed, categories, crowd = rows[rows_by_id].T
    strange = (categories < 0) | (categories >= len(known))
    strange[~strange] = ~known[categories[~strange]]
    if strange.any():
        segment, category = listed[strange][0], categories[strange][0]
        raise ValueError(f"{who}: segment {segment} has unknown category {category}")
    if VOID in listed:
        raise ValueError(f"{who}: id {VOID} is void and can not be listed")
    if (listed[1:] == listed[:-1]).any():
        segment = listed[1:][listed[1:] == listed[:-1]][0]
        raise ValueError(f"{who}: segment {segment} is listed twice")
    missing = np.setdiff1d(ids, np.append(listed, VOID))
    if len(missing):
        raise ValueError(f"{who}: id {missing[0]} is in the picture but not in its list")
    if claimed is not None:
        areas = np.asarray(claimed, np.int64)[rows_by_id]
    else:
        areas = np.zeros(len(listed), np.int64)
        inside = ids != VOID
        np.add.at(areas, np.searchsorted(listed, ids[inside]), pixels[inside])
    return Segments(listed, categories, crowd != 0, areas, rows[:, 0])
