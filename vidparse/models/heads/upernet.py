"""UPerNet's head (Xiao et al., ECCV 2018): pyramid pooling on top of a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidparse.models.heads.psp import POOL_BINS
from vidparse.models.layers import conv_bn_relu, first_convolution, pool_to, resize_to


class UperNetHead(nn.Module):
    """Scores at stride 4 from all four maps; made for backbones that are not dilated.

    Args:
        pyramid: channels of the backbone's four maps.
        width: channels of every level: 512 as published on VSPW, 256 in its lighter form.
    """

    def __init__(
        self,
        pyramid: Sequence[int],
        classes: int,
        *,
        width: int = 512,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        deep = pyramid[3]
        self.branches = nn.ModuleList(conv_bn_relu(deep, width, 1) for _ in POOL_BINS)
        self.bottom = conv_bn_relu(deep + len(POOL_BINS) * width, width, 3)
        self.laterals = nn.ModuleList(conv_bn_relu(channels, width, 1) for channels in pyramid[:3])
        self.smooth = nn.ModuleList(conv_bn_relu(width, width, 3) for _ in self.laterals)
        self.fuse = conv_bn_relu(len(pyramid) * width, width, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, classes, 1)

    def tapped(self) -> nn.Conv2d:
        """The convolution of the fusion."""
        return first_convolution(self.fuse)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Four maps, finest first -> (B, K, H/4, W/4)."""
        level = self._pool(pyramid[3])  # (B, F, h, w)
        levels = [level]
        for features, lateral, smooth in zip(
            reversed(pyramid[:3]), reversed(self.laterals), reversed(self.smooth), strict=True
        ):
            level = lateral(features) + resize_to(level, features)  # (B, F, H/s, W/s)
            levels.insert(0, smooth(level))
        finest = levels[0]
        same_size = [finest, *(resize_to(one, finest) for one in levels[1:])]
        x = self.fuse(torch.cat(same_size, dim=1))  # (B, F, H/4, W/4)
        return self.classifier(self.dropout(x))

    def _pool(self, deep: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, F, h, w). Pooled maps are resized before their 1x1 convolution."""
        context = [
            branch(resize_to(pool_to(deep, bins), deep))
            for bins, branch in zip(POOL_BINS, self.branches, strict=True)
        ]
        return self.bottom(torch.cat([deep, *context], dim=1))
