"""Per-frame networks: a backbone and a head, no memory (the students of ETC, table V)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidparse.models.backbones import BACKBONES
from vidparse.models.heads import AuxiliaryHead, PspHead
from vidparse.models.network import Outputs, State


@dataclass(frozen=True, slots=True)
class PerFrameConfig:
    """MobileNetV2-PSP and ResNet18-PSP, and their lighter forms."""

    classes: int
    backbone: str = "mobilenetv2"  # a key of BACKBONES
    output_stride: int = 8  # of the deepest features; 16 is about three times cheaper than 8
    width: int = 256  # channels of the fused map; half of PSPNet's 512 (ETC's "half channels")
    skip_channels: int = 0  # > 0: refine with stride 8 and 4 features (see PspHead)
    auxiliary: bool = True  # a second classifier on the third stage, in training only


class PerFrame(nn.Module):
    """Backbone + PSP head; stateless, one frame a call."""

    window = 1

    def __init__(self, config: PerFrameConfig) -> None:
        super().__init__()
        self.config = config
        backbone = BACKBONES[config.backbone]
        pyramid = backbone.channels
        self.backbone = backbone(output_stride=config.output_stride)
        self.head = PspHead(
            pyramid, config.classes, width=config.width, skip_channels=config.skip_channels
        )
        self.auxiliary = AuxiliaryHead(pyramid[2], config.classes) if config.auxiliary else None

    def init_state(
        self, size_hw: tuple[int, int], device: torch.device, dtype: torch.dtype
    ) -> State:
        return ()

    def forward(self, clip: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """clip: (B, 3, H, W) normalised RGB -> logits (B, K, H/s, W/s), s = 4 or output_stride."""
        pyramid = self.backbone(clip)
        logits = self.head(pyramid)
        auxiliary = None
        if self.training and self.auxiliary is not None:
            auxiliary = self.auxiliary(pyramid[2])
        return Outputs(logits, auxiliary), ()
