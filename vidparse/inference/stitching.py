"""Ids by the centres of the frame before, to which the pixels of a thing point back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from vidparse.frame import Frame
from vidparse.inference.centre_maps import KEY_KIND, NO_CENTRE
from vidparse.inference.clip_segments import ClipSegments
from vidparse.inference.panoptic import Linker, Numbers, renumbered
from vidparse.maps import SegmentMap


@dataclass(frozen=True, slots=True)
class Centred:
    """The memory from clip to clip.

    things: id of each thing of the last frame, by the number of its centre and its class.
    """

    things: Mapping[tuple[int, int], int] = field(default_factory=lambda: MappingProxyType({}))
    numbers: Numbers = field(default_factory=Numbers)


class CentreLinker(Linker):
    """A thing has the id of the thing of its class whose centre in the frame before it follows.

    ViP-DeepLab (Qiao et al., CVPR 2021, section 3.3): one that is away for a frame is new when it
    comes back. A stuff class keeps one id for the whole video.
    """

    state: Centred

    def __init__(self) -> None:
        self.state = Centred()

    @classmethod
    def fits(cls, clip: ClipSegments) -> bool:
        return clip.key_kind == KEY_KIND

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
            linked.append(renumbered(found.ids, segments, stable))

        things = {
            (int(key[1]), classes[number]): known[number]
            for number, key in clip.keys.items()
            if key[1] != NO_CENTRE and number in known
        }
        self.state = Centred(MappingProxyType(things), numbers)
        return linked

    def cut(self) -> None:
        self.state = replace(self.state, things=MappingProxyType({}))
