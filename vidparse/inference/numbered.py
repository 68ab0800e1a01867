"""Two linkers that follow the network's own numbers of objects.

Queries follow one object each from frame to frame; pixels of a thing point back to its centre in
the frame before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from vidparse.frame import Frame
from vidparse.inference.centre_maps import CENTRE_KEYS, NO_CENTRE
from vidparse.inference.clip_segments import ClipSegments
from vidparse.inference.masks import QUERY_KEYS
from vidparse.inference.panoptic import Linker, Numbers, renumbered
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


@dataclass(frozen=True, slots=True)
class Centred:
    """The memory from clip to clip.

    things: id of each thing of the last frame, by the number of its centre and its class.
    """

    things: Mapping[tuple[int, int], int] = field(default_factory=lambda: MappingProxyType({}))
    numbers: Numbers = field(default_factory=Numbers)


class _ThingLinker(Linker):
    """Follows things alone, so that a cut makes it forget them and nothing else."""

    state: Followed | Centred

    def cut(self) -> None:
        self.state = type(self.state)(numbers=self.state.numbers)


class QueryLinker(_ThingLinker):
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
        return clip.key_kind == QUERY_KEYS

    def link(self, clip: ClipSegments, frames: Sequence[Frame]) -> list[SegmentMap]:
        queries = {number: int(key[0]) for number, key in clip.keys.items()}
        things, numbers = dict(self.state.things), self.state.numbers
        linked = []
        for found, frame in zip(clip.maps, frames, strict=True):
            segments, time_s = found.segments or (), frame.time_s

            # Forget by seconds and not by frames, so that the rate of a video does not matter.
            things = {key: one for key, one in things.items() if time_s - one[1] <= MEMORY_S}
            followed = {
                one.id: (queries[one.id], one.class_id)
                for one in segments
                if one.is_thing and one.id in queries
            }
            known = {own: things[key][0] for own, key in followed.items() if key in things}
            stable, numbers = numbers.named(segments, known)
            things |= {key: (stable[own], time_s) for own, key in followed.items()}
            linked.append(renumbered(found, stable))
        self.state = Followed(MappingProxyType(things), numbers)
        return linked


class CentreLinker(_ThingLinker):
    """A thing has the id of the thing of its class whose centre in the frame before it follows.

    ViP-DeepLab (Qiao et al., CVPR 2021, section 3.3): one that is away for a frame is new when it
    comes back. A stuff class keeps one id for the whole video.
    """

    state: Centred

    def __init__(self) -> None:
        self.state = Centred()

    @classmethod
    def fits(cls, clip: ClipSegments) -> bool:
        return clip.key_kind == CENTRE_KEYS

    def link(self, clip: ClipSegments, frames: Sequence[Frame]) -> list[SegmentMap]:
        classes = dict(clip.hidden) | {
            one.id: one.class_id for found in clip.maps for one in found.segments or ()
        }
        known: dict[int, int] = {}
        for number, key in clip.keys.items():
            before = int(key[0]), classes[number]
            if before in self.state.things:
                known[number] = self.state.things[before]

        linked, numbers = [], self.state.numbers
        for found in clip.maps:
            segments = found.segments or ()
            stable, numbers = numbers.named(segments, known)
            known |= stable
            linked.append(renumbered(found, stable))

        # Keep the last frame's centres under their ids, for the clip that follows.
        things = {
            (int(key[1]), classes[number]): known[number]
            for number, key in clip.keys.items()
            if key[1] != NO_CENTRE and number in known
        }
        self.state = Centred(MappingProxyType(things), numbers)
        return linked
