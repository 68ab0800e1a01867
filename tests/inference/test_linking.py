"""Segments of frames linked into segments of a video."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vidparse.inference.overlap import OverlapLinker, mask_ious
from vidparse.inference.panoptic import Numbers
from vidparse.maps import Segment, SegmentMap

CAR, PERSON, SKY, ROAD = 0, 1, 2, 3
THINGS = {CAR, PERSON}
SIZE_HW = (40, 120)


def frame_of(*boxes: tuple[int, int, int]) -> tuple[np.ndarray, tuple[Segment, ...]]:
    """Squares of 16 px (class, x, y), later ones in front, numbered from 1 by place in the list."""
    ids = np.zeros(SIZE_HW, np.uint16)
    for number, (_, x, y) in enumerate(boxes, 1):
        ids[y : y + 16, x : x + 16] = number
    segments = tuple(
        Segment(number, kind, kind in THINGS, 0.9, int((ids == number).sum()), (x, y, 16, 16))
        for number, (kind, x, y) in enumerate(boxes, 1)
        if (ids == number).any()
    )
    return ids, segments


def linked_ids(linker: OverlapLinker, *boxes: tuple[int, int, int]) -> list[int]:
    """The lasting id of every box, in the order given."""
    ids, segments = frame_of(*boxes)
    found = linker.follow(SegmentMap(ids, segments))
    linked, renamed = found.ids, found.segments or ()
    assert set(np.unique(linked)) - {0} == {segment.id for segment in renamed}
    names = {int(ids[linked == segment.id][0]): segment.id for segment in renamed}
    assert np.array_equal(linked == 0, ids == 0)
    return [names[number] for number in range(1, len(boxes) + 1)]


def test_two_objects_that_cross_keep_their_ids() -> None:
    linker = OverlapLinker()
    tracks = [
        linked_ids(linker, (CAR, 4 + 3 * t, 2), (CAR, 94 - 3 * t, 14)) for t in range(30)
    ]  # they overlap by 4 rows when they meet
    assert tracks == [[1, 2]] * 30


def test_numbers_within_a_frame_do_not_matter() -> None:
    linker = OverlapLinker()
    assert linked_ids(linker, (CAR, 10, 10), (CAR, 60, 10)) == [1, 2]
    assert linked_ids(linker, (CAR, 62, 10), (CAR, 12, 10)) == [2, 1]


def test_one_that_comes_back_is_new_and_no_id_is_used_twice() -> None:
    linker = OverlapLinker()
    assert linked_ids(linker, (CAR, 10, 10), (CAR, 60, 10)) == [1, 2]
    assert linked_ids(linker, (CAR, 10, 10)) == [1]
    assert linked_ids(linker, (CAR, 10, 10), (CAR, 60, 10)) == [1, 3]
    assert linked_ids(linker) == []
    assert linked_ids(linker, (CAR, 10, 10)) == [4]


def test_another_class_in_its_place_is_another_object() -> None:
    linker = OverlapLinker()
    assert linked_ids(linker, (CAR, 10, 10)) == [1]
    assert linked_ids(linker, (PERSON, 10, 10)) == [2]


def test_little_overlap_is_another_object() -> None:
    linker = OverlapLinker(least_iou=0.5)
    assert linked_ids(linker, (CAR, 10, 10)) == [1]
    assert linked_ids(linker, (CAR, 15, 10)) == [1]  # IoU 11 / 21
    assert linked_ids(linker, (CAR, 21, 10)) == [2]  # IoU 10 / 22


def test_the_best_sum_of_overlaps_is_taken() -> None:
    linker = OverlapLinker()
    assert linked_ids(linker, (CAR, 20, 10), (CAR, 36, 10)) == [1, 2]
    assert linked_ids(linker, (CAR, 12, 10), (CAR, 28, 10)) == [1, 2]  # each 1/3 with both


def test_stuff_keeps_its_id_for_the_whole_video() -> None:
    linker = OverlapLinker()
    assert linked_ids(linker, (SKY, 10, 10), (ROAD, 60, 10)) == [1, 2]
    assert linked_ids(linker, (ROAD, 20, 20)) == [2]
    linker.cut()
    assert linked_ids(linker, (CAR, 40, 20), (SKY, 90, 0)) == [3, 1]


def test_after_a_cut_things_are_new() -> None:
    linker = OverlapLinker()
    assert linked_ids(linker, (CAR, 10, 10)) == [1]
    linker.cut()
    assert linked_ids(linker, (CAR, 10, 10)) == [2]


def test_another_size_of_frames_begins_anew() -> None:
    linker = OverlapLinker()
    linked_ids(linker, (CAR, 10, 10))
    ids, segments = frame_of((CAR, 10, 10))
    renamed = linker.follow(SegmentMap(ids[:30], segments)).segments or ()
    assert [segment.id for segment in renamed] == [2]


def test_stored_links_go_on_where_they_ended() -> None:
    first, second = OverlapLinker(), OverlapLinker()
    linked_ids(first, (CAR, 10, 10), (SKY, 60, 10))
    linked_ids(first, (SKY, 60, 10))
    linked_ids(first, (CAR, 30, 10), (SKY, 60, 10))
    second.state = first.state
    boxes = ((SKY, 90, 10), (CAR, 31, 10), (PERSON, 60, 0))
    assert linked_ids(second, *boxes) == linked_ids(first, *boxes) == [2, 3, 4]


def test_pixels_without_a_segment_are_nothing() -> None:
    ids, segments = frame_of((CAR, 10, 10), (CAR, 60, 10))
    found = OverlapLinker().follow(SegmentMap(ids, segments[1:]))
    linked, renamed = found.ids, found.segments or ()
    assert [segment.id for segment in renamed] == [1]
    assert np.array_equal(linked, (ids == 2).astype(np.uint16))


def test_many_ids_take_a_wider_type() -> None:
    linker = OverlapLinker()
    linker.state = replace(linker.state, numbers=Numbers(next_id=65536))
    found = linker.follow(SegmentMap(*frame_of((CAR, 10, 10))))
    linked, renamed = found.ids, found.segments or ()
    assert linked.dtype == np.uint32 and renamed[0].id == int(linked.max()) == 65536


def test_ious_are_those_of_masks() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 5, (2, 30, 40))
    expected = [
        [((a == i) & (b == j)).sum() / ((a == i) | (b == j)).sum() for j in (4, 2, 9)]
        for i in (1, 3)
    ]
    assert mask_ious(a, [1, 3], b, [4, 2, 9]) == pytest.approx(np.array(expected))
