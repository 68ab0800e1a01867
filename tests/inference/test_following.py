"""Ids by the queries that follow objects."""

from __future__ import annotations

import numpy as np

from vidparse.frame import Frame
from vidparse.inference.clip_segments import ClipSegments
from vidparse.inference.linkers import LINKERS, make_linker
from vidparse.inference.numbered import QueryLinker
from vidparse.maps import Segment, SegmentMap

CAR, TRUCK, SKY = 0, 1, 2
Seen = tuple[int, int]  # query, class; the sky is stuff


def clip_of(*seen: Seen) -> ClipSegments:
    """One frame: a row of pixels for each thing or stuff region."""
    ids = np.repeat(np.arange(1, len(seen) + 1, dtype=np.uint16)[:, None], 4, 1)
    segments = tuple(
        Segment(i, kind, kind != SKY, 0.9, 4, (0, i - 1, 4, 1))
        for i, (_, kind) in enumerate(seen, start=1)
    )
    keys = {i: np.array([query]) for i, (query, kind) in enumerate(seen, 1) if kind != SKY}
    shape = ids if len(seen) else np.zeros((1, 4), np.uint16)
    return ClipSegments((SegmentMap(shape, segments),), keys, "queries")


def frame_at(seconds: float) -> Frame:
    return Frame.from_rgb(np.zeros((1, 4, 3), np.uint8), time_s=seconds)


def ids_of(linker: QueryLinker, seconds: float, *seen: Seen) -> list[int]:
    """Stable ids of what is seen, in its order."""
    (linked,) = linker.link(clip_of(*seen), [frame_at(seconds)])
    assert {one.id for one in linked.segments or ()} == set(np.unique(linked.ids)) - {0}
    return [int(linked.ids[row, 0]) for row in range(len(seen))]


def test_a_query_keeps_its_id_wherever_its_object_goes() -> None:
    linker = QueryLinker()
    assert ids_of(linker, 0.0, (7, CAR), (3, CAR), (9, SKY)) == [1, 2, 3]
    assert ids_of(linker, 0.1, (9, SKY), (3, CAR), (7, CAR)) == [3, 2, 1]
    assert ids_of(linker, 0.2, (4, CAR), (3, CAR), (5, SKY)) == [4, 2, 3]


def test_a_hidden_thing_has_its_id_back_within_two_seconds() -> None:
    linker = QueryLinker()
    assert ids_of(linker, 0.0, (7, CAR)) == [1]
    assert ids_of(linker, 1.0) == []
    assert ids_of(linker, 1.9, (7, CAR)) == [1]
    assert ids_of(linker, 3.9, (7, CAR)) == [1]
    assert ids_of(linker, 6.0, (7, CAR)) == [2]


def test_another_class_is_another_object() -> None:
    linker = QueryLinker()
    assert ids_of(linker, 0.0, (7, CAR)) == [1]
    assert ids_of(linker, 0.1, (7, TRUCK)) == [2]
    assert ids_of(linker, 0.2, (7, CAR)) == [1]


def test_a_cut_ends_the_things_and_ids_go_on() -> None:
    linker = QueryLinker()
    assert ids_of(linker, 0.0, (7, CAR), (9, SKY)) == [1, 2]
    linker.cut()
    assert ids_of(linker, 0.1, (7, CAR), (9, SKY)) == [3, 2]


def test_the_state_can_be_put_back() -> None:
    linker, other = QueryLinker(), QueryLinker()
    ids_of(linker, 0.0, (7, CAR), (3, CAR))
    state = linker.state
    expected = ids_of(linker, 0.1, (3, CAR), (8, CAR))
    other.state = state
    assert ids_of(other, 0.1, (3, CAR), (8, CAR)) == expected == [2, 3]


def test_it_is_taken_for_such_networks_only() -> None:
    nothing_yet = clip_of()  # an empty first frame shows what will follow
    assert isinstance(make_linker(None, nothing_yet), QueryLinker)
    assert not QueryLinker.fits(ClipSegments((SegmentMap(np.zeros((2, 2), np.uint16), ()),)))
    assert LINKERS["queries"] is QueryLinker


def test_several_frames_of_one_clip() -> None:
    first, second = clip_of((7, CAR)).maps[0], clip_of((7, CAR)).maps[0]
    clip = ClipSegments((first, second), {1: np.array([7])}, "queries")
    linker = QueryLinker()
    maps = linker.link(clip, [frame_at(0.0), frame_at(0.1)])
    assert [int(one.ids.max()) for one in maps] == [1, 1]
