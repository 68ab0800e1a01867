"""In which order a report shows videos."""

from __future__ import annotations

import math

import numpy as np

from vidparse.evaluation.result import Evaluation


def worst_first(evaluation: Evaluation) -> list[str]:
    """Videos in the order in which they deserve a look: by the first entry's leading score.

    The leading score is the first that is defined for any video; without one, pixel accuracy.
    Videos where it is undefined come last.
    """
    entry = evaluation.entries[0]
    values = {video.video: _mean(video.accuracy) for video in entry.videos if video.stems}
    for name in entry.scores:
        scores = {video: own.get(name, math.nan) for video, own in entry.per_video.items()}
        if not all(math.isnan(value) for value in scores.values()):
            values |= scores
            break
    return sorted(values, key=lambda video: (math.isnan(values[video]), values[video]))


def _mean(curve: np.ndarray) -> float:
    defined = curve[~np.isnan(curve)]
    return float(defined.mean()) if len(defined) else math.nan
