"""ESPNetV2 (Mehta et al., CVPR 2019): segmentation with dilated depthwise convolutions."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.models.espnet_encoder import CHANNELS, Encoder, conv_act
from vidparse.models.layers import PReLU, adaptive_bins, pool_near, resize_to
from vidparse.models.network import FrameNetwork, Outputs, State

POOL_SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)  # of the pyramid, in the order of its convolutions
SMALLEST_POOL = 5  # cells a side


@dataclass(frozen=True, slots=True)
class EspNetV2Config:
    """Width factor and decoder; the defaults are the published Cityscapes and VOC networks."""

    classes: int
    width: float = 2.0  # a key of CHANNELS; s in the paper
    decoder_width: int = 16  # the decoder has 4, 3 and 2 times as many channels; 32 for COCO
    pyramid_width: int = 0  # channels inside the pyramids; 0: min(classes // 2, decoder_width)


class EspNetV2(FrameNetwork):
    """Encoder of EESP units down to stride 16 and a decoder of pooling pyramids up to stride 2.

    Parameter names are those of the authors' code (EdgeNets), so their Cityscapes weights
    (classes=20, the last one void) and VOC weights (classes=21) load as they are, and their
    ImageNet weights by name into `base_net` (all but level5 and the classifier).

    Stateless, one frame a call.

    Raises:
        ValueError: unknown width.
    """

    backbone_name = "base_net"

    def __init__(self, config: EspNetV2Config) -> None:
        if config.width not in CHANNELS:
            raise ValueError(f"width {config.width}: use {', '.join(map(str, CHANNELS))}")
        inside = config.pyramid_width or min(config.classes // 2, config.decoder_width)
        super().__init__(replace(config, pyramid_width=inside))
        self.base_net = Encoder(CHANNELS[config.width])
        wide, middle, narrow = (config.decoder_width * times for times in (4, 3, 2))
        at_2, at_4, at_8, at_16 = CHANNELS[config.width]
        self.bu_dec_l1 = PoolingPyramid(at_16, inside, wide)
        self.bu_dec_l2 = PoolingPyramid(wide, inside, middle)
        self.bu_dec_l3 = PoolingPyramid(middle, inside, narrow)
        self.bu_dec_l4 = PoolingPyramid(narrow, inside, config.classes, scores=True)
        self.merge_enc_dec_l2 = GatedProjection(at_8, wide)
        self.merge_enc_dec_l3 = GatedProjection(at_4, middle)
        self.merge_enc_dec_l4 = GatedProjection(at_2, narrow)
        self.bu_br_l2 = _norm_act(wide)
        self.bu_br_l3 = _norm_act(middle)
        self.bu_br_l4 = _norm_act(narrow)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """picture: (B, 3, H, W) normalised RGB -> logits (B, K, H/2, W/2)."""
        at_2, at_4, at_8, at_16 = self.base_net(picture)
        decoded = self.bu_dec_l1(at_16)  # (B, 4 D, H/16, W/16), D the decoder's width
        decoded = _merge(decoded, self.merge_enc_dec_l2(at_8))
        decoded = self.bu_dec_l2(self.bu_br_l2(decoded))  # (B, 3 D, H/8, W/8)
        decoded = _merge(decoded, self.merge_enc_dec_l3(at_4))
        decoded = self.bu_dec_l3(self.bu_br_l3(decoded))  # (B, 2 D, H/4, W/4)
        decoded = _merge(decoded, self.merge_enc_dec_l4(at_2))
        return Outputs(self.bu_dec_l4(self.bu_br_l4(decoded))), ()  # (B, K, H/2, W/2)

    def tapped(self) -> nn.Conv2d:
        """The classifier."""
        return self.bu_dec_l4.last


class PoolingPyramid(nn.Module):
    """Depthwise convolutions at five scales of the map, shuffled together (EdgeNets decoder).

    Args:
        inside: channels of the pyramid. scores: ends in a biased convolution, without norm.
    """

    def __init__(
        self, channels_in: int, inside: int, channels_out: int, *, scores: bool = False
    ) -> None:
        super().__init__()
        count = len(POOL_SCALES)
        self.projection_layer = _named_conv(channels_in, inside, 1)
        self.stages = nn.ModuleList(
            nn.Conv2d(inside, inside, 3, padding=1, groups=inside, bias=False) for _ in POOL_SCALES
        )
        self.merge_layer = nn.Sequential(
            nn.Sequential(OrderedDict(br=_norm_act(inside * count))),
            nn.ChannelShuffle(count),
            _named_conv(inside * count, inside, 3, groups=inside),
            nn.Conv2d(inside, channels_out, 1, bias=scores),
        )
        self.br = (
            nn.Identity() if scores else nn.Sequential(OrderedDict(br=_norm_act(channels_out)))
        )

    @property
    def last(self) -> nn.Conv2d:
        """The convolution that makes its output, before norm and activation."""
        *_, last = self.merge_layer
        assert isinstance(last, nn.Conv2d)  # as made above
        return last

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w)."""
        features = self.projection_layer(features)
        height, width = features.shape[2:]
        levels = []
        for scale, stage in zip(POOL_SCALES, self.stages, strict=True):
            if scale > 1:
                size = (_times(height, scale), _times(width, scale))
                large = F.interpolate(features, size=size, mode="bilinear", align_corners=True)
                levels.append(_pool_back(stage(large), height, width, scale))
            elif scale < 1:
                rows = torch.sym_max(_times(height, scale), SMALLEST_POOL)
                columns = torch.sym_max(_times(width, scale), SMALLEST_POOL)
                small = stage(_pool(features, rows, columns))
                levels.append(resize_to(small, features, align_corners=True))
            else:
                levels.append(stage(features))
        return self.br(self.merge_layer(torch.cat(levels, dim=1)))


class GatedProjection(nn.Module):
    """3x3 projection of encoder features, each channel weighted by a sigmoid of their mean."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.wt_layer = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels_in, channels_out, 1, bias=False),
            nn.Sigmoid(),
        )
        groups = math.gcd(channels_in, channels_out)
        self.expansion_layer = _named_conv(channels_in, channels_out, 3, groups=groups)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w)."""
        return self.expansion_layer(features) * self.wt_layer(features)


def _named_conv(
    channels_in: int, channels_out: int, kernel: int, *, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch norm and PReLU under the decoder's names."""
    conv = conv_act(channels_in, channels_out, kernel, groups=groups)
    return nn.Sequential(OrderedDict(cbr=nn.Sequential(*conv)))


def _norm_act(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), PReLU(channels))


def _merge(decoded: Tensor, skip: Tensor) -> Tensor:
    return skip + resize_to(decoded, skip, align_corners=True)


def _times(side: int, scale: float) -> int:
    """ceil(side * scale) in whole numbers, as traced sizes need it."""
    tenths = round(scale * 10)
    return (side * tenths + 9) // 10


def _pool_back(features: Tensor, rows: int, columns: int, scale: float) -> Tensor:
    """Adaptive average pooling to (B, C, rows, columns) of a map `scale` times as large."""
    if scale == 2:
        return F.avg_pool2d(features, 2)
    if torch.compiler.is_compiling():
        return pool_near(features, rows, columns)
    return _pool(features, rows, columns)


def _pool(features: Tensor, rows: int, columns: int) -> Tensor:
    """Adaptive average pooling to (B, C, rows, columns).

    A traced network does it with matrices, since the native operator exports to ONNX for fixed
    sizes alone.
    """
    if not torch.compiler.is_compiling():
        return F.adaptive_avg_pool2d(features, (rows, columns))
    vertical = adaptive_bins(features.shape[2], rows, features)
    horizontal = adaptive_bins(features.shape[3], columns, features)
    return vertical @ features @ horizontal.T
