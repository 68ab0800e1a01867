"""Objects that were hidden get their ids back, and no other object does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from support.id_switches import Faults, IdSwitches, WeakNetwork
from vidparse.data.rendered import open_rendered
from vidparse.frame import Frame
from vidparse.inference import LINKERS, ClipSegments, Linker
from vidparse.inference.linkers import make_linker
from vidparse.inference.overlap import OverlapLinker
from vidparse.inference.track_linker import TrackLinker
from vidparse.inference.tracks import Motion
from vidparse.labels import Labels
from vidparse.maps import SegmentMap, segments_of_ids

CAR, PERSON, SKY = 0, 1, 2
SIZE_HW = (96, 240)
SIDE, RATE = 16, 15
RED, BLUE, GREEN = (200, 30, 40), (30, 60, 210), (20, 150, 60)
STREET = np.random.default_rng(3).integers(60, 190, (2 * SIZE_HW[0], 3 * SIZE_HW[1]), np.uint8)
Thing = tuple[int, tuple[int, int, int], float, float]  # class, colour, left, top


def seen(
    *things: Thing | None, time_s: float, camera: tuple[int, int] = (0, 0), pixels: bool = True
) -> tuple[SegmentMap, Frame]:
    """A frame of squares over a street of rubble, later ones in front; None is out of sight.

    camera: by how much the street has moved to the left and up.
    """
    height, width = SIZE_HW
    x, y = camera
    picture = np.stack([STREET[y : y + height, x : x + width]] * 3, 2)
    ids = np.zeros(SIZE_HW, np.uint16)
    classes = {}
    for number, thing in enumerate(things, 1):
        if thing is None:
            continue
        kind, colour, left, top = thing
        rows = slice(max(round(top), 0), max(round(top) + SIDE, 0))
        columns = slice(max(round(left), 0), max(round(left) + SIDE, 0))
        ids[rows, columns] = number
        picture[rows, columns] = colour
        classes[number] = kind
    segments = tuple(one for one in segments_of_ids(ids, classes, things={CAR, PERSON}) if one.area)
    return SegmentMap(ids, segments), Frame.from_rgb(picture, time_s=time_s)


def linked(linker: Linker, found: SegmentMap, frame: Frame) -> dict[int, int]:
    """The lasting id of every thing, by its place in the list from 1."""
    (result,) = linker.link(ClipSegments((found,)), [frame])
    names = {}
    for one in result.segments or ():
        (own,) = np.unique(found.ids[result.ids == one.id])
        names[int(own)] = one.id
    assert sorted(names) == sorted(one.id for one in found.segments or ())
    assert np.array_equal(result.ids == 0, found.ids == 0)
    return names


def follow(
    linker: Linker, frames: Sequence[tuple[Sequence[Thing | None], tuple[int, int]]], start: int = 0
) -> list[dict[int, int]]:
    """Ids of all frames; each is its things and where the camera is."""
    return [
        linked(linker, *seen(*things, time_s=(start + t) / RATE, camera=camera))
        for t, (things, camera) in enumerate(frames)
    ]


@pytest.mark.parametrize(("hidden_s", "back"), [(1, True), (1.9, True), (2.4, False), (5, False)])
def test_one_hidden_for_up_to_two_seconds_is_the_same(hidden_s: float, back: bool) -> None:
    linker = TrackLinker()
    frames = []
    for t in range(10 + round(hidden_s * RATE) + 5):
        away = 10 <= t < 10 + hidden_s * RATE
        frames.append(([None if away else (CAR, RED, 20 + 1.5 * t, 40)], (0, 0)))
    ids = follow(linker, frames)
    assert ids[0] == {1: 1} and ids[-1] == {1: 1 if back else 2}
    assert {name for one in ids for name in one.values()} == ({1} if back else {1, 2})


def test_the_overlap_of_two_frames_has_forgotten_it() -> None:
    frames = [([None if 5 <= t < 20 else (CAR, RED, 20, 40)], (0, 0)) for t in range(25)]
    assert follow(OverlapLinker(), frames)[-1] == {1: 2}
    assert follow(TrackLinker(), frames)[-1] == {1: 1}


@pytest.mark.parametrize("alike", [True, False])
def test_it_links_what_the_overlap_links_where_nothing_is_hidden(alike: bool) -> None:
    rng = np.random.default_rng(7)
    frames = []
    starts = [(20 * n + 6, 40 * (n % 2) + 10) for n in range(10)]
    colours = [RED if alike else tuple(rng.integers(0, 255, 3).tolist()) for _ in starts]
    pace = rng.uniform(-1, 1, (10, 2)) * 0.4
    for t in range(40):
        shake = rng.integers(-1, 2, (10, 2))
        places = np.array(starts) + t * pace * (1, 0.3) + shake
        things = [(CAR, colour, x, y) for colour, (x, y) in zip(colours, places, strict=True)]
        frames.append((things if t >= 15 else things[:7], (0, 0)))  # three come in later
    ids = follow(TrackLinker(), frames)
    assert ids == follow(OverlapLinker(), frames)
    assert ids[-1] == {n: n for n in range(1, 11)}


def test_another_look_in_its_place_is_another() -> None:
    red, blue = [(CAR, RED, 60, 40)], [(CAR, BLUE, 60, 40)]
    frames = [(things, (0, 0)) for things in [red] * 10 + [[None]] * 10 + [blue] * 3]
    assert follow(TrackLinker(), frames)[-1] == {1: 2}


def test_another_class_in_its_place_is_another() -> None:
    car, person = [(CAR, RED, 60, 40)], [(PERSON, RED, 60, 40)]
    frames = [(things, (0, 0)) for things in [car] * 10 + [person] * 2 + [car] * 2]
    assert [one[1] for one in follow(TrackLinker(), frames)] == [1] * 10 + [2, 2, 1, 1]


def test_objects_that_cross_keep_their_ids() -> None:
    """One is wholly behind the other for a moment."""
    for colours in ((RED, BLUE), (RED, RED)):
        frames = []
        for t in range(46):
            behind, front = (CAR, colours[0], 10 + 3 * t, 40), (CAR, colours[1], 150 - 3 * t, 40)
            hidden = abs(behind[2] - front[2]) < 6
            frames.append(([None if hidden else behind, front], (0, 0)))
        ids = follow(TrackLinker(), frames)
        assert ids[0] == ids[-1] == {1: 1, 2: 2}
        assert {name for one in ids for name in one.values()} == {1, 2}


def test_one_that_leaves_is_not_one_that_comes_in() -> None:
    frames = []
    for t in range(50):
        leaving = (CAR, RED, 20 - 2 * t, 40) if 20 - 2 * t > 4 - SIDE else None
        coming = (CAR, BLUE, 2 * (t - 22) - 12, 44) if t >= 22 else None
        far = (CAR, RED, 212, 40) if t >= 30 else None  # of the same look, where it cannot be
        frames.append(([leaving, coming, far], (0, 0)))
    ids = follow(TrackLinker(), frames)
    assert ids[0] == {1: 1} and ids[-1] == {2: 2, 3: 3}


def test_motion_separates_two_of_one_look() -> None:
    frames = []
    for t in range(40):
        up, down = (PERSON, GREEN, 40 + 2 * t, 60 - t), (PERSON, GREEN, 40 + 2 * t, 10 + t)
        hidden = 18 <= t < 32  # they cross meanwhile
        frames.append(([None, None] if hidden else [up, down], (0, 0)))
    ids = follow(TrackLinker(), frames)
    assert ids[-1] == ids[0] == {1: 1, 2: 2}


def test_the_motion_of_the_camera_is_not_that_of_an_object() -> None:
    """The camera turns only while one is hidden: nothing but the street shows it."""
    frames = []
    for t in range(40):
        x = 6 * max(0, min(t - 12, 15))  # 90 px in all
        near, far = (CAR, RED, 150 - x, 40), (CAR, RED, 215 - x, 40)
        things: list[Thing | None] = [near, far] if not 11 <= t < 28 else [None, None]
        frames.append((things, (x, 0)))
    ids = follow(TrackLinker(), frames)
    assert ids[-1] == ids[0] == {1: 1, 2: 2}


def test_a_cut_ends_every_track_and_ids_go_on() -> None:
    linker = TrackLinker()
    still = [([(CAR, RED, 60, 40), (SKY, BLUE, 120, 0)], (0, 0))] * 5
    assert follow(linker, still)[-1] == {1: 1, 2: 2}
    linker.cut()
    assert follow(linker, still, start=5) == [{1: 3, 2: 2}] * 5


def test_another_size_of_frames_begins_anew() -> None:
    linker = TrackLinker()
    found, frame = seen((CAR, RED, 60, 40), time_s=0)
    assert linked(linker, found, frame) == {1: 1}
    cropped = SegmentMap(found.ids[:80], found.segments)
    smaller = Frame.from_rgb(frame.image.rgb()[:80], time_s=0.1)
    assert linked(linker, cropped, smaller) == {1: 2}


def test_time_counts_and_not_the_number_of_frames() -> None:
    """Few frames per second, at uneven times."""
    times = [0, 0.2, 0.4, 0.6, 2.3, 2.4, 5.0]
    things: list[list[Thing | None]] = [[(CAR, RED, 20 + 20 * s, 40)] for s in times]
    ids = [
        linked(linker, *seen(*row, time_s=s))
        for linker in [TrackLinker()]
        for row, s in zip(things, times, strict=True)
    ]
    assert ids == [{1: 1}] * 7  # also after 2.6 s without any frame

    linker = TrackLinker()
    found = [
        linked(linker, *seen(things[0][0] if s in (0, 0.1, late) else None, time_s=s))
        for late in [3.0]
        for s in (0, 0.1, 1.5, late)
    ]
    assert found == [{1: 1}, {1: 1}, {}, {1: 2}]


def test_a_stored_memory_goes_on_and_is_never_written_to() -> None:
    first, second = TrackLinker(), TrackLinker()
    frames = [([(CAR, RED, 20 + t, 40), None if t > 3 else (CAR, BLUE, 90, 40)], (0, 0))
              for t in range(12)]  # fmt: skip
    follow(first, frames[:8])
    kept = first.state
    before = [kept.tracks.looks.copy(), kept.tracks.motion.value.copy(), kept.tracks.seen_s.copy()]
    rest = [*frames[8:], ([(CAR, RED, 32, 40), (CAR, BLUE, 90, 40)], (0, 0))]
    ids = follow(first, rest, start=8)
    second.state = kept
    assert follow(second, rest, start=8) == ids and ids[-1] == {1: 1, 2: 2}
    after = [kept.tracks.looks, kept.tracks.motion.value, kept.tracks.seen_s]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_memory_is_flat() -> None:
    linker = TrackLinker()
    rng = np.random.default_rng(0)
    for t in range(150):
        colour = tuple(rng.integers(0, 255, 3).tolist())
        linked(linker, *seen((CAR, colour, *rng.integers(0, (220, 80))), time_s=t / RATE))
    assert len(linker.state.tracks) <= 2 * RATE + 2
    assert linker.state.numbers.next_id > 50


def test_a_number_is_one_thing_throughout_a_clip() -> None:
    frames = [
        seen((CAR, RED, 20, 40), (CAR, BLUE, 120, 40), time_s=0),
        seen((CAR, BLUE, 120, 40), (CAR, RED, 20, 40), time_s=0.1),  # they change places and looks
        seen((CAR, BLUE, 120, 40), None, (CAR, RED, 20, 40), time_s=0.2),
    ]
    maps = tuple(found for found, _ in frames)
    result = TrackLinker().link(ClipSegments(maps), [frame for _, frame in frames])
    assert [[one.id for one in found.segments or ()] for found in result] == [
        [1, 2],
        [1, 2],
        [1, 3],
    ]


def test_keys_are_looks_where_a_network_gives_them() -> None:
    linker = TrackLinker()
    rng = np.random.default_rng(1)
    keys = rng.standard_normal((2, 16)).astype(np.float32)

    def names(order: tuple[int, int], time_s: float) -> list[int]:
        found, frame = seen((CAR, RED, 60, 20), (CAR, RED, 60, 44), time_s=time_s)
        clip = ClipSegments((found,), {1: keys[order[0]], 2: 3 * keys[order[1]]})
        (result,) = linker.link(clip, [frame])
        return [int(result.ids[20, 60]), int(result.ids[44, 60])]

    assert names((0, 1), 0) == [1, 2]
    for t in range(1, 14):
        linked(linker, *seen(time_s=t / RATE))  # nothing there, and no key
    assert names((1, 0), 1) == [2, 1]


@pytest.mark.parametrize("size_hw", [(1, 1), (2, 3), (7, 700)])
def test_pictures_of_any_size(size_hw: tuple[int, int]) -> None:
    linker = TrackLinker()
    ids = np.ones(size_hw, np.uint16)
    found = SegmentMap(ids, segments_of_ids(ids, {1: CAR}, things={CAR}))
    frames = [Frame.from_rgb(np.full((*size_hw, 3), 90, np.uint8), time_s=t) for t in (0, 0.1)]
    assert [linked(linker, found, frame) for frame in frames] == [{1: 1}] * 2


def test_it_is_the_linker_of_networks_without_a_better_one() -> None:
    found, _ = seen((CAR, RED, 60, 40), time_s=0)
    assert type(make_linker(None, ClipSegments((found,)))) is TrackLinker
    for kind in ("queries", "kernels", "centres"):
        assert type(make_linker(None, ClipSegments((found,), key_kind=kind))) is LINKERS[kind]


@cache
def drawn(scene: str) -> tuple[Labels, list[tuple[float, np.ndarray, SegmentMap]]]:
    """The labels of a scene, and the time, the picture and the truth of its frames."""
    data = open_rendered(f"sample://{scene}?videos=1&frames=36&size=480x270&rate=12&seed=4", "val")
    return data.labels, [
        (record.index / 12, data.read_image(record), data.read_segments(record))
        for record in data.videos[0].frames
    ]


@pytest.mark.parametrize("scene", ["crowd", "street"])
@pytest.mark.parametrize("faults", [None, Faults()], ids=["perfect", "weak"])
def test_ids_switch_far_less_than_by_overlap(scene: str, faults: Faults | None) -> None:
    labels, frames = drawn(scene)
    linkers = {"overlap": OverlapLinker(), "tracks": TrackLinker()}
    counters = {name: IdSwitches() for name in linkers}
    network = WeakNetwork(faults, labels.things, 12, seed=2)
    for time_s, image, truth in frames:
        found = network.found(truth)
        frame = Frame.from_rgb(image, time_s=time_s)
        for name, linker in linkers.items():
            counters[name].update(truth, linker.link(ClipSegments((found,)), [frame])[0])
    assert counters["overlap"].switches > 20
    assert counters["tracks"].switches < counters["overlap"].switches / 2


def test_switches_are_counted_however_long_a_thing_was_away() -> None:
    counter = IdSwitches()
    empty = SegmentMap(np.zeros((4, 8), np.uint16), ())
    ids = np.zeros((4, 8), np.uint16)
    ids[:, :4] = 1

    def named(number: int, columns: int = 4, kind: int = CAR) -> SegmentMap:
        mine = np.zeros((4, 8), np.uint16)
        mine[:, :columns] = number
        return SegmentMap(mine, segments_of_ids(mine, {number: kind}, things={CAR, PERSON}))

    truth = SegmentMap(ids, segments_of_ids(ids, {1: CAR}, things={CAR}))
    for predicted, count in [
        (named(7), 0), (empty, 0), (named(7), 0), (named(8), 1), (named(9, columns=2), 1),
        (named(9, kind=PERSON), 1), (named(8), 1), (named(7), 2),
    ]:  # fmt: skip
        counter.update(truth, predicted)
        assert counter.switches == count
    counter.update(empty, named(3))
    assert counter.switches == 2


class TestMotion:
    NOISE, RATE_NOISE, UNREST = np.full((1, 4), 0.5), np.full((1, 4), 20.0), np.full((1, 4), 3.0)

    def test_a_constant_rate_is_learned(self) -> None:
        rates = np.array([[30.0, -12.0, 0.1, 0.2]])
        motion = Motion.begun(np.zeros((1, 4)), self.NOISE, self.RATE_NOISE)
        for t in range(1, 40):
            motion = motion.after(0.1, self.UNREST * 0).seen(0.1 * t * rates, self.NOISE)
        assert motion.rate == pytest.approx(rates, abs=0.1)
        assert motion.after(1, self.UNREST).value == pytest.approx(4.9 * rates, abs=0.5)

    def test_time_may_pass_in_any_steps(self) -> None:
        motion = Motion.begun(np.ones((1, 4)), self.NOISE, self.RATE_NOISE)
        motion = motion.after(0.2, self.UNREST).seen(np.full((1, 4), 3.0), self.NOISE)
        whole = motion.after(1.5, self.UNREST)
        parts = motion.after(0.3, self.UNREST).after(1.2, self.UNREST)
        assert parts.value == pytest.approx(whole.value)
        assert parts.spread == pytest.approx(whole.spread)
        assert (whole.spread[..., 0] > motion.spread[..., 0]).all()

    def test_the_camera_takes_boxes_with_it(self) -> None:
        motion = Motion(
            np.array([[10.0, 20, 1, 2]]), np.array([[4.0, 0, 0, 0]]), np.ones((1, 4, 3))
        )
        turned = motion.moved(np.array([[0.0, -2, 5], [2, 0, 1]]))  # a quarter, twice the size
        assert turned.value[0] == pytest.approx([-35, 21, 1 + np.log(2), 2 + np.log(2)])
        assert turned.rate[0] == pytest.approx([0, 8, 0, 0])
        assert turned.spread[0, :, 0] == pytest.approx([4, 4, 1, 1])

    def test_distances_are_mahalanobis_and_densities_gaussian(self) -> None:
        motion = Motion(np.zeros((1, 4)), np.zeros((1, 4)), np.full((1, 4, 3), 3.0))
        squared, near = motion.distances(np.array([[2.0, 0, 0, 0]]), np.ones((1, 4)))
        assert squared[0] == pytest.approx(1)  # 2 px, variance 3 + 1
        assert near[0] == pytest.approx(-0.5 - 2 * np.log(2 * np.pi * 4))
