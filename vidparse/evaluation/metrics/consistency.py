"""Temporal consistency of label maps: VC (of still pixels) and TC (along flow).

Both follow the VSPW paper (Miao et al., CVPR 2021, section 4) and its published evaluation code,
quirks included ("published"); the definition of the paper is the other mode of each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vidparse.evaluation.metrics.measure import (
    Counts,
    DataFacts,
    Measure,
    Sample,
    add_counts,
    count_videos,
    ratio,
    samples,
)
from vidparse.evaluation.metrics.semantic import ConfusionMatrix, class_iou, overlap_scores

VC_MODES = ("published", "strict")
TC_MODES = ("published", "per_video")
MAX_CLIP = 256  # frames; a pixel's age is a byte


@dataclass(frozen=True, slots=True)
class VideoConsistencyScores:
    """score: mean over all clips of all videos. per_clip: an array per video, NaN if undefined."""

    score: float
    per_clip: tuple[np.ndarray, ...]


class VideoConsistency(Measure):
    """VC_C, frame by frame; memory is one map of ages per sequence, whatever its length.

    For every clip of C consecutive frames: of the pixels whose ground truth stays the same through
    the clip, the share whose prediction stays the same, too.

    published: void counts as a label, a constant wrong prediction counts as consistent, and the
        last clip of every video is left out (T - C clips), as the published code does.
    strict: all T - C + 1 clips; void pixels do not count; the constant prediction must be right.

    A prediction of constant void is thus consistent in `published`; in `strict` void never helps.

    Args:
        clip_length: C >= 2, at most 256.
    """

    needs_every_mask: ClassVar[bool] = True

    def __init__(self, data: DataFacts, *, clip_length: int, mode: str = "published") -> None:
        super().__init__(data)
        if mode not in VC_MODES:
            raise ValueError(f"mode '{mode}': use {' or '.join(VC_MODES)}")
        if not 2 <= clip_length <= MAX_CLIP:
            raise ValueError(f"clip_length {clip_length}: must be 2 to {MAX_CLIP}")
        self.clip_length, self.mode, self.ignore = clip_length, mode, data.void
        self.name = f"vc{clip_length}" + ("_strict" if mode == "strict" else "")
        self._start_video()

    @classmethod
    def words(cls, score: str) -> tuple[str, str] | None:
        clip = re.fullmatch(r"vc(\d+)(_strict)?", score)
        if clip is None:
            return None
        still = f"of the pixels whose truth is the same through {clip[1]} frames, the share whose"
        if clip[2]:
            return f"VC{clip[1]} strict", f"{still} prediction is the same, too, and right"
        return f"VC{clip[1]}", f"{still} prediction is the same, too"

    def _start_video(self) -> None:
        self.clip: float | None = None  # score of the clip that became final last, NaN if undefined
        self._pending: float | None = None  # published: final once another frame follows
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._ages: tuple[np.ndarray, np.ndarray] | None = None  # uint8 (H, W) each
        self._frames = 0
        self._sum, self._clips = 0.0, 0

    def update(self, sample: Sample) -> None:
        """Add the next frame of the video; ids (H, W) of any integer type.

        Raises:
            ValueError: the frame has no ground truth, or shapes differ.
        """
        truth, predicted = sample.true_classes, sample.predicted_classes
        if truth is None:
            raise ValueError(f"{self.name} needs ground truth on every frame")
        if truth.shape != predicted.shape:
            raise ValueError(f"truth is {truth.shape}, prediction {predicted.shape}")

        # Count since when each pixel has kept its class, instead of keeping the clip's frames.
        if self._last is None or self._ages is None:
            self._ages = np.zeros(truth.shape, np.uint8), np.zeros(truth.shape, np.uint8)
        else:
            if self._last[0].shape != truth.shape:
                (height, width), (high, wide) = truth.shape, self._last[0].shape
                raise ValueError(f"frame is {width}x{height}, the one before {wide}x{high}")
            _grow_older(self._ages[0], truth == self._last[0])
            _grow_older(self._ages[1], predicted == self._last[1])

        self._last = truth.copy(), predicted.copy()
        self._frames += 1
        self.clip, now = None, None
        if self._frames >= self.clip_length:
            now = self._clip_score(truth, predicted, self._ages)

        # Score a frame late: the published code leaves the last clip of each video out.
        if self.mode == "published":
            now, self._pending = self._pending, now

        if now is not None:
            self.clip = now
            if not math.isnan(now):
                self._sum += now
                self._clips += 1

    def _clip_score(
        self, truth: np.ndarray, predicted: np.ndarray, ages: tuple[np.ndarray, np.ndarray]
    ) -> float:
        """Score of the clip that ends at this frame."""
        # Read the clip off the ages: a pixel of age C - 1 has been the same in C frames.
        still = ages[0] >= self.clip_length - 1
        steady = ages[1] >= self.clip_length - 1
        if self.mode == "strict":
            still &= truth != self.ignore
            steady &= predicted == truth
        area = int(np.count_nonzero(still))
        return float(np.count_nonzero(still & steady)) / area if area else math.nan

    def end_video(self) -> Counts:
        """Sum of the scores of defined clips, and their number."""
        counts = {"sum": np.asarray(self._sum), "clips": np.asarray(self._clips, np.int64)}
        self._start_video()
        return counts

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        """VC, under "vc8" or "vc8_strict" for C = 8."""
        return {self.name: ratio(counts["sum"], counts["clips"])}

    def per_class(self, counts: Counts) -> dict[str, np.ndarray]:
        """Nothing: a clip is scored whole."""
        return {}


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


class TemporalConsistency(Measure):
    """TC: mIoU between a prediction and the next one warped back along the optical flow.

    tc: one confusion matrix over all pairs of all videos, as published. tc_per_video: the paper's
    equation 6, the mean over videos of each one's mIoU. Ground truth is not used. Pixels whose flow
    leaves the picture become class 0, as in the published code. A pixel predicted void is not
    counted in the earlier frame and is a miss in the later one.
    """

    needs_flow: ClassVar[bool] = True
    glossary: ClassVar[Mapping[str, tuple[str, str]]] = {
        "tc": (
            "TC",
            "mIoU between a prediction and the next one warped back along the optical flow; what "
            "leaves the picture counts as class 0, as in the published code",
        ),
        "tc_per_video": (
            "TC, video mean",
            "TC of each video, mean over videos (equation 6 of VSPW)",
        ),
    }

    def __init__(self, data: DataFacts) -> None:
        super().__init__(data)
        self._num_classes, self._ignore = data.num_classes, data.void
        self._start_video()

    def _start_video(self) -> None:
        self._before: np.ndarray | None = None
        self._matrix = ConfusionMatrix(self._num_classes, ignore=self._ignore)

    def update(self, sample: Sample) -> None:
        """Add the next frame, and with its flow a pair.

        Raises:
            ValueError: shapes differ, or an id is neither a class nor `ignore`.
        """
        classes = sample.predicted_classes
        if self._before is not None and sample.flow is not None:
            self._matrix.update(self._before, warp_labels(classes, sample.flow))

        # Check the last frame, too, which no pair may check after it.
        known = (classes < self._num_classes) & (classes >= 0)
        if not (known | (classes == self._ignore)).all():
            raise ValueError(f"prediction holds ids beyond {self._num_classes - 1}")
        self._before = classes.copy()

    def end_video(self) -> Counts:
        """Equal and all pixels by class, their matrix, and this video's own mIoU."""
        counts = self._matrix.sums()

        # Leave a video without pairs out of the mean over videos.
        defined = counts["truth"].any()
        self._start_video()
        return counts | {
            "video_tc": np.nan_to_num(overlap_scores(counts)["miou"]),
            "videos": np.asarray(defined, np.int64),
        }

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        """TC over all pairs, and the mean over videos."""
        return {
            "tc": overlap_scores(counts)["miou"],
            "tc_per_video": ratio(counts["video_tc"], counts["videos"]),
        }

    def per_class(self, counts: Counts) -> dict[str, np.ndarray]:
        """IoU of each class along the flow, under "tc"."""
        return {"tc": class_iou(counts)}


def video_consistency(
    gts: Sequence[np.ndarray],
    preds: Sequence[np.ndarray],
    *,
    clip_length: int,
    mode: str = "published",
    ignore: int = 255,
) -> VideoConsistencyScores:
    """VC_C over videos given as (T, H, W) id arrays; see :class:`VideoConsistency`."""
    data = DataFacts(0, ignore=ignore)
    measure = VideoConsistency(data, clip_length=clip_length, mode=mode)
    total = measure.end_video()  # of no frame: zeros
    per_clip = []

    for truth, predicted in zip(gts, preds, strict=True):
        clips = []
        for sample in samples(truth, predicted):
            measure.update(sample)
            if measure.clip is not None:
                clips.append(measure.clip)
        total = add_counts(total, measure.end_video())
        per_clip.append(np.array(clips, np.float64))

    return VideoConsistencyScores(float(measure.scores(total)[measure.name]), tuple(per_clip))


def temporal_consistency(
    preds: Sequence[np.ndarray],
    flows: Sequence[np.ndarray],
    *,
    num_classes: int,
    mode: str = "published",
) -> TemporalConsistencyScores:
    """TC over videos: predictions (T, H, W), flows float32 (T - 1, 2, H, W) from t to t + 1.

    Args:
        mode: published (one matrix over everything) or per_video (mean over videos).
    """
    if mode not in TC_MODES:
        raise ValueError(f"mode '{mode}': use {' or '.join(TC_MODES)}")

    measure = TemporalConsistency(DataFacts(num_classes, ignore=None))
    videos = (samples(None, *video) for video in zip(preds, flows, strict=True))
    total, each = count_videos(measure, videos)

    score = measure.scores(total)["tc" if mode == "published" else "tc_per_video"]
    per_video = tuple(float(overlap_scores(counts)["miou"]) for counts in each)
    return TemporalConsistencyScores(float(score), total["confusion"], per_video)


def warp_labels(labels: np.ndarray, flow: np.ndarray, *, outside: int = 0) -> np.ndarray:
    """Label map at t + 1 brought back to t along the flow, as the published TC code does it.

    That code normalises positions for aligned corners and samples them for unaligned ones, so a
    pixel reads round((x + fx) * W / (W - 1) - 1/2), half to even, in float32.

    Args:
        labels: (H, W) ids at t + 1. flow: float32 (2, H, W), pixels right and down, t to t + 1.
        outside: id of what the flow takes out of the picture; the published code has class 0.

    Raises:
        ValueError: the flow is not one of this picture.
    """
    height, width = labels.shape
    flow = np.asarray(flow, np.float32)
    if flow.shape != (2, height, width):
        raise ValueError(f"flow is {flow.shape}, labels are {labels.shape}")

    x = _sampled(np.arange(width, dtype=np.float32)[None] + flow[0], width)
    y = _sampled(np.arange(height, dtype=np.float32)[:, None] + flow[1], height)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)  # False for a flow of NaN

    # Skip the masks where nothing lies outside, which is the common case.
    whole = bool(inside.all())
    if not whole:
        x[~inside] = y[~inside] = 0

    # Gather by one flat index, which is quicker than by two.
    pixel = y.astype(np.int32) * np.int32(width) + x.astype(np.int32)
    warped = labels.reshape(-1).take(pixel)
    if not whole:
        warped[~inside] = outside
    return warped


def _sampled(position: np.ndarray, size: int) -> np.ndarray:
    """Index (still float) that the published sampler reads for a position in pixels; in place."""
    position *= np.float32(2)
    position /= np.float32(max(size - 1, 1))
    position -= np.float32(1)  # -1..1 between the centres of the corner pixels
    position += np.float32(1)
    position *= np.float32(size / 2)
    position -= np.float32(0.5)
    return np.rint(position, out=position)
