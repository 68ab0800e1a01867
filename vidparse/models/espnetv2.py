"""ESPNetV2 (Mehta et al., CVPR 2019): segmentation with dilated depthwise convolutions.

The encoder offers features at strides 2 to 16, which the decoder brings together.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.models.layers import PReLU, adaptive_bins, pool_near, resize_to
from vidparse.models.network import FrameNetwork, Outputs, State

# width -> channels at strides 2, 4, 8 and 16
CHANNELS: dict[float, tuple[int, int, int, int]] = {
    0.5: (16, 32, 64, 128),
    1.0: (32, 64, 128, 256),
    1.25: (32, 80, 160, 320),
    1.5: (32, 96, 192, 384),
    2.0: (32, 128, 256, 512),
}
BRANCHES = 4
REPEATS = (3, 7)  # units at strides 8 and 16 after the strided one


class Encoder(nn.Module):
    """Features at strides 2, 4, 8 and 16 of an image (B, 3, H, W)."""

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        at_2, at_4, at_8, at_16 = channels
        self.level1 = conv_act(3, at_2, 3, stride=2)
        self.level2_0 = StridedEesp(at_2, at_4, field=13)
        self.level3_0 = StridedEesp(at_4, at_8, field=11)
        self.level3 = nn.ModuleList(Eesp(at_8, at_8, field=9) for _ in range(REPEATS[0]))
        self.level4_0 = StridedEesp(at_8, at_16, field=9)
        self.level4 = nn.ModuleList(Eesp(at_16, at_16, field=7) for _ in range(REPEATS[1]))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> features (B, C_s, ceil(H / s), ceil(W / s)), s = 2, 4, 8, 16."""
        at_2 = self.level1(image)

        # Hand every strided unit the image as well: its pixels restore what striding loses.
        small = halve(halve(image))  # (B, 3, H/4, W/4)
        at_4 = self.level2_0(at_2, small)
        small = halve(small)
        at_8 = self.level3_0(at_4, small)
        for unit in self.level3:
            at_8 = unit(at_8)
        at_16 = self.level4_0(at_8, halve(small))
        for unit in self.level4:
            at_16 = unit(at_16)
        return at_2, at_4, at_8, at_16


class Eesp(nn.Module):
    """Extremely efficient spatial pyramid (section 3.2): reduce, split, transform, merge.

    Args:
        field: largest receptive field of a branch; a branch beyond it falls back to 3x3.
    """

    def __init__(self, channels_in: int, channels_out: int, *, field: int, stride: int = 1) -> None:
        super().__init__()
        branch = channels_out // BRANCHES
        self.stride = stride

        self.proj_1x1 = conv_act(channels_in, branch, 1, groups=BRANCHES)
        self.spp_dw = nn.ModuleList(
            nn.Sequential(
                OrderedDict(
                    conv=nn.Conv2d(
                        branch,
                        branch,
                        3,
                        stride=stride,
                        padding=dilation,
                        dilation=dilation,
                        groups=branch,
                        bias=False,
                    )
                )
            )
            for dilation in branch_dilations(field)
        )

        self.conv_1x1_exp = conv_act(channels_out, channels_out, 1, groups=BRANCHES, act=False)
        self.br_after_cat = nn.Sequential(
            OrderedDict(bn=nn.BatchNorm2d(channels_out), act=PReLU(channels_out))
        )

        # Make it for strided units too, which do not use it: the published weights have it.
        self.module_act = PReLU(channels_out)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w), or half that size before the activation."""
        reduced = self.proj_1x1(features)  # (B, C'/4, h, w)
        branches = [self.spp_dw[0](reduced)]
        for transform in self.spp_dw[1:]:
            # Add the branch before it: one dilation alone leaves a grid (hierarchical fusion).
            branches.append(transform(reduced) + branches[-1])
        expanded = self.conv_1x1_exp(self.br_after_cat(torch.cat(branches, dim=1)))

        # Leave the sum to the strided unit: its shortcut has another size and width.
        if self.stride > 1:
            return expanded
        return self.module_act(expanded + features)


class StridedEesp(nn.Module):
    """EESP unit of stride 2 beside an average pool, with a shortcut from the image (figure 3)."""

    def __init__(self, channels_in: int, channels_out: int, *, field: int) -> None:
        super().__init__()

        # Make only the channels that the pooled input does not fill.
        self.eesp = Eesp(channels_in, channels_out - channels_in, field=field, stride=2)
        self.inp_reinf = nn.Sequential(conv_act(3, 3, 3), conv_act(3, channels_out, 1, act=False))
        self.act = PReLU(channels_out)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        """(B, C, h, w) and the image pooled to (B, 3, h/2, w/2) -> (B, C', h/2, w/2)."""
        both = torch.cat([halve(features), self.eesp(features)], dim=1)
        return self.act(both + self.inp_reinf(image))


def branch_dilations(field: int) -> list[int]:
    """Dilations of a unit's branches, ascending: receptive fields 3, 5, 7, 9 up to the limit."""
    fields = (3 + 2 * i for i in range(BRANCHES))

    # Sort, so that fusion goes from the smallest field to the largest.
    return sorted((size if size <= field else 3) // 2 for size in fields)


def conv_act(
    channels_in: int,
    channels_out: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    act: bool = True,
) -> nn.Sequential:
    """Convolution, batch norm and (with act) PReLU under the encoder's names."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        ),
        bn=nn.BatchNorm2d(channels_out),
    )

    if act:
        layers["act"] = PReLU(channels_out)
    return nn.Sequential(layers)


def halve(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, ceil(h / 2), ceil(w / 2)), zeros beyond the border counted."""
    return F.avg_pool2d(features, 3, stride=2, padding=1)


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

        # Record the width that was derived: checkpoints must not depend on its rule.
        super().__init__(replace(config, pyramid_width=inside))

        self.base_net = Encoder(CHANNELS[config.width])

        # Narrow the decoder on its way up to full size.
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
            # Shuffle before the grouped convolution: each of its groups is to see all scales.
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
                # Compare with sym_max: Python's max would fix a traced size.
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

        # Group as far as both counts allow: it is the cheapest 3x3 that sees all channels once.
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
    # Pool plainly where all bins are alike: one operator, in ONNX too.
    if scale == 2:
        return F.avg_pool2d(features, 2)

    # Pick rows instead of multiplying matrices: no bin of 1.5 times the size has more than three.
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

    # Average by matrices: the native operator exports to ONNX for fixed sizes alone.
    vertical = adaptive_bins(features.shape[2], rows, features)
    horizontal = adaptive_bins(features.shape[3], columns, features)
    return vertical @ features @ horizontal.T
