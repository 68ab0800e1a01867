"""Ids by the queries of a network that follow one object each from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from vidparse.frame import Frame
from vidparse.inference.clip_segments import ClipSegments
from vidparse.inference.panoptic import Linker, Numbers, renumbered
from vidparse.inference.query_masks import KEY_KIND
from vidparse.maps import SegmentMap

MEMORY_S = 2.0  # seconds that a query may find nothing and still follow the same object


@dataclass(frozen=True, slots=True)
class Followed:
    """The memory from clip to clip.

    things: id and time of the last sight, in seconds, by the number of the query and its class.
    """

    things: Mapping[tuple[int, int], tuple[int, float]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    numbers: Numbers = field(default_factory=Numbers)


class QueryLinker(Linker):
    """A thing keeps its id as long as one query finds it, and calls it the same.

    A query that finds nothing for longer than MEMORY_S, or calls what it finds by another class,
    has another object; one that returns to its class in time has the old one again. A stuff class
    keeps one id for the whole video.
    """

    state: Followed

    def __init__(self) -> None:
        self.state = Followed()

    @classmethod
    def fits(cls, clip: ClipSegments) -> bool:
        return clip.key_kind == KEY_KIND

    def link(self, clip: ClipSegments, frames: Sequence[Frame]) -> list[SegmentMap]:
        queries = {number: int(key[0]) for number, key in clip.keys.items()}
        things, numbers = dict(self.state.things), self.state.numbers
        linked = []
        for found, frame in zip(clip.maps, frames, strict=True):
            segments, time_s = found.segments or (), frame.time_s
            things = {key: one for key, one in things.items() if time_s - one[1] <= MEMORY_S}
            followed = {
                one.id: (queries[one.id], one.class_id)
                for one in segments
                if one.is_thing and one.id in queries
            }
            known = {own: things[key][0] for own, key in followed.items() if key in things}
            stable, numbers = numbers.named(segments, known)
            things |= {key: (stable[own], time_s) for own, key in followed.items()}
            linked.append(renumbered(found.ids, segments, stable))
        self.state = Followed(MappingProxyType(things), numbers)
        return linked

    def cut(self) -> None:
        self.state = replace(self.state, things=MappingProxyType({}))
