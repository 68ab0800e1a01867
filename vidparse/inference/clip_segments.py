"""From a panoptic answer to the segments of its clip, which linkers join to a video."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

import numpy as np

from vidparse.labels import Labels
from vidparse.maps import Segment, SegmentMap
from vidparse.requests.model import Merging

MOST_MARGIN = 30  # of a logit: float16 holds such well
NUMBERS = ("queries", "centres")  # kinds of keys that are numbers, near each other or not


@dataclass(frozen=True, slots=True)
class ClipSegments:
    """The segments of T successive frames of one shot and one size.

    maps: one per frame. Their ids are numbers of the clip's own, from 1; a number is one object, or
        one stuff class, in all of them. 0 stands for no segment.
    keys: descriptors by which an object is found again in other clips, (D,) by its number; {} where
        there are none.
    key_kind: the kind of this network's keys, also where the clip has no object: "kernels",
        "vectors", "queries" (the number of a query that follows the object), "centres" (the number
        of its centre in the frame before, and in the last), or "" for none.
    hidden: class of each object that has a key and no pixel, by its number.
    """

    maps: tuple[SegmentMap, ...]
    keys: Mapping[int, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
    key_kind: str = ""
    hidden: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))


def keep_wanted(found: SegmentMap, merging: Merging) -> SegmentMap:
    """The same map, with nothing where a segment is not wanted."""
    segments = found.segments or ()
    wanted = tuple(one for one in segments if _is_kept(one, merging))

    # Spare the look-up of every pixel where all are wanted, as is usual.
    if len(wanted) == len(segments):
        return found
    table = np.zeros(max(one.id for one in segments) + 1, found.ids.dtype)
    for one in wanted:
        table[one.id] = one.id
    return SegmentMap(table.take(found.ids, mode="clip"), wanted)


def with_margins(found: SegmentMap, margins: Mapping[int, np.ndarray]) -> SegmentMap:
    """The same map with the margin of each of its segments; see :class:`SegmentMap`.

    Args:
        margins: (h, w) by the number of the segment; all of one size.
    """
    segments = found.segments or ()
    if not segments:
        return found
    planes = np.stack([margins[one.id] for one in segments])
    return replace(found, margins=np.clip(planes, -MOST_MARGIN, MOST_MARGIN).astype(np.float16))


def _is_kept(one: Segment, merging: Merging) -> bool:
    is_large = not one.is_thing or one.area >= merging.min_area
    return is_large and merging.wants(one.class_id, one.score, is_thing=one.is_thing)


class PanopticAnswer(ABC):
    """The answer of a panoptic network to T frames; a new kind is a class of it."""

    @abstractmethod
    def first(self, frames: int) -> Self:
        """The answer to the first frames of the clip."""

    @abstractmethod
    def misfit(self, labels: Labels) -> str:
        """The part that these labels cannot name, as "finds class 12"; "" where they fit."""

    @property
    @abstractmethod
    def is_finite(self) -> bool:
        """False where it holds NaN or infinite values, which mean nothing."""

    @abstractmethod
    def segments(
        self, size_hw: tuple[int, int], labels: Labels, merging: Merging, *, margins: bool = False
    ) -> ClipSegments:
        """Segments that do not overlap.

        Args:
            size_hw: of the frames, and of the result.
            labels: which classes are things; these are objects of their own.
            margins: give those of each map, too, where the network has a confidence of pixels.
        """
