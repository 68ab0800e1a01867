"""Clip-PanoFCN's candidates, regions and the fusion of kernels, by worked examples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from vidparse.inference import fuse_kernels
from vidparse.inference.kernels import (
    Kernels,
    level_candidates,
    level_regions,
    pooled_kernels,
    stuff_kernels,
    thing_kernels,
)

IDENTITY = (np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
ROWS = [[4, 0, 0, 0], [4, 1.5, 0, 0], [4, 3, 0, 0], [8, 1, 0, 0], [2, 0, 0, 0.5]]
CLASSES = [0, 0, 0, 1, 0]
SCORES = [0.9, 0.8, 0.7, 0.6, 0.5]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def fused(rows: object, classes: object, dtype: type = np.float32, **options: float):
    kernels = np.array(rows, dtype)
    return fuse_kernels(kernels, np.linspace(1, 0, len(kernels)), np.array(classes), **options)


class TestFusion:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_a_row_that_joins_a_row_which_is_gone_is_in_no_object(self, dtype: type) -> None:
        kept, found = fuse_kernels(
            np.array(ROWS, dtype), np.array(SCORES, dtype), np.array(CLASSES), similarity=0.9
        )
        assert kept.dtype == np.int64 and kept.tolist() == [0, 3]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, [[3.3333, 0.5, 0, 0.1667], [8, 1, 0, 0]], atol=1e-4)

    def test_a_cosine_equal_to_the_threshold_is_enough(self) -> None:
        kept, _ = fused([[1, 0], [3, 4]], [0, 0], np.float64, similarity=0.6)
        assert kept.tolist() == [0]
        assert fused([[1, 0], [3, 4]], [0, 0], similarity=0.61)[0].tolist() == [0, 1]
        assert fused([[3, 1, 2]] * 3, [5] * 3, similarity=1.0)[0].tolist() == [0]

    def test_equal_scores_keep_their_order(self) -> None:
        kept, found = fuse_kernels(
            np.array([[1.0, 0], [2, 0], [0, 1]]), np.full(3, 0.5), np.zeros(3)
        )
        assert kept.tolist() == [0, 2]
        np.testing.assert_allclose(found, [[1.5, 0], [0, 1]])

    def test_nothing_to_fuse(self) -> None:
        kept, found = fuse_kernels(np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, int))
        assert kept.shape == (0,) and kept.dtype == np.int64
        assert found.shape == (0, 4) and found.dtype == np.float32

    def test_a_kernel_of_zeros_is_kept_as_it_is(self) -> None:
        for similarity in (0.9, 0.0, -1.0):
            kept, found = fused([[0, 0], [1, 0], [0, 0]], [0] * 3, similarity=similarity)
            assert kept.tolist() == [0, 1, 2]
            np.testing.assert_array_equal(found, [[0, 0], [1, 0], [0, 0]])

    def test_a_similarity_above_one_keeps_every_row(self) -> None:
        kept, found = fused(ROWS, CLASSES, similarity=1.5)
        assert kept.tolist() == [0, 1, 2, 3, 4]
        np.testing.assert_array_equal(found, np.array(ROWS, np.float32))

    @pytest.mark.parametrize("size", [1e-30, 1e-6, 1e6, 1e30])
    def test_length_does_not_matter(self, size: float) -> None:
        assert fused(np.array(ROWS) * size, CLASSES)[0].tolist() == [0, 3]

    def test_against_row_by_row(self) -> None:
        rng = np.random.default_rng(3)
        kernels = rng.normal(size=(12, 5))[rng.integers(0, 12, 90)] + rng.normal(0, 0.25, (90, 5))
        classes = rng.integers(0, 3, 90)
        units = kernels / np.linalg.norm(kernels, axis=1, keepdims=True)
        first = [
            next(
                (i for i in range(j) if units[i] @ units[j] >= 0.9 and classes[i] == classes[j]), j
            )
            for j in range(90)
        ]
        alone = [j for j in range(90) if first[j] == j]
        means = [kernels[[j for j in range(90) if first[j] == i]].mean(0) for i in alone]
        kept, found = fuse_kernels(kernels, np.linspace(1, 0, 90), classes)
        assert kept.tolist() == alone and 10 < len(alone) < 80
        assert any(first[i] != i for i in first), "some join a row that is gone"
        np.testing.assert_allclose(found, means, atol=1e-5)


def example_centres() -> np.ndarray:
    centres = np.full((2, 2, 2, 3), -5.0)
    centres[0, 0] = [[2, 0, -3], [0, -1, -3]]
    centres[0, 1, 1, 2] = 1
    centres[1, 0, 0, 0] = -1.5
    centres[1, 1, 0, 2], centres[1, 1, 1, 2], centres[1, 1, 1, 1] = 3, 2, -1
    return centres


EXAMPLE_KERNELS = np.arange(24.0).reshape(2, 2, 2, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
class TestLevel:
    def test_candidates(self, dtype: type) -> None:
        found = level_candidates(example_centres().astype(dtype), EXAMPLE_KERNELS.astype(dtype), 3)
        np.testing.assert_allclose(found.scores, [0.5598, 0.4073, 0.5935, 0.1025], atol=1e-4)
        assert found.class_ids.tolist() == [0, 1, 1, 0]
        np.testing.assert_allclose(found.vectors, [[0, 6], [5, 11], [14, 20], [12, 18]])

    def test_regions(self, dtype: type) -> None:
        regions = np.full((2, 3, 2, 3), -3.0)
        winners = np.array([[[0, 1, 1], [0, 1, 1]], [[2, 1, 0], [2, 2, 0]]])
        np.put_along_axis(regions, winners[:, None], 1.0, axis=1)
        regions[1, 1, 0, 1] = 3
        found = level_regions(regions.astype(dtype), EXAMPLE_KERNELS.astype(dtype))
        assert found.class_ids.tolist() == [0, 1, 2]
        np.testing.assert_allclose(found.scores, [0.7311, 0.7754, 0.7311], atol=1e-4)
        np.testing.assert_allclose(
            found.vectors, [[2.8333, 4.8333], [2.0833, 4.5833], [3.5833, 5.0833]], atol=1e-4
        )


def test_at_most_fifty_of_a_frame_and_never_more_than_cells() -> None:
    spread = np.full((2, 3, 20, 24), -6.0, np.float32)
    spread[:, :, ::2, ::2] = np.random.default_rng(0).uniform(0, 4, (2, 3, 10, 12))
    found = level_candidates(spread, np.zeros((2, 1, 20, 24)), 3)
    assert len(found.scores) == 100
    for frame, scores in zip(spread, found.scores.reshape(2, 50), strict=True):
        assert (np.diff(scores) <= 0).all()
        assert (np.sort(frame.ravel())[-50] > frame).sum() == frame.size - 50
    small = level_candidates(np.full((1, 9, 2, 2), 3.0), np.zeros((1, 1, 2, 2)), 3)
    assert len(small.scores) == 4, "9 classes at 4 cells"
    assert small.class_ids.tolist() == [0] * 4, "equal scores: by class, then by cell"


def test_cells_outside_of_the_map_count_as_zero() -> None:
    (score,) = level_candidates(np.full((1, 1, 1, 1), 0.0), np.zeros((1, 1, 1, 1)), 3).scores
    assert score == pytest.approx((0.5 + 0.5 / 9) / 2)
    (score,) = level_candidates(np.full((1, 1, 1, 1), 0.0), np.zeros((1, 1, 1, 1)), 5).scores
    assert score == pytest.approx((0.5 + 0.5 / 25) / 2)


def test_cells_that_are_equal_by_symmetry_are_both_candidates() -> None:
    rng = np.random.default_rng(1)
    half = rng.normal(-1, 1, (6, 5))
    half[3, 4] = 3
    for logits in (np.hstack([half, half[:, ::-1]]), np.vstack([half.T, half.T[::-1]])):
        for window in (3, 5):
            found = level_candidates(logits[None, None], np.zeros((1, 1, *logits.shape)), window)
            assert found.scores[0] == found.scores[1]


def test_a_score_must_be_above_the_least() -> None:
    logit = np.log(0.05 / 0.95) + np.array([-0.01, 0.01])
    for value, kept in zip(logit, (0, 1), strict=True):
        centres = np.full((1, 1, 9, 9), value, np.float32)
        found = level_candidates(centres, np.zeros((1, 1, 9, 9)), 3)
        # inside all are equal, so that all 49 are peaks; the mean is less at the border
        assert len(found.scores) == 49 * kept
        regions = level_regions(centres, np.zeros((1, 1, 9, 9)))
        assert regions.class_ids.tolist() == [0] * kept


def test_levels_have_their_windows_and_fall_by_score() -> None:
    centres = [np.full((1, 1, 1, 1), logit) for logit in (-1.0, 2.0, 0.0, 1.0, 3.0)]
    kernels = [np.full((1, 2, 1, 1), 1.0) * [[[[1]], [[k]]]] for k in (0, 20, 1, -1, -20)]
    found = thing_kernels(centres, kernels, IDENTITY, similarity=2)
    chance = 1 / (1 + np.exp([-3.0, -2.0, -1.0, 0.0, 1.0]))
    expected = chance * (1 + 1 / np.array([25, 9, 25, 9, 9])) / 2
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6)
    assert found.vectors[:, 1].tolist() == [-20, 20, -1, 1, 0]


def test_stuff_is_the_mean_over_the_levels_that_kept_it() -> None:
    regions = [np.full((2, 3, 1, 1), -8.0) for _ in range(3)]
    regions[0][:, 1], regions[1][:, 1], regions[2][0, 2], regions[2][1, 2] = 0.0, 2.0, -4.0, -4.5
    kernels = [np.full((2, 2, 1, 1), value) for value in (1.0, 5.0, 9.0)]
    weight, bias = np.diag([2.0, 1.0]), np.array([0.0, -1.0])
    found = stuff_kernels(regions, kernels, (weight, bias))
    assert found.class_ids.tolist() == [1]
    np.testing.assert_allclose(found.scores, [(0.5 + 1 / (1 + np.exp(-2))) / 2], rtol=1e-6)
    np.testing.assert_allclose(found.vectors, [[6.0, 2.0]], rtol=1e-6)


def test_a_class_in_one_of_the_frames_has_a_smaller_kernel() -> None:
    regions = np.full((4, 2, 1, 1), -8.0)
    regions[0, 1], regions[1:, 0] = 3.0, 3.0
    found = level_regions(regions, np.ones((4, 3, 1, 1)))
    np.testing.assert_allclose(found.vectors, [[0.75] * 3, [0.25] * 3])


def test_large_logits_are_sure_and_silent() -> None:
    centres = np.full((1, 1, 3, 3), -1000.0, np.float32)
    centres[0, 0, 1, 1] = 1000
    found = level_candidates(centres, np.zeros((1, 1, 3, 3)), 3)
    np.testing.assert_allclose(found.scores, [(1 + 1 / 9) / 2])
    regions = np.concatenate([-centres, centres], axis=1)
    np.testing.assert_allclose(level_regions(regions, np.zeros((1, 1, 3, 3))).scores, [1, 1])


def test_no_things_and_no_regions() -> None:
    levels = [(1, 1), (2, 3)]
    centres = [np.zeros((2, 0, *size)) for size in levels]
    kernels = [np.zeros((2, 2, *size)) for size in levels]
    found = thing_kernels(centres, kernels, IDENTITY)
    assert isinstance(found, Kernels) and found.vectors.shape == (0, 2)
    low = [np.full((2, 4, *size), -9.0) for size in levels]
    assert stuff_kernels(low, kernels, IDENTITY).vectors.shape == (0, 2)


def test_pooled_kernels_of_a_clip_weigh_its_frames() -> None:
    """A class that one frame shows three times as much has three parts of that frame's kernel."""
    pooled = np.zeros((2, 2, 2 + 2), np.float32)
    pooled[0, 1] = 4, 0, 3, 2.4  # mean kernel, sum of the probabilities, of their squares
    pooled[1, 1] = 0, 8, 1, 0.6
    pooled[:, 0] = 1, 1, 1, 0.5
    found = pooled_kernels(pooled.astype(np.float16), IDENTITY)
    assert found.class_ids.tolist() == [0, 1]
    np.testing.assert_allclose(found.vectors, [[1, 1], [3, 2]], rtol=1e-3)
    np.testing.assert_allclose(found.scores, [0.5, 0.75], rtol=1e-3)
    alone = pooled_kernels(pooled[:1], IDENTITY)
    np.testing.assert_allclose(alone.vectors[1], [4, 0])
