"""Backbones of inverted residuals: MobileNetV2 (Sandler et al., CVPR 2018) and EfficientNet-Lite.

Names of parameters are torchvision's (`features.N...`), and those of the public PyTorch port of
EfficientNet-Lite (`_conv_stem`, `_blocks.N._expand_conv`, ...), so ImageNet weights load by name.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

# expansion, channels, repeats, stride: table 2 of the paper of MobileNetV2.
MOBILENETV2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# kernel, expansion, channels, repeats, stride: table 1 of the EfficientNet paper.
EFFICIENTNET_STAGES = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
STEM = 32  # channels
_TAPS = (1, 2, 4, 6)  # stages whose ends are the maps of the pyramid


def _conv_bn(
    channels_in: int,
    channels_out: int,
    kernel: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1; identity shortcut where the shape allows."""

    def __init__(
        self, channels_in: int, channels_out: int, *, stride: int, dilation: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.shortcut = stride == 1 and channels_in == channels_out
        expand = [_conv_bn(channels_in, hidden, 1)] if expansion != 1 else []
        depthwise = _conv_bn(hidden, hidden, 3, stride=stride, dilation=dilation, groups=hidden)

        # Leave the projection linear: ReLU6 would destroy what few channels hold (section 3.2).
        project = [nn.Conv2d(hidden, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)]
        self.conv = nn.Sequential(*expand, depthwise, *project)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h / stride, w / stride)."""
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """Feature pyramid (stride 4: 24, stride 8: 32, mid: 96, deep: 320 channels; stride 2: 16).

    Args:
        output_stride: 8, 16 or 32. A stage whose stride is dropped is dilated instead; the block
            that carried the stride keeps the dilation before it (SPEC: half of the new one).
        finest: 2: the pyramid ends with a fifth map, of stride 2.
    """

    # last block of strides 4 and 8, of the 96- and the 320-channel stages, and of stride 2
    _taps = (3, 6, 13, 17, 1)

    def __init__(self, *, output_stride: int = 16, finest: int = 4) -> None:
        super().__init__()
        if finest not in (2, 4):
            raise ValueError(f"finest must be 2 or 4, not {finest}")
        self.channels = (24, 32, 96, 320, 16)[: 5 if finest == 2 else 4]
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, not {output_stride}")

        blocks: list[nn.Module] = [_conv_bn(3, 32, 3, stride=2)]
        channels_in, reached, dilation = 32, 2, 1

        # Trade stride for dilation once the wanted stride is reached.
        for expansion, channels_out, repeats, stage_stride in MOBILENETV2_STAGES:
            stride = stage_stride if reached * stage_stride <= output_stride else 1
            reached *= stride

            # Keep the former dilation where the stride was: the weights' taps were that far apart.
            first_dilation = dilation
            dilation *= stage_stride // stride
            for i in range(repeats):
                blocks.append(
                    InvertedResidual(
                        channels_in,
                        channels_out,
                        stride=stride if i == 0 else 1,
                        dilation=first_dilation if i == 0 else dilation,
                        expansion=expansion,
                    )
                )
                channels_in = channels_out

        self.features = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> features (24, H/4), (32, H/8), (96, H/16), (320, H/output_stride).

        With finest 2 and (16, H/2).
        """
        taps, found = self._taps[: len(self.channels)], {}
        for i, block in enumerate(self.features):
            x = block(x)
            if i in taps:
                found[i] = x

        # Go by the order of the taps, not of the blocks: the map of stride 2 comes last.
        return tuple(found[i] for i in taps)


class EfficientBlock(nn.Module):
    """Expand 1x1, depthwise, project 1x1; identity shortcut where the shape allows."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        stride: int,
        dilation: int,
        expansion: int,
    ) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expands = expansion != 1
        self.shortcut = stride == 1 and channels_in == channels_out

        if self.expands:
            self._expand_conv = nn.Conv2d(channels_in, hidden, 1, bias=False)
            self._bn0 = _norm(hidden)

        self._depthwise_conv = SameConv(
            hidden, hidden, kernel, stride=stride, dilation=dilation, groups=hidden
        )
        self._bn1 = _norm(hidden)

        self._project_conv = nn.Conv2d(hidden, channels_out, 1, bias=False)
        self._bn2 = _norm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h / stride, w / stride), sides rounded up."""
        hidden = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        hidden = F.relu6(self._bn1(self._depthwise_conv(hidden)))
        out = self._bn2(self._project_conv(hidden))
        return x + out if self.shortcut else out


class SameConv(nn.Conv2d):
    """Convolution without bias and with TensorFlow's padding SAME, stride 1 or 2.

    At stride 2 TensorFlow pads even sides by one less at the start than at the end, and odd sides
    evenly, so that the cells of an odd side lie a pixel further to the left. Here cells lie the
    same for both: sides of a multiple of 32 give exactly TensorFlow's answer, and the padding is
    constant, which runtimes join to the convolution.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        reach = dilation * (kernel // 2)
        super().__init__(
            channels_in,
            channels_out,
            kernel,
            stride,
            padding=reach if stride == 1 else 0,
            dilation=dilation,
            groups=groups,
            bias=False,
        )

        # Pad by constants: the last pixel of the end serves odd sides alone.
        before, after = reach - 1, reach + 1
        self.around = () if stride == 1 else (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h / stride, w / stride), sides rounded up."""
        return super().forward(F.pad(x, self.around) if self.around else x)


class EfficientNetLite(nn.Module):
    """EfficientNet (Tan and Le, ICML 2019) with ReLU6 and without gates, by Google, 2020.

    A feature pyramid of strides 4, 8, 16 and 32 (or `output_stride`). Lite0 has 24, 40, 112 and 320
    channels, Lite2 24, 48, 120 and 352.

    Args:
        width, depth: factors of the channels and repeats of Lite0; the first and the last stage
            are never repeated, and the stem keeps its channels.
        output_stride: 8, 16 or 32. A stage whose stride is dropped is dilated instead; the block
            that carried the stride keeps the dilation before it.

    Raises:
        ValueError: another output_stride.
    """

    def __init__(self, width: float = 1.0, depth: float = 1.0, *, output_stride: int = 32) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, not {output_stride}")
        self._conv_stem = SameConv(3, STEM, 3, stride=2)
        self._bn0 = _norm(STEM)

        blocks: list[EfficientBlock] = []
        ends: list[tuple[int, int]] = []  # of each stage: its last block, and its channels
        channels_in, reached, dilation = STEM, 2, 1
        for i, (kernel, expansion, channels, repeats, stage_stride) in enumerate(
            EFFICIENTNET_STAGES
        ):
            stride = stage_stride if reached * stage_stride <= output_stride else 1
            reached *= stride

            # Keep the former dilation where the stride was: the weights' taps were that far apart.
            first_dilation = dilation
            dilation *= stage_stride // stride
            channels_out = scaled_channels(channels, width)

            # Repeat the first and the last stage once in every size, as Google's Lite networks do.
            fixed = i in (0, len(EFFICIENTNET_STAGES) - 1)
            for j in range(repeats if fixed else math.ceil(repeats * depth)):
                block = EfficientBlock(
                    channels_in,
                    channels_out,
                    kernel,
                    stride=stride if j == 0 else 1,
                    dilation=first_dilation if j == 0 else dilation,
                    expansion=expansion,
                )
                blocks.append(block)
                channels_in = channels_out
            ends.append((len(blocks) - 1, channels_out))

        self._blocks = nn.ModuleList(blocks)
        self._taps = tuple(ends[stage][0] for stage in _TAPS)
        self.channels = tuple(ends[stage][1] for stage in _TAPS)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> features of stride 4, 8, 16 and `output_stride`, sides rounded up."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        found = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in self._taps:
                found.append(x)
        return tuple(found)


def scaled_channels(channels: int, factor: float) -> int:
    """The multiple of 8 next to `channels * factor` that is not below 90 % of it."""
    wanted = channels * factor
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


def _norm(channels: int) -> nn.BatchNorm2d:
    """As trained in TensorFlow: momentum 0.99 there is 0.01 here."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
