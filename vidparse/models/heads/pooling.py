"""Heads with context from pooled or dilated maps side by side.

PSPNet's (Zhao et al., CVPR 2017), UPerNet's (Xiao et al., ECCV 2018), DeepLabV3+'s (Chen et al.,
ECCV 2018), and DeepLabV3's for phones (Sandler et al., CVPR 2018, section 6.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from vidparse.models.heads.refine import RefinedHead, Refinement
from vidparse.models.layers import (
    conv_bn_relu,
    enlarged_in_place,
    first_convolution,
    pool_to,
    resize_to,
)

POOL_BINS = (1, 2, 3, 6)
LOW_LEVEL_CHANNELS = 48  # of DeepLabV3+'s stride 4 map after its projection: table 1


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


class PspHead(RefinedHead):
    """Pyramid pooling, 3x3 convolution, scores; optionally refined by finer features.

    With skip_channels 0 this is the published PSP head.

    `forward(pyramid)` is `decode(pyramid, pool(pyramid[3]))`: networks that blend the pooled maps
    of several frames do so in between.

    Args:
        pyramid: channels of the backbone's maps.
        width: channels of the fused map: 512 as published, 256 in ETC's students.
        align_corners: of the resizing of pooled maps: True in ETC's networks.
        refinement: see RefinedHead.make_refinement.
    """

    def __init__(
        self,
        pyramid: Sequence[int],
        classes: int,
        *,
        width: int = 256,
        align_corners: bool = False,
        dropout: float = 0.1,
        **refinement: Unpack[Refinement],
    ) -> None:
        super().__init__()
        self.pooling = PyramidPooling(pyramid[3], align_corners=align_corners)
        self.fuse = conv_bn_relu(2 * pyramid[3], width, 3)
        self.dropout = nn.Dropout2d(dropout)

        self.make_refinement(pyramid, classes, width=width, **refinement)

    def pool(self, deep: Tensor) -> tuple[Tensor, ...]:
        """(B, C, h, w) -> averages (B, C, s, s) for s in POOL_BINS."""
        return tuple(pool_to(deep, bins) for bins in POOL_BINS)

    def decode(self, pyramid: Sequence[Tensor], pooled: Sequence[Tensor]) -> Tensor:
        """Scores (B, K, h, w) from the pyramid and the pooled maps, its own or blended ones."""
        x = self.dropout(self.fuse(self.pooling(pyramid[3], pooled)))  # (B, width, h, w)
        return self.refined(x, pyramid)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Maps of strides 4 to the deepest -> scores (B, K, H/s, W/s); s: see RefinedHead."""
        return self.decode(pyramid, self.pool(pyramid[3]))


class AuxiliaryHead(nn.Sequential):
    """Training-time classifier on an earlier stage: 3x3, dropout, 1x1 (PSPNet).

    width: 256 in ETC's networks, 512 in the VSPW ones.
    """

    def __init__(self, channels: int, classes: int, *, width: int = 256) -> None:
        super().__init__(
            conv_bn_relu(channels, width, 3), nn.Dropout2d(0.1), nn.Conv2d(width, classes, 1)
        )


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

            # Smooth what is given out alone: the sum goes on to the next level as it is.
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


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, dilated 3x3 and the image's mean, fused by 1x1.

    Args:
        rates: dilations of the 3x3 branches; three as published, none in DeepLabV3 for phones.
    """

    def __init__(self, channels: int, width: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv_bn_relu(channels, width, 1)])
        self.branches.extend(conv_bn_relu(channels, width, 3, dilation=rate) for rate in rates)
        self.image = conv_bn_relu(channels, width, 1)
        self.fuse = conv_bn_relu((len(rates) + 2) * width, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, width, h, w)."""
        views = [branch(features) for branch in self.branches]
        mean = self.image(features.mean(dim=(2, 3), keepdim=True))  # (B, width, 1, 1)

        # Repeat the mean: a resize of one cell gives the same for more work.
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

        # Keep the reach in pixels whatever the stride.
        rate = 96 // output_stride
        self.aspp = Aspp(pyramid[3], width, (rate, 2 * rate, 3 * rate))

        # Narrow the fine map: its many channels could outweigh the deep one's.
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


class LightDeepLabHead(RefinedHead):
    """DeepLabV3's head for phones: 1x1 convolutions of the deepest map and of its mean alone.

    With skip_channels 0 this is the published head, whose scores have the deepest map's stride.
    With skip_channels the scores stay, enlarged, and what the finer maps add to them is 0 at first
    (see RefinedHead): published weights answer as before, and learn edges without losing a class.

    Args:
        pyramid: channels of the backbone's maps.
        width: channels of the pooling, 256 as published.
        refinement: see RefinedHead.make_refinement; the stride is 16 as published.
    """

    def __init__(
        self,
        pyramid: Sequence[int],
        classes: int,
        *,
        width: int = 256,
        **refinement: Unpack[Refinement],
    ) -> None:
        super().__init__()
        self.aspp = Aspp(pyramid[3], width, ())
        published: Refinement = {"output_stride": 16}
        self.make_refinement(pyramid, classes, width=width, **(published | refinement))

        # Add nothing to the coarse scores before it is learnt what.
        self.coarse: nn.Conv2d | None = None
        if self.laterals:
            self.coarse = nn.Conv2d(width, classes, 1)
            for parameter in self.classifier.parameters():
                nn.init.zeros_(parameter)

    def tapped(self) -> nn.Conv2d:
        """The classifier of the coarse map."""
        return self.coarse or self.classifier

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Maps of strides 4 to the deepest -> scores (B, K, H/s, W/s); s: see RefinedHead."""
        x = self.aspp(pyramid[3])  # (B, width, h, w)
        scores = self.refined(x, pyramid)
        if self.coarse is None:
            return scores
        return scores + enlarged_in_place(self.coarse(x), scores, self.output_stride // self.finest)
