"""From scored masks to a panoptic map: every pixel to at most one segment.

The merging rule of MaskFormer (Cheng et al., NeurIPS 2021, section 3.4), as transformers has it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.inference.upsample import upsample_argmax
from vidparse.maps import Segment

LEAST_PROBABILITY = 0.5  # of a pixel in its mask, times the mask's score
LEAST_SHARE = 0.8  # of those pixels that no other mask may have won


@dataclass(frozen=True, slots=True)
class ScoredMasks:
    """What a mask-classification network says of one picture; N may be 0.

    masks: float32 (N, h, w), probability of each pixel. scores: float32 (N,), of the class.
    class_ids: int64 (N,).
    """

    masks: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.masks.nbytes + self.scores.nbytes + self.class_ids.nbytes


def merge_masks(
    found: ScoredMasks, size_hw: tuple[int, int], *, things: Collection[int]
) -> tuple[np.ndarray, tuple[Segment, ...]]:
    """Segments that do not overlap.

    A pixel goes to the mask with the greatest score times probability. A mask that wins
    LEAST_SHARE of its own pixels, or less, is dropped, and the pixels that it won belong to
    nothing. Masks of one stuff class are one segment, with the greatest of their scores.

    Args:
        size_hw: of the result; masks are brought to it bilinearly.
        things: class ids of which each mask is a segment of its own.

    Returns:
        ids uint16 (H, W), 0 where there is nothing, and the segments 1, 2, ...
    """
    if not len(found.scores):
        return np.zeros(size_hw, np.uint16), ()
    weighted = found.masks * found.scores[:, None, None].astype(np.float32)  # (N, h, w)
    winner = upsample_argmax(weighted, size_hw, dtype=np.uint16)  # (H, W)
    won = np.bincount(winner.ravel(), minlength=len(weighted))
    table = np.zeros(len(weighted), np.uint16)  # mask -> segment
    numbers: dict[tuple[int, int], int] = {}  # (class, mask or -1 for stuff) -> segment
    scores: dict[int, float] = {}
    for mask in np.flatnonzero(won).tolist():
        own = _count_sure(weighted[mask], size_hw)
        if own == 0 or won[mask] / own <= LEAST_SHARE:
            continue
        class_id = int(found.class_ids[mask])
        key = (class_id, mask if class_id in things else -1)
        number = numbers.setdefault(key, len(numbers) + 1)
        table[mask] = number
        scores[number] = max(scores.get(number, 0.0), float(found.scores[mask]))
    ids = table.take(winner)
    segments = (
        _segment(ids, number, class_id, class_id in things, scores[number])
        for (class_id, _), number in numbers.items()
    )
    return ids, tuple(segments)


def _count_sure(weighted: np.ndarray, size_hw: tuple[int, int]) -> int:
    """How many pixels have LEAST_PROBABILITY or more, of one mask (h, w) brought to `size_hw`."""
    if weighted.max() < LEAST_PROBABILITY:
        return 0
    bar = np.full_like(weighted, LEAST_PROBABILITY)
    below = upsample_argmax(np.stack([weighted, bar]), size_hw)  # the bar must be greater to win
    return below.size - cv2.countNonZero(below)


def _segment(ids: np.ndarray, number: int, class_id: int, is_thing: bool, score: float) -> Segment:
    mask = (ids == number).view(np.uint8)  # (H, W)
    x, y, width, height = cv2.boundingRect(mask)
    return Segment(
        id=number,
        class_id=class_id,
        is_thing=is_thing,
        score=round(score, 6),
        area=cv2.countNonZero(mask),
        box=(x, y, width, height),
    )
