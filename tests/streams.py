"""A made-up video, and a network that takes it frame by frame."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vidparse.models.state import zero_state


def video(frames: int, size_hw: tuple[int, int]) -> Tensor:
    """Noise (T, 3, H, W), always the same."""
    return torch.randn(frames, 3, *size_hw, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def stream(network: Any, frames: Tensor) -> list[Tensor]:
    """Logits of every frame; the state must keep its shapes."""
    size_hw = (frames.shape[2], frames.shape[3])
    state = zero_state(network.state_tensors, size_hw, torch.device("cpu"), torch.float32)
    found = []
    for frame in frames:
        outputs, after = network(frame[None], state)
        assert [one.shape for one in after] == [one.shape for one in state]
        state = after
        found.append(outputs.logits)
    return found
