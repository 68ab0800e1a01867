"""What must hold of the metrics whatever the videos are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.random_videos import (
    CATEGORY,
    LABELS,
    VOID,
    ids_of_category,
    panoptic,
    random_video,
    sample,
    semantic,
)
from vidparse.evaluation.metrics import make_measures
from vidparse.evaluation.metrics.measure import Sample, counts_per_video

AGAINST_TRUTH = (
    "miou",
    "vc2",
    "vc3-strict",
    "boundary",
    "jf",
    "jf-semi",
    "vpq",
    "stq",
    "stq-clean",
)
seeds = st.integers(0, 10**6)
few = settings(max_examples=25, deadline=None)


def scores(name: str, video: list[Sample]) -> dict[str, float]:
    measure = make_measures([name], LABELS, windows=(1, 2, 3))[name]
    [counts] = counts_per_video(measure, [video])
    return {key: float(value) for key, value in measure.scores(counts).items()}


def per_class(name: str, video: list[Sample]) -> np.ndarray:
    measure = make_measures([name], LABELS, windows=(1, 2, 3))[name]
    [counts] = counts_per_video(measure, [video])
    [values] = measure.per_class(counts).values()
    return values


def changed(video: list[Sample], change: Callable[[np.ndarray], np.ndarray]) -> list[Sample]:
    """With segment ids of the prediction changed, and its classes with them."""
    return [sample(f.index, f.truth.ids, change(f.prediction.ids), f.flow) for f in video]


@pytest.mark.parametrize("name", AGAINST_TRUTH)
@few
@given(seed=seeds)
def test_a_perfect_prediction_scores_one(name: str, seed: int) -> None:
    video = [sample(f.index, f.truth.ids, f.truth.ids, f.flow)
             for f in random_video(seed)]  # fmt: skip
    for score, value in scores(name, video).items():
        assert value == pytest.approx(0 if "decay" in score else 1) or np.isnan(value)


@pytest.mark.parametrize("name", ["miou", "boundary", "vpq"])
@few
@given(seed=seeds, order=st.permutations(range(5)))
def test_renaming_classes_renames_rows(name: str, seed: int, order: list[int]) -> None:
    category = {segment: order[c] for segment, c in CATEGORY.items()}  # c becomes order[c]

    def renamed(frame: Sample) -> Sample:
        return replace(
            frame,
            truth=panoptic(frame.truth.ids, category),
            prediction=panoptic(frame.prediction.ids, category),
        )

    video = random_video(seed)
    before = per_class(name, video)
    after = per_class(name, [renamed(frame) for frame in video])
    np.testing.assert_allclose(after[np.array(order)], before, rtol=1e-12)


@few
@given(seed=seeds, share=st.floats(0, 1))
def test_no_answer_taken_back_raises_an_accuracy(seed: int, share: float) -> None:
    """Of VC this holds when it is strict; plain VC and overlaps can rise, see the next test."""
    rng = np.random.default_rng(seed)
    video = random_video(seed)
    bare = changed(video, lambda ids: np.where(rng.random(ids.shape) < share, 0, ids))
    before = scores("miou", video) | scores("vc2-strict", video)
    after = scores("miou", bare) | scores("vc2-strict", bare)
    for name in ("pixel_accuracy", "mean_accuracy", "vc2_strict"):
        assert not after[name] > before[name]


def test_a_wrong_answer_taken_back_raises_the_overlap_of_the_predicted_class() -> None:
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    wrong = semantic(truth, np.array([[0, 1, 1, 1]], np.uint8))
    nothing = semantic(truth, np.array([[0, VOID, 1, 1]], np.uint8))
    assert scores("miou", [nothing])["miou"] == 0.75 > scores("miou", [wrong])["miou"]
    assert scores("miou", [nothing])["pixel_accuracy"] == 0.75


@few
@given(seed=seeds, share=st.floats(0, 1))
def test_no_right_answer_taken_back_raises_any_overlap(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    video = random_video(seed)
    bare = []
    for f in video:
        truth, predicted = f.true_classes, f.predicted_classes
        gone = (predicted == truth) & (rng.random(truth.shape) < share)
        bare.append(semantic(truth, np.where(gone, VOID, predicted).astype(np.uint8)))
    before, after = scores("miou", video), scores("miou", bare)
    assert all(not after[name] > before[name] + 1e-12 for name in before)


@pytest.mark.parametrize("name", ["vpq", "stq", "stq-clean"])
@few
@given(seed=seeds)
def test_other_numbers_for_the_same_objects_change_nothing(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    video = random_video(seed)
    numbers = np.append(0, 1 + rng.choice(2**24 - 1, 8, replace=False))
    category = {int(numbers[segment]): c for segment, c in CATEGORY.items()}
    other = [replace(f, prediction=panoptic(numbers[f.prediction.ids], category)) for f in video]
    before, after = scores(name, video), scores(name, other)
    assert after == pytest.approx(before, rel=1e-12, nan_ok=True)


@few
@given(seed=seeds, order=st.permutations(range(5)))
def test_plain_vc_ignores_which_class_is_predicted(seed: int, order: list[int]) -> None:
    table = np.full(256, VOID, np.uint8)
    table[:5] = order
    video = random_video(seed)
    other = [semantic(f.true_classes, table[f.predicted_classes]) for f in video]
    assert scores("vc2", other) == pytest.approx(scores("vc2", video), nan_ok=True)


@few
@given(seed=seeds)
def test_strict_vc_is_at_most_the_accuracy_of_still_pixels(seed: int) -> None:
    video = random_video(seed, frames=2)
    truths = [frame.true_classes for frame in video]
    predicted = [frame.predicted_classes for frame in video]
    still = (truths[0] == truths[1]) & (truths[0] != VOID)
    right = (predicted[0] == truths[0]) & (predicted[1] == truths[1])
    expected = (still & right).sum() / still.sum() if still.any() else np.nan
    assert scores("vc2-strict", video)["vc2_strict"] == pytest.approx(expected, nan_ok=True)


def slow_image_pq(video: list[Sample]) -> np.ndarray:
    """PQ of each category (Kirillov et al., CVPR 2019), mask by mask; all frames pooled."""
    iou_sum, tp, fp, fn = np.zeros((4, 5))
    for frame in video:
        truth, predicted = frame.truth.ids, frame.prediction.ids
        for c in range(5):
            taken = set()
            for t in ids_of_category(c):
                if not (truth == t).any():
                    continue
                fn[c] += 1
                for s in ids_of_category(c):
                    counted = (predicted == s) & (truth != 0)
                    union = (counted | (truth == t)).sum()
                    iou = (counted & (truth == t)).sum() / union
                    if iou > 0.5:
                        iou_sum[c] += iou
                        tp[c] += 1
                        fn[c] -= 1
                        taken.add(s)
            for s in set(ids_of_category(c)) - taken:
                area = (predicted == s).sum()
                if area and ((predicted == s) & (truth == 0)).sum() / area <= 0.5:
                    fp[c] += 1
    whole = tp + fp / 2 + fn / 2
    return np.where(whole > 0, iou_sum / np.maximum(whole, 0.5), np.nan)


@few
@given(seed=seeds)
def test_vpq_of_single_frames_is_image_pq(seed: int) -> None:
    video = random_video(seed)
    measure = make_measures(["vpq"], LABELS, windows=(1,))["vpq"]
    [counts] = counts_per_video(measure, [video])
    each = slow_image_pq(video)
    np.testing.assert_allclose(measure.per_class(counts)["vpq"], each, rtol=1e-12)
    np.testing.assert_allclose(measure.scores(counts)["vpq_k1"], np.nanmean(each), rtol=1e-12)


@few
@given(seed=seeds, length=st.integers(2, 4))
def test_a_window_is_an_image_of_its_frames_side_by_side(seed: int, length: int) -> None:
    video = random_video(seed, frames=6)
    measure = make_measures(["vpq"], LABELS, windows=(length,))["vpq"]
    [counts] = counts_per_video(measure, [video])
    joined = []
    for start in range(len(video) - length + 1):
        window = video[start : start + length]
        truth = np.hstack([f.truth.ids for f in window])
        predicted = np.hstack([f.prediction.ids for f in window])
        joined.append(sample(start, truth, predicted, None))
    np.testing.assert_allclose(measure.per_class(counts)["vpq"], slow_image_pq(joined), rtol=1e-12)


def slow_stq(video: list[Sample]) -> tuple[float, float]:
    """AQ and SQ (Weber et al., NeurIPS 2021) from sets of pixels; no crowd."""
    truths, predicted = {}, {}  # (category, id) -> pixels
    classes: dict[tuple[int, int], int] = {}
    for frame in video:
        for position in np.ndindex(frame.truth.ids.shape):
            pixel = (frame.index, *position)
            t, s = int(frame.truth.ids[position]), int(frame.prediction.ids[position])
            if CATEGORY.get(t) in LABELS.things:
                truths.setdefault(t, set()).add(pixel)
            if CATEGORY.get(s) in LABELS.things:
                predicted.setdefault(s, set()).add(pixel)
            if t:
                pair = CATEGORY[t], CATEGORY.get(s, 5)
                classes[pair] = classes.get(pair, 0) + 1
    association = 0.0
    for g in truths.values():
        association += sum(len(p & g) * len(p & g) / len(p | g) for p in predicted.values()) / len(
            g
        )
    ious = []
    for c in range(6):
        union = sum(n for pair, n in classes.items() if c in pair)
        if union:
            ious.append(classes.get((c, c), 0) / union)
    return association / len(truths) if truths else 0.0, float(np.mean(ious)) if ious else 0.0


@few
@given(seed=seeds)
def test_stq_equals_the_definition(seed: int) -> None:
    video = random_video(seed)
    aq, sq = slow_stq(video)
    got = scores("stq-clean", video)
    assert (got["aq_clean"], got["sq_clean"]) == pytest.approx((aq, sq), rel=1e-12)
    assert got["stq_clean"] == pytest.approx(np.sqrt(aq * sq), rel=1e-12)
    assert list(scores("stq", video).values()) == pytest.approx(list(got.values()))
