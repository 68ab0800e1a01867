"""FC-HarDNet-70 (Chao et al., ICCV 2019): densely linked blocks that spare memory traffic."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.models.layers import resize_to
from vidparse.models.network import FrameNetwork, Outputs, State

STEM = ((16, 2), (24, 1), (32, 2), (48, 1))  # channels and stride of its 3x3 convolutions
GROWTH = (10, 16, 18, 24, 32)  # of each block
LAYERS = (4, 4, 8, 8, 8)
TRANSITION = (64, 96, 160, 224, 320)  # channels after each block
MULTIPLIER = 1.7  # m in section 3 of the paper


@dataclass(frozen=True, slots=True)
class FcHarDNetConfig:
    """FC-HarDNet-70, the published segmentation network."""

    classes: int


class FcHarDNet(FrameNetwork):
    """Encoder of five HarD blocks (strides 4 to 64), decoder of four (strides 32 to 4).

    Parameter names are those of the authors' code (PingoLH/FCHarDNet), so its Cityscapes weights
    load as they are and its ImageNet weights by name into `base`. One thing differs: between
    blocks, odd sizes are halved upwards (the authors drop the last row and column), so that
    32 pixels a side are enough; multiples of 64 give the same scores.

    Stateless, one frame a call.
    """

    def __init__(self, config: FcHarDNetConfig) -> None:
        super().__init__(config)
        self.base = nn.ModuleList()

        channels = 3
        for width, stride in STEM:
            self.base.append(_conv(channels, width, 3, stride=stride))
            channels = width

        skips = []
        for growth, layers, width in zip(GROWTH, LAYERS, TRANSITION, strict=True):
            block = HarDBlock(channels, growth, layers)
            skips.append(block.channels)
            self.base.extend([block, _conv(block.channels, width, 1), Halving()])
            channels = width

        # Take the last halving away: the decoder begins at the stride of the deepest block.
        self.base = self.base[:-1]

        self.conv1x1_up = nn.ModuleList()
        self.denseBlocksUp = nn.ModuleList()

        # Join each level with the skip of its height, at half the channels of both.
        for level in reversed(range(len(GROWTH) - 1)):
            both = channels + skips[level]
            block = HarDBlock(both // 2, GROWTH[level], LAYERS[level])
            self.conv1x1_up.append(_conv(both, both // 2, 1))
            self.denseBlocksUp.append(block)
            channels = block.channels

        self.finalConv = nn.Conv2d(channels, config.classes, 1)

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """picture: (B, 3, H, W) normalised RGB -> logits (B, K, H/4, W/4)."""
        features, skips = picture, []
        for layer in self.base:
            features = layer(features)
            if isinstance(layer, HarDBlock):
                skips.append(features)  # strides 4, 8, 16, 32, 64

        # Drop the deepest block's output: it goes on through its transition alone.
        skips.pop()
        for narrow, block in zip(self.conv1x1_up, self.denseBlocksUp, strict=True):
            skip = skips.pop()

            # Resize to the skip's own size, not by 2: odd sides were halved upwards.
            features = torch.cat([resize_to(features, skip, align_corners=True), skip], dim=1)
            features = block(narrow(features))
        return Outputs(self.finalConv(features)), ()


class HarDBlock(nn.Module):
    """Harmonic dense block (section 3): layer l sees layer l - 2^i whenever 2^i divides l.

    (B, C, h, w) -> (B, channels, h, w): the outputs of the odd layers and of the last.
    """

    def __init__(self, channels_in: int, growth: int, layers: int) -> None:
        super().__init__()
        widths = [channels_in]  # of the input and of each layer
        self.links: list[list[int]] = []
        self.layers = nn.ModuleList()
        for layer in range(1, layers + 1):
            self.links.append(links_of(layer))
            widths.append(width_of(layer, growth))
            self.layers.append(_conv(sum(widths[i] for i in self.links[-1]), widths[-1], 3))

        # Pass on the odd layers and the last, which together have seen all the others.
        self.kept = [layer for layer in range(1, layers + 1) if layer % 2 or layer == layers]
        self.channels = sum(widths[layer] for layer in self.kept)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, channels, h, w)."""
        outputs = [features]
        for layer, links in zip(self.layers, self.links, strict=True):
            outputs.append(layer(torch.cat([outputs[i] for i in links], dim=1)))
        return torch.cat([outputs[layer] for layer in self.kept], dim=1)


class Halving(nn.Module):
    """2x2 average pool of stride 2; a last odd row or column stands for itself."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, ceil(h / 2), ceil(w / 2))."""
        height, width = features.shape[2:]

        # Repeat an odd last row or column, so that its mean is its own and no pixel is lost.
        even = F.pad(features, (0, width % 2, 0, height % 2), mode="replicate")
        return F.avg_pool2d(even, 2)


def links_of(layer: int) -> list[int]:
    """Layers that a layer of a block (1, 2, ...) takes its input from; 0 is the block's input."""
    return [layer - 2**i for i in range(layer.bit_length()) if layer % 2**i == 0]


def width_of(layer: int, growth: int) -> int:
    """Channels of a layer: more the more layers it links, made even."""
    width = growth * MULTIPLIER ** (len(links_of(layer)) - 1)

    # Round as the authors do, down and then up to even: their weights have these shapes.
    return (int(width) + 1) // 2 * 2


def _conv(channels_in: int, channels_out: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU under the authors' names."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(
                channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False
            ),
            norm=nn.BatchNorm2d(channels_out),
            relu=nn.ReLU(inplace=True),
        )
    )
