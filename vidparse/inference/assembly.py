"""Clip-PanoFCN's maps to the segments of a clip: masks of kernels, merged so that none overlap.

Miao et al., "Large-scale Video Panoptic Segmentation in the Wild", CVPR 2022, as its code has it,
but for the rule "intended", which is the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.errors import UsageError
from vidparse.inference.enlarge import Grid, grid_of
from vidparse.inference.kernels import (
    Embedding,
    Kernels,
    sigmoid,
    stuff_kernels,
    thing_kernels,
)
from vidparse.inference.merging import (
    LEAST_STUFF_AREA,
    Canvas,
    Mask,
    fill_stuff,
    greatest,
    masks_above,
    painted,
)
from vidparse.requests.model import RULES

LEAST_PROBABILITY = 0.4  # of a pixel of a thing, which must be above it
MOST_THINGS = 100  # of a clip
LEAST_THING_SCORE = 0.2  # for the merge
_MASKS_AT_ONCE = 32
# The greatest logit whose probability, as it is rounded, is not above LEAST_PROBABILITY.
_near = np.float32(np.log(LEAST_PROBABILITY / (1 - LEAST_PROBABILITY)))
_near = _near + np.arange(-99, 100, dtype=np.float32) * np.spacing(_near)
_LEAST_LOGIT = _near[sigmoid(_near) <= LEAST_PROBABILITY].max()


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
    return merge_clip(
        thing_kernels(centres, kernels, thing_embedding),
        stuff_kernels(regions, kernels, stuff_embedding),
        features,
        size_hw=size_hw,
        input_hw=input_hw,
        rule=rule,
    )


def merge_clip(
    found: Kernels,
    stuff: Kernels,
    features: np.ndarray,
    *,
    size_hw: tuple[int, int],
    input_hw: tuple[int, int],
    rule: str,
    least_stuff_area: int = LEAST_STUFF_AREA,
) -> tuple[np.ndarray, list[KernelSegment]]:
    """The segments of a clip of T frames by the kernels of its things and stuff.

    Args:
        found: of things, (N, D). stuff: of regions, (M, D), by class; class 0 stays empty.
        features, size_hw, input_hw, rule: see :func:`decode_clip`, which has the result and the
            error, too.
        least_stuff_area: free pixels in all frames that a class of stuff needs.
    """
    if rule not in RULES:
        raise UsageError(f"merging '{rule}': unknown; use {' or '.join(RULES)}")
    features = np.asarray(features, np.float32)
    size = (features.shape[2], features.shape[3])
    grid = grid_of(size, (input_hw[0], input_hw[1]), (size_hw[0], size_hw[1]))

    # The merge takes no thing of a score below the least, and masks only lower it.
    found = found.rows(np.flatnonzero(found.scores >= LEAST_THING_SCORE))
    scores, masks, values = _scored_masks(grid, features, found, stuff)

    # Draw the things.
    canvas = Canvas(grid, len(features), rule=rule)
    segments: list[KernelSegment] = []
    falling = np.argsort(-scores, kind="stable")[:MOST_THINGS]
    for i in falling[scores[falling] >= LEAST_THING_SCORE].tolist():
        if canvas.draw(Mask.joined([frame[i] for frame in masks])):
            class_id, score = int(found.class_ids[i]), float(scores[i])
            number = len(segments) + 1
            segments.append(KernelSegment(number, class_id, True, score, found.vectors[i]))

    # Fill the rest with stuff.
    table, winners = np.zeros(len(stuff.class_ids), np.uint16), []
    if len(table):
        winners = [greatest(grid, one, canvas.free(t)) for t, one in enumerate(values)]
        for i in fill_stuff(canvas, winners, stuff.class_ids, least_area=least_stuff_area):
            table[i] = number = len(segments) + 1
            class_id, score = int(stuff.class_ids[i]), float(stuff.scores[i])
            segments.append(KernelSegment(number, class_id, False, score, None))
    return painted(canvas, winners, table).astype(np.int32), segments


def _scored_masks(
    grid: Grid, features: np.ndarray, things: Kernels, stuff: Kernels
) -> tuple[np.ndarray, list[list[Mask]], np.ndarray]:
    """The masks of kernels over a clip's features (T, D, h, w).

    Returns:
        of each of M things the score, float32 (M,): its own times the mean of its mask where it is
        above LEAST_PROBABILITY, in all frames. Its mask in each frame. The probabilities of C
        classes of stuff, float32 (T, C, h, w).
    """
    frames, width, *size = features.shape
    count = len(stuff.vectors)
    vectors = np.concatenate([stuff.vectors, things.vectors])  # features are read once for both
    values = np.empty((frames, count, *size), np.float32)
    masks: list[list[Mask]] = [[] for _ in range(frames)]
    sums, areas = np.zeros(len(things.scores)), np.zeros(len(things.scores), np.int64)
    room = np.empty((min(len(vectors), _MASKS_AT_ONCE), size[0] * size[1]), np.float32)
    for t, frame in enumerate(features):
        for first in range(0, len(vectors), _MASKS_AT_ONCE):
            block = vectors[first : first + _MASKS_AT_ONCE]
            logits = np.matmul(block, frame.reshape(width, -1), out=room[: len(block)])
            logits = logits.reshape(-1, *size)
            begin = max(count - first, 0)
            values[t, first : first + begin] = sigmoid(logits[:begin])
            logits = logits[begin:]
            if not len(logits):
                continue

            high = logits > _LEAST_LOGIT
            masks[t] += masks_above(grid, logits, high, LEAST_PROBABILITY, t)
            rows = slice(first + begin - count, first + begin - count + len(logits))
            where = np.flatnonzero(high)
            ends = np.searchsorted(where, np.arange(len(logits) + 1) * logits[0].size)
            total = np.zeros(len(where) + 1)
            np.cumsum(sigmoid(logits.reshape(-1)[where]), out=total[1:])
            sums[rows] += np.diff(total[ends])
            areas[rows] += np.diff(ends)
    scores = things.scores * (sums / np.maximum(areas, 1))
    return scores.astype(np.float32), masks, values
