"""The spread of many times in little memory."""

from __future__ import annotations

import math

import numpy as np

_STEP = 1.02  # from bin to bin: quantiles are exact to 1 %
_LEAST_S = 1e-6
_BINS = math.ceil(math.log(1e4 / _LEAST_S, _STEP))  # up to hours


class Spread:
    """Counts of times by their length, whose memory does not grow with their number."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self.most_s = 0.0

    def add(self, time_s: float) -> None:
        place = math.log(max(time_s, _LEAST_S) / _LEAST_S, _STEP)
        self._counts[min(int(place), _BINS - 1)] += 1
        self.most_s = max(self.most_s, time_s)

    def quantile_s(self, share: float) -> float:
        """The time that this share of all does not exceed, within 1 %; 0 where there is none."""
        total = np.cumsum(self._counts)
        if not total[-1]:
            return 0.0
        place = int(np.searchsorted(total, share * total[-1]))

        # Take the middle of the bin, but no more than the greatest, which is known exactly.
        middle: float = _LEAST_S * _STEP ** (place + 0.5)
        return min(middle, self.most_s)
