"""Segmentation and tracking quality (STQ; Weber et al., STEP, NeurIPS 2021).

STQ = sqrt(AQ * SQ): association of thing pixels over the whole video, and semantic IoU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.evaluation.panoptic import VOID, count_values, feed_videos

MODES = ("published", "clean")
_SHIFT = 32
_LOW = (1 << _SHIFT) - 1


@dataclass(frozen=True, slots=True)
class TrackingQuality:
    """Fractions; of one video or of all."""

    stq: float
    aq: float
    sq: float


@dataclass(frozen=True, slots=True)
class SegmentationTrackingScores:
    """Over all videos, and of each (a video without tracks has AQ 0)."""

    stq: float
    aq: float
    sq: float
    per_video: tuple[TrackingQuality, ...]


class SegmentationTrackingQuality:
    """STQ, frame by frame; memory grows with the number of tracks, not with frames.

    Instances get numbers per video. "published" numbers them by first appearance starting at 0,
    stuff included, as the VIPSeg script does; number 0 means crowd, so a video whose first listed
    segment is a thing loses that object. "clean" treats only `iscrowd` as crowd.

    Args:
        num_classes: K; the semantic confusion is (K + 1) x (K + 1) with void last.
        thing_ids: categories that are tracked.
    """

    def __init__(
        self, *, num_classes: int, thing_ids: Sequence[int], mode: str = "published"
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode '{mode}': use {' or '.join(MODES)}")
        self.num_classes, self.mode = num_classes, mode
        self.things = frozenset(thing_ids)
        self._confusion = np.zeros((num_classes + 1, num_classes + 1), np.int64)
        self._per_video: list[TrackingQuality] = []
        self._association, self._tracks = 0.0, 0
        self._start_video()

    def _start_video(self) -> None:
        self._video_confusion = np.zeros_like(self._confusion)
        self._truth_areas: dict[tuple[int, int], int] = {}
        self._prediction_areas: dict[tuple[int, int], int] = {}
        self._overlaps: dict[tuple[tuple[int, int], tuple[int, int]], int] = {}
        self._first_segment: int | None = None

    def update(
        self,
        truth: np.ndarray,
        prediction: np.ndarray,
        truth_segments: np.ndarray,
        prediction_segments: np.ndarray,
    ) -> None:
        """Add the next frame; arguments as :meth:`VideoPanopticQuality.update`, without areas."""
        if truth.shape != prediction.shape:
            raise ValueError(f"truth is {truth.shape}, prediction {prediction.shape}")
        truth_rows = np.asarray(truth_segments).reshape(-1, 3)
        prediction_rows = np.asarray(prediction_segments).reshape(-1, 3)
        if self._first_segment is None and len(truth_rows):
            self._first_segment = int(truth_rows[0, 0])
        category_of_truth = {int(row[0]): int(row[1]) for row in truth_rows}
        category_of_prediction = {int(row[0]): int(row[1]) for row in prediction_rows}
        crowd = self._crowd_of(truth_rows)
        code = (truth.astype(np.int64) << _SHIFT) | prediction.astype(np.int64)
        values, pixels = count_values(code)
        for value, count in zip(values.tolist(), pixels.tolist(), strict=True):
            t, p = value >> _SHIFT, value & _LOW
            true_class = category_of_truth.get(t, self.num_classes)
            said_class = category_of_prediction.get(p, self.num_classes)
            if t != VOID:
                self._video_confusion[true_class, said_class] += count
            self._count_tracks((true_class, t), (said_class, p), t in crowd, count)

    def _crowd_of(self, truth_rows: np.ndarray) -> set[int]:
        if self.mode == "clean":
            return {int(row[0]) for row in truth_rows if row[2]}
        return set() if self._first_segment is None else {self._first_segment}

    def _count_tracks(
        self, truth: tuple[int, int], said: tuple[int, int], crowd: bool, count: int
    ) -> None:
        is_thing = truth[0] in self.things
        if is_thing and crowd:
            return  # removed from truth and prediction alike
        if is_thing:
            self._truth_areas[truth] = self._truth_areas.get(truth, 0) + count
        if said[0] in self.things:
            self._prediction_areas[said] = self._prediction_areas.get(said, 0) + count
            if is_thing:
                pair = (truth, said)
                self._overlaps[pair] = self._overlaps.get(pair, 0) + count

    def end_video(self) -> None:
        """The current video is complete."""
        association = 0.0
        for (truth, said), overlap in self._overlaps.items():
            size = self._truth_areas[truth]
            union = size + self._prediction_areas[said] - overlap
            association += overlap * (overlap / union) / size
        tracks = len(self._truth_areas)
        aq = association / tracks if tracks else 0.0
        sq = _semantic_quality(self._video_confusion)
        self._per_video.append(TrackingQuality(math.sqrt(aq * sq), aq, sq))
        self._confusion += self._video_confusion
        self._association += association
        self._tracks += tracks
        self._start_video()

    def compute(self) -> SegmentationTrackingScores:
        """STQ over the completed videos: AQ is the mean over all tracks, not over videos."""
        aq = self._association / self._tracks if self._tracks else 0.0
        sq = _semantic_quality(self._confusion)
        return SegmentationTrackingScores(math.sqrt(aq * sq), aq, sq, tuple(self._per_video))


def _semantic_quality(confusion: np.ndarray) -> float:
    """Mean IoU over every class that is true or predicted, void predictions included as one."""
    right = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    occurs = union > 0
    return float((right[occurs] / union[occurs]).mean()) if occurs.any() else 0.0


def segmentation_tracking_quality(
    gts: Sequence[np.ndarray],
    preds: Sequence[np.ndarray],
    gt_segments: Sequence[np.ndarray],
    pred_segments: Sequence[np.ndarray],
    *,
    num_classes: int,
    thing_ids: Sequence[int],
    mode: str = "published",
) -> SegmentationTrackingScores:
    """STQ over videos; arguments as :func:`video_panoptic_quality`."""
    metric = SegmentationTrackingQuality(num_classes=num_classes, thing_ids=thing_ids, mode=mode)
    feed_videos(metric, gts, preds, gt_segments, pred_segments)
    return metric.compute()
