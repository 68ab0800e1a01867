"""mIoU and its kin over videos (VSPW; Miao et al., CVPR 2021, section 4), from counted pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from vidparse.evaluation.metrics.measure import (
    Counts,
    DataFacts,
    Measure,
    Sample,
    count_videos,
    mean_of_defined,
    ratio,
    samples,
)


@dataclass(frozen=True, slots=True)
class SemanticScores:
    """Fractions 0..1; per-class IoU is NaN where the class is absent from the ground truth."""

    miou: float
    wiou: float
    pixel_accuracy: float
    mean_accuracy: float
    per_class: np.ndarray  # (K,) float64 IoU
    confusion: np.ndarray  # (K, K) int64, rows ground truth, columns prediction


class ConfusionMatrix:
    """Counts of (ground truth, prediction) pairs over any number of frames, exact in int64.

    Raises:
        ValueError: `ignore` is the id of a class.
    """

    def __init__(self, num_classes: int, *, ignore: int = 255) -> None:
        if 0 <= ignore < num_classes:
            raise ValueError(f"ignore {ignore}: is one of {num_classes} classes; use another id")
        self.num_classes = num_classes
        self.ignore = ignore
        self.counts = np.zeros((num_classes, num_classes), np.int64)
        self.missed = np.zeros(num_classes, np.int64)  # true pixels where nothing is predicted

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Add one frame.

        Args:
            truth: ids (H, W); whatever lies outside 0..K-1 is not counted.
            prediction: ids (H, W); the ignore id counts as a miss of the true class.

        Raises:
            ValueError: shapes differ, or a counted prediction is neither a class nor ignore.
        """
        if truth.shape != prediction.shape:
            raise ValueError(f"truth is {truth.shape}, prediction {prediction.shape}")
        k = self.num_classes
        narrow = truth.dtype == prediction.dtype == np.uint8
        count = _count_bytes if narrow and k < 256 else _count_any
        table, missed, stray = count(truth, prediction, k, self.ignore)
        if stray:
            raise ValueError(f"prediction holds ids beyond {k - 1}")
        self.counts += table
        self.missed += missed

    def add(self, other: ConfusionMatrix) -> None:
        """Add the counts of another matrix: splitting frames over matrices changes nothing."""
        self.counts += other.counts
        self.missed += other.missed

    def sums(self) -> Counts:
        """Right, true and predicted pixels (K,) per class, and the matrix as "confusion" (K, K)."""
        return {
            "right": np.diag(self.counts).copy(),
            "truth": self.counts.sum(axis=1) + self.missed,
            "predicted": self.counts.sum(axis=0),
            "confusion": self.counts.copy(),
        }

    def compute(self) -> SemanticScores:
        """Scores over everything added so far; NaN when nothing was counted."""
        return semantic_scores(self.sums())


def semantic_scores(counts: Counts) -> SemanticScores:
    """Plain numbers from the fields of :meth:`ConfusionMatrix.sums`."""
    scores = overlap_scores(counts)
    return SemanticScores(
        miou=float(scores["miou"]),
        wiou=float(scores["wiou"]),
        pixel_accuracy=float(scores["pixel_accuracy"]),
        mean_accuracy=float(scores["mean_accuracy"]),
        per_class=class_iou(counts),
        confusion=counts["confusion"],
    )


def class_iou(counts: Counts) -> np.ndarray:
    """IoU (..., K) from "right", "truth" and "predicted"; NaN where the truth lacks the class."""
    right, truth, predicted = counts["right"], counts["truth"], counts["predicted"]
    return ratio(right, np.where(truth > 0, truth + predicted - right, 0))


def overlap_scores(counts: Counts) -> dict[str, np.ndarray]:
    """mIoU, WIoU, pixel and class accuracy (...) from the same fields (..., K).

    Means are over classes present in the ground truth (VSPW, Miao et al., CVPR 2021, section 4).
    """
    right, truth, iou = counts["right"], counts["truth"], class_iou(counts)
    total = truth.sum(axis=-1)
    return {
        "miou": mean_of_defined(iou),
        "wiou": ratio((truth * np.nan_to_num(iou)).sum(axis=-1), total),
        "pixel_accuracy": ratio(right.sum(axis=-1), total),
        "mean_accuracy": mean_of_defined(ratio(right, truth)),
    }


def _count_bytes(
    truth: np.ndarray, prediction: np.ndarray, k: int, ignore: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """(K, K) pair counts, (K,) pixels predicted `ignore`, True if any other id occurs.

    OpenCV counts pairs of bytes several times faster than NumPy, in float32, which is exact up to
    2**24 pixels; larger pictures are counted in bands.
    """
    # Count in bands of at most 2**24 pixels, up to which OpenCV's float32 is exact.
    joint = np.zeros((256, 256), np.int64)
    rows = max(1, 2**24 // max(truth.shape[-1], 1))
    for first in range(0, len(truth), rows):
        band = [np.ascontiguousarray(ids[first : first + rows]) for ids in (truth, prediction)]
        joint += cv2.calcHist(band, [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
    missed = joint[:k, ignore] if k <= ignore < 256 else np.zeros(k, np.int64)
    stray = joint[:k, k:].sum() > missed.sum()
    return joint[:k, :k], missed, bool(stray)


def _count_any(
    truth: np.ndarray, prediction: np.ndarray, k: int, ignore: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """The same for any integer type."""
    counted = (truth >= 0) & (truth < k)
    predicted = prediction[counted].astype(np.int64)
    ignored = predicted == ignore
    if ((predicted < 0) | (predicted >= k))[~ignored].any():
        return np.zeros((k, k), np.int64), np.zeros(k, np.int64), True

    # Give void a column of its own: it is a miss of the true class.
    predicted[ignored] = k
    joint = truth[counted].astype(np.int64) * (k + 1) + predicted
    table = np.bincount(joint, minlength=k * (k + 1)).reshape(k, k + 1)
    return table[:, :k], table[:, k], False


@dataclass(frozen=True, slots=True)
class SegmentationScores:
    """Fractions 0..1 over all frames of all videos; `video_*` are means of per-video scores."""

    miou: float
    wiou: float
    pixel_accuracy: float
    mean_accuracy: float
    per_class: np.ndarray  # (K,) IoU, NaN where the class is absent from the ground truth
    confusion: np.ndarray  # (K, K) int64, rows ground truth
    video_miou: float
    video_wiou: float
    per_video: tuple[SemanticScores, ...]


class Segmentation(Measure):
    """mIoU, WIoU and accuracies of the labelled frames.

    A pixel predicted void is a miss of its true class, so taking back a right answer lowers every
    score, and no answer taken back ever raises an accuracy. Taking back a wrong answer does raise
    the IoU of the class that was predicted: it had one false pixel more.
    """

    glossary: ClassVar[Mapping[str, tuple[str, str]]] = {
        "miou": (
            "mIoU",
            "intersection over union, mean over the classes present in the ground truth",
        ),
        "wiou": ("WIoU", "IoU weighted by the share of each class in the ground truth"),
        "pixel_accuracy": ("pixel accuracy", "share of labelled pixels that are right"),
        "mean_accuracy": (
            "class accuracy",
            "share of right pixels in each class, mean over classes",
        ),
        "video_miou": ("mIoU, video mean", "mIoU of each video, mean over videos"),
        "video_wiou": ("WIoU, video mean", "WIoU of each video, mean over videos"),
    }

    def __init__(self, data: DataFacts) -> None:
        super().__init__(data)
        self._video = ConfusionMatrix(data.num_classes, ignore=data.void)

    def update(self, sample: Sample) -> None:
        """Add a frame, if it is labelled; errors as :meth:`ConfusionMatrix.update`."""
        if sample.true_classes is not None:
            self._video.update(sample.true_classes, sample.predicted_classes)

    def end_video(self) -> Counts:
        """Right, true and predicted pixels, their matrix, and this video's own mIoU and WIoU."""
        counts = self._video.sums()
        self._video = ConfusionMatrix(self.data.num_classes, ignore=self.data.void)
        own = overlap_scores(counts)
        return counts | {
            "video_miou": np.nan_to_num(own["miou"]),
            "video_wiou": np.nan_to_num(own["wiou"]),
            "videos": np.asarray(counts["truth"].any(), np.int64),
        }

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        """The fields of :class:`SegmentationScores` that are single numbers."""
        return overlap_scores(counts) | {
            name: ratio(counts[name], counts["videos"]) for name in ("video_miou", "video_wiou")
        }

    def per_class(self, counts: Counts) -> dict[str, np.ndarray]:
        """IoU of each class, under "miou"."""
        return {"miou": class_iou(counts)}


def segmentation_scores(
    gts: Sequence[np.ndarray],
    preds: Sequence[np.ndarray],
    *,
    num_classes: int,
    ignore: int = 255,
) -> SegmentationScores:
    """Scores over videos given as (T, H, W) arrays of ids 0..K-1 and `ignore`."""
    measure = Segmentation(DataFacts(num_classes, ignore=ignore))
    videos = (samples(*video) for video in zip(gts, preds, strict=True))
    total, each = count_videos(measure, videos)

    scores = {name: float(value) for name, value in measure.scores(total).items()}
    return SegmentationScores(
        **scores,
        per_class=class_iou(total),
        confusion=total["confusion"],
        per_video=tuple(map(semantic_scores, each)),
    )
