"""Segmentation and tracking quality (STQ; Weber et al., STEP, NeurIPS 2021).

STQ = sqrt(AQ * SQ): association of thing pixels over the whole video, and semantic IoU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vidparse.evaluation.metrics.measure import (
    Counts,
    DataFacts,
    Measure,
    Sample,
    count_videos,
    mean_of_defined,
    ratio,
    variant_words,
)
from vidparse.evaluation.metrics.overlaps import FrameOverlaps, frame_overlaps, split_codes
from vidparse.evaluation.metrics.panoptic import panoptic_samples
from vidparse.maps import VOID

MODES = ("published", "clean")
_Track = tuple[int, int]  # category, segment id


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


class SegmentationTrackingQuality(Measure):
    """STQ of the frames with panoptic ground truth; memory grows with tracks, not with frames.

    Instances get numbers per video. "published" numbers them by first appearance starting at 0,
    stuff included, as the VIPSeg script does; number 0 means crowd, so a video whose first listed
    segment is a thing loses that object. "clean" treats only `iscrowd` as crowd.

    Void is a class of its own in SQ: true void is not counted, predicted void is wrong. It can
    still help, where it takes back pixels of a wrong track or class.

    The semantic confusion is (K + 1) x (K + 1) with void last; things are tracked.
    """

    needs_panoptic: ClassVar[bool] = True
    glossary: ClassVar[Mapping[str, tuple[str, str]]] = {
        "stq": ("STQ", "geometric mean of association and segmentation quality"),
        "aq": ("AQ", "association quality: how well the objects are followed"),
        "sq": ("SQ", "segmentation quality: mean IoU of classes"),
    }

    def __init__(self, data: DataFacts, *, mode: str = "published") -> None:
        super().__init__(data)
        if mode not in MODES:
            raise ValueError(f"mode '{mode}': use {' or '.join(MODES)}")
        self.num_classes, self.mode = data.num_classes, mode
        self._things = data.things
        self._suffix = "" if mode == "published" else f"_{mode}"
        self._start_video()

    @classmethod
    def words(cls, score: str) -> tuple[str, str] | None:
        return variant_words(
            cls.glossary, score, "clean", "only what is marked as crowd is left out"
        )

    def _start_video(self) -> None:
        self._confusion = np.zeros((self.num_classes + 1, self.num_classes + 1), np.int64)
        self._truth_areas: dict[_Track, int] = {}
        self._predicted_areas: dict[_Track, int] = {}
        self._shared: dict[tuple[_Track, _Track], int] = {}
        self._first_segment: int | None = None
        self._lost = 0  # things that the published numbering takes for a crowd: 0 or 1

    def update(self, sample: Sample) -> None:
        """Add the next frame, if it has panoptic ground truth.

        Raises:
            ValueError: shapes differ, an id in a picture has no row, or a category is not 0..K-1.
        """
        if sample.truth is None or sample.truth.segments is None:
            return
        if sample.prediction.segments is None:
            raise ValueError("STQ needs a panoptic prediction of every labelled frame")

        known = np.ones(self.num_classes, bool)
        overlaps = frame_overlaps(sample.truth, sample.prediction, known=known)

        # Remember the first segment of the video: the published code loses it.
        if self._first_segment is None and len(overlaps.truth.listed):
            self._first_segment = int(overlaps.truth.listed[0])
            (category,) = overlaps.truth.categories_of(overlaps.truth.listed[:1], void=-1)
            self._lost = int(self.mode == "published" and category in self._things)

        true_ids, predicted_ids = split_codes(overlaps.codes)
        true_classes = overlaps.truth.categories_of(true_ids, void=self.num_classes)
        predicted_classes = overlaps.predicted.categories_of(predicted_ids, void=self.num_classes)

        # Leave out true void and keep predicted void, which is wrong wherever truth is known.
        inside = true_ids != VOID
        np.add.at(
            self._confusion,
            (true_classes[inside], predicted_classes[inside]),
            overlaps.pixels[inside],
        )

        crowd = self._crowd(overlaps)
        for true_class, t, predicted_class, s, pixels in zip(
            true_classes.tolist(), true_ids.tolist(), predicted_classes.tolist(),
            predicted_ids.tolist(), overlaps.pixels.tolist(), strict=True,
        ):  # fmt: skip
            self._count_tracks((true_class, t), (predicted_class, s), t in crowd, pixels)

    def _crowd(self, overlaps: FrameOverlaps) -> set[int]:
        if self.mode == "clean":
            return set(overlaps.truth.ids[overlaps.truth.crowd].tolist())
        return set() if self._first_segment is None else {self._first_segment}

    def _count_tracks(self, truth: _Track, predicted: _Track, crowd: bool, pixels: int) -> None:
        is_thing = truth[0] in self._things
        if is_thing and crowd:
            return  # removed from truth and prediction alike
        if is_thing:
            self._truth_areas[truth] = self._truth_areas.get(truth, 0) + pixels
        if predicted[0] in self._things:
            self._predicted_areas[predicted] = self._predicted_areas.get(predicted, 0) + pixels
            if is_thing:
                pair = (truth, predicted)
                self._shared[pair] = self._shared.get(pair, 0) + pixels

    def end_video(self) -> Counts:
        """Association summed over tracks, their number, pixels by class with void last, and the
        objects that the published numbering leaves out."""
        association = 0.0
        for (truth, predicted), shared in self._shared.items():
            size = self._truth_areas[truth]
            union = size + self._predicted_areas[predicted] - shared
            association += shared * (shared / union) / size
        counts = {
            "association": np.asarray(association),
            "tracks": np.asarray(len(self._truth_areas), np.int64),
            "right": np.diag(self._confusion).copy(),
            "truth": self._confusion.sum(axis=1),
            "predicted": self._confusion.sum(axis=0),
            "lost": np.asarray(self._lost, np.int64),
            "confusion": self._confusion,
        }
        self._start_video()
        return counts

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        """STQ, AQ (mean over all tracks, not over videos) and SQ; 0 where there is nothing.

        The mode "clean" ends their names in "_clean".
        """
        aq = np.nan_to_num(ratio(counts["association"], counts["tracks"]))

        # Keep void as a class in the mean: predicted void is wrong, and pulls it down.
        union = counts["truth"] + counts["predicted"] - counts["right"]
        sq = np.nan_to_num(mean_of_defined(ratio(counts["right"], union)))
        scores = {"stq": np.sqrt(aq * sq), "aq": aq, "sq": sq}
        return {name + self._suffix: value for name, value in scores.items()}

    def notes(self, counts: Counts) -> tuple[str, ...]:
        """A note where the published numbering leaves objects out."""
        if not counts["lost"]:
            return ()
        lost = int(counts["lost"])
        videos = "1 video lists" if lost == 1 else f"{lost} videos list"
        return (
            f"{videos} an object first in the ground truth; published STQ takes it for a crowd and "
            "leaves it out, stq-clean counts it.",
        )

    def quality(self, counts: Counts) -> TrackingQuality:
        """Plain numbers."""
        return TrackingQuality(*(float(value) for value in self.scores(counts).values()))


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
    measure = SegmentationTrackingQuality(DataFacts(num_classes, frozenset(thing_ids)), mode=mode)
    videos = zip(gts, preds, gt_segments, pred_segments, strict=True)
    total, each = count_videos(measure, (panoptic_samples(*video) for video in videos))

    whole = measure.quality(total)
    per_video = tuple(measure.quality(counts) for counts in each)
    return SegmentationTrackingScores(whole.stq, whole.aq, whole.sq, per_video)
