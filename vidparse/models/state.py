"""What a streaming network keeps of the past of a video, between one call and the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

State = tuple["torch.Tensor", ...]


@dataclass(frozen=True, slots=True)
class StateTensor:
    """One float tensor of a state; all are zero before the first frame of a video.

    shape: without the batch axis. stride: when not 0, two axes ceil(H / stride) and
    ceil(W / stride) follow.
    """

    name: str
    shape: tuple[int, ...]
    stride: int = 0

    def full_shape(self, size_hw: tuple[int, int]) -> tuple[int, ...]:
        """Shape for one video whose network input has that size, batch axis first."""
        if not self.stride:
            return (1, *self.shape)
        height, width = (-(-side // self.stride) for side in size_hw)
        return (1, *self.shape, height, width)


def zero_state(
    tensors: Sequence[StateTensor],
    size_hw: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
) -> State:
    """The state before the first frame."""
    import torch

    return tuple(
        torch.zeros(tensor.full_shape(size_hw), device=device, dtype=dtype) for tensor in tensors
    )


def state_bytes(tensors: Sequence[StateTensor], size_hw: tuple[int, int]) -> int:
    """Size of a state in float32; the same for every frame of a video."""
    return sum(4 * prod(tensor.full_shape(size_hw)) for tensor in tensors)
