"""Boundary IoU of label maps (Cheng et al., CVPR 2021), against the truth and along the flow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np

from vidparse.evaluation.metrics.consistency import warp_labels
from vidparse.evaluation.metrics.measure import (
    Counts,
    DataFacts,
    Measure,
    Sample,
    mean_of_defined,
    ratio,
)

WIDTH = 0.02  # of the band, as a share of the image diagonal


def band_width(size_hw: tuple[int, int]) -> int:
    """Pixels d of the band: 2 % of the diagonal, rounded half to even, at least 1."""
    return max(1, round(WIDTH * math.hypot(*size_hw)))


def inner_bands(ids: np.ndarray, width: int) -> np.ndarray:
    """Pixels at most `width` from another id, or from the edge of the picture; bool (H, W).

    Distances are those of a square window. For each class this is what its mask loses by `width`
    erosions with a 3x3 square, pixels outside counting as background.

    Args:
        ids: uint8 or uint16 (H, W).
    """
    # Erode once with a large square: the same as many times with one of 3 x 3, and quicker.
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    bands = cv2.erode(ids, square) != cv2.dilate(ids, square)

    # Count the edge of the picture as a boundary, as the paper pads masks with background.
    bands[:width] = bands[-width:] = True
    bands[:, :width] = bands[:, -width:] = True
    return bands


class BandCounts:
    """Pixels of boundary bands over the frames of a video, by class."""

    def __init__(self, num_classes: int, ignore: int) -> None:
        if 0 <= ignore < num_classes:
            raise ValueError(f"ignore {ignore}: is one of {num_classes} classes; use another id")
        self._num_classes, self._ignore = num_classes, ignore
        self._sums = np.zeros((3, num_classes), np.int64)

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Add a pair of maps (H, W). Where `truth` is void both are, before bands are formed.

        Raises:
            ValueError: shapes differ, or a counted id of `predicted` is neither a class nor ignore.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"truth is {truth.shape}, prediction {predicted.shape}")
        truth, predicted = _narrowed(truth), _narrowed(predicted)
        void = truth >= self._num_classes
        if ((predicted >= self._num_classes) & (predicted != self._ignore) & ~void).any():
            raise ValueError(f"prediction holds ids beyond {self._num_classes - 1}")

        # Blank void in both maps, so that its border is no boundary of a class.
        if void.any():
            truth, predicted = truth.copy(), predicted.copy()
            truth[void] = predicted[void] = self._num_classes

        width = band_width((truth.shape[0], truth.shape[1]))
        true_band, predicted_band = inner_bands(truth, width), inner_bands(predicted, width)

        # Share pixels of one class: bands of two classes lie on either side of a border.
        shared = true_band & predicted_band & (truth == predicted)

        for row, ids in enumerate((truth[shared], truth[true_band], predicted[predicted_band])):
            found = np.bincount(ids, minlength=self._num_classes)
            self._sums[row] += found[: self._num_classes]

    def taken(self) -> Counts:
        """The sums, (K,) each; they start again from zero."""
        shared, true_band, predicted_band = self._sums
        self._sums = np.zeros_like(self._sums)
        return {"shared": shared, "true_band": true_band, "predicted_band": predicted_band}


def _narrowed(ids: np.ndarray) -> np.ndarray:
    """The same ids in a type that OpenCV erodes; out of its range becomes 65535."""
    if ids.dtype in (np.uint8, np.uint16):
        return ids
    wide = np.iinfo(np.uint16).max
    return np.where((ids >= 0) & (ids < wide), ids, wide).astype(np.uint16)


def boundary_iou(counts: Counts) -> np.ndarray:
    """Boundary IoU (..., K) per class, NaN where the truth lacks it: all that occur have a band."""
    true_band, shared = counts["true_band"], counts["shared"]
    return ratio(shared, np.where(true_band > 0, true_band + counts["predicted_band"] - shared, 0))


class BoundaryIoU(Measure):
    """Boundary IoU: IoU of the inner bands of each class, pixels summed over the split.

    The mean is over classes present in the ground truth. Void in the ground truth is copied into
    the prediction, so its outline bounds the same classes in both, and its pixels are not counted.
    Predicted void is one more class to border on and never right; since bands start at its outline
    it can help by chance.
    """

    glossary: ClassVar[Mapping[str, tuple[str, str]]] = {
        "boundary_iou": (
            "boundary IoU",
            "IoU of the inner boundary bands, 2 % of the diagonal wide",
        ),
    }

    def __init__(self, data: DataFacts) -> None:
        super().__init__(data)
        self._bands = BandCounts(data.num_classes, data.void)

    def update(self, sample: Sample) -> None:
        """Add a frame, if it is labelled; errors as :meth:`BandCounts.add`."""
        if sample.true_classes is not None:
            self._bands.add(sample.true_classes, sample.predicted_classes)

    def end_video(self) -> Counts:
        """Pixels of the bands and of what they share, (K,) each."""
        return self._bands.taken()

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        """The mean over classes."""
        return {"boundary_iou": mean_of_defined(boundary_iou(counts))}

    def per_class(self, counts: Counts) -> dict[str, np.ndarray]:
        """Boundary IoU of each class."""
        return {"boundary_iou": boundary_iou(counts)}


class BoundaryConsistency(Measure):
    """Boundary IoU between a prediction and the next one warped back along the flow.

    It measures how much outlines tremble, without ground truth. This measure is ours. It is not the
    temporal instability T of DAVIS, which matches the shapes of contours and is lower when better.
    What the flow takes out of the picture, and what either prediction leaves void, does not count;
    what comes into view or is covered does.
    """

    needs_flow: ClassVar[bool] = True
    glossary: ClassVar[Mapping[str, tuple[str, str]]] = {
        "tc_boundary": (
            "TC of boundaries",
            "boundary IoU between a prediction and the next one warped back along the optical flow",
        ),
    }

    def __init__(self, data: DataFacts) -> None:
        super().__init__(data)
        self._ignore = data.void
        self._bands = BandCounts(data.num_classes, data.void)
        self._before: np.ndarray | None = None

    def update(self, sample: Sample) -> None:
        """Add the next frame, and with its flow a pair; errors as :meth:`BandCounts.add`."""
        if self._before is not None and sample.flow is not None:
            predicted = _narrowed(sample.predicted_classes)
            if predicted.dtype == np.uint8 and self._ignore > 255:
                predicted = predicted.astype(np.uint16)

            # Blank the earlier map where the later one is void, so that void bounds nothing.
            after = warp_labels(predicted, sample.flow, outside=self._ignore)
            before = np.where(after == self._ignore, after, self._before)
            self._bands.add(before, after)
        self._before = sample.predicted_classes.copy()

    def end_video(self) -> Counts:
        """Pixels of the bands and of what they share, (K,) each."""
        self._before = None
        return self._bands.taken()

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        """The mean over the classes of the earlier predictions."""
        return {"tc_boundary": mean_of_defined(boundary_iou(counts))}

    def per_class(self, counts: Counts) -> dict[str, np.ndarray]:
        """Boundary IoU of each class."""
        return {"tc_boundary": boundary_iou(counts)}
