"""Semantic scores: the worked example of the published code, and what must not count."""

from __future__ import annotations

import numpy as np
import pytest

from vidparse.evaluation import segmentation_scores
from vidparse.evaluation.metrics.semantic import ConfusionMatrix


def test_published_worked_example() -> None:
    truth = np.array([[0, 0, 1, 1, 255, 2]], np.uint8)
    prediction = np.array([[0, 1, 1, 1, 5, 3]], np.uint8)
    matrix = ConfusionMatrix(124)
    matrix.update(truth, prediction)
    scores = matrix.compute()
    assert scores.miou == pytest.approx(0.388889, abs=1e-6)
    assert scores.wiou == pytest.approx(0.466667, abs=1e-6)
    assert scores.pixel_accuracy == pytest.approx(0.6)
    assert scores.mean_accuracy == pytest.approx(0.5)
    assert np.isnan(scores.per_class[3])


def test_void_in_the_prediction_is_a_miss() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([[0, 0, 1, 1]]), np.array([[0, 255, 1, 1]]))
    scores = matrix.compute()
    assert scores.per_class.tolist() == [0.5, 1.0]
    assert scores.pixel_accuracy == 0.75


def test_frames_add_up_like_one_picture() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 5, (4, 9, 7)), rng.integers(0, 5, (4, 9, 7))
    one, many = ConfusionMatrix(5), ConfusionMatrix(5)
    one.update(truth.reshape(-1, 7), predicted.reshape(-1, 7))
    for t, s in zip(truth, predicted, strict=True):
        many.update(t, s)
    assert (one.counts == many.counts).all()
    for i in range(5):
        for j in range(5):
            assert one.counts[i, j] == ((truth == i) & (predicted == j)).sum()


def test_ids_beyond_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="beyond"):
        ConfusionMatrix(3).update(np.array([[0]]), np.array([[3]]))
    with pytest.raises(ValueError, match="prediction"):
        ConfusionMatrix(3).update(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="one of 300 classes"):
        segmentation_scores([], [], num_classes=300)


def test_nothing_labelled_is_nan() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(np.full((2, 2), 255), np.zeros((2, 2), int))
    assert np.isnan(matrix.compute().miou)


def test_bytes_and_wide_ids_are_counted_alike() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 3, 255], (40, 30)).astype(np.uint8)
    predicted = rng.choice([0, 1, 2, 3, 255], (40, 30)).astype(np.uint8)
    fast, slow = ConfusionMatrix(4), ConfusionMatrix(4)
    fast.update(truth, predicted)
    slow.update(truth.astype(np.int32), predicted.astype(np.int32))
    assert (fast.counts == slow.counts).all() and (fast.missed == slow.missed).all()
    predicted[truth == 255] = 77  # where nothing counts, anything may be predicted
    fast.update(truth, predicted)
    predicted[truth == 1] = 77
    for dtype in (np.uint8, np.int64):
        with pytest.raises(ValueError, match="beyond 3"):
            ConfusionMatrix(4).update(truth.astype(dtype), predicted.astype(dtype))


def test_segmentation_scores_over_videos() -> None:
    truth = [np.zeros((2, 2, 2), np.uint8), np.ones((1, 2, 2), np.uint8)]
    predicted = [np.zeros((2, 2, 2), np.uint8), np.array([[[1, 1], [0, 0]]], np.uint8)]
    scores = segmentation_scores(truth, predicted, num_classes=3)
    assert scores.per_class[0] == pytest.approx(8 / 10)
    assert scores.per_class[1] == pytest.approx(0.5)
    assert scores.miou == pytest.approx(0.65)
    assert scores.video_miou == pytest.approx((1 + 0.5) / 2)
    assert scores.wiou == pytest.approx(8 / 12 * 0.8 + 4 / 12 * 0.5)


@pytest.mark.parametrize(("classes", "dtype"), [(5, np.uint8), (124, np.uint8), (300, np.uint16)])
def test_scikit_learn_counts_and_scores_the_same(classes: int, dtype: type) -> None:
    from sklearn.metrics import confusion_matrix, jaccard_score

    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, (60, 80)).astype(dtype)
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.permutation(truth)).astype(dtype)
    matrix = ConfusionMatrix(classes, ignore=65535)
    matrix.update(truth, predicted)
    ours, flat = matrix.compute(), (truth.reshape(-1), predicted.reshape(-1))
    assert (ours.confusion == confusion_matrix(*flat, labels=range(classes))).all()
    theirs = jaccard_score(*flat, average=None, labels=np.unique(truth))
    np.testing.assert_allclose(ours.per_class[np.unique(truth)], theirs, rtol=1e-12)
    assert ours.wiou == pytest.approx(jaccard_score(*flat, average="weighted"), rel=1e-12)
