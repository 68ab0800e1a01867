"""Decoders that turn a feature pyramid into class scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidparse.models.layers import conv_bn_relu, pool_to, resize_to

POOL_BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """Pyramid pooling (Zhao et al., PSPNet, CVPR 2017): C channels in, 2C out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            conv_bn_relu(channels, channels // len(POOL_BINS), 1) for _ in POOL_BINS
        )

    def forward(self, features: Tensor) -> Tensor:
        pooled = [
            resize_to(branch(pool_to(features, bins)), features)
            for bins, branch in zip(POOL_BINS, self.branches, strict=True)
        ]
        return torch.cat([features, *pooled], dim=1)  # (B, 2C, h, w)


class PspHead(nn.Module):
    """Pyramid pooling, 3x3 convolution, classifier; optionally refined by finer features.

    With `skip_channels` > 0 the fused map is brought to stride 8, then 4, adding a 1x1 projection
    of the backbone's map at each (as a feature pyramid network does), so that poles and signs keep
    their shape at the cost of an output stride of 16. With 0 this is the published PSP head.
    """

    def __init__(
        self,
        pyramid: tuple[int, int, int, int],
        classes: int,
        *,
        width: int = 256,
        skip_channels: int = 0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.pooling = PyramidPooling(pyramid[3])
        self.fuse = conv_bn_relu(2 * pyramid[3], width, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.laterals = nn.ModuleList()
        if skip_channels:
            self.reduce = conv_bn_relu(width, skip_channels, 1)
            self.laterals.extend(
                nn.Sequential(
                    nn.Conv2d(channels, skip_channels, 1, bias=False),
                    nn.BatchNorm2d(skip_channels),
                )
                for channels in (pyramid[1], pyramid[0])
            )
            self.refine = nn.ModuleList(
                conv_bn_relu(skip_channels, skip_channels, 3) for _ in self.laterals
            )
        self.classifier = nn.Conv2d(skip_channels or width, classes, 1)

    def forward(self, pyramid: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        stride4, stride8, _, deep = pyramid
        x = self.dropout(self.fuse(self.pooling(deep)))  # (B, width, h, w)
        if self.laterals:
            x = self.reduce(x)
            for lateral, refine, finer in zip(
                self.laterals, self.refine, (stride8, stride4), strict=True
            ):
                x = refine(resize_to(x, finer) + lateral(finer))  # (B, skip_channels, H/s, W/s)
        return self.classifier(x)


class AuxiliaryHead(nn.Sequential):
    """Training-time classifier on an earlier stage: 3x3, dropout, 1x1 (PSPNet)."""

    def __init__(self, channels: int, classes: int, *, width: int = 256) -> None:
        super().__init__(
            conv_bn_relu(channels, width, 3), nn.Dropout2d(0.1), nn.Conv2d(width, classes, 1)
        )
