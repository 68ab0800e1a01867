"""The contract of linkers, which give the segments of clip after clip ids for the whole video."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from vidparse.frame import Frame
from vidparse.inference.clip_segments import ClipSegments
from vidparse.maps import Segment, SegmentMap

_WIDEST_SHORT_ID = 65535


class Linker(ABC):
    """Turns the segments of clip after clip into segments whose ids are stable through a video.

    No id is ever given to two objects. A class of linkers is one line in `LINKERS`.

    Attributes:
        state: all that is remembered of the video, immutable; may be stored, and set to go on.
    """

    state: object

    @classmethod
    @abstractmethod
    def fits(cls, clip: ClipSegments) -> bool:
        """True where it can link such clips, as far as their keys go."""

    @abstractmethod
    def link(self, clip: ClipSegments, frames: Sequence[Frame]) -> list[SegmentMap]:
        """The segments of the next clip.

        Args:
            frames: the T frames of the clip, with their times and pixels.

        Returns:
            T maps: ids uint16 or, where these do not fit, uint32, and the segments by id.
        """

    @abstractmethod
    def cut(self) -> None:
        """A new shot: no object in it was seen before, but ids go on."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The ids that a video has used.

    stuff: id of each stuff class seen so far; it keeps one for the whole video.
    next_id: the lowest id that was never used; 0 stands for no segment.
    """

    stuff: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    next_id: int = 1

    def named(
        self, segments: Sequence[Segment], known: Mapping[int, int]
    ) -> tuple[dict[int, int], Numbers]:
        """Stable ids by the segments' own, new ones in the order of the segments.

        Args:
            known: stable ids by own ones, of segments that have one already.

        Returns:
            the ids of these segments, and the numbers after them.
        """
        stable: dict[int, int] = {}
        stuff, next_id = dict(self.stuff), self.next_id

        # Give stuff of one class one id through the video; things take the next.
        for one in segments:
            if one.id in known:
                stable[one.id] = known[one.id]
            elif not one.is_thing and one.class_id in stuff:
                stable[one.id] = stuff[one.class_id]
            else:
                stable[one.id] = next_id
                if not one.is_thing:
                    stuff[one.class_id] = next_id
                next_id += 1
        return stable, Numbers(MappingProxyType(stuff), next_id)


def renumbered(found: SegmentMap, stable: Mapping[int, int]) -> SegmentMap:
    """A map under stable ids.

    Args:
        found: ids of the frame's or clip's own; those without a segment become 0.
        stable: stable id of every segment, by its own.

    Returns:
        ids uint16 or, where these do not fit, uint32, and the segments by id.
    """
    segments = found.segments or ()
    highest = max((one.id for one in segments), default=0)
    widest = max((stable[one.id] for one in segments), default=0)
    table = np.zeros(highest + 2, np.uint16 if widest <= _WIDEST_SHORT_ID else np.uint32)
    for one in segments:
        table[one.id] = stable[one.id]
    linked = table.take(found.ids, mode="clip")  # the last entry is for ids without a segment

    # Take the margins along, which are in the order of the segments.
    order = sorted(range(len(segments)), key=lambda place: stable[segments[place].id])
    renamed = tuple(replace(segments[place], id=stable[segments[place].id]) for place in order)
    return SegmentMap(linked, renamed, None if found.margins is None else found.margins[order])


class ClipLinker(Linker):
    """Links nothing: a thing has a new id in every clip, and keeps it within the clip."""

    state: Numbers

    def __init__(self) -> None:
        self.state = Numbers()

    @classmethod
    def fits(cls, clip: ClipSegments) -> bool:
        return True

    def link(self, clip: ClipSegments, frames: Sequence[Frame]) -> list[SegmentMap]:
        linked: list[SegmentMap] = []
        known: dict[int, int] = {}
        for found in clip.maps:
            segments = found.segments or ()
            stable, self.state = self.state.named(segments, known)
            known |= stable
            linked.append(renumbered(found, stable))
        return linked

    def cut(self) -> None:
        return None  # clips end at cuts, and ids with them
