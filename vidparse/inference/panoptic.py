"""From the masks of clips to panoptic maps, whose segments keep their id through a video.

Masks of one clip are merged by the rule of MaskFormer (Cheng et al., NeurIPS 2021, section 3.4), as
transformers has it; a linker gives the segments ids that clips share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from vidparse.errors import UsageError
from vidparse.inference.answer import Masks
from vidparse.inference.upsample import upsample_argmax
from vidparse.maps import Segment, SegmentMap

LEAST_PROBABILITY = 0.5  # of a pixel in its mask, times the mask's score
LEAST_SHARE = 0.8  # of those pixels that no other mask may have won
LEAST_IOU = 0.3  # of masks in successive frames, from which on they may be one object
_WIDEST_SHORT_ID = 65535


class Linker(ABC):
    """Turns the masks of clip after clip into segments whose ids are stable through a video.

    No id is ever given to two objects. A class of linkers is added to `LINKERS`.

    Args:
        things: class ids of which each mask is an object of its own.
        classes: class ids to keep; None keeps all.

    Attributes:
        state: all that is remembered of the video, immutable; may be stored, and set to go on.
    """

    state: Any

    def __init__(self, things: Collection[int], classes: Collection[int] | None = None) -> None:
        self.things, self.classes = things, classes

    @classmethod
    @abstractmethod
    def fits(cls, masks: Masks) -> bool:
        """True where it can link such masks, as far as their keys go."""

    @abstractmethod
    def link(self, masks: Masks, size_hw: tuple[int, int]) -> list[SegmentMap]:
        """The segments of the next clip.

        Args:
            masks: N masks over T frames, each with its class, score and (where there are any) key.
            size_hw: of the result.

        Returns:
            T maps: ids uint16 or, where these do not fit, uint32, and the segments by id.
        """

    @abstractmethod
    def cut(self) -> None:
        """A new shot: no object in it was seen before, but ids go on."""


@dataclass(frozen=True, slots=True)
class Links:
    """The memory from frame to frame.

    ids: the last frame's id map (H, W); None before the first one and after a cut.
    things: class of each thing in it, by id. stuff: id of each stuff class seen so far.
    next_id: the lowest id that was never used; 0 says "nothing here".
    """

    ids: np.ndarray | None = None
    things: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    stuff: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    next_id: int = 1


class OverlapLinker(Linker):
    """Links by the overlap of masks in successive frames.

    Within a clip a mask is one thing. From clip to clip a thing takes the id of the one in the
    frame before that it overlaps best: the assignment with the greatest sum of mask IoUs, among
    pairs of one class with an IoU of `least_iou` or more. All others get new ids, also one that
    comes back after a frame without it. A stuff class keeps one id for the whole video.

    Args:
        least_iou: above 0, at most 1.
    """

    state: Links

    def __init__(
        self,
        things: Collection[int] = (),
        classes: Collection[int] | None = None,
        *,
        least_iou: float = LEAST_IOU,
    ) -> None:
        super().__init__(things, classes)
        if not 0 < least_iou <= 1:
            raise ValueError(f"least_iou {least_iou}: must be above 0 and at most 1")
        self._least_iou = least_iou
        self.state = Links()

    @classmethod
    def fits(cls, masks: Masks) -> bool:
        return True

    def link(self, masks: Masks, size_hw: tuple[int, int]) -> list[SegmentMap]:
        linked = []
        known: dict[int, int] = {}  # segments of the clip so far -> their stable ids
        for merged in merge_masks(masks, size_hw, things=self.things):
            segments = merged.segments or ()
            if self.classes is not None:
                segments = tuple(one for one in segments if one.class_id in self.classes)
            linked.append(self.follow(merged.ids, segments, known))
        return linked

    def follow(
        self, ids: np.ndarray, segments: Sequence[Segment], known: dict[int, int] | None = None
    ) -> SegmentMap:
        """The segments of the next frame under stable ids.

        Args:
            ids: segment ids of this frame's own, unsigned integers (H, W).
            segments: their records; ids without a segment become 0.
            known: stable ids of segments seen earlier in the clip, by their own; it grows.
        """
        stable = self._stable_ids(ids, segments, known or {})
        if known is not None:
            known.update(stable)

        highest = max(stable, default=0)
        widest = max(stable.values(), default=0)
        table = np.zeros(highest + 2, np.uint16 if widest <= _WIDEST_SHORT_ID else np.uint32)
        for own, its_id in stable.items():
            table[own] = its_id
        linked = table.take(ids, mode="clip")  # the last entry is for ids without a segment

        things = {stable[one.id]: one.class_id for one in segments if one.is_thing}
        self.state = replace(self.state, ids=linked, things=MappingProxyType(things))
        renamed = (replace(segment, id=stable[segment.id]) for segment in segments)
        return SegmentMap(linked, tuple(sorted(renamed, key=lambda segment: segment.id)))

    def cut(self) -> None:
        self.state = replace(self.state, ids=None, things=MappingProxyType({}))

    def _stable_ids(
        self, ids: np.ndarray, segments: Sequence[Segment], known: Mapping[int, int]
    ) -> dict[int, int]:
        """This frame's ids -> stable ones, new ones included."""
        stable = {one.id: known[one.id] for one in segments if one.id in known}
        unknown = [one for one in segments if one.is_thing and one.id not in known]
        stable |= self._matches(ids, unknown, taken=set(known.values()))
        stuff, next_id = dict(self.state.stuff), self.state.next_id
        for segment in segments:
            if segment.id in stable:
                continue
            if not segment.is_thing and segment.class_id in stuff:
                stable[segment.id] = stuff[segment.class_id]
                continue
            stable[segment.id] = next_id
            if not segment.is_thing:
                stuff[segment.class_id] = next_id
            next_id += 1
        self.state = replace(self.state, stuff=MappingProxyType(stuff), next_id=next_id)
        return stable

    def _matches(
        self, ids: np.ndarray, things: Sequence[Segment], taken: Collection[int]
    ) -> dict[int, int]:
        """This frame's ids of things that were there in the frame before -> their ids there."""
        last = self.state.ids
        known = {one: kind for one, kind in self.state.things.items() if one not in taken}
        if last is None or last.shape != ids.shape or not things or not known:
            return {}
        from scipy.optimize import linear_sum_assignment

        before = list(known)
        iou = mask_ious(ids, [segment.id for segment in things], last, before)  # (N, M)
        class_ids = np.array([segment.class_id for segment in things])
        same = class_ids[:, None] == np.array(list(known.values()))
        iou[~same | (iou < self._least_iou)] = 0
        pairs = zip(*linear_sum_assignment(iou, maximize=True), strict=True)
        return {things[row].id: before[column] for row, column in pairs if iou[row, column] > 0}


LINKERS: dict[str, type[Linker]] = {"overlap": OverlapLinker}  # the last that fits is taken


def make_linker(
    name: str | None,
    masks: Masks,
    things: Collection[int],
    classes: Collection[int] | None = None,
) -> Linker:
    """The linker called `name`, or the last of LINKERS that fits these masks.

    Raises:
        UsageError: no linker has this name.
    """
    if name is None:
        name = [one for one, kind in LINKERS.items() if kind.fits(masks)][-1]
    if name not in LINKERS:
        raise UsageError(f"linker '{name}': unknown; use {', '.join(LINKERS)}")
    return LINKERS[name](things, classes)


def mask_ious(
    a: np.ndarray, a_ids: Sequence[int], b: np.ndarray, b_ids: Sequence[int]
) -> np.ndarray:
    """IoU float64 (N, M) of the regions `a_ids` of map `a` with `b_ids` of `b`, both (H, W)."""
    a_slots, b_slots = _slots(a, a_ids), _slots(b, b_ids)  # 0 is everything else
    rows, columns = len(a_ids) + 1, len(b_ids) + 1
    pairs = a_slots.astype(np.int64).ravel() * columns + b_slots.ravel()
    shared = np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    return (shared / np.maximum(union, 1))[1:, 1:]


def _slots(ids: np.ndarray, listed: Sequence[int]) -> np.ndarray:
    """uint16 (H, W): 1 + the place in `listed`, 0 for ids that are not there."""
    table = np.zeros(max(listed) + 2, np.uint16)
    table[np.asarray(listed)] = np.arange(1, len(listed) + 1)
    return table.take(ids, mode="clip")


def merge_masks(
    masks: Masks, size_hw: tuple[int, int], *, things: Collection[int]
) -> list[SegmentMap]:
    """Segments that do not overlap, of each of the T frames of a clip.

    A pixel goes to the mask with the greatest score times probability. A mask that wins
    LEAST_SHARE of its own pixels in a frame, or less, is dropped there, and the pixels that it won
    belong to nothing. Masks of one stuff class are one segment, with the greatest of their scores.

    Args:
        size_hw: of the result; masks are brought to it bilinearly.
        things: class ids of which each mask is a segment of its own.

    Returns:
        T maps, uint16; segments are numbered 1, 2, ... in order of appearance, and one number is
        one mask, or one stuff class, in all of them.
    """
    frames = masks.inside.shape[1]
    numbers: dict[tuple[int, int], int] = {}  # (class, mask or -1 for stuff) -> segment
    return [_merge_frame(masks, t, size_hw, things, numbers) for t in range(frames)]


def _merge_frame(
    masks: Masks,
    t: int,
    size_hw: tuple[int, int],
    things: Collection[int],
    numbers: dict[tuple[int, int], int],
) -> SegmentMap:
    """One frame of a clip; `numbers` grows by the segments that appear in it."""
    if not len(masks.scores):
        return SegmentMap(np.zeros(size_hw, np.uint16), ())
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
