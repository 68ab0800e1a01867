"""Ids linked by the overlap of objects in successive frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from vidparse.frame import Frame
from vidparse.inference.clip_segments import ClipSegments
from vidparse.inference.panoptic import Linker, Numbers, renumbered
from vidparse.maps import Segment, SegmentMap

LEAST_IOU = 0.3  # of masks in successive frames, from which on they may be one object


@dataclass(frozen=True, slots=True)
class Links:
    """The memory from frame to frame.

    ids: the last frame's id map (H, W); None before the first one and after a cut.
    things: class of each thing in it, by id.
    """

    ids: np.ndarray | None = None
    things: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    numbers: Numbers = field(default_factory=Numbers)


class OverlapLinker(Linker):
    """Links by the overlap of masks in successive frames.

    Within a clip a number is one thing. From clip to clip a thing takes the id of the one in the
    frame before that it overlaps best: the assignment with the greatest sum of mask IoUs, among
    pairs of one class with an IoU of `least_iou` or more. All others get new ids, also one that
    comes back after a frame without it. A stuff class keeps one id for the whole video.

    Args:
        least_iou: above 0, at most 1.
    """

    state: Links

    def __init__(self, *, least_iou: float = LEAST_IOU) -> None:
        if not 0 < least_iou <= 1:
            raise ValueError(f"least_iou {least_iou}: must be above 0 and at most 1")
        self._least_iou = least_iou
        self.state = Links()

    @classmethod
    def fits(cls, clip: ClipSegments) -> bool:
        return True

    def link(self, clip: ClipSegments, frames: Sequence[Frame]) -> list[SegmentMap]:
        known: dict[int, int] = {}  # segments of the clip so far -> their stable ids
        return [self.follow(found, known) for found in clip.maps]

    def follow(self, found: SegmentMap, known: dict[int, int] | None = None) -> SegmentMap:
        """The segments of the next frame under stable ids.

        Args:
            found: ids of this frame's own; those without a segment become 0.
            known: stable ids of segments seen earlier in the clip, by their own; it grows.
        """
        earlier, segments = known or {}, found.segments or ()

        # Match only what is new in this clip, and never with an id that the clip has in use.
        unknown = [one for one in segments if one.is_thing and one.id not in earlier]
        matches = self._matches(found.ids, unknown, taken=set(earlier.values()))
        stable, numbers = self.state.numbers.named(segments, {**earlier, **matches})
        if known is not None:
            known.update(stable)

        linked = renumbered(found, stable)
        things = {stable[one.id]: one.class_id for one in segments if one.is_thing}
        self.state = Links(linked.ids, MappingProxyType(things), numbers)
        return linked

    def cut(self) -> None:
        self.state = replace(self.state, ids=None, things=MappingProxyType({}))

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

        # Make unfit pairs worth nothing, so that they displace no pair that may be one object.
        iou[~same | (iou < self._least_iou)] = 0
        pairs = zip(*linear_sum_assignment(iou, maximize=True), strict=True)
        return {things[row].id: before[column] for row, column in pairs if iou[row, column] > 0}


def mask_ious(
    a: np.ndarray, a_ids: Sequence[int], b: np.ndarray, b_ids: Sequence[int]
) -> NDArray[np.float64]:
    """IoU float64 (N, M) of the regions `a_ids` of map `a` with `b_ids` of `b`, both (H, W)."""
    # Count all pairs in one pass: a comparison per pair would read the maps N * M times.
    a_slots, b_slots = _slots(a, a_ids), _slots(b, b_ids)  # 0 is everything else
    rows, columns = len(a_ids) + 1, len(b_ids) + 1
    pairs = a_slots.astype(np.int64).ravel() * columns + b_slots.ravel()
    shared = np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    iou: NDArray[np.float64] = shared / np.maximum(union, 1)
    return iou[1:, 1:]


def _slots(ids: np.ndarray, listed: Sequence[int]) -> np.ndarray:
    """uint16 (H, W): 1 + the place in `listed`, 0 for ids that are not there."""
    table = np.zeros(max(listed) + 2, np.uint16)
    table[np.asarray(listed)] = np.arange(1, len(listed) + 1)
    return table.take(ids, mode="clip")
