"""BiSeNetV2 (Yu et al., IJCV 2021): a wide shallow branch beside a thin deep one."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.models.layers import resize_to
from vidparse.models.network import FrameNetwork, Outputs, State

EXPANSION = 6  # of gather-and-expansion layers
HEAD_WIDTH = 1024
AUXILIARY_WIDTH = 128
# auxiliary head -> channels and stride of the features it classifies
AUXILIARY = {"aux2": (16, 4), "aux3": (32, 8), "aux4": (64, 16), "aux5_4": (128, 32)}


@dataclass(frozen=True, slots=True)
class BiSeNetV2Config:
    """The published base network."""

    classes: int
    auxiliary: bool = True  # four more classifiers, in training only ("booster strategy")


class BiSeNetV2(FrameNetwork):
    """Detail branch at stride 8, semantic branch at stride 32, fused by mutual gating (table 1).

    Layers and parameter names are those of the public re-implementation (CoinCheung/BiSeNet), with
    `auxiliary.` before the names of the auxiliary heads; so its weights load by name, and its
    ImageNet weights into `detail` and `segment`. It adds two things to the paper's layers: batch
    norm and ReLU behind the last convolution of the context embedding, ReLU behind the fusion.

    Stateless, one frame a call.
    """

    training_only = ("auxiliary",)

    def __init__(self, config: BiSeNetV2Config) -> None:
        super().__init__(config)
        self.detail = _detail_branch()
        self.segment = SemanticBranch()
        self.bga = GuidedAggregation(128)

        # Keep the identity: it holds the place that upsampling has in the auxiliary heads' names.
        self.head = nn.Sequential(
            OrderedDict(
                conv=_conv(128, HEAD_WIDTH),
                drop=nn.Dropout(0.1),
                conv_out=nn.Sequential(nn.Identity(), nn.Conv2d(HEAD_WIDTH, config.classes, 1)),
            )
        )

        # Build the booster heads for training alone: segmenting would pay for scores nobody reads.
        self.auxiliary: nn.ModuleDict | None = None
        if config.auxiliary:
            self.auxiliary = nn.ModuleDict(
                {
                    name: _auxiliary_head(channels, config.classes, stride=stride)
                    for name, (channels, stride) in AUXILIARY.items()
                }
            )

        _initialise(self)

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """picture: (B, 3, H, W) normalised RGB -> logits (B, K, H/8, W/8).

        In training, auxiliary scores (4 * B, K, H/2, W/2): the four heads one after another, the
        coarser ones brought to the size of the finest. Their mean loss times 4 is the paper's.
        """
        detail = self.detail(picture)  # (B, 128, H/8, W/8)
        *stages, semantic = self.segment(picture)  # ..., (B, 128, H/32, W/32)
        logits = self.head(self.bga(detail, semantic))

        # Stack the heads along the batch, at one size, so that one loss takes them all.
        auxiliary = None
        if self.training and self.auxiliary is not None:
            heads = self.auxiliary.values()
            scores = [head(stage) for head, stage in zip(heads, stages, strict=True)]
            auxiliary = torch.cat([resize_to(score, scores[0]) for score in scores])
        return Outputs(logits, auxiliary), ()


class SemanticBranch(nn.Module):
    """Features of the image at strides 4, 8, 16 and 32, and those at 32 with global context."""

    def __init__(self) -> None:
        super().__init__()
        self.S1S2 = Stem()
        self.S3 = nn.Sequential(StridedExpansion(16, 32), Expansion(32))
        self.S4 = nn.Sequential(StridedExpansion(32, 64), Expansion(64))
        self.S5_4 = nn.Sequential(
            StridedExpansion(64, 128), Expansion(128), Expansion(128), Expansion(128)
        )
        self.S5_5 = ContextEmbedding(128)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> (B, C_s, H / s, W / s) for s = 4, 8, 16, 32 and 32 again."""
        at_4 = self.S1S2(image)  # (B, 16, H/4, W/4)
        at_8 = self.S3(at_4)  # (B, 32, H/8, W/8)
        at_16 = self.S4(at_8)  # (B, 64, H/16, W/16)
        at_32 = self.S5_4(at_16)  # (B, 128, H/32, W/32)
        return at_4, at_8, at_16, at_32, self.S5_5(at_32)


class Stem(nn.Module):
    """(B, 3, H, W) -> (B, 16, H/4, W/4): strided convolution beside a max pool (figure 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = _conv(3, 16, stride=2)
        self.left = nn.Sequential(_conv(16, 8, kernel=1), _conv(8, 16, stride=2))
        self.fuse = _conv(32, 16)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 16, H/4, W/4)."""
        features = self.conv(image)  # (B, 16, H/2, W/2)
        pooled = F.max_pool2d(features, 3, stride=2, padding=1)
        return self.fuse(torch.cat([self.left(features), pooled], dim=1))


class Expansion(nn.Module):
    """Gather-and-expansion layer of stride 1 (figure 5b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        expanded = channels * EXPANSION
        self.conv1 = _conv(channels, channels)
        self.dwconv = nn.Sequential(*_depthwise(channels, expanded), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(*_pointwise(expanded, channels))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return F.relu(self.conv2(self.dwconv(self.conv1(features))) + features)


class StridedExpansion(nn.Module):
    """Gather-and-expansion layer of stride 2 (figure 5c)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        expanded = channels_in * EXPANSION
        self.conv1 = _conv(channels_in, channels_in)
        self.dwconv1 = nn.Sequential(*_depthwise(channels_in, expanded, stride=2))
        self.dwconv2 = nn.Sequential(*_depthwise(expanded, expanded), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(*_pointwise(expanded, channels_out))
        self.shortcut = nn.Sequential(
            *_depthwise(channels_in, channels_in, stride=2), *_pointwise(channels_in, channels_out)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h/2, w/2)."""
        expanded = self.dwconv2(self.dwconv1(self.conv1(features)))
        return F.relu(self.conv2(expanded) + self.shortcut(features))


class ContextEmbedding(nn.Module):
    """Adds a projection of the global mean to every position (figure 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.conv_gap = _conv(channels, channels, kernel=1)
        self.conv_last = _conv(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        mean = features.mean(dim=(2, 3), keepdim=True)
        return self.conv_last(features + self.conv_gap(self.bn(mean)))


class GuidedAggregation(nn.Module):
    """Bilateral guided aggregation: each branch gates the other, at its own stride (figure 6)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.left1 = _separable(channels)
        self.left2 = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.AvgPool2d(3, stride=2, padding=1),
        )
        self.right1 = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.right2 = _separable(channels)
        self.conv = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """(B, C, h, w) and (B, C, h/4, w/4) -> (B, C, h, w)."""
        # Resize to the detail's own size, not by 4: odd sides leave other ratios.
        size = detail.shape[2:]
        fine = self.left1(detail) * torch.sigmoid(F.interpolate(self.right1(semantic), size=size))
        coarse = self.left2(detail) * torch.sigmoid(self.right2(semantic))  # (B, C, h/4, w/4)
        return self.conv(fine + F.interpolate(coarse, size=size))


def _detail_branch() -> nn.Sequential:
    """(B, 3, H, W) -> (B, 128, H/8, W/8)."""
    return nn.Sequential(
        OrderedDict(
            S1=nn.Sequential(_conv(3, 64, stride=2), _conv(64, 64)),
            S2=nn.Sequential(_conv(64, 64, stride=2), _conv(64, 64), _conv(64, 64)),
            S3=nn.Sequential(_conv(64, 128, stride=2), _conv(128, 128), _conv(128, 128)),
        )
    )


def _auxiliary_head(channels: int, classes: int, *, stride: int) -> nn.Sequential:
    """Scores at twice the resolution of features of that stride."""
    narrow = stride * stride
    return nn.Sequential(
        OrderedDict(
            conv=_conv(channels, AUXILIARY_WIDTH),
            drop=nn.Dropout(0.1),
            conv_out=nn.Sequential(
                nn.Sequential(nn.Upsample(scale_factor=2), _conv(AUXILIARY_WIDTH, narrow)),
                nn.Conv2d(narrow, classes, 1),
            ),
        )
    )


def _conv(
    channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(
                channels_in,
                channels_out,
                kernel,
                stride=stride,
                padding=kernel // 2,
                bias=False,
            ),
            bn=nn.BatchNorm2d(channels_out),
            relu=nn.ReLU(inplace=True),
        )
    )


def _depthwise(channels_in: int, channels_out: int, *, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(
        channels_in, channels_out, 3, stride=stride, padding=1, groups=channels_in, bias=False
    )
    return [conv, nn.BatchNorm2d(channels_out)]


def _pointwise(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)]


def _separable(channels: int) -> nn.Sequential:
    """Depthwise 3x3, batch norm, 1x1."""
    return nn.Sequential(
        *_depthwise(channels, channels), nn.Conv2d(channels, channels, 1, bias=False)
    )


def _initialise(network: nn.Module) -> None:
    """He's normal initialisation; gather-and-expansion layers start as their shortcuts."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # Scale a classifier by its inputs: by its few outputs, scores would start at +-7.
            scores = module.bias is not None
            nn.init.kaiming_normal_(module.weight, mode="fan_in" if scores else "fan_out")
        elif isinstance(module, Expansion | StridedExpansion):
            # Zero the last norm, so that training starts from the shortcuts.
            nn.init.zeros_(module.conv2[1].weight)  # type: ignore[arg-type]
