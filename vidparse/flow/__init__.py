"""Optical flow between frames: where every pixel of one picture is in another.

A flow F from a to b is float32 (2, H, W), pixels to the right and down, so that b(x + F(x)) shows
what a(x) shows. torch is imported only for RAFT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidparse.flow.source import (
    FLOW_NAMES,
    DisFlow,
    FlowCache,
    FlowEstimator,
    FlowSource,
    open_flow,
    read_flo,
    warp_image,
    write_flo,
)

if TYPE_CHECKING:
    from vidparse.flow.raft import RaftFlow

__all__ = [
    "FLOW_NAMES",
    "DisFlow",
    "FlowCache",
    "FlowEstimator",
    "FlowSource",
    "RaftFlow",
    "open_flow",
    "read_flo",
    "warp_image",
    "write_flo",
]


def __getattr__(name: str) -> object:
    if name != "RaftFlow":
        raise AttributeError(f"module 'vidparse.flow' has no attribute '{name}'")
    from vidparse.flow.raft import RaftFlow

    return RaftFlow
