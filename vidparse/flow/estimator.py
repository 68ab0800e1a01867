"""What every method of computing optical flow can do."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class FlowEstimator(Protocol):
    """A method with its settings and weights; the same pictures give the same flow."""

    @property
    def name(self) -> str:
        """For people: "DIS medium", "RAFT raft-things"."""
        ...

    @property
    def key(self) -> str:
        """Tells method, settings and weights apart; letters, digits, dots and dashes only."""
        ...

    def between(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Flow float32 (2, H, W) from a to b, both RGB uint8 (H, W, 3)."""
        ...


def check_pair(a: np.ndarray, b: np.ndarray) -> None:
    """Refuse (ValueError) what is not a pair of RGB pictures of one size."""
    for picture in (a, b):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"picture is {picture.dtype} {picture.shape}: use uint8 (H, W, 3)")
    if a.shape != b.shape:
        raise ValueError(f"pictures are {a.shape} and {b.shape}: flow needs one size")
    if not a.size:
        raise ValueError(f"pictures are {a.shape}: nothing in them")
