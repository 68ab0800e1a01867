"""The answer of a network to a clip of T frames, in numpy: scores, masks, or class ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from vidparse.inference.mixture import Mixture


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a semantic network.

    values: float32 (T, K, h, w) at feature resolution; the greatest wins.
    """

    values: np.ndarray

    def first(self, frames: int) -> Self:
        """The answer to the first frames of the clip."""
        return replace(self, values=self.values[:frames])


@dataclass(frozen=True, slots=True)
class Masks:
    """N masks, each of one object or stuff class, which is the same one in all T frames.

    inside: float32 (N, T, h, w), probability of each pixel. scores: float32 (N,), of the class.
    class_ids: int64 (N,). keys: float32 (N, D), by which an object is known again in later clips;
    None where a network has none. N may be 0.
    """

    inside: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    keys: np.ndarray | None = None

    def first(self, frames: int) -> Self:
        """The answer to the first frames of the clip."""
        return replace(self, inside=self.inside[:, :frames])


@dataclass(frozen=True, slots=True)
class ClassIds:
    """Class ids at full size, from a device that brings scores there itself.

    ids: unsigned integers (T, H, W).
    """

    ids: np.ndarray

    def first(self, frames: int) -> Self:
        """The answer to the first frames of the clip."""
        return replace(self, ids=self.ids[:frames])


Answer = Scores | Masks | ClassIds | Mixture
