"""What is in an id map: one pass over its runs gives areas, boxes and COCO run lengths."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco

from vidparse.errors import OutputError
from vidparse.frame import Prediction, Segment
from vidparse.labels import Labels


@dataclass(frozen=True, slots=True)
class Runs:
    """An id map as runs of equal ids down its columns, in COCO's order.

    value, start, length: integers (R,); start counts pixels down the columns, left to right.
    A run never spans two columns.
    """

    size_hw: tuple[int, int]
    value: np.ndarray
    start: np.ndarray
    length: np.ndarray


@dataclass(frozen=True, slots=True)
class Region:
    """The pixels of one id."""

    id: int
    area: int  # pixels
    box: tuple[int, int, int, int]  # x, y, width, height in pixels


def runs_of(ids: np.ndarray) -> Runs:
    """Cut unsigned or signed integer ids (H, W) into runs."""
    height, width = ids.shape
    columns = np.ascontiguousarray(_transpose(ids))  # (W, H)
    flat = columns.ravel()  # (W * H,)
    changed = np.empty(flat.size, bool)
    np.not_equal(flat[1:], flat[:-1], out=changed[1:])
    changed[::height] = True
    start = np.flatnonzero(changed)
    length = np.diff(start, append=flat.size)
    return Runs((height, width), flat[start].astype(np.int64), start, length)


def semantic_segments(ids: np.ndarray, labels: Labels) -> tuple[Segment, ...]:
    """One segment for each class present, by class id; void is none.

    Args:
        ids: class ids, integers (H, W).
        labels: the label set; its void id is left out.

    Raises:
        OutputError: an id that is neither a class nor void.
    """
    return segments_of(runs_of(ids), labels)


def segments_of(runs: Runs, labels: Labels) -> tuple[Segment, ...]:
    """As :func:`semantic_segments`, from runs."""
    check_ids(runs.value, labels)
    return tuple(
        Segment(
            id=region.id,
            class_id=region.id,
            is_thing=region.id in labels.things,
            score=None,
            area=region.area,
            box=region.box,
        )
        for region in regions_of(runs)
        if region.id != labels.void
    )


def regions_of(runs: Runs) -> list[Region]:
    """Every id with its pixels and their box, by id."""
    present, slot = np.unique(runs.value, return_inverse=True)  # (K,), (R,)
    height, width = runs.size_hw
    x, top = np.divmod(runs.start, height)
    bottom = top + runs.length
    area = np.bincount(slot, weights=runs.length, minlength=len(present)).astype(np.int64)
    left = np.full(len(present), width)
    right, low = np.zeros_like(left), np.zeros_like(left)
    high = np.full(len(present), height)
    np.minimum.at(left, slot, x)
    np.maximum.at(right, slot, x + 1)
    np.minimum.at(high, slot, top)
    np.maximum.at(low, slot, bottom)
    boxes = np.stack([left, high, right - left, low - high], axis=1)  # (K, 4)
    return [
        Region(number, pixels, (box[0], box[1], box[2], box[3]))
        for number, pixels, box in zip(present.tolist(), area.tolist(), boxes.tolist(), strict=True)
    ]


def class_areas(prediction: Prediction, labels: Labels) -> np.ndarray:
    """Pixels of each class, int64 (C + 1,); the last entry is void.

    Raises:
        OutputError: an id that is neither a class nor void.
    """
    areas = np.zeros(len(labels) + 1, np.int64)
    if prediction.segments is not None:
        for segment in prediction.segments:
            areas[segment.class_id] += segment.area
        areas[-1] = prediction.ids.size - areas.sum()
        return areas
    runs = runs_of(prediction.ids)
    check_ids(runs.value, labels)
    value = np.where(runs.value == labels.void, len(labels), runs.value)
    counts = np.bincount(value, weights=runs.length, minlength=len(areas))
    return counts.astype(np.int64)


def class_map(prediction: Prediction, labels: Labels) -> np.ndarray:
    """Class ids (H, W) in `labels.dtype`, void where nothing is said.

    Raises:
        OutputError: an id that is neither a class nor void.
    """
    ids = prediction.ids
    if prediction.segments is None:
        check_ids(ids, labels)
        return ids.astype(labels.dtype, copy=False)
    if not prediction.segments:
        return np.full(ids.shape, labels.void, labels.dtype)
    known = max(segment.id for segment in prediction.segments)
    table = np.full(known + 2, labels.void, labels.dtype)
    for segment in prediction.segments:
        table[segment.id] = segment.class_id
    return table[np.minimum(ids, known + 1)]


def check_ids(ids: np.ndarray, labels: Labels) -> None:
    """Raise OutputError unless every id is a class or void: nothing may wrap on the way out."""
    if ids.size == 0:
        return
    if int(ids.min()) >= 0:
        if int(ids.max()) < len(labels):
            return
        wrong = ids >= len(labels)  # (H, W)
        wrong &= ids != labels.void
    else:
        wrong = ids < 0
    if wrong.any():
        raise OutputError(
            f"id {int(ids[wrong][0])}: neither one of the {len(labels)} classes of "
            f"'{labels.name}' nor void ({labels.void}); use the model's own label set"
        )


def run_lengths(runs: Runs, segment_id: int) -> dict:
    """COCO run lengths of one id: {"size": [h, w], "counts": str}, as pycocotools reads them."""
    mine = runs.value == segment_id
    start, length = runs.start[mine], runs.length[mine]
    end = start + length
    # Runs that meet across the foot of a column and the head of the next are one to COCO.
    apart = np.flatnonzero(start[1:] != end[:-1])
    start = np.concatenate([start[:1], start[1:][apart]])
    end = np.concatenate([end[:-1][apart], end[-1:]])
    counts = np.empty(2 * len(start), np.int64)
    counts[0::2] = start - np.concatenate([[0], end[:-1]])[: len(start)]
    counts[1::2] = end - start
    height, width = runs.size_hw
    total = height * width
    tail = total - int(counts.sum())
    if tail:
        counts = np.append(counts, tail)
    packed = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": packed["counts"].decode("ascii")}


def _transpose(ids: np.ndarray) -> np.ndarray:
    if ids.dtype in (np.uint8, np.uint16, np.int32) and ids.flags.c_contiguous:
        return cv2.transpose(ids)  # several times numpy's speed
    return ids.T
