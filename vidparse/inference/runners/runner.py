"""What runs a network: normalised clip in, low-resolution scores out.

A runner owns what the network remembers of one video; nothing above it knows which framework runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from vidparse.errors import DeviceError
from vidparse.inference.devices import Device
from vidparse.models.description import Description

if TYPE_CHECKING:
    from vidparse.inference.panoptic import ScoredMasks

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


class Runner(Protocol):
    """One network on one device for one video at a time."""

    description: Description
    backend: str  # "torch", "onnx", "openvino" or "transformers"
    device: str  # where it really runs, read back from the framework
    precision: str  # what it really computes in
    engine: str  # all three for people: "ONNX Runtime, fp32, 2 threads"
    chosen: str  # why, where `auto` chose the backend; else ""
    remembers: bool  # whether the network's answer depends on the frames before

    def run(self, clip: np.ndarray) -> np.ndarray | ScoredMasks:
        """float32 (1, 3, H, W) -> float32 scores (K, h, w); masks where the task is panoptic."""
        ...

    def reset(self) -> None:
        """Forget the video so far."""
        ...


@runtime_checkable
class DeviceArgmax(Protocol):
    """A runner whose device can bring scores to full size itself: only class ids come back."""

    argmax_on_device: bool  # whether that is the faster way where it runs

    def classes(self, clip: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """float32 (N, 3, H, W) -> class ids (N, h, w) of `size_hw`; uint8, uint16 from 256 on.

        N above 1 is for networks that remember nothing.
        """
        ...


def engine_text(framework: str, device: Device, precision: str, threads: int) -> str:
    """What runs a network: "ONNX Runtime, int8, 2 threads" or "PyTorch, CUDA, fp16"."""
    if device.kind == "cuda":
        which = f" {device.index}" if device.index else ""
        return f"{framework}, CUDA{which}, {precision}"
    return f"{framework}, {precision}, {threads} thread{'s' if threads != 1 else ''}"


def engine_and_reason(runner: Runner) -> str:
    """What runs a network, and why where that was chosen: in one short line."""
    return runner.engine + (f" (auto: {runner.chosen})" if runner.chosen else "")


def stored_precision(description: Description) -> str:
    """What an ONNX file computes in: "int8" after `vidparse export --int8`, else "fp32"."""
    return "int8" if "int8" in description.training else "fp32"


def out_of_memory(device: str, clip: np.ndarray) -> DeviceError:
    """The error for a picture that does not fit."""
    height, width = clip.shape[2:]
    return DeviceError(
        f"device {device}: out of memory at {width}x{height}; lower --size"
        + (" or use --device cpu" if device != "cpu" else "")
    )
