"""Clip-PanoFCN's maps to the segments of a clip: masks of kernels, merged so that none overlap.

Miao et al., "Large-scale Video Panoptic Segmentation in the Wild", CVPR 2022, as its code has it,
but for the rule "intended", which is the paper's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.errors import UsageError
from vidparse.inference.clip_segments import RULES
from vidparse.inference.enlarge import Part, axis_of, greatest, part_above
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
_MASKS_AT_ONCE = 32
# A little below the logit of LEAST_PROBABILITY, which rounding does not reach.
_LEAST_LOGIT = np.float32(np.log(LEAST_PROBABILITY / (1 - LEAST_PROBABILITY)) - 1e-4)


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
    things, masks = _scored_masks(found, features)
    segments: list[KernelSegment] = []
    for i, mask in enumerate(masks):
        parts = [
            part_above(one, one > _LEAST_LOGIT, LEAST_PROBABILITY, rows, columns) for one in mask
        ]
        number = len(segments) + 1
        if draw_thing(canvas, parts, number, rule=rule):
            class_id, score = int(things.class_ids[i]), float(things.scores[i])
            segments.append(KernelSegment(number, class_id, True, score, things.vectors[i]))

    # Fill the rest with stuff.
    stuff = stuff_kernels(regions, kernels, stuff_embedding)
    if len(stuff.class_ids):
        winners = [
            greatest(sigmoid(_logits(stuff.vectors, one)), rows, columns) for one in features
        ]
        first = len(segments) + 1
        for number, i in enumerate(fill_stuff(canvas, winners, stuff.class_ids, first), first):
            class_id, score = int(stuff.class_ids[i]), float(stuff.scores[i])
            segments.append(KernelSegment(number, class_id, False, score, None))
    return canvas.astype(np.int32), segments


def _scored_masks(found: Kernels, features: np.ndarray) -> tuple[Kernels, list[np.ndarray]]:
    """The things that may be drawn, in falling order of score, with logits (T, h, w) of their mask.

    A thing's score times the mean of its mask where it is above LEAST_PROBABILITY, in all frames.
    """
    # The merge takes no score below LEAST_THING_SCORE, and a mean is at most 1.
    found = found.rows(np.flatnonzero(found.scores >= LEAST_THING_SCORE))
    scores = np.zeros(len(found.scores), np.float32)
    masks: dict[int, np.ndarray] = {}
    for i, logits in enumerate(_all_logits(found.vectors, features)):
        inside = sigmoid(logits[logits > _LEAST_LOGIT])
        inside = inside[inside > LEAST_PROBABILITY]
        if len(inside):
            scores[i] = found.scores[i] * inside.mean(dtype=np.float64)
        if scores[i] >= LEAST_THING_SCORE:
            masks[i] = logits.copy()
    falling = np.argsort(-scores, kind="stable")[:MOST_THINGS]
    falling = falling[scores[falling] >= LEAST_THING_SCORE]
    scored = Kernels(found.vectors, scores, found.class_ids).rows(falling)
    return scored, [masks[i] for i in falling.tolist()]


def _all_logits(vectors: np.ndarray, features: np.ndarray) -> Iterator[np.ndarray]:
    """float32 (T, h, w) of the mask of each of M kernels (M, D) over features (T, D, h, w)."""
    for first in range(0, len(vectors), _MASKS_AT_ONCE):  # features are read once for several
        block = vectors[first : first + _MASKS_AT_ONCE]
        yield from np.stack([_logits(block, one) for one in features], axis=1)


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
    free = [
        None if part is None else part.inside & (part.of(canvas[t]) == 0)
        for t, part in enumerate(parts)
    ]
    passing = [
        part is not None and own is not None and _passes(part.inside, own)
        for part, own in zip(parts, free, strict=True)
    ]
    for t, part in enumerate(parts):
        if part is None:
            continue
        if rule == "intended" and passing[t]:
            np.copyto(part.of(canvas[t]), number, where=free[t])
        if rule == "official" and any(passing):
            np.copyto(part.of(canvas[t]), number, where=part.inside)
    return any(passing)


def _passes(inside: np.ndarray, free: np.ndarray) -> bool:
    """True where there are pixels and at most MOST_OVERLAP of them are not free."""
    own = np.count_nonzero(inside)
    return bool(own > 0 and (own - np.count_nonzero(free)) / own <= MOST_OVERLAP)


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
    areas = [
        sum(
            np.count_nonzero(here & (winner == i))
            for here, winner in zip(free, winners, strict=True)
        )
        for i in range(len(class_ids))
    ]
    drawn = [i for i, area in enumerate(areas) if class_ids[i] > 0 and area >= max(least_area, 1)]
    table = np.zeros(len(class_ids), canvas.dtype)
    table[drawn] = first + np.arange(len(drawn))
    for frame, here, winner in zip(canvas, free, winners, strict=True):
        np.copyto(frame, table.take(winner), where=here)
    return drawn
