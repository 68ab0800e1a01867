"""VPQ and STQ: worked examples, unit-test values of the public code, and the invariants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from vidparse.evaluation.metrics.measure import DataFacts, Sample
from vidparse.evaluation.metrics.overlaps import count_pairs, split_codes
from vidparse.evaluation.metrics.panoptic import VideoPanopticQuality, video_panoptic_quality
from vidparse.evaluation.metrics.tracking import segmentation_tracking_quality
from vidparse.maps import Segment, SegmentMap

THING, STUFF = 2, 0
A, S, B = 7, 5, 9  # segment ids
TRUTH = np.array([[[A, A, S, 0]], [[A, A, S, S]]])
PREDICTED = np.array([[[A, A, S, S]], [[B, A, S, S]]])
TRUTH_ROWS = np.array([[0, S, STUFF, 0], [0, A, THING, 0], [1, S, STUFF, 0], [1, A, THING, 0]])
PREDICTED_ROWS = np.array(
    [[0, A, THING, 0], [0, S, STUFF, 0], [1, B, THING, 0], [1, A, THING, 0], [1, S, STUFF, 0]]
)


def vpq(truth, predicted, truth_rows, predicted_rows, windows=(1, 2)):
    return video_panoptic_quality(
        [truth], [predicted], [truth_rows], [predicted_rows],
        windows=windows, thing_ids=[THING], stuff_ids=[STUFF],
    )  # fmt: skip


def stq(truth, predicted, truth_rows, predicted_rows, mode="published", classes=3):
    return segmentation_tracking_quality(
        [truth], [predicted], [truth_rows], [predicted_rows],
        num_classes=classes, thing_ids=[THING], mode=mode,
    )  # fmt: skip


def test_vpq_worked_example() -> None:
    scores = vpq(TRUTH, PREDICTED, TRUTH_ROWS, PREDICTED_ROWS)
    one, two = scores.per_window[1], scores.per_window[2]
    assert (one.things, one.stuff, one.pq) == (pytest.approx(0.4), 1.0, pytest.approx(0.7))
    assert (two.things, two.stuff, two.pq) == (pytest.approx(0.5), 1.0, pytest.approx(0.75))
    assert scores.vpq == pytest.approx(0.725)
    assert one.counts[THING] == (pytest.approx(1.0), 1, 2, 1)


def test_void_under_a_prediction_is_not_held_against_it() -> None:
    truth = np.array([[[A, A, 0, 0, 0]]])
    predicted = np.array([[[A, A, A, A, A]]])
    rows = np.array([[0, A, THING, 0]])
    assert vpq(truth, predicted, rows, rows, windows=(1,)).vpq == 1
    only_void = np.array([[[A, A, B, B, B]]])
    both = np.array([[0, A, THING, 0], [0, B, THING, 0]])
    assert vpq(truth, only_void, rows, both, windows=(1,)).vpq == 1  # B lies on void: no FP


def test_crowd_is_neither_matched_nor_missed() -> None:
    truth = np.array([[[A, A, A, B, B]]])
    rows = np.array([[0, A, THING, 1], [0, B, THING, 0]])
    predicted = np.array([[[12, 12, 13, B, B]]])
    predicted_rows = np.array([[0, 12, THING, 0], [0, 13, THING, 0], [0, B, THING, 0]])
    scores = vpq(truth, predicted, rows, predicted_rows, windows=(1,))
    assert scores.per_window[1].counts[THING] == (1.0, 1, 0, 0)


def test_exactly_half_is_no_match() -> None:
    truth, predicted = np.array([[[A, A]]]), np.array([[[A, 0]]])
    rows = np.array([[0, A, THING, 0]])
    assert vpq(truth, predicted, rows, rows, windows=(1,)).per_window[1].counts[THING] == (
        0,
        0,
        1,
        1,
    )


def test_windows_longer_than_the_video_add_nothing() -> None:
    scores = vpq(TRUTH, PREDICTED, TRUTH_ROWS, PREDICTED_ROWS, windows=(1, 3))
    assert np.isnan(scores.per_window[3].pq)
    assert scores.vpq == scores.per_window[1].pq


def test_mismatched_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="id 9 is in the picture"):
        vpq(TRUTH, PREDICTED, TRUTH_ROWS, PREDICTED_ROWS[PREDICTED_ROWS[:, 1] != B])
    with pytest.raises(ValueError, match="no pixel"):
        vpq(TRUTH, PREDICTED, TRUTH_ROWS, np.vstack([PREDICTED_ROWS, [0, 99, THING, 0]]))
    with pytest.raises(ValueError, match="unknown category"):
        vpq(TRUTH, PREDICTED, TRUTH_ROWS, np.vstack([PREDICTED_ROWS, [0, A, 44, 0]]))


def test_stq_worked_example() -> None:
    scores = stq(TRUTH, PREDICTED, TRUTH_ROWS, PREDICTED_ROWS)
    assert (scores.sq, scores.aq) == (1.0, pytest.approx(0.625))
    assert scores.stq == pytest.approx(0.790569, abs=1e-6)


def test_first_listed_thing_is_lost_in_the_published_mode_only() -> None:
    thing_first = TRUTH_ROWS[[1, 0, 3, 2]]
    assert stq(TRUTH, PREDICTED, thing_first, PREDICTED_ROWS).stq == 0
    clean = stq(TRUTH, PREDICTED, thing_first, PREDICTED_ROWS, mode="clean")
    assert clean.stq == pytest.approx(0.790569, abs=1e-6)


def test_predicted_void_lowers_sq_by_one_more_class() -> None:
    predicted = PREDICTED.copy()
    predicted[1, 0, 3] = 0
    scores = stq(TRUTH, predicted, TRUTH_ROWS, PREDICTED_ROWS)
    assert scores.sq == pytest.approx(5 / 9)


@pytest.mark.parametrize(
    ("predicted", "aq", "expected"),
    [([1, 1, 2, 2, 2], 0.52, 0.721110), ([1, 2, 3, 4, 5], 0.2, 0.447214)],
)
def test_stq_values_of_the_public_unit_tests(predicted, aq, expected) -> None:
    truth = np.ones((5, 1, 1), int)
    prediction = np.array(predicted).reshape(5, 1, 1)
    truth_rows = np.array([[t, 1, THING, 0] for t in range(5)])
    predicted_rows = np.array([[t, s, THING, 0] for t, s in enumerate(predicted)])
    scores = stq(truth, prediction, truth_rows, predicted_rows, mode="clean")
    assert scores.aq == pytest.approx(aq)
    assert scores.stq == pytest.approx(expected, abs=1e-6)


def rows_of(video: np.ndarray) -> np.ndarray:
    """Even ids are things, odd ones stuff."""
    return np.array(
        [
            [t, s, THING if s % 2 == 0 else STUFF, 0]
            for t, frame in enumerate(video)
            for s in np.unique(frame)
            if s
        ]
    ).reshape(-1, 4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), frames=st.integers(1, 5))
def test_perfect_and_renamed_predictions(seed: int, frames: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, (frames, 4, 5))
    truth[0, 0, 0] = 1  # some stuff first, so that no thing is number 0
    rows = rows_of(truth)
    rows = rows[np.lexsort((rows[:, 2], rows[:, 0]))]
    renamed = np.where(truth > 0, truth + 2 * 1000, 0)
    perfect = vpq(truth, renamed, rows, rows_of(renamed), windows=(1,))
    assert perfect.vpq == pytest.approx(1)
    predicted = rng.integers(0, 5, truth.shape)
    shuffled = np.where(predicted > 0, 2 * ((predicted * 37) % 11) + 40 + predicted % 2, 0)
    a = vpq(truth, predicted, rows, rows_of(predicted))
    b = vpq(truth, shuffled, rows, rows_of(shuffled))
    assert np.array_equal([a.vpq, a.things, a.stuff], [b.vpq, b.things, b.stuff], equal_nan=True)
    one = stq(truth, predicted, rows, rows_of(predicted))
    two = stq(truth, shuffled, rows, rows_of(shuffled))
    assert one.stq == pytest.approx(two.stq)


def test_counting_runs_equals_counting_pixels() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = (np.sort(rng.integers(0, 2**31, 50))[rng.integers(0, 50, (37, 41)) // 7 * 3]
                   for _ in range(2))  # fmt: skip
    codes, pixels = count_pairs(truth, predicted)
    expected = np.unique(truth * 2**32 + predicted, return_counts=True)
    assert (codes == expected[0]).all() and (pixels == expected[1]).all()


def blobs(rng: np.random.Generator, segments: int) -> np.ndarray:
    """Segment ids (50, 60) in discs, some void; even ids are things."""
    y, x = np.mgrid[:50, :60]
    ids = np.zeros((50, 60), np.int64)
    for segment in rng.permutation(segments) + 1:
        cy, cx, radius = rng.integers(0, 50), rng.integers(0, 60), rng.integers(5, 18)
        ids[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = segment
    return ids


@pytest.mark.parametrize("seed", range(8))
def test_torchmetrics_finds_the_same_panoptic_quality(seed: int) -> None:
    from torchmetrics.detection import PanopticQuality

    rng = np.random.default_rng(seed)
    truth = np.stack([blobs(rng, 9) for _ in range(4)])
    truth = np.where(truth % 2 == 1, 1, truth)  # one stuff id
    predicted = np.roll(truth, 2, axis=2)
    # It excuses predicted void as it does true void, which the panoptic papers do not: say all.
    predicted = np.where((predicted == 0) | (rng.random(predicted.shape) < 0.02), 1, predicted)
    ours = vpq(truth, predicted, rows_of(truth), rows_of(predicted), windows=(1,))

    def pairs(ids: np.ndarray) -> torch.Tensor:
        """(T, H, W, 2): category and instance; 7 is void."""
        category = np.where(ids == 0, 7, np.where(ids % 2 == 0, THING, STUFF))
        return torch.from_numpy(np.stack([category, ids], axis=-1))

    theirs = PanopticQuality(
        things={THING}, stuffs={STUFF}, allow_unknown_preds_category=True, return_per_class=True
    )
    theirs.update(pairs(predicted), pairs(truth))
    thing, stuff = theirs.compute()[0].tolist()
    assert ours.things == pytest.approx(thing, rel=1e-6)  # float32 there
    assert ours.stuff == pytest.approx(stuff, rel=1e-6)


def test_run_length_masks_have_the_same_areas_and_intersections() -> None:
    rng = np.random.default_rng(3)
    truth, predicted = blobs(rng, 9), blobs(rng, 7)
    codes, pixels = count_pairs(truth, predicted)
    counted = {
        tuple(map(int, pair)): int(n) for *pair, n in zip(*split_codes(codes), pixels, strict=True)
    }
    masks = [
        {int(i): mask.encode(np.asfortranarray(ids == i, np.uint8)) for i in np.unique(ids)}
        for ids in (truth, predicted)
    ]
    for t, one in masks[0].items():
        for s, other in masks[1].items():
            shared = int(mask.area(mask.merge([one, other], intersect=True)))
            assert counted.get((t, s), 0) == shared
        assert sum(n for (i, _), n in counted.items() if i == t) == int(mask.area(one))


def test_claimed_areas_of_the_truth_are_trusted_and_those_of_the_prediction_are_not() -> None:
    ids = np.full((1, 8), A)
    truth, predicted = (
        SegmentMap(ids, (Segment(A, THING, True, None, claimed, (0, 0, 8, 1)),))
        for claimed in (12, 3)
    )
    measure = VideoPanopticQuality(DataFacts(3, frozenset({THING}), windows=(1,)))
    measure.update(Sample("v", "0", 0, predicted, truth))
    assert measure.end_video()["tubes"][0, THING].tolist() == [pytest.approx(8 / 12), 1, 0, 0]


def test_a_tube_takes_its_category_from_its_first_frame_in_the_window() -> None:
    truth = np.full((4, 1, 4), A)
    as_thing = np.array([[t, A, THING, 0] for t in range(4)])
    turning = as_thing.copy()
    turning[2:, 2] = STUFF
    scores = vpq(truth, truth, as_thing, turning, windows=(2,)).per_window[2]
    # windows from frames 0 and 1 begin as a thing, the one from frame 2 does not
    assert scores.counts == {THING: (2.0, 2, 0, 1), STUFF: (0.0, 0, 1, 0)}


def test_long_windows_drop_what_left() -> None:
    truth = np.array([[[A]], [[B]], [[B]], [[A]]])
    rows = np.array([[t, int(frame[0, 0]), THING, 0] for t, frame in enumerate(truth)])
    scores = vpq(truth, truth, rows, rows, windows=(2,)).per_window[2]
    assert scores.counts[THING] == (5.0, 5, 0, 0)  # AB, B, BA


@pytest.mark.parametrize("metric", [vpq, stq])
def test_malformed_segments_are_refused(metric) -> None:
    one = np.array([[[A]]])
    rows = np.array([[0, A, THING, 0]])
    with pytest.raises(ValueError, match="listed twice"):
        metric(one, one, np.vstack([rows, rows]), rows)
    with pytest.raises(ValueError, match="0 is void"):
        metric(one, one, rows, np.vstack([rows, [0, 0, THING, 0]]))
    with pytest.raises(ValueError, match="must lie in 0"):
        metric(one, -one, rows, np.array([[0, -A, THING, 0]]))
    with pytest.raises(ValueError, match="not in its list"):
        metric(one, one, rows, rows[:0])
    with pytest.raises(ValueError, match="unknown category 44"):
        metric(one, one, np.array([[0, A, 44, 0]]), rows)
    with pytest.raises(ValueError, match="truth is"):
        metric(one, np.array([[[A, A]]]), rows, rows)
    with pytest.raises(ValueError, match="1 ground truth frames, 2 predicted"):
        metric(one, np.vstack([one, one]), rows, rows)


@pytest.mark.parametrize(("order", "false"), [((A, S), 1), ((S, A), 0)])
def test_of_two_crowds_of_a_category_the_one_listed_last_excuses(order, false: int) -> None:
    truth = np.array([[[A, A, A, S]]])
    predicted = np.array([[[B, B, B, B]]])
    rows = np.array([[0, segment, THING, 1] for segment in order])
    scores = vpq(truth, predicted, rows, np.array([[0, B, THING, 0]]), windows=(1,))
    assert scores.per_window[1].counts.get(THING, (0, 0, 0, 0))[2] == false
