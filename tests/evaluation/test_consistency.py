"""VC and TC: the worked examples of the published code, and the invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidparse.evaluation.metrics.consistency import (
    VideoConsistency,
    temporal_consistency,
    video_consistency,
    warp_labels,
)
from vidparse.evaluation.metrics.measure import DataFacts


def clip(*rows: list[int]) -> np.ndarray:
    return np.array(rows)[:, None, :]  # (T, 1, W)


TRUTH = clip([1, 1, 2], [1, 1, 2], [1, 2, 2], [1, 2, 2])
PREDICTED = clip([5, 5, 5], [5, 5, 6], [5, 5, 6], [7, 5, 6])


def test_vc_worked_example() -> None:
    scores = video_consistency([TRUTH], [PREDICTED], clip_length=2)
    assert scores.per_clip[0].tolist() == [pytest.approx(2 / 3), 1.0]
    assert scores.score == pytest.approx(0.833333, abs=1e-6)


def slow_vc(truth: np.ndarray, predicted: np.ndarray, length: int, *, strict: bool) -> list[float]:
    """Clip by clip, from the definition."""
    clips = []
    last = len(truth) - length + (1 if strict else 0)
    for start in range(max(last, 0)):
        window = slice(start, start + length)
        still = (truth[window] == truth[start]).all(axis=0)
        steady = (predicted[window] == predicted[start]).all(axis=0)
        if strict:
            still &= truth[start] != 255
            steady &= (predicted[window] == truth[window]).all(axis=0)
        clips.append((still & steady).sum() / still.sum() if still.any() else np.nan)
    return clips


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(1, 9),
    length=st.integers(2, 5),
    mode=st.sampled_from(["published", "strict"]),
)
def test_streamed_vc_equals_the_definition(seed, frames, length, mode) -> None:
    rng = np.random.default_rng(seed)
    videos = [rng.choice([0, 1, 255], (frames + i, 3, 4), p=[0.8, 0.1, 0.1]) for i in range(2)]
    predicted = [rng.choice([0, 1, 255], video.shape, p=[0.8, 0.1, 0.1]) for video in videos]
    got = video_consistency(videos, predicted, clip_length=length, mode=mode)
    for truth, prediction, clips in zip(videos, predicted, got.per_clip, strict=True):
        expected = slow_vc(truth, prediction, length, strict=mode == "strict")
        assert np.array_equal(clips, np.array(expected), equal_nan=True)


def test_vc_long_clips_do_not_wrap() -> None:
    still = np.zeros((600, 1, 1), int)
    changed = still.copy()
    changed[300] = 1
    clips = video_consistency([still], [changed], clip_length=256, mode="strict").per_clip[0]
    assert len(clips) == 345
    assert clips.tolist() == [float(not start <= 300 < start + 256) for start in range(345)]


def test_vc_perfect_and_permuted() -> None:
    assert video_consistency([TRUTH], [TRUTH], clip_length=3).score == 1
    permuted = np.where(PREDICTED == 5, 9, PREDICTED)
    assert (
        video_consistency([TRUTH], [permuted], clip_length=2).score
        == video_consistency([TRUTH], [PREDICTED], clip_length=2).score
    )
    assert np.isnan(video_consistency([TRUTH[:2]], [PREDICTED[:2]], clip_length=2).score)


def test_tc_worked_example() -> None:
    predicted = clip([3, 3, 5, 5], [3, 5, 5, 5])
    flow = np.zeros((1, 2, 1, 4), np.float32)
    scores = temporal_consistency([predicted], [flow], num_classes=124)
    assert scores.score == pytest.approx(0.416667, abs=1e-6)
    assert scores.confusion[5, 0] == 1  # the last column of an even width falls outside


@pytest.mark.parametrize("width", [4, 5, 6, 7, 480, 853, 854])
def test_zero_flow_loses_the_last_column_of_even_widths(width: int) -> None:
    labels = np.full((3, width), 7, np.uint8)
    warped = warp_labels(labels, np.zeros((2, 3, width), np.float32))
    assert (warped[:, :-1] == 7).all()
    assert (warped[:, -1] == (0 if width % 2 == 0 else 7)).all()


def test_warp_equals_the_published_sampler() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    height, width = 93, 145
    labels = rng.integers(0, 124, (height, width)).astype(np.uint8)
    flow = (rng.standard_normal((2, height, width)) * 6).astype(np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    grid = torch.from_numpy(np.stack([x + flow[0], y + flow[1]], -1))[None]
    grid[..., 0] = 2.0 * grid[..., 0] / max(width - 1, 1) - 1.0
    grid[..., 1] = 2.0 * grid[..., 1] / max(height - 1, 1) - 1.0
    source = torch.from_numpy(labels)[None, None].float()
    expected = torch.nn.functional.grid_sample(
        source, grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    assert (warp_labels(labels, flow) == expected[0, 0].numpy().astype(np.uint8)).all()


def test_tc_modes_differ_as_documented() -> None:
    still = np.ones((3, 5, 5), int)
    noisy = still.copy()
    noisy[1, :, :2] = 2
    flows = [np.zeros((2, 2, 5, 5), np.float32)] * 2
    whole = temporal_consistency([still, noisy], flows, num_classes=4)
    mean = temporal_consistency([still, noisy], flows, num_classes=4, mode="per_video")
    assert mean.per_video[0] == 1 and mean.score == pytest.approx(np.mean(mean.per_video))
    assert whole.score != mean.score
    assert (whole.confusion.sum()) == 2 * 2 * 25


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="mode"):
        VideoConsistency(DataFacts(3), clip_length=8, mode="loose")
    with pytest.raises(ValueError, match="clip_length"):
        VideoConsistency(DataFacts(3), clip_length=1)
    with pytest.raises(ValueError, match="the one before"):
        video_consistency(
            [[TRUTH[0], TRUTH[0][:, :2]]], [[PREDICTED[0], PREDICTED[0][:, :2]]], clip_length=2
        )
    with pytest.raises(ValueError, match="4 ground truth frames, 3 predicted"):
        video_consistency([TRUTH], [PREDICTED[:3]], clip_length=2)
    with pytest.raises(ValueError, match="flow is"):
        temporal_consistency([TRUTH[:2]], [np.zeros((1, 2, 1, 4))], num_classes=3)
    with pytest.raises(ValueError, match="beyond 4"):
        temporal_consistency([PREDICTED[:1]], [np.zeros((0, 2, 1, 3))], num_classes=5)
    with pytest.raises(ValueError, match="flows"):
        temporal_consistency([TRUTH], [np.zeros((1, 2, 1, 3))], num_classes=3)
