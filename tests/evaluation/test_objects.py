"""J and F of objects: the definitions pixel by pixel, and which frames and objects count."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.random_videos import semantic
from vidparse.evaluation.metrics.measure import DataFacts
from vidparse.evaluation.metrics.objects import (
    ObjectQuality,
    contour,
    contour_accuracy,
    region_similarity,
    statistics,
)


def scores(truth: np.ndarray, predicted: np.ndarray, *, semi: bool = False) -> dict[str, float]:
    """Of one video (T, H, W)."""
    measure = ObjectQuality(DataFacts(2), semi=semi)
    for t in range(len(truth)):
        measure.update(semantic(truth[t], predicted[t], t))
    return {k: float(v) for k, v in measure.scores(measure.end_video()).items()}


def literal_contour(mask: np.ndarray) -> set[tuple[int, int]]:
    height, width = mask.shape
    edge = set()
    for y in range(height):
        for x in range(width):
            others = []
            if x + 1 < width:
                others.append((y, x + 1))
            if y + 1 < height:
                others.append((y + 1, x))
            if x + 1 < width and y + 1 < height:
                others.append((y + 1, x + 1))
            if any(mask[other] != mask[y, x] for other in others):
                edge.add((y, x))
    return edge


def literal_f(truth: np.ndarray, predicted: np.ndarray, radius: float) -> float:
    one, other = literal_contour(truth), literal_contour(predicted)
    if not one or not other:
        return float(one == other)

    def near(points, targets):
        return sum(any(math.dist(p, q) <= radius for q in targets) for p in points) / len(points)

    precision, recall = near(other, one), near(one, other)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def blob(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size_hw, bool)
    for _ in range(rng.integers(0, 3)):
        y, x = rng.integers(0, size_hw)
        mask[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = True
    return mask


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), radius=st.integers(1, 4))
def test_contours_and_f_equal_the_definition(seed: int, radius: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = blob(rng, (13, 11)), blob(rng, (13, 11))
    assert set(zip(*np.nonzero(contour(truth)), strict=True)) == literal_contour(truth)
    ours = contour_accuracy(truth, predicted, radius=radius)
    assert ours == pytest.approx(literal_f(truth, predicted, radius))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_video_scores_what_whole_masks_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = np.zeros((2, 4, 30, 40), np.uint8)
    for maps in (truth, predicted):
        for ids in maps:
            for i in (1, 2):
                ids[blob(rng, (30, 40))] = i
    radius = math.ceil(0.008 * math.hypot(30, 40))
    sums = np.zeros((2, 3))
    objects = [i for i in (1, 2) if (truth == i).any()]
    for i in objects:
        pairs = [(one == i, other == i) for one, other in zip(truth, predicted, strict=True)]
        j = np.array([region_similarity(*pair) for pair in pairs])
        f = np.array([contour_accuracy(*pair, radius=radius) for pair in pairs])
        sums += [statistics(j), statistics(f)]
    got = scores(truth, predicted)
    expected = (sums / len(objects)).reshape(-1) if objects else np.full(6, np.nan)
    names = ("j_mean", "j_recall", "j_decay", "f_mean", "f_recall", "f_decay")
    np.testing.assert_allclose([got[name] for name in names], expected, rtol=1e-12)
    if objects:
        assert got["jf"] == pytest.approx((got["j_mean"] + got["f_mean"]) / 2)


def test_statistics_by_hand() -> None:
    values = np.array([1, 1, 0.5, 0.6, 0.4, 0.2, 0.2, 0.1])
    # quarters end at round(1, 2.75, 4.5, 6.25, 8) = 1, 3, 5, 6, 8 (half up)
    mean, recall, decay = statistics(values)
    assert mean == pytest.approx(0.5)
    assert recall == 3 / 8  # 0.5 itself is not above
    assert decay == pytest.approx((1 + 1 + 0.5) / 3 - (0.2 + 0.2 + 0.1) / 3)
    assert statistics(np.array([0.7])) == (0.7, 1, 0)
    long = np.concatenate([np.ones(300), np.zeros(300)])
    assert statistics(long)[2] == 1  # more frames than a byte counts


def test_f_of_empty_and_full_masks() -> None:
    none, full = np.zeros((6, 6), bool), np.ones((6, 6), bool)
    some = none.copy()
    some[2:4, 2:4] = True
    assert contour_accuracy(none, none, radius=1) == 1
    assert contour_accuracy(some, none, radius=1) == contour_accuracy(none, some, radius=1) == 0
    assert contour_accuracy(full, none, radius=1) == 1  # neither has a contour
    assert region_similarity(none, none) == 1


def video(*squares: int | None) -> np.ndarray:
    """uint8 (T, 20, 20): a square of object 1 that starts in this column, or nothing."""
    ids = np.zeros((len(squares), 20, 20), np.uint8)
    for frame, x in zip(ids, squares, strict=True):
        if x is not None:
            frame[5:13, x : x + 8] = 1
    return ids


def test_semi_supervised_leaves_out_the_first_and_the_last_frame() -> None:
    truth = video(2, 2, 2, 2)
    predicted = video(10, 2, 2, 10)  # wrong at both ends
    assert scores(truth, predicted)["j_mean"] == pytest.approx(0.5)
    assert scores(truth, predicted, semi=True)["jf_semi"] == 1
    assert np.isnan(scores(truth[:2], predicted[:2], semi=True)["jf_semi"])


def test_objects_that_come_later() -> None:
    truth = video(None, None, 4, 4)
    assert scores(truth, truth)["j_mean"] == 1
    early = scores(truth, video(4, None, 4, 4))
    assert early["j_mean"] == 0.75  # predicted where there was nothing
    assert np.isnan(scores(truth, truth, semi=True)["j_mean_semi"])  # not requested


def test_predicted_ids_are_not_matched_and_others_do_not_count() -> None:
    truth = video(2, 3, 4)
    assert scores(truth, truth * 2)["jf"] < 0.01
    extra = truth.copy()
    extra[:, 18:, 18:] = 9
    assert scores(truth, extra)["jf"] == 1
    assert np.isnan(scores(truth * 0, truth)["jf"])


def test_void_is_background_in_both() -> None:
    truth = video(2, 2, 2)
    predicted = truth.copy()
    predicted[:, 5:13, 10:14] = 1
    void = truth.copy()
    void[:, 5:13, 10:14] = 255
    assert scores(truth, predicted)["j_mean"] < 0.7
    assert scores(void, predicted)["jf"] == 1


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="prediction"):
        scores(np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 5), np.uint8))
