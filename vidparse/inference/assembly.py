"""Clip-PanoFCN's maps to the segments of a clip: masks of kernels, merged so that none overlap.

Miao et al., "Large-scale Video Panoptic Segmentation in the Wild", CVPR 2022, as its code has it,
but for the rule "intended", which is the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.errors import UsageError
from vidparse.inference.clip_segments import RULES
from vidparse.inference.enlarge import Crop, Part, axis_of, crop_of, greatest, part_above
from vidparse.inference.kernels import (
    Embedding,
    Kernels,
    sigmoid,
    stuff_kernels,
    thing_kernels,
)

LEAST_PROBABILITY = 0.4  # of a pixel of a thing, which must be above it
MOST_THINGS = 100  # of a clip
LEAST_THING_SCORE = 0.2  # for the merge
MOST_OVERLAP = 0.5  # share of a thing's pixels that better ones may have taken in a frame
LEAST_STUFF_AREA = 4096  # pixels of a class in a clip
# A little below the logit of LEAST_PROBABILITY, which rounding does not reach.
_LEAST_LOGIT = np.float32(np.log(LEAST_PROBABILITY / (1 - LEAST_PROBABILITY)) - 1e-4)
_MASKS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class KernelSegment:
    """An object or stuff class of a clip.

    id: above 0. class_id: of a thing 0..Kt - 1, of stuff 1..Ks. kernel: of a thing, (D,), not
    normalised, by which it is known again; None of stuff.
    """

    id: int
    class_id: int
    is_thing: bool
    score: float
    kernel: np.ndarray | None


def decode_clip(
    centres: Sequence[np.ndarray],
    regions: Sequence[np.ndarray],
    kernels: Sequence[np.ndarray],
    features: np.ndarray,
    *,
    thing_embedding: Embedding,
    stuff_embedding: Embedding,
    size_hw: tuple[int, int],
    input_hw: tuple[int, int],
    rule: str = "intended",
) -> tuple[np.ndarray, list[KernelSegment]]:
    """The segments of a clip of T frames.

    Things fill their pixels in falling order of score. By the rule "intended" a thing is left out
    of the frames where better ones took more than half of it, and fills what is free in the others.
    By "official", the published code's, a thing that is not left out of all frames is drawn whole
    over the others in all of them. Stuff fills what no thing took.

    Args:
        centres: logits (T, Kt, h, w) of the levels P3, P4, ... of the padded input.
        regions: logits (T, Ks + 1, h, w) likewise; channel 0 is any thing.
        kernels: (T, C, h, w) likewise.
        features: (T, D, H4, W4), at stride 4 of the padded input.
        thing_embedding, stuff_embedding: weight (D, C) and bias (D,).
        size_hw: of the result.
        input_hw: of the input before it was padded below and on the right.
        rule: "intended" or "official".

    Returns:
        ids int32 (T, H, W), 0 for nothing, and the segments: things in falling order of score, then
        stuff by class. By "official" a thing that others hide wholly is one of them, too.

    Raises:
        UsageError: there is no such rule.
    """
    if rule not in RULES:
        raise UsageError(f"merging '{rule}': unknown; use {' or '.join(RULES)}")
    features = np.asarray(features, np.float32)
    rows = axis_of(features.shape[2], input_hw[0], size_hw[0])
    columns = axis_of(features.shape[3], input_hw[1], size_hw[1])
    canvas = np.zeros((len(features), *size_hw), np.uint16)

    # Draw the things.
    found = thing_kernels(centres, kernels, thing_embedding)
    things, crops = _scored_masks(found, features)
    segments: list[KernelSegment] = []
    for i, mask in enumerate(crops):
        parts = [
            None if one is None else part_above(one, LEAST_PROBABILITY, rows, columns)
            for one in mask
        ]
        number = len(segments) + 1
        if draw_thing(canvas, parts, number, rule=rule):
            class_id, score = int(things.class_ids[i]), float(things.scores[i])
            segments.append(KernelSegment(number, class_id, True, score, things.vectors[i]))

    # Fill the rest with stuff.
    stuff = stuff_kernels(regions, kernels, stuff_embedding)
    if len(stuff.class_ids):
        masks = (sigmoid(_logits(stuff.vectors, one)) for one in features)
        winners = [greatest(one, rows, columns) for one in masks]
        first = len(segments) + 1
        for number, i in enumerate(fill_stuff(canvas, winners, stuff.class_ids, first), first):
            class_id, score = int(stuff.class_ids[i]), float(stuff.scores[i])
            segments.append(KernelSegment(number, class_id, False, score, None))
    return canvas.astype(np.int32), segments


def _scored_masks(found: Kernels, features: np.ndarray) -> tuple[Kernels, list[list[Crop | None]]]:
    """The things that may be drawn, in falling order of score, with their mask in each frame.

    A thing's score times the mean of its mask where it is above LEAST_PROBABILITY, in all frames.
    """
    # The merge takes no score below LEAST_THING_SCORE, and a mean is at most 1.
    found = found.rows(np.flatnonzero(found.scores >= LEAST_THING_SCORE))
    sums, counts = np.zeros(len(found.scores)), np.zeros(len(found.scores), np.int64)
    crops: list[list[Crop | None]] = [[] for _ in sums]
    for one in features:
        for first in range(0, len(crops), _MASKS_AT_ONCE):
            part = found.vectors[first : first + _MASKS_AT_ONCE]
            for i, logits in enumerate(_logits(part, one), first):
                high = logits > _LEAST_LOGIT
                inside = sigmoid(logits[high])
                inside = inside[inside > LEAST_PROBABILITY]
                sums[i] += inside.sum(dtype=np.float64)
                counts[i] += len(inside)
                crops[i].append(crop_of(logits, high))

    scores = (found.scores * (sums / np.maximum(counts, 1))).astype(np.float32)
    falling = np.argsort(-scores, kind="stable")[:MOST_THINGS]
    falling = falling[scores[falling] >= LEAST_THING_SCORE]
    scored = Kernels(found.vectors, scores, found.class_ids).rows(falling)
    return scored, [crops[i] for i in falling]


def _logits(vectors: np.ndarray, features: np.ndarray) -> np.ndarray:
    """float32 (M, h, w) of the masks of M kernels (M, D) over features (D, h, w)."""
    width, *size_hw = features.shape
    logits: np.ndarray = (vectors @ features.reshape(width, -1)).reshape(-1, *size_hw)
    return logits


def draw_thing(canvas: np.ndarray, parts: Sequence[Part | None], number: int, *, rule: str) -> bool:
    """Draw a thing over a clip's map (T, H, W) of what better things took; 0 is free.

    Args:
        parts: its pixels in each frame; None: it is away.
        number: what it is drawn with.

    Returns:
        False where it is left out of all frames, and nothing was drawn.
    """
    passing = [t for t, part in enumerate(parts) if part and _passes(part.of(canvas[t]), part)]
    for t, part in enumerate(parts):
        if part is None or not passing or (rule == "intended" and t not in passing):
            continue
        region = part.of(canvas[t])
        inside = part.inside & (region == 0) if rule == "intended" else part.inside
        np.copyto(region, number, where=inside)
    return bool(passing)


def _passes(region: np.ndarray, part: Part) -> bool:
    """True where the part has pixels and at most MOST_OVERLAP of them are taken in `region`."""
    own = np.count_nonzero(part.inside)
    taken = np.count_nonzero(part.inside & (region != 0))
    return bool(own > 0 and taken / own <= MOST_OVERLAP)


def fill_stuff(
    canvas: np.ndarray,
    winners: Sequence[np.ndarray],
    class_ids: np.ndarray,
    first: int,
    *,
    least_area: int = LEAST_STUFF_AREA,
) -> list[int]:
    """Fill the free pixels of a clip's map (T, H, W) with the classes that win there.

    Args:
        winners: place in `class_ids` of the winner at each pixel (H, W), frame by frame.
        class_ids: rising; pixels of class 0 stay free.
        first: number of the first class that is drawn; the others follow.
        least_area: free pixels in all frames that a class needs.

    Returns:
        the places in `class_ids` of the classes that were drawn.
    """
    free = canvas == 0
    areas = np.zeros(len(class_ids), np.int64)
    for here, winner in zip(free, winners, strict=True):
        areas += _areas(np.where(here, winner, winner.dtype.type(len(class_ids))), len(class_ids))
    drawn = [i for i, area in enumerate(areas) if class_ids[i] > 0 and area >= max(least_area, 1)]
    table = np.zeros(len(class_ids), canvas.dtype)
    table[drawn] = first + np.arange(len(drawn))
    for frame, here, winner in zip(canvas, free, winners, strict=True):
        np.copyto(frame, table.take(winner), where=here)
    return drawn


def _areas(ids: np.ndarray, count: int) -> np.ndarray:
    """How many pixels of a map (H, W) have each of the ids 0..count - 1."""
    if ids.dtype == np.uint8:
        return cv2.calcHist([ids], [0], None, [256], [0, 256]).ravel()[:count].astype(np.int64)
    return np.bincount(ids.ravel(), minlength=count)[:count]
