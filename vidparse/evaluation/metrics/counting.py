"""Whole videos of arrays through a measure: samples in, counts of each video out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from vidparse.evaluation.metrics.measure import Counts, Measure, Sample
from vidparse.maps import SegmentMap


def samples(
    truths: np.ndarray | None, predicted: np.ndarray, flows: np.ndarray | None = None
) -> Iterator[Sample]:
    """Frames of one video: ids (T, H, W) each; flows (T - 1, 2, H, W), each to the next frame.

    Raises:
        ValueError: numbers of frames differ.
    """
    if truths is not None and len(truths) != len(predicted):
        raise ValueError(f"{len(truths)} ground truth frames, {len(predicted)} predicted")
    if flows is not None and len(flows) != max(len(predicted) - 1, 0):
        raise ValueError(
            f"{len(predicted)} frames need {max(len(predicted) - 1, 0)} flows, got {len(flows)}"
        )
    for t, ids in enumerate(predicted):
        yield Sample(
            video="",
            stem=str(t),
            index=t,
            prediction=SegmentMap(np.asarray(ids)),
            truth=None if truths is None else SegmentMap(np.asarray(truths[t])),
            flow=None if flows is None or t == 0 else flows[t - 1],
        )


def counts_per_video(measure: Measure, videos: Iterable[Iterable[Sample]]) -> Iterator[Counts]:
    """Feed videos; yields the counts of each as it ends."""
    for video in videos:
        for sample in video:
            measure.update(sample)
        yield measure.end_video()


def add_counts(total: Counts, counts: Counts) -> Counts:
    """The sum of two counts; an empty total takes the other's fields."""
    if not total:
        return dict(counts)
    return {name: total[name] + value for name, value in counts.items()}
