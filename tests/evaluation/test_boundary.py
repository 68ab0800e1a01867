"""Boundary IoU: the definition class by class, void, and the measure along the flow."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.random_videos import random_video
from vidparse.evaluation.metrics.boundary import (
    BoundaryConsistency,
    BoundaryIoU,
    band_width,
    inner_bands,
)
from vidparse.evaluation.metrics.measure import DataFacts, Sample
from vidparse.maps import SegmentMap


def frame(truth: np.ndarray, predicted: np.ndarray, flow: np.ndarray | None = None) -> Sample:
    return Sample("v", "0", 0, SegmentMap(predicted), SegmentMap(truth), flow)


def literal_band(mask: np.ndarray, width: int) -> np.ndarray:
    """What `width` erosions with a 3x3 square take from a mask with background around it."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    kept = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & (kept == 0)


def blocks(rng: np.random.Generator, classes: int, size_hw: tuple[int, int]) -> np.ndarray:
    """uint8 ids in rectangles."""
    ids = np.zeros(size_hw, np.uint8)
    for _ in range(6):
        (y, x), (h, w) = rng.integers(0, size_hw), rng.integers(1, np.array(size_hw))
        ids[y : y + h, x : x + w] = rng.integers(0, classes)
    return ids


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size_hw=st.tuples(st.integers(3, 60), st.integers(3, 60)),
    width=st.integers(1, 9),
)
def test_bands_of_all_classes_at_once_equal_those_of_each(seed, size_hw, width) -> None:
    ids = blocks(np.random.default_rng(seed), 4, size_hw)
    bands = inner_bands(ids, width)
    for c in range(4):
        assert (literal_band(ids == c, width) == (bands & (ids == c))).all()
    assert (inner_bands(ids.astype(np.uint16) * 257, width) == bands).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.integers(30, 120))
def test_boundary_iou_equals_the_definition(seed: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    measure = BoundaryIoU(DataFacts(4))
    shared, joint, seen = np.zeros(4), np.zeros(4), np.zeros(4, bool)
    for _ in range(3):
        truth, predicted = blocks(rng, 4, (90, width)), blocks(rng, 4, (90, width))
        measure.update(frame(truth, predicted))
        d = max(1, round(0.02 * np.sqrt(90**2 + width**2)))
        for c in range(4):
            one, other = literal_band(truth == c, d), literal_band(predicted == c, d)
            shared[c] += (one & other).sum()
            joint[c] += (one | other).sum()
            seen[c] |= (truth == c).any()
    counts = measure.end_video()
    each = np.where(seen, shared / np.maximum(joint, 1), np.nan)
    np.testing.assert_array_equal(measure.per_class(counts)["boundary_iou"], each)
    assert measure.scores(counts)["boundary_iou"] == pytest.approx(np.nanmean(each))


def test_band_width_of_common_sizes() -> None:
    assert [band_width(size) for size in ((1080, 1920), (720, 1280), (480, 853), (5, 5))] == [
        44, 29, 20, 1,
    ]  # fmt: skip


def test_void_is_not_counted_but_bounds_both_maps() -> None:
    truth = np.zeros((60, 80), np.uint8)
    truth[:, 40:] = 255
    for beyond in (0, 1):  # whatever void is predicted as
        predicted = np.where(truth == 255, beyond, truth).astype(np.uint8)
        measure = BoundaryIoU(DataFacts(2))
        measure.update(frame(truth, predicted))
        counts = measure.end_video()
        assert measure.scores(counts)["boundary_iou"] == 1
        assert counts["predicted_band"][1] == 0


def test_predicted_void_is_a_miss_with_an_outline() -> None:
    truth, predicted = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    predicted[40:60, 40:60] = 255
    measure = BoundaryIoU(DataFacts(1))
    measure.update(frame(truth, predicted))
    counts = measure.end_video()
    d = band_width((100, 100))
    outline = (20 + 2 * d) ** 2 - 20**2
    assert counts["predicted_band"][0] - counts["true_band"][0] == outline
    assert counts["shared"] == counts["true_band"]


def test_a_displaced_outline_costs_more_than_it_does_in_iou() -> None:
    truth, predicted = np.zeros((200, 200), np.uint8), np.zeros((200, 200), np.uint8)
    truth[50:150, 50:150] = 1
    predicted[53:153, 50:150] = 1
    measure = BoundaryIoU(DataFacts(2))
    measure.update(frame(truth, predicted))
    iou = (truth & predicted).sum() / (truth | predicted).sum()
    assert measure.per_class(measure.end_video())["boundary_iou"][1] < iou - 0.15


def test_a_still_prediction_is_consistent_wherever_the_flow_leaves_the_picture() -> None:
    predicted = random_video(0, frames=1, size_hw=(60, 80))[0].predicted_classes
    for flow in (0, 5):
        still = np.roll(predicted, flow, axis=1)
        measure = BoundaryConsistency(DataFacts(5))
        measure.update(frame(predicted, predicted))
        measure.update(frame(predicted, still, np.full((2, 60, 80), [[[flow]], [[0]]], np.float32)))
        assert measure.scores(measure.end_video())["tc_boundary"] == 1


def test_trembling_outlines_lower_consistency() -> None:
    frames = random_video(1, frames=4, size_hw=(40, 50))
    none = np.zeros((2, 40, 50), np.float32)
    first = frames[0].prediction
    still = [replace(f, prediction=first, flow=None if f.flow is None else none) for f in frames]
    trembling = [
        replace(f, prediction=SegmentMap(np.roll(f.predicted_classes, i % 2, axis=0)))
        for i, f in enumerate(still)
    ]
    scores = []
    for video in (still, trembling):
        measure = BoundaryConsistency(DataFacts(5))
        for sample in video:
            measure.update(sample)
        scores.append(measure.scores(measure.end_video())["tc_boundary"])
    assert scores[0] == 1 > scores[1]


def test_other_integer_types_count_alike() -> None:
    sample = random_video(2, frames=1, size_hw=(40, 50))[0]
    truth, predicted = sample.true_classes, sample.predicted_classes
    counts = []
    for dtype in (np.uint8, np.uint16, np.int64):
        measure = BoundaryIoU(DataFacts(5))
        measure.update(frame(truth.astype(dtype), predicted.astype(dtype)))
        counts.append(measure.end_video())
    for other in counts[1:]:
        assert all((other[field] == value).all() for field, value in counts[0].items())
    with pytest.raises(ValueError, match="beyond 4"):
        BoundaryIoU(DataFacts(5)).update(frame(truth, np.full(truth.shape, -1)))
    with pytest.raises(ValueError, match="prediction"):
        BoundaryIoU(DataFacts(5)).update(frame(truth, predicted[:5]))
