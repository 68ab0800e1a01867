"""Answers of masks with a score each, merged where networks give them, or at the size of frames.

The first is the rule of MaskFormer (Cheng et al., "Per-Pixel Classification is Not All You Need for
Semantic Segmentation", NeurIPS 2021, section 3.4), the second those of EoMT (Kerssies et al., "Your
ViT is secretly an image segmentation model", CVPR 2025) and of VidEoMT after it; both are as
transformers has them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np

from vidparse.inference.clip_segments import (
    ClipSegments,
    PanopticAnswer,
    keep_wanted,
    with_margins,
)
from vidparse.inference.upsample import upsample_argmax
from vidparse.labels import Labels
from vidparse.maps import Segment, SegmentMap
from vidparse.matting.margins import margins_of
from vidparse.requests.model import Merging

LEAST_PROBABILITY = 0.5  # of a pixel in its mask, times the mask's score
LEAST_SHARE = 0.8  # of those pixels that no other mask may have won
LEAST_QUERY_SHARE = 0.8  # of the own pixels of a query's mask, above which it is kept
_LEAST_WEIGHT = 1e-12  # whose logarithm is taken for that of 0
QUERY_KEYS = "queries"  # the number of the query, which follows one object


class _NamedMasks(PanopticAnswer):
    """Masks with a class each, `class_ids` (N,)."""

    class_ids: np.ndarray

    def misfit(self, labels: Labels) -> str:
        wrong = self.class_ids[(self.class_ids < 0) | (self.class_ids >= len(labels))]
        return f"finds class {int(wrong.max())}" if len(wrong) else ""


@dataclass(frozen=True, slots=True)
class Masks(_NamedMasks):
    """N masks, each of one object or stuff class, which is the same one in all T frames.

    inside: float32 (N, T, h, w), probability of each pixel. scores: float32 (N,), of the class.
    class_ids: int64 (N,). keys: float32 (N, D), by which an object is known again in later clips;
    None where a network has none. N may be 0.
    """

    inside: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    keys: np.ndarray | None = None

    def first(self, frames: int) -> Self:
        return replace(self, inside=self.inside[:, :frames])

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.inside).all() and np.isfinite(self.scores).all())

    def segments(
        self, size_hw: tuple[int, int], labels: Labels, merging: Merging, *, margins: bool = False
    ) -> ClipSegments:
        numbers: Numbering = {}
        maps = merge_masks(self, size_hw, things=labels.things, numbers=numbers)
        shown = tuple(keep_wanted(one, merging) for one in maps)
        if margins:
            owners = owners_of(numbers, self.class_ids, labels)
            shown = tuple(
                with_margins(one, self._margins(t, owners)) for t, one in enumerate(shown)
            )
        if self.keys is None:
            return ClipSegments(shown)
        seen = {one.id for found in shown for one in found.segments or ()}
        keys = {
            number: self.keys[mask]
            for (_, mask), number in numbers.items()
            if mask >= 0 and number in seen
        }
        return ClipSegments(shown, keys, "vectors")

    def _margins(self, t: int, owners: Mapping[int, Sequence[int]]) -> dict[int, np.ndarray]:
        """The lead over all other masks, as a logarithm, (h, w) by the number of the segment."""
        weighted = self.inside[:, t] * self.scores[:, None, None].astype(np.float32)  # (N, h, w)
        leads = margins_of(np.log(np.maximum(weighted, _LEAST_WEIGHT)), list(owners.values()))
        return dict(zip(owners, leads, strict=True))


Numbering = dict[tuple[int, int], int]  # (class, mask or -1 for stuff) -> segment


def owners_of(numbers: Numbering, class_ids: np.ndarray, labels: Labels) -> dict[int, list[int]]:
    """The masks of each segment, by its number: one of a thing, all of its class of stuff."""
    return {
        number: [mask] if mask >= 0 else np.flatnonzero(class_ids == class_id).tolist()
        for (class_id, mask), number in numbers.items()
    }


def merge_masks(
    masks: Masks,
    size_hw: tuple[int, int],
    *,
    things: Collection[int],
    numbers: Numbering | None = None,
) -> list[SegmentMap]:
    """Segments that do not overlap, of each of the T frames of a clip.

    A pixel goes to the mask with the greatest score times probability. A mask that wins
    LEAST_SHARE of its own pixels in a frame, or less, is dropped there, and the pixels that it won
    belong to nothing. Masks of one stuff class are one segment, with the greatest of their scores.

    Args:
        size_hw: of the result; masks are brought to it bilinearly.
        things: class ids of which each mask is a segment of its own.
        numbers: grows by the segments that appear.

    Returns:
        T maps, uint16; segments are numbered 1, 2, ... in order of appearance, and one number is
        one mask, or one stuff class, in all of them.
    """
    frames = masks.inside.shape[1]
    numbers = {} if numbers is None else numbers
    return [_merge_frame(masks, t, size_hw, things, numbers) for t in range(frames)]


def _merge_frame(
    masks: Masks,
    t: int,
    size_hw: tuple[int, int],
    things: Collection[int],
    numbers: Numbering,
) -> SegmentMap:
    """One frame of a clip; `numbers` grows by the segments that appear in it."""
    if not len(masks.scores):
        return SegmentMap(np.zeros(size_hw, np.uint16), ())

    # Weigh at the network's size: interpolation is linear, so the result is the same.
    weighted = masks.inside[:, t] * masks.scores[:, None, None].astype(np.float32)  # (N, h, w)
    winner = upsample_argmax(weighted, size_hw, dtype=np.uint16)  # (H, W)
    won = np.bincount(winner.ravel(), minlength=len(weighted))
    table = np.zeros(len(weighted), np.uint16)  # mask -> segment
    kept: dict[int, tuple[int, float]] = {}  # segment -> class, score

    # Keep the masks that hold most of their own pixels.
    for mask in np.flatnonzero(won).tolist():
        own = _count_sure(weighted[mask], size_hw)
        if own == 0 or won[mask] / own <= LEAST_SHARE:
            continue
        class_id, score = int(masks.class_ids[mask]), float(masks.scores[mask])
        key = (class_id, mask if class_id in things else -1)
        number = table[mask] = numbers.setdefault(key, len(numbers) + 1)
        kept[number] = class_id, max(kept.get(number, (class_id, 0.0))[1], score)

    ids = table.take(winner)
    segments = (
        _segment(ids, number, class_id, class_id in things, score)
        for number, (class_id, score) in kept.items()
    )
    return SegmentMap(ids, tuple(segments))


def _count_sure(weighted: np.ndarray, size_hw: tuple[int, int]) -> int:
    """The number of pixels with LEAST_PROBABILITY or more, of a mask (h, w) at `size_hw`."""
    if weighted.max() < LEAST_PROBABILITY:
        return 0

    # Enter the bar as a second class, so that only cells on the mask's border are enlarged.
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


@dataclass(frozen=True, slots=True)
class QueryMasks(_NamedMasks):
    """N masks, each of one object or stuff class, which is the same one in all T frames.

    logits: float32 (N, T, h, w); a pixel is in a mask where they are 0 or more.
    scores: float32 (N,), of the class. class_ids: int64 (N,).
    queries: int64 (N,), numbers that objects are known again by in later clips; None where a
        network has none. N may be 0.
    least_instance: None for panoptic masks. Else they are instances of things, which count from
        this score times mean probability on, and later ones lie on earlier ones.
    """

    logits: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    queries: np.ndarray | None = None
    least_instance: float | None = None

    def first(self, frames: int) -> Self:
        return replace(self, logits=self.logits[:, :frames])

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.logits).all() and np.isfinite(self.scores).all())

    def segments(
        self, size_hw: tuple[int, int], labels: Labels, merging: Merging, *, margins: bool = False
    ) -> ClipSegments:
        merge = self._merged if self.least_instance is None else self._painted
        numbers: Numbering = {}
        maps = [
            keep_wanted(merge(t, size_hw, labels, numbers), merging)
            for t in range(self.logits.shape[1])
        ]

        if margins:
            owners = owners_of(numbers, self.class_ids, labels)
            maps = [with_margins(one, self._margins(t, owners)) for t, one in enumerate(maps)]

        # Distinguish objects in later clips by their queries.
        if self.queries is None:
            return ClipSegments(tuple(maps))
        seen = {one.id for found in maps for one in found.segments or ()}
        keys = {
            number: self.queries[mask : mask + 1]
            for (_, mask), number in numbers.items()
            if mask >= 0 and number in seen
        }
        return ClipSegments(tuple(maps), keys, QUERY_KEYS)

    def _merged(
        self, t: int, size_hw: tuple[int, int], labels: Labels, numbers: Numbering
    ) -> SegmentMap:
        """Panoptic segments of one frame: a pixel goes to the greatest score times probability.

        It stays there if it is in that mask. A mask that wins LEAST_QUERY_SHARE of its pixels, or
        less, is dropped. Masks of one stuff class are one segment, with the greatest of their
        scores.
        """
        best = np.full(size_hw, -1, np.float32)
        winner = np.zeros(size_hw, np.uint16)  # mask + 1
        scores = np.concatenate([[0], self.scores]).astype(np.float32)
        own = np.zeros(len(scores), np.int64)  # pixels in each mask + 1
        for mask, full in enumerate(self._full(t, size_hw), start=1):
            # Take the sigmoid after enlarging, as EoMT does; those of `Masks` are taken before.
            weighted = scores[mask] * _probability(full)
            better = weighted > best
            np.copyto(best, weighted, where=better)
            np.copyto(winner, np.uint16(mask), where=better)
            own[mask] = np.count_nonzero(full >= 0)

        # Count what a mask won before pixels outside of it are dropped, as transformers does.
        won = np.bincount(winner.ravel(), minlength=len(own))
        inside = best >= 0.5 * scores.take(winner)  # the pixel is in the mask that has it
        taken = np.where(inside, winner, np.uint16(0))

        table = np.zeros(len(won), np.uint16)  # mask + 1 -> segment
        kept: dict[int, tuple[int, float]] = {}  # segment -> class, score
        for mask in np.flatnonzero(np.bincount(taken.ravel())).tolist():
            # Drop a mask without own pixels: logits just below 0 round to half a probability.
            if not mask or not own[mask] or won[mask] / own[mask] <= LEAST_QUERY_SHARE:
                continue
            class_id, score = int(self.class_ids[mask - 1]), float(self.scores[mask - 1])
            key = (class_id, mask - 1 if class_id in labels.things else -1)
            number = table[mask] = numbers.setdefault(key, len(numbers) + 1)
            kept[number] = class_id, max(kept.get(number, (class_id, 0.0))[1], score)
        return _segment_map(table.take(taken), kept, labels)

    def _painted(
        self, t: int, size_hw: tuple[int, int], labels: Labels, numbers: Numbering
    ) -> SegmentMap:
        """Instances of things of one frame, in the order of the masks."""
        ids = np.zeros(size_hw, np.uint16)
        kept: dict[int, tuple[int, float]] = {}
        for mask, full in enumerate(self._full(t, size_hw)):
            inside = full > 0
            area = np.count_nonzero(inside)
            class_id = int(self.class_ids[mask])
            if not area or class_id not in labels.things:
                continue

            # Divide with transformers' 1e-6, so that scores at the bound fall on the same side.
            sure = float(_probability(full)[inside].sum(dtype=np.float64) / (area + 1e-6))
            score = float(self.scores[mask]) * sure
            if score < (self.least_instance or 0.0):
                continue
            number = numbers.setdefault((class_id, mask), len(numbers) + 1)
            ids[inside] = number
            kept[number] = class_id, score
        return _segment_map(ids, kept, labels)

    def _margins(self, t: int, owners: Mapping[int, Sequence[int]]) -> dict[int, np.ndarray]:
        """The logits of each segment, or where it is less the lead over other masks, (h, w)."""
        logits = self.logits[:, t]  # (N, h, w)
        own = {number: logits[masks].max(axis=0) for number, masks in owners.items()}
        if self.least_instance is not None or not own:
            return own
        weighted = self.scores[:, None, None].astype(np.float32) * _probability(logits)
        leads = margins_of(np.log(np.maximum(weighted, _LEAST_WEIGHT)), list(owners.values()))
        return {
            number: np.minimum(one, lead)
            for (number, one), lead in zip(own.items(), leads, strict=True)
        }

    def _full(self, t: int, size_hw: tuple[int, int]) -> Iterator[np.ndarray]:
        """The logits (H, W) of each mask, one at a time."""
        for logits in self.logits[:, t]:
            yield cv2.resize(logits, size_hw[::-1], interpolation=cv2.INTER_LINEAR)


def _probability(logits: np.ndarray) -> np.ndarray:
    return np.reciprocal(1 + cv2.exp(-logits))


def _segment_map(ids: np.ndarray, kept: dict[int, tuple[int, float]], labels: Labels) -> SegmentMap:
    """The segments that have a pixel."""
    segments = []
    for number, (class_id, score) in kept.items():
        mask = (ids == number).view(np.uint8)
        area = cv2.countNonZero(mask)
        if area:
            x, y, width, height = cv2.boundingRect(mask)
            segments.append(
                Segment(
                    id=number,
                    class_id=class_id,
                    is_thing=class_id in labels.things,
                    score=round(score, 6),
                    area=area,
                    box=(x, y, width, height),
                )
            )
    return SegmentMap(ids, tuple(segments))
