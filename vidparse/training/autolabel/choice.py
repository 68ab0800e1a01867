"""Labels that have to agree with coarser ones, which are known."""

from __future__ import annotations

import numpy as np

from vidparse.labels import Labels, unions_of


class Within:
    """Coarse labels that the fine ones have to agree with.

    Raises:
        UsageError: `coarse` is not known as unions of `fine`.
    """

    def __init__(self, coarse: Labels, fine: Labels) -> None:
        table = unions_of(coarse, fine)
        self._allowed = np.zeros(
            (256, len(fine)), np.float32
        )  # none where the coarse label is void
        for class_id, name in enumerate(coarse.classes):
            self._allowed[class_id, list(fine.select(table[name]))] = 1

    def constrained(self, probabilities: np.ndarray, coarse: np.ndarray) -> np.ndarray:
        """Probabilities (K, n, W) with those outside the unions zero and the rest summing to one.

        Args:
            coarse: uint8 (n, W). Where it is IGNORE the result is NaN.
        """
        found = probabilities * np.moveaxis(self._allowed[coarse], -1, 0)  # (K, n, W)
        with np.errstate(invalid="ignore"):
            found /= found.sum(axis=0)
        return found
