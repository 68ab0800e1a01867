"""Semantic scores from one confusion matrix (SPEC: mIoU, WIoU, pixel and class accuracy)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


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
    """Counts of (ground truth, prediction) pairs over any number of frames, exact in int64."""

    def __init__(self, num_classes: int, *, ignore: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore = ignore
        self.counts = np.zeros((num_classes, num_classes), np.int64)
        self.missed = np.zeros(num_classes, np.int64)  # true pixels about which nothing was said

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

    def compute(self) -> SemanticScores:
        """Scores over everything added so far (VSPW, section 4; means over present classes)."""
        right = np.diag(self.counts).astype(np.float64)
        truth = self.counts.sum(axis=1) + self.missed
        said = self.counts.sum(axis=0)
        present = truth > 0
        if not present.any():
            nan = float("nan")
            return SemanticScores(
                nan, nan, nan, nan, np.full(self.num_classes, nan), self.counts.copy()
            )
        iou = np.full(self.num_classes, np.nan)
        iou[present] = right[present] / (truth + said - right)[present]
        return SemanticScores(
            miou=float(iou[present].mean()),
            wiou=float((truth[present] / truth.sum() * iou[present]).sum()),
            pixel_accuracy=float(right.sum() / truth.sum()),
            mean_accuracy=float((right[present] / truth[present]).mean()),
            per_class=iou,
            confusion=self.counts.copy(),
        )


def _count_bytes(
    truth: np.ndarray, prediction: np.ndarray, k: int, ignore: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """(K, K) pair counts, (K,) counts said to be `ignore`, whether any other id was said.

    OpenCV counts pairs of bytes several times faster than NumPy, in float32, which is exact up to
    2**24 pixels; larger pictures are counted in bands.
    """
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
    said = prediction[counted].astype(np.int64)
    ignored = said == ignore
    if ((said < 0) | (said >= k))[~ignored].any():
        return np.zeros((k, k), np.int64), np.zeros(k, np.int64), True
    said[ignored] = k
    joint = truth[counted].astype(np.int64) * (k + 1) + said
    table = np.bincount(joint, minlength=k * (k + 1)).reshape(k, k + 1)
    return table[:, :k], table[:, k], False
