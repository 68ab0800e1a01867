"""DeepLabV3+'s head (Chen et al., ECCV 2018): dilated convolutions side by side, then stride 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidparse.models.layers import conv_bn_relu, resize_to

LOW_LEVEL_CHANNELS = 48  # of the stride 4 map after its projection: table 1 of the paper


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three dilated 3x3 and the image's mean, fused by 1x1."""

    def __init__(self, channels: int, width: int, rates: tuple[int, int, int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv_bn_relu(channels, width, 1)])
        self.branches.extend(conv_bn_relu(channels, width, 3, dilation=rate) for rate in rates)
        self.image = conv_bn_relu(channels, width, 1)
        self.fuse = conv_bn_relu((len(rates) + 2) * width, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, width, h, w)."""
        views = [branch(features) for branch in self.branches]
        mean = self.image(features.mean(dim=(2, 3), keepdim=True))  # (B, width, 1, 1)
        return self.fuse(torch.cat([*views, mean.expand_as(views[0])], dim=1))


class DeepLabHead(nn.Module):
    """Scores at stride 4 from the deepest and the finest map.

    Args:
        pyramid: channels of the backbone's four maps; the first and the fourth are used.
        width: channels of the pooling and of the decoder, 256 as published.
        output_stride: of the deepest map. Dilations are 12, 24, 36 at stride 8, half of them at 16.
    """

    def __init__(
        self,
        pyramid: Sequence[int],
        classes: int,
        *,
        width: int = 256,
        output_stride: int = 8,
    ) -> None:
        super().__init__()
        rate = 96 // output_stride
        self.aspp = Aspp(pyramid[3], width, (rate, 2 * rate, 3 * rate))
        self.low = conv_bn_relu(pyramid[0], LOW_LEVEL_CHANNELS, 1)
        self.decoder = nn.Sequential(
            conv_bn_relu(width + LOW_LEVEL_CHANNELS, width, 3),
            nn.Dropout(0.5),
            conv_bn_relu(width, width, 3),
            nn.Dropout(0.1),
        )
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Conv2d(width, classes, 1)

    def tapped(self) -> nn.Conv2d:
        """The classifier."""
        return self.classifier

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Four maps, finest first -> (B, K, H/4, W/4)."""
        x = self.dropout(self.aspp(pyramid[3]))  # (B, width, h, w)
        low = self.low(pyramid[0])  # (B, 48, H/4, W/4)
        x = torch.cat([resize_to(x, low, align_corners=True), low], dim=1)
        return self.classifier(self.decoder(x))
