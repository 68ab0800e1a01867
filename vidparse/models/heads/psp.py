"""PSPNet's head (Zhao et al., CVPR 2017): context from pooled maps of several sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidparse.models.layers import conv_bn_relu, pool_to, resize_to

POOL_BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """C channels in, 2C out: the features, and a quarter of C from each pooled map."""

    def __init__(self, channels: int, *, align_corners: bool = False) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.branches = nn.ModuleList(
            conv_bn_relu(channels, channels // len(POOL_BINS), 1) for _ in POOL_BINS
        )

    def forward(self, features: Tensor, pooled: Sequence[Tensor]) -> Tensor:
        """(B, C, h, w) and its maps (B, C, s, s) for s in POOL_BINS -> (B, 2C, h, w)."""
        context = [
            resize_to(branch(one), features, align_corners=self.align_corners)
            for one, branch in zip(pooled, self.branches, strict=True)
        ]
        return torch.cat([features, *context], dim=1)  # (B, 2C, h, w)


class PspHead(nn.Module):
    """Pyramid pooling, 3x3 convolution, classifier; optionally refined by finer features.

    With `skip_channels` > 0 the fused map is brought to stride 8, then 4, adding a 1x1 projection
    of the backbone's map at each (as a feature pyramid network does), so that poles and signs keep
    their shape at the cost of an output stride of 16. With 0 this is the published PSP head.

    `forward(pyramid)` is `decode(pyramid, pool(pyramid[3]))`: networks that blend the pooled maps
    of several frames do so in between.

    Args:
        pyramid: channels of the backbone's four maps.
        width: channels of the fused map: 512 as published, 256 in ETC's students.
        align_corners: of the resizing of pooled maps: True in ETC's networks.
    """

    def __init__(
        self,
        pyramid: tuple[int, int, int, int],
        classes: int,
        *,
        width: int = 256,
        skip_channels: int = 0,
        align_corners: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.pooling = PyramidPooling(pyramid[3], align_corners=align_corners)
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

    def pool(self, deep: Tensor) -> tuple[Tensor, ...]:
        """(B, C, h, w) -> averages (B, C, s, s) for s in POOL_BINS."""
        return tuple(pool_to(deep, bins) for bins in POOL_BINS)

    def decode(self, pyramid: Sequence[Tensor], pooled: Sequence[Tensor]) -> Tensor:
        """Scores (B, K, h, w) from the pyramid and the pooled maps, its own or blended ones."""
        stride4, stride8, _, deep = pyramid
        x = self.dropout(self.fuse(self.pooling(deep, pooled)))  # (B, width, h, w)
        if self.laterals:
            x = self.reduce(x)
            for lateral, refine, finer in zip(
                self.laterals, self.refine, (stride8, stride4), strict=True
            ):
                x = refine(resize_to(x, finer) + lateral(finer))  # (B, skip_channels, H/s, W/s)
        return self.classifier(x)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        return self.decode(pyramid, self.pool(pyramid[3]))
