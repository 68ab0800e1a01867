"""Optical flow inside a network, between pictures that are normalised as its input is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.flow.raft_network import STRIDE, Raft, ResidualBlock

_SMALLEST_SIDE = 128  # pixels; smaller pictures are padded, as for the other uses of RAFT


class PictureFlow(nn.Module):
    """RAFT between normalised pictures: frozen, always in inference mode and in float32.

    As made it finds no motion at all, until weights are loaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, iterations: int) -> None:
        super().__init__()
        if iterations < 1:
            raise ValueError(f"flow_iterations {iterations}: at least 1")
        self.iterations = iterations
        self.raft = Raft()
        for block in self.raft.modules():
            if isinstance(block, ResidualBlock) and hasattr(block, "norm3"):
                del block.norm3  # downsample.1 too: a checkpoint takes a tensor under one name
        for parameter in self.raft.update_block.flow_head.conv2.parameters():
            nn.init.zeros_(parameter)
        self.requires_grad_(False)
        self.eval()
        # ImageNet's constants, those of every network of the zoo
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def train(self, mode: bool = True) -> PictureFlow:
        """Stays in inference mode."""
        return super().train(False)

    def forward(self, now: Tensor, past: Tensor) -> Tensor:
        """Flow from `now` to `past`, both (B, 3, H, W): (B, 2, H, W) pixels right and down."""
        height, width = now.shape[2:]
        above, below = _margins(height)
        left, right = _margins(width)
        with torch.autocast(now.device.type, enabled=False):  # positions need float32
            pairs = torch.stack([now, past], dim=1).detach().float()  # (B, 2, 3, H, W)
            pairs = 2 * (pairs * self.std + self.mean) - 1  # 0..1 -> RAFT's -1..1
            flows = []
            for pair in pairs.unbind(0):
                padded = F.pad(pair, (left, right, above, below), mode="replicate")
                flows.append(self.raft(padded, iterations=self.iterations))
        return torch.stack(flows)[:, :, above : above + height, left : left + width]

    def load(self, raft: Raft) -> None:
        """Take over the weights of a RAFT."""
        tensors = raft.state_dict()
        self.raft.load_state_dict({name: tensors[name] for name in self.raft.state_dict()})


def _margins(side: int) -> tuple[int, int]:
    """Pixels to add before and after, the odd one after."""
    wanted = max(_SMALLEST_SIDE, (side + STRIDE - 1) // STRIDE * STRIDE)
    before = (wanted - side) // 2
    return before, wanted - side - before


class NoFlow(nn.Module):
    """Nothing moves."""

    def forward(self, now: Tensor, past: Tensor) -> Tensor:
        """(B, 3, H, W) twice -> zeros (B, 2, H, W)."""
        return torch.zeros_like(now[:, :2])
