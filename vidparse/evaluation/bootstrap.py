"""Intervals of scores: their spread when the videos are drawn again (Efron's bootstrap)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidparse.evaluation.metrics.measure import Counts, Measure

_BATCH = 256  # draws at once


def intervals(
    measure: Measure, per_video: Sequence[Counts], *, draws: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of every score of a measure, over videos drawn with replacement.

    Args:
        per_video: counts of each video; at least two, else nothing is known of the spread.
        draws: how many times a set of as many videos is drawn.
        seed: the same seed draws the same videos, for every measure and entry.
    """
    if len(per_video) < 2 or draws < 1:
        return {}

    rng = np.random.default_rng(seed)
    even = np.full(len(per_video), 1 / len(per_video))
    names = [name for name in per_video[0] if name != "confusion"]  # scores do without
    stacked = {name: np.stack([counts[name] for counts in per_video]) for name in names}

    drawn: dict[str, list[np.ndarray]] = {}

    # Draw in batches: all draws at once would hold as many confusion matrices.
    for first in range(0, draws, _BATCH):
        times = rng.multinomial(len(per_video), even, size=min(_BATCH, draws - first))  # (N, V)
        sums = {name: np.tensordot(times, value, 1) for name, value in stacked.items()}
        for name, values in measure.scores(sums).items():
            drawn.setdefault(name, []).append(np.asarray(values, np.float64))

    # Leave undefined draws out: a draw may miss all videos of a class.
    spread = {}
    for name, parts in drawn.items():
        values = np.concatenate(parts)
        values = values[~np.isnan(values)]
        if len(values):
            low, high = np.percentile(values, [2.5, 97.5])
            spread[name] = (float(low), float(high))
    return spread
