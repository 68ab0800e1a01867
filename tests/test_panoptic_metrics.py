"""VPQ and STQ: worked examples, unit-test values of the public code, and the invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidparse.evaluation.panoptic import count_values, video_panoptic_quality
from vidparse.evaluation.tracking import segmentation_tracking_quality

THING, STUFF = 2, 0
A, S, B = 7, 5, 9  # segment ids
TRUTH = np.array([[[A, A, S, 0]], [[A, A, S, S]]])
SAID = np.array([[[A, A, S, S]], [[B, A, S, S]]])
TRUTH_ROWS = np.array([[0, S, STUFF, 0], [0, A, THING, 0], [1, S, STUFF, 0], [1, A, THING, 0]])
SAID_ROWS = np.array(
    [[0, A, THING, 0], [0, S, STUFF, 0], [1, B, THING, 0], [1, A, THING, 0], [1, S, STUFF, 0]]
)


def vpq(truth, said, truth_rows, said_rows, windows=(1, 2)):
    return video_panoptic_quality(
        [truth], [said], [truth_rows], [said_rows],
        windows=windows, thing_ids=[THING], stuff_ids=[STUFF],
    )  # fmt: skip


def stq(truth, said, truth_rows, said_rows, mode="published", classes=3):
    return segmentation_tracking_quality(
        [truth], [said], [truth_rows], [said_rows],
        num_classes=classes, thing_ids=[THING], mode=mode,
    )  # fmt: skip


def test_vpq_worked_example() -> None:
    scores = vpq(TRUTH, SAID, TRUTH_ROWS, SAID_ROWS)
    one, two = scores.per_window[1], scores.per_window[2]
    assert (one.things, one.stuff, one.pq) == (pytest.approx(0.4), 1.0, pytest.approx(0.7))
    assert (two.things, two.stuff, two.pq) == (pytest.approx(0.5), 1.0, pytest.approx(0.75))
    assert scores.vpq == pytest.approx(0.725)
    assert one.counts[THING] == (pytest.approx(1.0), 1, 2, 1)


def test_void_under_a_prediction_is_not_held_against_it() -> None:
    truth = np.array([[[A, A, 0, 0, 0]]])
    said = np.array([[[A, A, A, A, A]]])
    rows = np.array([[0, A, THING, 0]])
    assert vpq(truth, said, rows, rows, windows=(1,)).vpq == 1
    only_void = np.array([[[A, A, B, B, B]]])
    both = np.array([[0, A, THING, 0], [0, B, THING, 0]])
    assert vpq(truth, only_void, rows, both, windows=(1,)).vpq == 1  # B lies on void: no FP


def test_crowd_is_neither_matched_nor_missed() -> None:
    truth = np.array([[[A, A, A, B, B]]])
    rows = np.array([[0, A, THING, 1], [0, B, THING, 0]])
    said = np.array([[[12, 12, 13, B, B]]])
    said_rows = np.array([[0, 12, THING, 0], [0, 13, THING, 0], [0, B, THING, 0]])
    scores = vpq(truth, said, rows, said_rows, windows=(1,))
    assert scores.per_window[1].counts[THING] == (1.0, 1, 0, 0)


def test_exactly_half_is_no_match() -> None:
    truth, said = np.array([[[A, A]]]), np.array([[[A, 0]]])
    rows = np.array([[0, A, THING, 0]])
    assert vpq(truth, said, rows, rows, windows=(1,)).per_window[1].counts[THING] == (0, 0, 1, 1)


def test_windows_longer_than_the_video_add_nothing() -> None:
    scores = vpq(TRUTH, SAID, TRUTH_ROWS, SAID_ROWS, windows=(1, 3))
    assert np.isnan(scores.per_window[3].pq)
    assert scores.vpq == scores.per_window[1].pq


def test_mismatched_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="id 9 is in the picture"):
        vpq(TRUTH, SAID, TRUTH_ROWS, SAID_ROWS[SAID_ROWS[:, 1] != B])
    with pytest.raises(ValueError, match="no pixel"):
        vpq(TRUTH, SAID, TRUTH_ROWS, np.vstack([SAID_ROWS, [0, 99, THING, 0]]))
    with pytest.raises(ValueError, match="unknown category"):
        vpq(TRUTH, SAID, TRUTH_ROWS, np.vstack([SAID_ROWS, [0, A, 44, 0]]))


def test_stq_worked_example() -> None:
    scores = stq(TRUTH, SAID, TRUTH_ROWS, SAID_ROWS)
    assert (scores.sq, scores.aq) == (1.0, pytest.approx(0.625))
    assert scores.stq == pytest.approx(0.790569, abs=1e-6)


def test_first_listed_thing_is_lost_in_the_published_mode_only() -> None:
    thing_first = TRUTH_ROWS[[1, 0, 3, 2]]
    assert stq(TRUTH, SAID, thing_first, SAID_ROWS).stq == 0
    clean = stq(TRUTH, SAID, thing_first, SAID_ROWS, mode="clean")
    assert clean.stq == pytest.approx(0.790569, abs=1e-6)


def test_predicted_void_lowers_sq_by_one_more_class() -> None:
    said = SAID.copy()
    said[1, 0, 3] = 0
    scores = stq(TRUTH, said, TRUTH_ROWS, SAID_ROWS)
    assert scores.sq == pytest.approx(5 / 9)


@pytest.mark.parametrize(
    ("said", "aq", "expected"),
    [([1, 1, 2, 2, 2], 0.52, 0.721110), ([1, 2, 3, 4, 5], 0.2, 0.447214)],
)
def test_stq_values_of_the_public_unit_tests(said, aq, expected) -> None:
    truth = np.ones((5, 1, 1), int)
    prediction = np.array(said).reshape(5, 1, 1)
    truth_rows = np.array([[t, 1, THING, 0] for t in range(5)])
    said_rows = np.array([[t, s, THING, 0] for t, s in enumerate(said)])
    scores = stq(truth, prediction, truth_rows, said_rows, mode="clean")
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
    said = rng.integers(0, 5, truth.shape)
    shuffled = np.where(said > 0, 2 * ((said * 37) % 11) + 40 + said % 2, 0)
    a = vpq(truth, said, rows, rows_of(said))
    b = vpq(truth, shuffled, rows, rows_of(shuffled))
    assert np.array_equal([a.vpq, a.things, a.stuff], [b.vpq, b.things, b.stuff], equal_nan=True)
    one = stq(truth, said, rows, rows_of(said))
    two = stq(truth, shuffled, rows, rows_of(shuffled))
    assert one.stq == pytest.approx(two.stq)


def test_counting_runs_equals_counting_pixels() -> None:
    rng = np.random.default_rng(0)
    codes = np.sort(rng.integers(0, 2**40, 50))[rng.integers(0, 50, (37, 41)) // 7 * 3]
    values, counts = count_values(codes)
    expected = np.unique(codes, return_counts=True)
    assert (values == expected[0]).all() and (counts == expected[1]).all()
