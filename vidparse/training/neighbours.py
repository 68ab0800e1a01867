"""The frames that stand beside a target in a training clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vidparse.models.network import VideoNetwork

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Neighbours(Protocol):
    """The frames of a clip; a plain record, for processes that hold neither network nor losses."""

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Frames relative to the target (0), in the order of the clip; always as many."""
        ...


@dataclass(frozen=True, slots=True)
class Companions:
    """The frames that a network takes beside a target, some of the time backwards in time."""

    network: type[VideoNetwork]
    config: DataclassInstance  # that it was built from
    reverse: float = 0.0  # how often

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Frames relative to the target, which comes last."""
        offsets = self.network.companions(self.config, rng)
        if len(offsets) == 1:
            return offsets
        sign = -1 if rng.random() < self.reverse else 1
        return tuple(sign * offset for offset in offsets)


@dataclass(frozen=True, slots=True)
class Run:
    """Frames at an even distance, the target last.

    most_gap: the distance is drawn from 1 to it. reverse: how often a clip runs backwards.
    """

    length: int
    most_gap: int = 1
    reverse: float = 0.0

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Frames relative to the target."""
        gap = int(rng.integers(1, self.most_gap, endpoint=True))
        sign = -1 if rng.random() < self.reverse else 1
        return tuple(-sign * gap * before for before in reversed(range(self.length)))
