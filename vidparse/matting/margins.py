"""The lead of groups of classes over all others, at the size of a network's scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def margins_of(scores: np.ndarray, groups: Sequence[Sequence[int]]) -> NDArray[np.float16]:
    """The greatest score in each group minus the greatest outside of it, float16 (G, h, w).

    It is above 0 exactly where the winner of all classes is in the group. A group of all classes
    has +inf, one of none -inf, both cut to the largest numbers that float16 holds well.

    Args:
        scores: float32 (K, h, w). groups: class ids of each of G groups.
    """
    found = np.empty((len(groups), *scores.shape[1:]), np.float16)
    if all(len(group) == 1 for group in groups) and len(scores) > 1:
        # Compare each class with the best of all, or the second best where it is the best.
        second, best = np.partition(scores, len(scores) - 2, axis=0)[-2:]
        for place, (one,) in enumerate(groups):
            rest = np.where(scores[one] >= best, second, best)
            found[place] = np.clip(scores[one] - rest, -30, 30)
        return found

    for place, group in enumerate(groups):
        chosen = np.zeros(len(scores), bool)
        chosen[list(group)] = True
        if chosen.all() or not chosen.any():
            found[place] = 30 if chosen.any() else -30
            continue
        lead = scores[chosen].max(axis=0) - scores[~chosen].max(axis=0)
        found[place] = np.clip(lead, -30, 30)
    return found
