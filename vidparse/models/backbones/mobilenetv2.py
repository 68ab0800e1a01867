"""MobileNetV2 (Sandler et al., CVPR 2018), dilated, up to the 320-channel block.

Parameter names are torchvision's (`features.N...`), so its ImageNet weights load by name.
"""

from __future__ import annotations

from torch import Tensor, nn

# expansion, channels, repeats, stride: table 2 of the paper.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


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
        for expansion, channels_out, repeats, stage_stride in STAGES:
            stride = stage_stride if reached * stage_stride <= output_stride else 1
            reached *= stride
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
        return tuple(found[i] for i in taps)
