"""Things by their centres: peaks, the pixels that point to them, and who follows whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from vidparse.frame import Frame
from vidparse.inference import CentreMaps, ClipSegments, Merging
from vidparse.inference.answer import read_outputs
from vidparse.inference.centre_maps import find_centres, group_pixels, majority, stitched
from vidparse.inference.linkers import make_linker
from vidparse.inference.numbered import CentreLinker
from vidparse.labels import Labels
from vidparse.maps import SegmentMap

SKY, CAR, ROAD, PERSON = range(4)
LABELS = Labels(
    "street",
    ("sky", "car", "road", "person"),
    ((90, 140, 220), (200, 40, 40), (90, 90, 95), (60, 160, 60)),
    frozenset({CAR, PERSON}),
)
CELLS = (16, 24)  # of the maps
INPUT_HW = (64, 96)
Box = tuple[int, int, int, int, int]  # name, class, first row and column in cells, width in cells
HEIGHT = 4  # of a box, in cells


def maps_of(*frames: Sequence[Box]) -> CentreMaps:
    """Perfect maps of boxes over sky and road; boxes of one name in two frames are one thing."""
    classes = np.full((len(frames), 4, *CELLS), -8.0, np.float32)
    centres = np.zeros((len(frames), 1, *CELLS), np.float32)
    offsets = np.zeros((len(frames), 2, *CELLS), np.float32)
    earlier = np.zeros_like(offsets)
    cells = np.stack(np.mgrid[: CELLS[0], : CELLS[1]]).astype(np.float32)
    before: dict[int, np.ndarray] = {}
    for t, boxes in enumerate(frames):
        owner = np.where(cells[0] < 6, SKY, ROAD)
        now = {}
        for place, (name, kind, row, column, width) in enumerate(boxes):
            inside = (slice(row, row + HEIGHT), slice(column, column + width))
            middle = np.array([row + HEIGHT // 2, column + width // 2], np.float32)
            owner[inside] = kind
            centres[t, 0, int(middle[0]), int(middle[1])] = 1 - 0.05 * place
            for maps, aim in ((offsets, middle), (earlier, before.get(name, middle))):
                maps[(t, slice(None), *inside)] = 4 * (aim[:, None, None] - cells[(..., *inside)])
            now[name] = middle
        np.put_along_axis(classes[t], owner[None], 8.0, axis=0)
        before = now
    follows = np.array([0] + [1] * (len(frames) - 1), np.float32)
    past = np.concatenate([np.zeros_like(centres[:1]), centres[:-1]])
    return CentreMaps(classes, centres, offsets, past, earlier, follows, INPUT_HW)


def segmented(answer: CentreMaps, size_hw: tuple[int, int] = CELLS, **merging) -> ClipSegments:
    """At the size of the maps, where every pixel is exact, or at another."""
    return answer.segments(size_hw, LABELS, Merging(**merging))


def one_by_one(answer: CentreMaps) -> list[CentreMaps]:
    arrays = [getattr(answer, name) for name in list(CentreMaps.__dataclass_fields__)[:-1]]
    return [
        CentreMaps(*(one[t : t + 1] for one in arrays), answer.input_hw)
        for t in range(len(answer.classes))
    ]


def linked(clips: Sequence[ClipSegments], linker: CentreLinker | None = None) -> list[SegmentMap]:
    linker = linker or CentreLinker()
    frame = Frame.from_rgb(np.zeros((*INPUT_HW, 3), np.uint8))
    return [one for clip in clips for one in linker.link(clip, [frame] * len(clip.maps))]


def things_of(found: SegmentMap) -> list[tuple[int, int, tuple[int, int, int, int]]]:
    """id, class and box of each thing."""
    return [(one.id, one.class_id, one.box) for one in found.segments or () if one.is_thing]


class TestCentres:
    def test_peaks_come_in_the_order_of_their_scores(self) -> None:
        heat = np.zeros((6, 9), np.float32)
        heat[1, 1], heat[4, 2], heat[2, 7], heat[5, 5] = 0.5, 1.3, 0.8, 0.09
        places, scores = find_centres(heat)
        assert places.tolist() == [[4, 2], [2, 7], [1, 1]], "0.09 is too little"
        np.testing.assert_allclose(scores, [1, 0.8, 0.5])

    def test_a_slope_is_no_peak(self) -> None:
        heat = np.zeros((6, 9), np.float32)
        heat[2, 3], heat[3, 4], heat[2, 5] = 0.9, 0.6, 0.7
        assert find_centres(heat)[0].tolist() == [[2, 3], [2, 5]]

    def test_the_greatest_two_hundred_stay(self) -> None:
        heat = np.zeros((60, 60), np.float32)
        heat[::2, ::2] = np.linspace(0.2, 0.9, 900).reshape(30, 30)
        places, scores = find_centres(heat)
        assert len(places) == 200 and scores.min() > 0.74

    def test_no_peak_at_all(self) -> None:
        places, scores = find_centres(np.full((4, 4), -2, np.float32))
        assert places.shape == (0, 2) and scores.shape == (0,)


class TestGroups:
    def test_a_pixel_goes_to_the_centre_that_it_points_to(self) -> None:
        """Not to the one that it is near."""
        offsets = np.zeros((2, 2, 4), np.float32)
        offsets[1] = [[12, 8, 4, 0], [0, -4, -8, -12]]  # the upper row points right, the lower left
        places = np.array([[0, 3], [1, 0]], np.float32)
        found = group_pixels(np.ones((2, 4), bool), offsets, places, (8, 16))
        assert found.tolist() == [[1] * 4, [2] * 4]

    @pytest.mark.parametrize("factor", [1, 2, 5])
    def test_frames_may_be_larger_than_the_input(self, factor: int) -> None:
        answer = maps_of([(1, CAR, 2, 2, 5), (2, CAR, 2, 7, 9)])
        there = np.zeros([side * factor for side in INPUT_HW], bool)
        there[8 * factor : 24 * factor, 8 * factor : 64 * factor] = True
        places, _ = find_centres(answer.centres[0, 0])
        found = group_pixels(there, answer.offsets[0], places, INPUT_HW)
        assert (found[there] > 0).all() and not found[~there].any()
        inside = slice(10 * factor, 22 * factor)  # beyond them no offset means anything
        assert (found[inside, 8 * factor : 28 * factor] == 1).all()
        assert (found[inside, 28 * factor : 64 * factor] == 2).all()

    def test_without_centres_there_are_no_things(self) -> None:
        offsets = np.zeros((2, 2, 4), np.float32)
        there = np.ones((2, 4), bool)
        assert not group_pixels(there, offsets, np.zeros((0, 2), np.float32), (8, 16)).any()
        assert not group_pixels(~there, offsets, np.zeros((1, 2), np.float32), (8, 16)).any()

    def test_many_pixels_and_centres_equal_the_plain_search(self) -> None:
        rng = np.random.default_rng(0)
        offsets = rng.normal(0, 20, (2, 40, 60)).astype(np.float32)
        places = rng.uniform(0, 40, (150, 2)).astype(np.float32)
        found = group_pixels(np.ones((160, 240), bool)[::4, ::4], offsets, places, (160, 240))
        aims = np.stack(np.mgrid[:40, :60]) * 4 + 1.5 + offsets  # pixels of the input
        centres = places.astype(np.float64) * 4 + 1.5
        away = ((aims[None] - centres[:, :, None, None]) ** 2).sum(axis=1)
        assert (found - 1 == away.argmin(axis=0)).mean() > 0.999

    def test_the_majority_names_a_group(self) -> None:
        groups = np.array([[1, 1, 1, 3, 3], [0, 0, 3, 3, 0]], np.uint16)
        kinds = np.array([[CAR, PERSON, CAR, CAR, PERSON], [SKY, SKY, PERSON, CAR, SKY]])
        assert majority(groups, kinds, 4) == {1: CAR, 3: CAR}, "of equal ones the lowest"
        assert majority(np.zeros_like(groups), kinds, 4) == {}


class TestStitching:
    ids = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 0, 0]], np.uint16)
    earlier = np.array([[5, 5, 5, 6, 6, 6, 0, 0, 7, 7]], np.uint16)

    def test_pairs_by_their_overlap(self) -> None:
        cars = {5: CAR, 6: CAR, 7: CAR}
        assert stitched(self.ids, {1: CAR, 2: CAR}, self.earlier, cars) == {1: 5, 2: 6}

    def test_only_within_a_class(self) -> None:
        kinds = {5: PERSON, 6: CAR, 7: CAR}
        found = stitched(self.ids, {1: CAR, 2: CAR}, self.earlier, kinds)
        assert found == {2: 6}, "2 overlaps 6 by more than 1 does"

    def test_each_is_taken_once_the_best_first(self) -> None:
        ids = np.array([[1, 1, 1, 1, 1, 2]], np.uint16)
        earlier = np.array([[5, 5, 5, 5, 5, 5]], np.uint16)
        assert stitched(ids, {1: CAR, 2: CAR}, earlier, {5: CAR}) == {1: 5}

    def test_nothing_to_stitch(self) -> None:
        assert stitched(self.ids, {}, self.earlier, {5: CAR}) == {}
        assert stitched(self.ids, {1: CAR}, self.earlier, {}) == {}


class TestSegments:
    def test_things_and_stuff_of_a_frame(self) -> None:
        clip = segmented(maps_of([(1, CAR, 2, 2, 5), (2, PERSON, 9, 12, 4)]))
        (found,) = clip.maps
        assert things_of(found) == [(1, CAR, (2, 2, 5, 4)), (2, PERSON, (12, 9, 4, 4))]
        stuff = {one.class_id: one.area for one in found.segments if not one.is_thing}
        assert stuff == {SKY: 6 * 24 - 20, ROAD: 10 * 24 - 16}
        assert found.segments[0].score == pytest.approx(1, abs=1e-3)
        assert found.segments[1].score == pytest.approx(0.95, abs=1e-3)
        assert found.ids.dtype == np.uint16 and (found.ids > 0).all()

    def test_small_stuff_is_left_out(self) -> None:
        answer = maps_of([])
        answer.classes[0] = np.array([8, -8, -8, -8])[:, None, None]
        answer.classes[0, :, 0, 0] = [-8, -8, 8, -8]  # one cell of road in the sky
        (found,) = segmented(answer).maps
        assert {one.class_id for one in found.segments} == {SKY, ROAD}, "1 of 384 pixels"
        wider = np.pad(answer.classes, ((0, 0), (0, 0), (0, 9), (0, 9)), "edge")
        (found,) = segmented(replace(answer, classes=wider), (25, 33)).maps
        assert [one.class_id for one in found.segments] == [SKY], "1 of 825; 1 of 450 is the least"
        assert found.ids[0, 0] == 0 and (found.ids == 0).sum() == 1

    def test_without_centres_things_are_void(self) -> None:
        answer = maps_of([(1, CAR, 2, 2, 5)])
        answer.centres[:] = 0
        (found,) = segmented(answer).maps
        assert things_of(found) == [] and (found.ids == 0).sum() == 20

    def test_merging_leaves_out_small_and_unsure_things(self) -> None:
        answer = maps_of([(1, CAR, 2, 2, 9), (2, CAR, 9, 12, 2)])
        (small,) = segmented(answer, min_area=20).maps
        (unsure,) = segmented(answer, min_score=0.97).maps
        assert [one[2] for one in things_of(small)] == [one[2] for one in things_of(unsure)]
        (classes,) = segmented(answer, classes=(ROAD,)).maps
        assert [one.class_id for one in classes.segments] == [ROAD]

    def test_classes_without_a_label_are_a_misfit(self) -> None:
        answer = maps_of([])
        assert answer.misfit(LABELS) == "" and answer.is_finite
        assert answer.misfit(Labels("a", ("x",), ((0, 0, 0),), frozenset({0}))) == "finds 4 classes"
        answer.earlier_offsets[0, 0, 0, 0] = np.nan
        assert not answer.is_finite

    def test_outputs_are_read_by_their_names(self) -> None:
        answer = maps_of([(1, CAR, 2, 2, 5)], [(1, CAR, 2, 4, 5)])
        names = list(CentreMaps.__dataclass_fields__)[:-1]
        read = read_outputs({name: getattr(answer, name) for name in names}, INPUT_HW)
        assert isinstance(read, CentreMaps) and read.input_hw == INPUT_HW
        assert len(read.first(1).classes) == 1 and read.first(1).follows.tolist() == [0]


class TestLinker:
    # Two cars that pass each other by 4 cells a frame: overlap would swap them.
    crossing = (
        [(1, CAR, 2, 2, 4), (2, CAR, 9, 14, 4)],
        [(1, CAR, 2, 6, 4), (2, CAR, 9, 10, 4)],
        [(2, CAR, 9, 6, 4), (1, CAR, 2, 10, 4)],
    )

    def boxes(self, maps: Sequence[SegmentMap]) -> list[dict[int, int]]:
        """Left side by id, per frame."""
        return [{number: box[0] for number, _, box in things_of(one)} for one in maps]

    def test_ids_last_in_a_clip_and_from_clip_to_clip(self) -> None:
        answer = maps_of(*self.crossing)
        whole = linked([segmented(answer)])
        apart = linked([segmented(one) for one in one_by_one(answer)])
        assert self.boxes(whole) == [{1: 2, 2: 14}, {1: 6, 2: 10}, {1: 10, 2: 6}]
        assert len({one.ids.tobytes() for one in whole}) == 3
        for one, other in zip(whole, apart, strict=True):
            assert self.boxes([one]) == self.boxes([other])
            assert np.array_equal(one.classes(), other.classes())

    def test_it_is_the_linker_of_such_networks(self) -> None:
        assert isinstance(make_linker(None, segmented(maps_of([]))), CentreLinker)

    def test_one_that_was_away_is_new(self) -> None:
        frames = [[(1, CAR, 2, 2, 4)], [], [(1, CAR, 2, 2, 4)]]
        maps = linked([segmented(one) for one in one_by_one(maps_of(*frames))])
        ids = [[number for number, _, _ in things_of(one)] for one in maps]
        assert ids[1] == [] and ids[0] != ids[2]

    def test_another_class_is_another_thing(self) -> None:
        frames = [[(1, CAR, 2, 2, 4)], [(1, PERSON, 2, 2, 4)]]
        first, second = linked([segmented(one) for one in one_by_one(maps_of(*frames))])
        assert things_of(first)[0][0] != things_of(second)[0][0]

    def test_after_a_cut_all_things_are_new(self) -> None:
        answers = one_by_one(maps_of(*self.crossing[:2]))
        linker = CentreLinker()
        (first,) = linked([segmented(answers[0])], linker)
        linker.cut()
        (second,) = linked([segmented(answers[1])], linker)
        assert not {one[0] for one in things_of(first)} & {one[0] for one in things_of(second)}
        stuff = [
            {s.class_id: s.id for s in one.segments if not s.is_thing} for one in (first, second)
        ]
        assert stuff[0] == stuff[1], "stuff keeps its ids"

    def test_one_that_is_too_small_for_a_frame_keeps_its_id(self) -> None:
        frames = [[(1, CAR, 2, 2, 6)], [(1, CAR, 2, 2, 3)], [(1, CAR, 2, 2, 6)]]
        clips = [segmented(one, min_area=20) for one in one_by_one(maps_of(*frames))]
        ids = [[number for number, _, _ in things_of(one)] for one in linked(clips)]
        assert ids[1] == [] and ids[0] == ids[2]
        (whole,) = [segmented(maps_of(*frames), min_area=20)]
        assert [len(things_of(one)) for one in linked([whole])] == [1, 0, 1]

    def test_the_memory_may_be_stored_and_put_back(self) -> None:
        clips = [segmented(one) for one in one_by_one(maps_of(*self.crossing))]
        one, other = CentreLinker(), CentreLinker()
        expected = linked(clips, one)
        linked(clips[:2], one_again := CentreLinker())
        other.state = one_again.state
        assert np.array_equal(linked(clips[2:], other)[0].ids, expected[2].ids)
