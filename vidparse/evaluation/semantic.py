"""mIoU and its kin over videos (VSPW, section 4): one confusion matrix, and one a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.evaluation.confusion import ConfusionMatrix, SemanticScores


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


class Segmentation:
    """mIoU, WIoU and accuracies, frame by frame; memory grows by K numbers a video."""

    def __init__(self, *, num_classes: int, ignore: int = 255) -> None:
        self._all = ConfusionMatrix(num_classes, ignore=ignore)
        self._video = ConfusionMatrix(num_classes, ignore=ignore)
        self._per_video: list[SemanticScores] = []

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Add the next frame of the current video; see :meth:`ConfusionMatrix.update`."""
        self._video.update(truth, prediction)

    def end_video(self) -> None:
        """The current video is complete."""
        self._all.add(self._video)
        self._per_video.append(self._video.compute())
        self._video = ConfusionMatrix(self._all.num_classes, ignore=self._all.ignore)

    def compute(self) -> SegmentationScores:
        """Scores over the completed videos."""
        whole = self._all.compute()
        return SegmentationScores(
            miou=whole.miou,
            wiou=whole.wiou,
            pixel_accuracy=whole.pixel_accuracy,
            mean_accuracy=whole.mean_accuracy,
            per_class=whole.per_class,
            confusion=whole.confusion,
            video_miou=_mean_defined([scores.miou for scores in self._per_video]),
            video_wiou=_mean_defined([scores.wiou for scores in self._per_video]),
            per_video=tuple(self._per_video),
        )


def segmentation_scores(
    gts: Sequence[np.ndarray],
    preds: Sequence[np.ndarray],
    *,
    num_classes: int,
    ignore: int = 255,
) -> SegmentationScores:
    """Scores over videos given as (T, H, W) arrays of ids 0..K-1 and `ignore`."""
    metric = Segmentation(num_classes=num_classes, ignore=ignore)
    for truth, prediction in zip(gts, preds, strict=True):
        for one_truth, one_prediction in zip(truth, prediction, strict=True):
            metric.update(one_truth, one_prediction)
        metric.end_video()
    return metric.compute()


def _mean_defined(values: Sequence[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
