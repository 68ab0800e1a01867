"""Flow by name, as the command line asks for it: which method, with what weights, kept where."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from vidparse.errors import UsageError
from vidparse.flow.cache import FlowCache
from vidparse.flow.dis import DisFlow
from vidparse.flow.estimator import FlowEstimator

_DIS_PRESETS = {"dis": "medium", "dis-fast": "fast", "dis-ultrafast": "ultrafast"}
FLOW_NAMES = (*_DIS_PRESETS, "raft")


class FlowSource(Protocol):
    """Flow between frames of named videos, computed or found."""

    @property
    def name(self) -> str:
        """For people; goes into results."""
        ...

    @property
    def key(self) -> str:
        """Method, settings and weights: whatever decides the flow."""
        ...

    def between(self, a: np.ndarray, b: np.ndarray, *, video: str, stem: str) -> np.ndarray:
        """Flow float32 (2, H, W) from a to b, RGB uint8 (H, W, 3); `stem` is the name of a."""
        ...


def open_flow(
    name: str, *, weights: Path | None = None, device: str = "cpu", cache: Path | None = None
) -> FlowSource:
    """A source of flow, ready to work.

    Args:
        name: one of FLOW_NAMES.
        weights: RAFT's, required there and refused elsewhere.
        device: RAFT's, as torch names it.
        cache: folder that keeps every flow for the next run.

    Raises:
        UsageError: unknown name, or weights that are missing or make no sense.
        ModelError: weights that cannot be used. DeviceError: a device that is not there.
    """
    return FlowCache(_estimator(name, weights, device), cache)


def _estimator(name: str, weights: Path | None, device: str) -> FlowEstimator:
    if name not in FLOW_NAMES:
        raise UsageError(f"flow '{name}': unknown; use {', '.join(FLOW_NAMES)}")
    if name in _DIS_PRESETS:
        if weights is not None:
            raise UsageError(f"flow '{name}': has no weights; use raft, or drop --flow-weights")
        return DisFlow(_DIS_PRESETS[name])
    if weights is None:
        raise UsageError(
            "flow 'raft': needs weights; give --flow-weights raft-things.pth, "
            "one of the public models of RAFT's authors"
        )
    from vidparse.flow.raft import RaftFlow

    return RaftFlow(weights, device=device)
