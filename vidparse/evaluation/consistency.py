"""Temporal consistency of label maps: VC (is a still pixel told the same?) and TC (along flow).

Both follow the VSPW paper (Miao et al., CVPR 2021, section 4) and its published evaluation code,
quirks included ("published"); what the paper means to say is the other mode of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.evaluation.confusion import ConfusionMatrix

VC_MODES = ("published", "strict")
TC_MODES = ("published", "per_video")


@dataclass(frozen=True, slots=True)
class VideoConsistencyScores:
    """score: mean over all clips of all videos. per_clip: an array a video, NaN if undefined."""

    score: float
    per_clip: tuple[np.ndarray, ...]


class VideoConsistency:
    """VC_C, frame by frame; memory is one counter map a sequence, whatever its length.

    For every clip of C consecutive frames: of the pixels whose ground truth stays the same through
    the clip, the share whose prediction stays the same, too.

    published: void counts as a label, a constant wrong prediction counts as consistent, and the
        last clip of every video is left out (T - C clips), as the published code does.
    strict: all T - C + 1 clips; void pixels do not count; the constant prediction must be right.

    Args:
        clip_length: C >= 2, at most 256.
        ignore: id of void, for `strict`.
    """

    def __init__(self, *, clip_length: int, mode: str = "published", ignore: int = 255) -> None:
        if mode not in VC_MODES:
            raise ValueError(f"mode '{mode}': use {' or '.join(VC_MODES)}")
        if not 2 <= clip_length <= 256:
            raise ValueError(f"clip_length {clip_length}: must be 2 to 256")
        self.clip_length, self.mode, self.ignore = clip_length, mode, ignore
        self._done: list[np.ndarray] = []
        self._clips: list[float] = []
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._ages: tuple[np.ndarray, np.ndarray] | None = None
        self._frames = 0

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Add the next frame of the current video; ids (H, W) of any integer type."""
        if truth.shape != prediction.shape:
            raise ValueError(f"truth is {truth.shape}, prediction {prediction.shape}")
        if self._last is None or self._ages is None:
            self._ages = np.zeros(truth.shape, np.uint8), np.zeros(truth.shape, np.uint8)
        else:
            if self._last[0].shape != truth.shape:
                raise ValueError(f"frame is {truth.shape}, the one before {self._last[0].shape}")
            _grow_older(self._ages[0], truth == self._last[0])
            _grow_older(self._ages[1], prediction == self._last[1])
        self._last = truth.copy(), prediction.copy()
        self._frames += 1
        if self._frames >= self.clip_length:
            self._clips.append(self._clip(truth, prediction))

    def _clip(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        """The clip that ends at this frame."""
        assert self._ages is not None
        steps = self.clip_length - 1
        still = self._ages[0] >= steps
        steady = self._ages[1] >= steps
        if self.mode == "strict":
            still &= truth != self.ignore
            steady &= prediction == truth
        area = int(np.count_nonzero(still))
        return float(np.count_nonzero(still & steady)) / area if area else math.nan

    def end_video(self) -> None:
        """The current video is complete; the next frame belongs to another."""
        clips = self._clips[:-1] if self.mode == "published" else self._clips
        self._done.append(np.array(clips, np.float64))
        self._clips, self._last, self._ages, self._frames = [], None, None, 0

    def compute(self) -> VideoConsistencyScores:
        """Score over the completed videos; NaN when no clip is defined."""
        pooled = np.concatenate(self._done) if self._done else np.empty(0)
        pooled = pooled[~np.isnan(pooled)]
        return VideoConsistencyScores(
            float(pooled.mean()) if len(pooled) else math.nan, tuple(self._done)
        )


def _grow_older(age: np.ndarray, same: np.ndarray) -> None:
    """Steps since a pixel last changed, in place; stays at 255 once there."""
    age += age < 255
    age *= same


@dataclass(frozen=True, slots=True)
class TemporalConsistencyScores:
    """score: TC. confusion: (K, K) int64 over everything. per_video: mIoU of each video."""

    score: float
    confusion: np.ndarray
    per_video: tuple[float, ...]


class TemporalConsistency:
    """TC: mIoU between a prediction and the next one warped back along the optical flow.

    published: one confusion matrix over all pairs of all videos. per_video: the paper's eq. 6, the
        mean over videos of each one's mIoU.
    Pixels whose flow leaves the picture become class 0, as in the published code.
    """

    def __init__(self, *, num_classes: int, mode: str = "published") -> None:
        if mode not in TC_MODES:
            raise ValueError(f"mode '{mode}': use {' or '.join(TC_MODES)}")
        self.mode = mode
        self._all = ConfusionMatrix(num_classes, ignore=-1)
        self._video = ConfusionMatrix(num_classes, ignore=-1)
        self._per_video: list[float] = []

    def update(self, now: np.ndarray, after: np.ndarray, flow: np.ndarray) -> None:
        """Add a pair: predictions (H, W) at t and t + 1, flow (2, H, W) from t to t + 1."""
        self._video.update(now, warp_labels(after, flow))

    def end_video(self) -> None:
        """The current video is complete."""
        self._all.counts += self._video.counts
        self._per_video.append(self._video.compute().miou)
        self._video = ConfusionMatrix(self._video.num_classes, ignore=-1)

    def compute(self) -> TemporalConsistencyScores:
        """TC over the completed videos."""
        whole = self._all.compute()
        score = whole.miou
        if self.mode == "per_video":
            defined = [value for value in self._per_video if not math.isnan(value)]
            score = float(np.mean(defined)) if defined else math.nan
        return TemporalConsistencyScores(score, whole.confusion, tuple(self._per_video))


def warp_labels(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Label map at t + 1 brought back to t along the flow, as the published TC code does it.

    That code normalises positions for aligned corners and samples them for unaligned ones, so a
    pixel reads round((x + fx) * W / (W - 1) - 1/2), half to even, in float32; what falls outside
    becomes 0.

    Args:
        labels: (H, W) ids at t + 1. flow: float32 (2, H, W), pixels right and down, t to t + 1.
    """
    height, width = labels.shape
    flow = np.asarray(flow, np.float32)
    if flow.shape != (2, height, width):
        raise ValueError(f"flow is {flow.shape}, labels are {labels.shape}")
    x = _sampled(np.arange(width, dtype=np.float32)[None] + flow[0], width)
    y = _sampled(np.arange(height, dtype=np.float32)[:, None] + flow[1], height)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    column = np.where(inside, x, 0).astype(np.intp)
    row = np.where(inside, y, 0).astype(np.intp)
    return np.where(inside, labels[row, column], 0).astype(labels.dtype)


def _sampled(position: np.ndarray, size: int) -> np.ndarray:
    """Index (still float) that the published sampler reads for a position in pixels."""
    normalised = np.float32(2) * position / np.float32(max(size - 1, 1)) - np.float32(1)
    return np.rint((normalised + np.float32(1)) * np.float32(size / 2) - np.float32(0.5))


def video_consistency(
    gts: Sequence[np.ndarray],
    preds: Sequence[np.ndarray],
    *,
    clip_length: int,
    mode: str = "published",
    ignore: int = 255,
) -> VideoConsistencyScores:
    """VC_C over videos given as (T, H, W) id arrays; see :class:`VideoConsistency`."""
    metric = VideoConsistency(clip_length=clip_length, mode=mode, ignore=ignore)
    for truth, prediction in zip(gts, preds, strict=True):
        for one_truth, one_prediction in zip(truth, prediction, strict=True):
            metric.update(one_truth, one_prediction)
        metric.end_video()
    return metric.compute()


def temporal_consistency(
    preds: Sequence[np.ndarray],
    flows: Sequence[np.ndarray],
    *,
    num_classes: int,
    mode: str = "published",
) -> TemporalConsistencyScores:
    """TC over videos: predictions (T, H, W), flows float32 (T - 1, 2, H, W)."""
    metric = TemporalConsistency(num_classes=num_classes, mode=mode)
    for prediction, flow in zip(preds, flows, strict=True):
        if len(flow) != max(len(prediction) - 1, 0):
            raise ValueError(f"{len(prediction)} frames need {len(prediction) - 1} flows")
        for t in range(len(flow)):
            metric.update(prediction[t], prediction[t + 1], flow[t])
        metric.end_video()
    return metric.compute()
