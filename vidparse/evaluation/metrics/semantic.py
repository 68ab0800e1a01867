"""mIoU and its kin over videos (VSPW; Miao et al., CVPR 2021, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vidparse.evaluation.metrics.confusion import (
    ConfusionMatrix,
    SemanticScores,
    class_iou,
    overlap_scores,
    semantic_scores,
)
from vidparse.evaluation.metrics.measure import (
    Counts,
    DataFacts,
    Measure,
    Sample,
    add_counts,
    counts_per_video,
    ratio,
    samples,
)


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
    total: Counts = measure.end_video()  # of no frame: zeros
    per_video = []

    videos = (samples(*video) for video in zip(gts, preds, strict=True))
    for counts in counts_per_video(measure, videos):
        per_video.append(semantic_scores(counts))
        total = add_counts(total, counts)

    scores = {name: float(value) for name, value in measure.scores(total).items()}
    return SegmentationScores(
        **scores,
        per_class=class_iou(total),
        confusion=total["confusion"],
        per_video=tuple(per_video),
    )
