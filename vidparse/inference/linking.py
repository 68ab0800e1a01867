"""From segments of single frames to segments that keep their id through a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from vidparse.maps import Segment

LEAST_IOU = 0.3  # of masks in successive frames, from which on they may be one object
_WIDEST_SHORT_ID = 65535


@dataclass(frozen=True, slots=True)
class Links:
    """What is remembered from frame to frame.

    ids: the last frame's id map (H, W); None before the first one and after a cut.
    things: class of each thing in it, by id. stuff: id of each stuff class seen so far.
    next_id: the lowest id that was never used; 0 says "nothing here".
    """

    ids: np.ndarray | None = None
    things: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    stuff: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    next_id: int = 1


class SegmentLinker:
    """Gives the segments of each frame ids that last.

    A thing takes the id of the one in the frame before that it overlaps best: the assignment with
    the greatest sum of mask IoUs, among pairs of one class with an IoU of `least_iou` or more. All
    others get new ids, also one that comes back after a frame without it. A stuff class keeps
    one id for the whole video. No id is ever given to two objects.

    Args:
        least_iou: above 0, at most 1.
    """

    def __init__(self, *, least_iou: float = LEAST_IOU) -> None:
        if not 0 < least_iou <= 1:
            raise ValueError(f"least_iou {least_iou}: must be above 0 and at most 1")
        self._least_iou = least_iou
        self.links = Links()  # may be stored, and set to go on from

    def link(
        self, ids: np.ndarray, segments: Sequence[Segment]
    ) -> tuple[np.ndarray, tuple[Segment, ...]]:
        """The same segments under ids that last.

        Args:
            ids: this frame's own segment ids, unsigned integers (H, W).
            segments: what they are; ids without a segment become 0.

        Returns:
            ids (H, W), uint16 or, where these do not fit, uint32; and the segments, by id.
        """
        lasting = self._lasting_ids(ids, segments)
        highest = max(lasting, default=0)
        widest = max(lasting.values(), default=0)
        table = np.zeros(highest + 2, np.uint16 if widest <= _WIDEST_SHORT_ID else np.uint32)
        for own, known in lasting.items():
            table[own] = known
        linked = table.take(ids, mode="clip")  # the last entry is for ids without a segment
        things = {lasting[one.id]: one.class_id for one in segments if one.is_thing}
        self.links = replace(self.links, ids=linked, things=MappingProxyType(things))
        renamed = (replace(segment, id=lasting[segment.id]) for segment in segments)
        return linked, tuple(sorted(renamed, key=lambda segment: segment.id))

    def cut(self) -> None:
        """A new shot: nothing in it is what was seen before, but ids go on."""
        self.links = replace(self.links, ids=None, things=MappingProxyType({}))

    def _lasting_ids(self, ids: np.ndarray, segments: Sequence[Segment]) -> dict[int, int]:
        """This frame's ids -> lasting ones, new ones included."""
        lasting = self._matches(ids, [segment for segment in segments if segment.is_thing])
        stuff, next_id = dict(self.links.stuff), self.links.next_id
        for segment in segments:
            if segment.id in lasting:
                continue
            if not segment.is_thing and segment.class_id in stuff:
                lasting[segment.id] = stuff[segment.class_id]
                continue
            lasting[segment.id] = next_id
            if not segment.is_thing:
                stuff[segment.class_id] = next_id
            next_id += 1
        self.links = replace(self.links, stuff=MappingProxyType(stuff), next_id=next_id)
        return lasting

    def _matches(self, ids: np.ndarray, things: Sequence[Segment]) -> dict[int, int]:
        """This frame's ids of things that were there in the frame before -> their ids there."""
        last, known = self.links.ids, self.links.things
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
