"""Curves, worst clips and flicker maps on hand-made videos."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from vidparse.evaluation.diagnostics import Diagnostics, VideoDiagnostics
from vidparse.evaluation.metrics.measure import Sample
from vidparse.labels import load_labels
from vidparse.maps import SegmentMap

LABELS = load_labels("camvid")
VOID = 255


def row(*ids: int) -> np.ndarray:
    return np.array([ids], np.uint8)  # (1, W)


def feed(
    diagnostics: Diagnostics,
    predicted: Sequence[np.ndarray],
    truth: Sequence[np.ndarray | None],
    *,
    video: str = "v",
    first: int = 0,
    colour: bool = True,
) -> None:
    for i, (one, true) in enumerate(zip(predicted, truth, strict=True), start=first):
        image = np.full((*one.shape, 3), i % 256, np.uint8) if colour else None
        known = None if true is None else SegmentMap(true)
        diagnostics.update(Sample(video, f"f{i}", i, SegmentMap(one), known), image)


def decoded(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def test_curves_of_a_worked_example() -> None:
    diagnostics = Diagnostics(LABELS)
    truth = [row(0, 0, 1, VOID), row(0, 0, 1, 1), row(0, 2, 1, 1)]
    predicted = [row(0, 1, 1, 5), row(0, 0, 1, 3), row(4, 2, 1, 3)]
    feed(diagnostics, predicted, truth)
    found = diagnostics.end_video()
    assert found.stems == ("f0", "f1", "f2")
    assert_allclose(found.accuracy, [2 / 3, 3 / 4, 2 / 4])
    # Frame 0: class 0 is 1 of 2, class 1 is 1 of 2. Frame 1: 2/2 and 1/2. Frame 2: 0/1, 1/2, 1/1.
    assert_allclose(found.miou, [1 / 2, 3 / 4, 1 / 2])
    # Frame 1: of three still pixels one changed its answer. Frame 2: three are still again.
    assert_allclose(found.flicker, [np.nan, 1 / 3, 1 / 3])


def test_flicker_without_ground_truth_counts_all_pixels() -> None:
    diagnostics = Diagnostics(LABELS)
    feed(diagnostics, [row(0, 0), row(0, 1), row(0, 1)], [row(0, 0), None, None])
    found = diagnostics.end_video()
    assert_allclose(found.flicker, [np.nan, 1 / 2, 0])
    assert_allclose(found.accuracy, [1, np.nan, np.nan])
    assert_allclose(found.miou, [1, np.nan, np.nan])


def test_void_neither_flickers_nor_counts() -> None:
    diagnostics = Diagnostics(LABELS)
    feed(diagnostics, [row(0, 1), row(1, 0)], [row(VOID, VOID)] * 2)
    found = diagnostics.end_video()
    assert np.isnan(found.flicker).all() and np.isnan(found.accuracy).all()
    assert found.worst is None


def test_an_answer_of_void_is_wrong() -> None:
    diagnostics = Diagnostics(LABELS)
    feed(diagnostics, [row(0, VOID)], [row(0, 0)])
    assert_allclose(diagnostics.end_video().accuracy, [0.5])


def test_frames_apart_do_not_flicker() -> None:
    diagnostics = Diagnostics(LABELS)
    feed(diagnostics, [row(0)], [row(0)])
    feed(diagnostics, [row(1)], [row(0)], first=30)
    found = diagnostics.end_video()
    assert np.isnan(found.flicker).all()
    assert found.flicker_map is None


def test_worst_clip_is_the_right_one() -> None:
    wrong = {20: 2, 21: 5, 22: 5, 23: 5, 24: 1, 40: 7}  # frame -> wrong pixels of ten
    predicted = [row(*[1] * wrong.get(i, 0), *[0] * (10 - wrong.get(i, 0))) for i in range(60)]
    diagnostics = Diagnostics(LABELS, clip_length=4)
    feed(diagnostics, predicted, [row(*[0] * 10)] * 60)
    worst = diagnostics.end_video().worst
    assert worst is not None
    assert (worst.first, worst.last) == (20, 23)
    assert (worst.first_stem, worst.last_stem) == ("f20", "f23")
    assert worst.accuracy == pytest.approx(1 - 17 / 40)
    assert [frame.stem for frame in worst.frames] == ["f20", "f22", "f23"]


def test_a_short_video_is_one_clip() -> None:
    diagnostics = Diagnostics(LABELS, clip_length=8)
    feed(diagnostics, [row(0, 0), row(1, 0)], [row(0, 0)] * 2)
    worst = diagnostics.end_video().worst
    assert worst is not None
    assert (worst.first, worst.last, worst.accuracy) == (0, 1, 0.75)


def test_clip_pictures_show_what_they_say() -> None:
    truth = np.zeros((8, 16), np.uint8)
    truth[:, :8] = 3
    truth[0] = VOID
    predicted = np.zeros_like(truth)
    image = np.full((8, 16, 3), 200, np.uint8)
    diagnostics = Diagnostics(LABELS)
    diagnostics.update(Sample("v", "a", 0, SegmentMap(predicted), SegmentMap(truth)), image)
    worst = diagnostics.end_video().worst
    assert worst is not None
    (frame,) = worst.frames
    palette = LABELS.palette()
    assert (decoded(frame.truth) == palette[truth]).all()
    assert (decoded(frame.prediction) == palette[predicted]).all()
    assert frame.picture is not None
    assert_allclose(decoded(frame.picture), 200, atol=3)
    wrong = decoded(frame.wrong).astype(int)
    redness = wrong[..., 0] - wrong[..., 2]
    assert redness[4, 2] > 150  # wrong
    assert abs(redness[4, 14]) < 30  # right
    assert wrong[0, 14].max() < wrong[4, 14].min()  # void is darker than right


def test_flicker_map_glows_where_answers_change() -> None:
    truth = np.zeros((64, 64), np.uint8)
    predicted = [truth.copy() for _ in range(6)]
    for ids in predicted[::2]:
        ids[:, 32:] = 1
    diagnostics = Diagnostics(LABELS)
    feed(diagnostics, predicted, [truth] * 6)
    data = diagnostics.end_video().flicker_map
    assert data is not None
    glow = decoded(data).astype(int).sum(axis=2)
    assert glow[:, 40:].min() > glow[:, :24].max() + 300


def test_pictures_are_small_and_keep_their_shape() -> None:
    truth = np.zeros((360, 200), np.uint8)
    diagnostics = Diagnostics(LABELS, thumbnail_side=90)
    feed(diagnostics, [truth, truth], [truth, truth])
    found = diagnostics.end_video()
    assert found.worst is not None and found.flicker_map is not None
    assert decoded(found.worst.frames[0].truth).shape == (90, 50, 3)
    assert decoded(found.flicker_map).shape == (90, 50, 3)


def test_the_next_video_starts_afresh() -> None:
    alone, second = Diagnostics(LABELS), Diagnostics(LABELS)
    feed(second, [row(1, 1), row(0, 1)], [row(0, 0)] * 2, video="other")
    second.end_video()
    for diagnostics in (alone, second):
        feed(diagnostics, [row(0, 1), row(0, 0)], [row(0, 0)] * 2, first=2)
    same(alone.end_video(), second.end_video())


def same(one: VideoDiagnostics, other: VideoDiagnostics) -> None:
    for name in ("accuracy", "miou", "flicker"):
        assert_allclose(getattr(one, name), getattr(other, name))
    for name in ("video", "stems", "flicker_map", "worst"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("labelled", [True, False])
def test_round_trip_through_an_npz(colour: bool, labelled: bool) -> None:
    diagnostics = Diagnostics(LABELS)
    truth = [row(0, 0, 2) if labelled else None] * 5
    feed(diagnostics, [row(0, i, 1) for i in range(5)], truth, video="<ü>.mp4", colour=colour)
    found = diagnostics.end_video()
    file = io.BytesIO()
    np.savez_compressed(file, **found.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as kept:
        same(VideoDiagnostics.from_arrays(dict(kept)), found)


def test_round_trip_of_a_video_without_frames() -> None:
    found = Diagnostics(LABELS).end_video()
    assert found.stems == () and found.worst is None
    same(VideoDiagnostics.from_arrays(found.to_arrays()), found)


def held_bytes(thing: Any) -> int:
    """Arrays and their holders, down the attributes."""
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    if isinstance(thing, list | tuple) or hasattr(thing, "maxlen"):
        return sum(map(held_bytes, thing))
    if hasattr(thing, "__dict__"):
        return sum(map(held_bytes, vars(thing).values()))
    if hasattr(thing, "__slots__"):
        return sum(held_bytes(getattr(thing, name)) for name in thing.__slots__)
    return sys.getsizeof(thing)


def test_memory_does_not_grow_with_the_video() -> None:
    rng = np.random.default_rng(0)
    diagnostics = Diagnostics(LABELS, thumbnail_side=64)
    sizes = []
    for start in range(0, 200, 20):
        predicted = [rng.integers(0, 11, (90, 160), np.uint8) for _ in range(20)]
        feed(diagnostics, predicted, predicted, first=start)
        sizes.append(held_bytes(diagnostics))
    growth = (sizes[-1] - sizes[0]) / 180
    assert growth < 400  # bytes a frame: a stem and three numbers, no pictures
    assert sizes[-1] < 600_000


def test_classes_above_255_stay_distinct() -> None:
    from vidparse.labels import Labels

    names = tuple(f"c{i}" for i in range(300))
    labels = Labels("many", names, tuple((i % 256, 0, 0) for i in range(300)), frozenset())
    diagnostics = Diagnostics(labels)
    truth = np.array([[255, 299, 65535]], np.uint16)
    predicted = np.array([[255, 43, 0]], np.uint16)
    feed(diagnostics, [predicted], [truth])
    assert_allclose(diagnostics.end_video().accuracy, [0.5])


def test_sizes_that_differ_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="prediction is"):
        feed(Diagnostics(LABELS), [row(0, 0)], [row(0)])
