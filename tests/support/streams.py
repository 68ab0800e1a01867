"""A made-up video, and a network that takes it frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor

from vidparse.models.network import VideoNetwork


def video(frames: int, size_hw: tuple[int, int]) -> Tensor:
    """Noise (T, 3, H, W), always the same."""
    return torch.randn(frames, 3, *size_hw, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def stream(network: VideoNetwork, frames: Tensor) -> list[Tensor]:
    """Logits (1, K, h, w) of every frame; the state must keep its shapes."""
    state = network.first_state(frames[None])
    found = []
    for frame in frames:
        answer, after = network(frame[None, None], state)
        assert [one.shape for one in after] == [one.shape for one in state]
        state = after
        found.append(answer.logits[:, 0])
    return found
