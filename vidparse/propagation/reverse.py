"""The test of propagated labels that VSPW has: are key frames predicted from propagated ones?

Half-way between two keys, where propagated masks are worst, they become key masks themselves, and
are propagated back to the frames that were drawn (Miao et al., CVPR 2021, appendix, table 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vidparse.evaluation.metrics.semantic import ConfusionMatrix
from vidparse.flow import FlowEstimator
from vidparse.frame import Frame
from vidparse.inference.session import Session
from vidparse.labels import Labels
from vidparse.maps import Segment, SegmentMap
from vidparse.propagation.keys import Keys
from vidparse.propagation.prediction import BOTH, KEY, NONE, Propagated
from vidparse.propagation.shelf import Shelf, Slip
from vidparse.propagation.stages import Propagation, number_of


@dataclass(frozen=True, slots=True)
class ReverseScore:
    """Fractions 0..1 of key frames that were predicted from propagated ones.

    keys: key frames that could be: those with a propagated neighbour in their shot.
    class_iou: by class name; classes that no such key has are left out.
    """

    keys: int
    miou: float
    wiou: float
    pixel_accuracy: float
    class_iou: dict[str, float]


class ReverseTest:
    """Collects propagated masks half-way between keys, and predicts the keys from them.

    Args:
        keys: of the video. shelf: keeps the masks.
    """

    def __init__(self, keys: Keys, shelf: Shelf) -> None:
        self._keys, self._shelf = keys, shelf
        self._wanted = {(a + b) // 2 for a, b in pairwise(sorted(keys.files)) if b - a > 1}
        self._kept: dict[int, tuple[Slip, tuple[Segment, ...] | None]] = {}

    def see(self, frame: Frame, prediction: Propagated) -> None:
        """Keep the masks of a frame, if it lies half-way between two keys."""
        if number_of(frame) in self._wanted and prediction.origin == BOTH:
            slip = self._shelf.put(prediction.ids)
            self._kept[number_of(frame)] = slip, prediction.segments

    def score(
        self,
        frames: Iterable[Frame],
        flow: FlowEstimator,
        *,
        cut: float | None,
        name: str,
        network: Session | None = None,
    ) -> ReverseScore | None:
        """Predict the keys in a second pass through the video; None where there is nothing to do.

        Raises: as of `Propagation`.
        """
        if not self._kept:
            return None
        labels = self._keys.labels
        halves = Keys(
            labels,
            {number: f"propagated frame {number}" for number in sorted(self._kept)},
            self._map_of,
            self._keys.is_panoptic,
        )
        counts, done = ConfusionMatrix(len(labels), ignore=labels.void), 0
        shelf = Shelf(name)
        stages = Propagation(halves, flow, cut=cut, shelf=shelf, name=name, network=network)

        try:
            for frame, prediction in self._predicted(stages, frames):
                truth = self._keys.map_of(number_of(frame), prediction.map.size_hw)
                counts.update(truth.class_map(labels), prediction.map.class_map(labels))
                done += 1
        finally:
            shelf.close()
        return _score(counts, labels, done) if done else None

    def _predicted(
        self, stages: Propagation, frames: Iterable[Frame]
    ) -> Iterator[tuple[Frame, Propagated]]:
        """Key frames with their predictions, but those that no propagated frame is near."""
        for frame, prediction in stages.finished(stages.answered(stages.prepared(frames))):
            if number_of(frame) in self._keys.files and prediction.origin not in (KEY, NONE):
                yield frame, prediction

    def _map_of(self, number: int) -> SegmentMap:
        slip, segments = self._kept[number]
        (ids,) = self._shelf.take(slip)
        return SegmentMap(ids, segments)


def _score(counts: ConfusionMatrix, labels: Labels, keys: int) -> ReverseScore:
    scores = counts.compute()
    named = zip(labels.classes, scores.per_class.tolist(), strict=True)
    return ReverseScore(
        keys,
        scores.miou,
        scores.wiou,
        scores.pixel_accuracy,
        {name: iou for name, iou in named if not np.isnan(iou)},
    )
