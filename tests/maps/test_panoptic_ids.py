"""Segment ids of a video: the same every time, near their category's colour, never shared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidparse.labels import Labels, load_labels
from vidparse.maps import MAX_ID, SegmentIds, ids_to_rgb, rgb_to_ids

VSPW = load_labels("vspw")
CAR = VSPW.classes.index("car")
PERSON = VSPW.classes.index("person")
SLIDE = VSPW.classes.index("Playground_slide")


def code(colour: tuple[int, int, int]) -> int:
    return colour[0] + 256 * colour[1] + 65536 * colour[2]


def offset(segment: int, category: int) -> int:
    """The largest distance in a channel from the category's colour."""
    rgb = colours_of([segment])[0]
    return int(np.abs(rgb - np.array(VSPW.colours[category])).max())


def colours_of(ids: list[int]) -> np.ndarray:
    return ids_to_rgb(np.array([ids]))[0].astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, MAX_ID), min_size=0, max_size=50))
def test_ids_survive_as_colours(ids):
    row = np.array([ids], np.int64).reshape(1, -1)
    np.testing.assert_array_equal(rgb_to_ids(ids_to_rgb(row)), row)


def test_ids_that_do_not_fit_a_colour_are_refused():
    for wrong in (-1, MAX_ID + 1):
        with pytest.raises(ValueError, match="segment ids must lie in"):
            ids_to_rgb(np.array([[wrong]]))


def test_stuff_has_its_colour_and_one_id():
    ids = SegmentIds(VSPW, "street")
    for category in set(range(len(VSPW))) - VSPW.things:
        assert ids(category) == ids(category, 7) == code(VSPW.colours[category])


def test_things_begin_with_their_colour_and_stay_near_it():
    ids = SegmentIds(VSPW, "street")
    stuff = {code(VSPW.colours[c]) for c in set(range(len(VSPW))) - VSPW.things}
    for category in VSPW.things:
        objects = [ids(category, instance) for instance in range(40)]
        own = code(VSPW.colours[category])
        assert objects[0] == own or own in stuff
        assert all(offset(segment, category) <= 30 for segment in objects)


def test_cars_never_take_the_colour_of_the_playground_slide():
    assert VSPW.colours[CAR] == VSPW.colours[SLIDE] == (140, 140, 140)
    ids = SegmentIds(VSPW, "street")
    cars = [ids(CAR, instance) for instance in range(500)]
    assert code((140, 140, 140)) not in cars
    assert ids(SLIDE) == code((140, 140, 140))


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=20), st.lists(st.tuples(st.integers(0, 123), st.integers(0, 9))))
def test_the_same_questions_get_the_same_answers(video, questions):
    first, second = SegmentIds(VSPW, video), SegmentIds(VSPW, video)
    answers = [first(*question) for question in questions]
    assert answers == [second(*question) for question in questions]
    assert answers == [first(*question) for question in questions]  # once more
    assert 0 not in answers
    keys = {(c, i if c in VSPW.things else 0) for c, i in questions}
    assert len(set(answers)) == len(keys)


def test_other_categories_do_not_change_an_object_s_id():
    alone = SegmentIds(VSPW, "street")
    cars = [alone(CAR, instance) for instance in range(300)]
    crowded = SegmentIds(VSPW, "street")
    for category in sorted(VSPW.things - {CAR}, reverse=True):
        for instance in range(60):
            crowded(category, instance)
    assert [crowded(CAR, instance) for instance in range(300)] == cars


def test_videos_have_ids_of_their_own():
    first, second = SegmentIds(VSPW, "street"), SegmentIds(VSPW, "square")
    assert first(PERSON) == second(PERSON)  # the category's colour
    assert [first(PERSON, i) for i in range(1, 9)] != [second(PERSON, i) for i in range(1, 9)]


def test_thousands_of_objects_stay_apart():
    ids = SegmentIds(VSPW, "stadium")
    found = [ids(PERSON, instance) for instance in range(5000)]
    found += [ids(CAR, instance) for instance in range(2000)]
    assert len(set(found)) == 7000
    assert 0 not in found and max(found) <= MAX_ID


def labels_of(colours: list[tuple[int, int, int]], things: set[int]) -> Labels:
    names = tuple(f"class {i}" for i in range(len(colours)))
    return Labels("made up", names, tuple(colours), frozenset(things))


def test_black_is_never_an_id():
    labels = labels_of([(0, 0, 0), (0, 0, 0), (0, 0, 0)], {1, 2})
    ids = SegmentIds(labels, "night")
    found = [ids(0), *(ids(category, i) for category in (1, 2) for i in range(200))]
    assert 0 not in found and len(set(found)) == 401


def test_categories_of_one_colour_share_its_neighbourhood():
    labels = labels_of([(90, 90, 90), (90, 90, 90)], {0, 1})
    ids = SegmentIds(labels, "twins")
    found = {category: [ids(category, i) for i in range(300)] for category in (1, 0)}
    assert not set(found[0]) & set(found[1])
    again = SegmentIds(labels, "twins")
    assert [again(0, i) for i in range(300)] == found[0]  # no id of the other was taken before
