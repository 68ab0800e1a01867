"""Region similarity J and contour accuracy F of objects (DAVIS; Perazzi et al., CVPR 2016)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np

from vidparse.evaluation.metrics.measure import (
    Counts,
    DataFacts,
    Measure,
    Sample,
    ratio,
    variant_words,
)

TOLERANCE = 0.008  # how far apart contours may lie, as a share of the image diagonal
_QUARTERS = 4
_GOOD = 0.5  # IoU or F above which a frame counts as recalled


def contour(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask that differ from the one to the right, below, or both; bool (H, W).

    The last row looks right only, the last column down only.
    """
    edge = np.zeros(mask.shape, bool)
    edge[:, :-1] = mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def region_similarity(truth: np.ndarray, predicted: np.ndarray) -> float:
    """J: IoU of two masks bool (H, W); 1 when both are empty."""
    union = np.count_nonzero(truth | predicted)
    return np.count_nonzero(truth & predicted) / union if union else 1.0


def contour_accuracy(truth: np.ndarray, predicted: np.ndarray, *, radius: int) -> float:
    """F: harmonic mean of the shares of either contour that lie near the other.

    Args:
        truth, predicted: masks bool (H, W).
        radius: pixels, of the disk within which contours meet.
    """
    true_edge, predicted_edge = contour(truth), contour(predicted)
    true_length, predicted_length = np.count_nonzero(true_edge), np.count_nonzero(predicted_edge)

    # Score 1 where neither has a contour and 0 where one has, as DAVIS does.
    if not true_length or not predicted_length:
        return float(true_length == predicted_length)

    # Match within a disk by dilation, as the published code does, in place of a true matching.
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    near_truth = cv2.dilate(true_edge.view(np.uint8), disk).view(bool)
    near_predicted = cv2.dilate(predicted_edge.view(np.uint8), disk).view(bool)
    precision = np.count_nonzero(predicted_edge & near_truth) / predicted_length
    recall = np.count_nonzero(true_edge & near_predicted) / true_length
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def statistics(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, recall and decay of the values (T,) of an object, T >= 1.

    Decay is the mean of the first quarter minus that of the last; quarters share their end frames,
    as in the published code.
    """
    ends = np.rint(np.linspace(1, len(values), _QUARTERS + 1) + 1e-10).astype(np.int64) - 1
    decay = values[: ends[1] + 1].mean() - values[ends[-2] :].mean()
    return float(values.mean()), float((values > _GOOD).mean()), float(decay)


class ObjectQuality(Measure):
    """J and F of every object: mean, recall and decay, each a mean over objects.

    Ids from 1 on are objects, 0 is background; predicted ids are taken as they are, not matched.
    An object that is neither there nor predicted in a frame scores 1 there. Void in the ground
    truth is background in both maps; predicted void is background, so it can help where the
    prediction is wrong. Holds two numbers per frame and object until the video ends.

    Args:
        semi: the semi-supervised protocol of DAVIS: only objects of the first labelled frame, and
            that frame and the last are left out. Otherwise all labelled frames and all objects that
            occur in any of them.
    """

    glossary: ClassVar[Mapping[str, tuple[str, str]]] = {
        "jf": ("J&F", "mean of region similarity J and contour accuracy F (DAVIS)"),
        "j_mean": ("J mean", "IoU of each object, mean over frames and objects (DAVIS)"),
        "j_recall": ("J recall", "share of frames whose J exceeds 1/2"),
        "j_decay": ("J decay", "J in the first quarter of a video minus J in the last"),
        "f_mean": ("F mean", "F-measure of object contours, mean over frames and objects (DAVIS)"),
        "f_recall": ("F recall", "share of frames whose F exceeds 1/2"),
        "f_decay": ("F decay", "F in the first quarter of a video minus F in the last"),
    }

    def __init__(self, data: DataFacts, *, semi: bool = False) -> None:
        super().__init__(data)
        self._ignore, self._semi = data.void, semi
        self._suffix = "_semi" if semi else ""
        self._start_video()

    @classmethod
    def words(cls, score: str) -> tuple[str, str] | None:
        return variant_words(cls.glossary, score, "semi", "first and last frame left out")

    def _start_video(self) -> None:
        self._objects: set[int] = set()
        self._frames: list[dict[int, tuple[float, float]]] = []  # id -> J, F; both 1 if absent

    def update(self, sample: Sample) -> None:
        """Add the next frame, if it is labelled.

        Raises:
            ValueError: shapes differ.
        """
        truth, predicted = sample.true_classes, sample.predicted_classes
        if truth is None:
            return
        if truth.shape != predicted.shape:
            raise ValueError(f"truth is {truth.shape}, prediction {predicted.shape}")

        # Blank void in both maps, so that nothing is won or lost there.
        void = truth == self._ignore
        if void.any():
            truth, predicted = np.where(void, 0, truth), np.where(void, 0, predicted)

        # Score only objects of the first frame where its mask was given to the method.
        present = self._ids(truth)
        if not (self._semi and self._frames):
            self._objects |= present
        counted = present | self._ids(predicted)
        if self._semi:
            counted = counted & self._objects if self._frames else set()

        radius = math.ceil(TOLERANCE * math.hypot(*truth.shape))
        self._frames.append({i: _quality(truth == i, predicted == i, radius) for i in counted})

    def _ids(self, ids: np.ndarray) -> set[int]:
        if ids.dtype == np.uint8:
            found = np.flatnonzero(np.bincount(ids.reshape(-1), minlength=1))
        else:
            found = np.unique(ids)
        return {int(i) for i in found if i > 0} - {self._ignore}

    def end_video(self) -> Counts:
        """Mean, recall and decay of J and of F summed over objects, and their number."""
        # Leave out the first and the last frame, as the semi-supervised protocol does.
        frames = self._frames[1:-1] if self._semi else self._frames
        objects = self._objects if frames else set()
        sums = np.zeros((2, 3))
        for i in objects:
            values = np.array([frame.get(i, (1.0, 1.0)) for frame in frames])  # (T, 2)
            sums += [statistics(values[:, 0]), statistics(values[:, 1])]
        self._start_video()
        return {"sums": sums, "objects": np.asarray(len(objects), np.int64)}

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        """J&F, and the three statistics of J and of F; "_semi" ends their names if so."""
        means = ratio(counts["sums"], np.asarray(counts["objects"])[..., None, None])  # (..., 2, 3)
        scores = {"jf": means[..., 0].mean(axis=-1)}
        for row, letter in enumerate("jf"):
            for column, statistic in enumerate(("mean", "recall", "decay")):
                scores[f"{letter}_{statistic}"] = means[..., row, column]
        return {name + self._suffix: value for name, value in scores.items()}


def _quality(truth: np.ndarray, predicted: np.ndarray, radius: int) -> tuple[float, float]:
    """J and F of two masks, looking only where either is."""
    # Cut both masks to where they are: objects are small, and contours cost by the pixel.
    x, y, width, height = cv2.boundingRect((truth | predicted).view(np.uint8))
    window = (  # a contour runs one pixel up and left of its mask
        slice(max(y - 1, 0), y + height + 1),
        slice(max(x - 1, 0), x + width + 1),
    )
    truth, predicted = np.ascontiguousarray(truth[window]), np.ascontiguousarray(predicted[window])
    return region_similarity(truth, predicted), contour_accuracy(truth, predicted, radius=radius)
