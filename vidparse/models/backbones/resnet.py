"""ResNet (He et al., CVPR 2016) with the 7x7 stem or the deep one, strided or dilated.

Parameter names are torchvision's for the 7x7 stem and those of the semantic-segmentation-pytorch
family for the deep stem (conv1 .. bn3), so their ImageNet weights load by name.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

DILATION_RULES = ("half", "all")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the first carries the stride. dilations: one for each."""

    expansion = 1

    def __init__(
        self, channels_in: int, width: int, *, stride: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        first, second = dilations
        self.conv1 = _conv3x3(channels_in, width, stride=stride, dilation=first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, dilation=second)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, width, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 carrying the stride, 1x1 to four times the width. dilations: of the 3x3 alone."""

    expansion = 4

    def __init__(
        self, channels_in: int, width: int, *, stride: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        (dilation,) = dilations
        channels_out = width * self.expansion
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, stride=stride, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample = _shortcut(channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 4 * width, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.downsample(x))


class FirstStrided(Bottleneck):
    """A bottleneck whose first 1x1 carries the stride, as in MSRA's ResNets (detectron2's)."""

    def __init__(
        self, channels_in: int, width: int, *, stride: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__(channels_in, width, stride=stride, dilations=dilations)

        # Move the stride after the build: weights of both forms have the same names and shapes.
        self.conv1.stride, self.conv2.stride = (stride, stride), (1, 1)


class ResNet(nn.Module):
    """Feature pyramid of layer1 (stride 4) .. layer4 (output stride).

    Args:
        block: BasicBlock or Bottleneck. blocks: how many in each layer.
        deep_stem: three 3x3 convolutions (64, 64, 128 channels) for the 7x7 one.
        output_stride: 8 (layers 3 and 4 keep stride 1, dilations 2 and 4), 16 or 32.
        dilation_rule: which 3x3 of a layer whose stride was dropped get its dilation.
            "half": all; the one that carried the stride gets half of it (VSPW's networks, and
            torchvision's).
            "all": the second convolution of every block, at full dilation: so every 3x3 of a
            bottleneck, but never the first 3x3 of a basic block (ETC's networks).
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        blocks: tuple[int, int, int, int],
        *,
        deep_stem: bool = False,
        output_stride: int = 8,
        dilation_rule: str = "half",
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, not {output_stride}")
        if dilation_rule not in DILATION_RULES:
            raise ValueError(f"dilation_rule must be half or all, not '{dilation_rule}'")

        self.deep_stem = deep_stem
        if deep_stem:
            self.conv1 = _conv3x3(3, 64, stride=2)
            self.bn1 = nn.BatchNorm2d(64)
            self.conv2 = _conv3x3(64, 64)
            self.bn2 = nn.BatchNorm2d(64)
            self.conv3 = _conv3x3(64, 128)
            self.bn3 = nn.BatchNorm2d(128)
        else:
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)

        layers, channels = [], []
        channels_in, reached, dilation = 128 if deep_stem else 64, 4, 1
        for i, count in enumerate(blocks):
            # Trade stride for dilation once the wanted stride is reached.
            wanted = 1 if i == 0 else 2
            stride = wanted if reached * wanted <= output_stride else 1
            reached *= stride
            dilation *= wanted // stride

            width = 64 << i
            layer = []
            for j in range(count):
                dilations = _dilations(block, dilation_rule, dilation, first=j == 0)
                step = stride if j == 0 else 1
                layer.append(block(channels_in, width, stride=step, dilations=dilations))
                channels_in = width * block.expansion
            layers.append(nn.Sequential(*layer))
            channels.append(channels_in)

        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.channels = (channels[0], channels[1], channels[2], channels[3])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> features of layer1 (H/4) .. layer4 (H/output_stride)."""
        x = F.relu(self.bn1(self.conv1(x)))
        if self.deep_stem:
            x = F.relu(self.bn2(self.conv2(x)))
            x = F.relu(self.bn3(self.conv3(x)))
        x = F.max_pool2d(x, 3, 2, 1)  # (B, 64 or 128, H/4, W/4)
        stride4 = self.layer1(x)
        second = self.layer2(stride4)
        third = self.layer3(second)
        return stride4, second, third, self.layer4(third)


def _dilations(
    block: type[BasicBlock | Bottleneck], rule: str, dilation: int, *, first: bool
) -> tuple[int, ...]:
    """Of the 3x3 convolutions of a block; the first of them carries the stride."""
    # Keep the former dilation where the stride was: the weights' taps were that far apart.
    carrier = max(1, dilation // 2) if first else dilation
    if issubclass(block, Bottleneck):
        return (dilation,) if rule == "all" else (carrier,)
    return (1, dilation) if rule == "all" else (carrier, dilation)


def _conv3x3(
    channels_in: int, channels_out: int, *, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride, dilation, dilation, bias=False)


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
    )
