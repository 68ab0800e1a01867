"""Clip-PanoFCN (Miao et al., Large-scale Video Panoptic Segmentation in the Wild, CVPR 2022).

PanopticFCN (Li et al., CVPR 2021) on every frame of a clip. The frames meet only afterwards: the
kernels of one object in several frames become one, which finds its mask in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidparse.errors import UsageError
from vidparse.labels import Labels
from vidparse.models.backbones import backbone
from vidparse.models.description import PANOPTIC
from vidparse.models.fpn import NORMS, Fpn, SemanticFpn, norm_layer
from vidparse.models.network import KernelMaps, State, VideoNetwork

LEVELS = 5  # P3 .. P7, on which positions and kernels are found
TAPS = 9  # of a 3x3 kernel, row by row
CONVOLUTIONS = 3  # of a tower
SPREAD = 0.01  # standard deviation of the first weights of the last convolutions
RARE = -2.19  # first bias of positions: a probability of 0.1


@dataclass(frozen=True, slots=True)
class PanoFcnConfig:
    """Classes, a backbone and widths. The defaults are as published, without deformable positions.

    norm: of the semantic FPN and the heads: "group" as published, or "batch", one per level.
    pooled: the kernel of a region is the mean of all cells by its probability there, so that it has
        the same scale for thin classes as for wide ones, and a learnt kernel of its own is added,
        since neighbours like a pole and the wall behind it share their cells; False takes the cells
        that it wins, and divides by the cells of the whole map, as published.
    """

    things: int  # classes
    stuff: int = 0  # classes
    backbone: str = "resnet50"  # a key of BACKBONES
    width: int = 256  # channels of the pyramid, the semantic FPN and the position head
    kernel_width: int = 256  # channels C of a kernel
    feature_width: int = 64  # channels D of an embedded kernel and of a feature
    norm: str = "group"
    clip_length: int = 3  # frames per call; any number will do
    deformable: bool = False  # position head of modulated deformable convolutions
    pooled: bool = False


class PanoFcn(VideoNetwork):
    """Backbone, FPN, heads, and the two embeddings of kernels.

    Raises:
        ValueError: unknown backbone or norm.
    """

    task = PANOPTIC
    answer_type = KernelMaps
    alignment = 32
    any_window = True
    backbone_name = "backbone"
    config: PanoFcnConfig

    def __init__(self, config: PanoFcnConfig) -> None:
        super().__init__(config)
        if config.norm not in NORMS:
            raise ValueError(f"no norm '{config.norm}'; known are {', '.join(NORMS)}")

        self.window = config.clip_length
        width, kernel_width, norm = config.width, config.kernel_width, config.norm

        self.backbone = backbone(config.backbone, output_stride=32)
        self.fpn = Fpn(self.backbone.channels[:4], width)
        self.semantic = SemanticFpn(width, width, norm=norm)

        # Let features know their place: objects that look alike differ in nothing else.
        self.encoder = Tower(width, config.feature_width, norm="none", coordinates=True)

        self.positions = PositionHead(
            width,
            width,
            things=config.things,
            stuff=config.stuff,
            norm=norm,
            deformable=config.deformable,
            levels=LEVELS,
        )
        self.kernels = KernelHead(width, kernel_width, norm=norm, levels=LEVELS)

        self.thing_embedding = _embedding(kernel_width, config.feature_width)
        self.stuff_embedding = _embedding(kernel_width, config.feature_width)

        # Start at zero, so that at first the cells alone make the kernels.
        own = torch.zeros(config.stuff + 1, kernel_width)
        self.region_kernels = nn.Parameter(own) if config.pooled else None

    @classmethod
    def settings_for(cls, labels: Labels) -> dict[str, int]:
        things = len(labels.things)
        if not things:
            raise UsageError(
                f"clip-panofcn: the classes ({labels.name}) have no things to distinguish; mark "
                "some in labels.json, or use a semantic network"
            )
        return {"things": things, "stuff": len(labels) - things}

    def forward(self, clip: Tensor, state: State = ()) -> tuple[KernelMaps, State]:
        """(B, T, 3, H, W) -> the maps of its N = B * T frames, those of one clip in a row.

        The frames are padded with zeros below and on the right to multiples of 32; the maps are
        those of the padded frames.
        """
        height, width = clip.shape[-2:]

        # Pad below and on the right, so that cells keep their places in the frame.
        frames = F.pad(
            clip.flatten(0, 1), (0, -width % self.alignment, 0, -height % self.alignment)
        )
        levels = self.fpn(self.backbone(frames)[:4])
        features = self.encoder(self.semantic(levels[:4]))

        # Begin at P3, as published: P2 serves the features alone.
        found = [self.positions(one, level) for level, one in enumerate(levels[1:])]
        regions = tuple(regions for _, regions in found)
        kernels = tuple(self.kernels(one, level) for level, one in enumerate(levels[1:]))
        pooled = None
        if self.region_kernels is not None:
            pooled = _pooled(regions, kernels, self.region_kernels, (height, width))
        maps = KernelMaps(
            centres=tuple(centres for centres, _ in found),
            regions=regions,
            kernels=kernels,
            features=features,
            thing_embedding=_weights_of(self.thing_embedding),
            stuff_embedding=_weights_of(self.stuff_embedding),
            pooled=pooled,
        )
        return maps, ()

    def tapped(self) -> nn.Conv2d:
        return self.kernels.last


def _pooled(
    regions: tuple[Tensor, ...],
    kernels: tuple[Tensor, ...],
    own: Tensor,
    size_hw: tuple[int, int],
) -> Tensor:
    """(N, Ks + 1, C + 2), see :class:`KernelMaps`; of frames that are `size_hw` without padding.

    Args:
        own: the learnt kernels (Ks + 1, C).
    """
    # Cut the padding off: its cells would count in the means.
    strides = [2**level for level in range(3, 3 + LEVELS)]
    chances, vectors = (
        torch.cat(
            [
                one[..., : _cells(size_hw[0], stride), : _cells(size_hw[1], stride)].flatten(2)
                for one, stride in zip(maps, strides, strict=True)
            ],
            dim=2,
        )
        for maps in (regions, kernels)
    )

    # Weigh every cell by its probability, so that thin and wide classes have one scale.
    chances = chances.sigmoid()  # (N, Ks + 1, cells)

    # Bound the sum from below: a class that is nowhere would divide by next to nothing.
    total = chances.sum(dim=2, keepdim=True).clamp(min=1e-4)
    mean = (chances / total) @ vectors.transpose(1, 2) + own
    return torch.cat([mean, total, chances.square().sum(dim=2, keepdim=True)], dim=2)


def _cells(pixels: int, stride: int) -> int:
    """Cells that reach into a side of so many pixels; not by -(-a // b), which ONNX rounds to 0."""
    return (pixels + stride - 1) // stride


def _embedding(kernel_width: int, feature_width: int) -> nn.Linear:
    layer = nn.Linear(kernel_width, feature_width)
    nn.init.normal_(layer.weight, std=SPREAD)
    nn.init.zeros_(layer.bias)
    return layer


def _weights_of(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    return layer.weight, layer.bias


class DeformableConv(nn.Module):
    """A 3x3 convolution whose taps read where a second convolution sends them.

    Modulated deformable convolution (Zhu et al., Deformable ConvNets v2, CVPR 2019), in torch
    alone. It exports to ONNX as GridSample, which is slow on CPUs; here it is an option.
    `offsets` gives 27 channels: down and right in pixels of each tap, in turn, and the nine
    logits of their weights. Untrained, taps stay in place at half weight.
    """

    def __init__(self, channels_in: int, channels_out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.offsets = nn.Conv2d(channels_in, 3 * TAPS, 3, padding=1)

        # Leave the taps in place at first: random offsets would scatter what they read.
        nn.init.zeros_(self.offsets.weight)
        if self.offsets.bias is not None:
            nn.init.zeros_(self.offsets.bias)
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, 3, 3))

        # Draw weights as nn.Conv2d does, whose place it takes.
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w)."""
        found = self.offsets(x)
        moved, logits = found[:, : 2 * TAPS], found[:, 2 * TAPS :]
        return deform_conv(x, moved, logits.sigmoid(), self.weight, self.bias)


def deform_conv(
    x: Tensor, moved: Tensor, shares: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Eq. 1 of the paper: out(p) = sum over taps k of weight_k x(p + p_k + moved_k(p)) shares_k(p).

    x is read bilinearly between pixels and is 0 outside.

    Args:
        x: (B, C, h, w).
        moved: (B, 18, h, w), pixels: down, right of tap 0, of tap 1, ...
        shares: (B, 9, h, w), factor of each tap.
        weight: (C', C, 3, 3). bias: (C',) or None.

    Returns:
        (B, C', h, w).
    """
    batch, channels, height, width = x.shape
    down, right = moved[:, 0::2], moved[:, 1::2]  # (B, 9, h, w)
    tap = torch.arange(TAPS, device=x.device)[:, None, None]
    row = torch.arange(height, device=x.device)[:, None] + tap // 3 - 1  # (9, h, 1)
    column = torch.arange(width, device=x.device) + tap % 3 - 1  # (9, 1, w)

    # Pixel i of n has its middle at (2 i + 1) / n - 1.
    y = (2 * (row + down) + 1) / height - 1
    x_at = (2 * (column + right) + 1) / width - 1
    grid = torch.stack([x_at, y], dim=-1).reshape(batch, TAPS * height, width, 2)
    read = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    taps = read.reshape(batch, channels, TAPS, height, width) * shares[:, None]

    # Let a 1x1 convolution sum over taps and channels: every runtime has it.
    return F.conv2d(
        taps.reshape(batch, channels * TAPS, height, width),
        weight.reshape(len(weight), channels * TAPS, 1, 1),
        bias,
    )


class Tower(nn.Module):
    """Three 3x3 convolutions, each with its norm and ReLU, for maps of several levels.

    Convolutions and group norms serve all levels. Levels differ in their statistics, so a batch
    norm is one per level.

    Args:
        norm: "group", "batch" or "none"; only the last has biases.
        coordinates: two channels are put behind the map's: its rows and its columns from -1 to 1.
        deformable: convolutions are deformable.
        levels: how many levels it serves.
    """

    def __init__(
        self,
        channels_in: int,
        width: int,
        *,
        norm: str = "group",
        coordinates: bool = False,
        deformable: bool = False,
        levels: int = 1,
    ) -> None:
        super().__init__()
        self.coordinates = coordinates
        inputs = [channels_in + (2 if coordinates else 0)] + [width] * (CONVOLUTIONS - 1)

        # Leave the bias to a norm, which would take it away.
        bias = norm == "none"
        self.convs = nn.ModuleList(
            DeformableConv(channels, width, bias=bias)
            if deformable
            else nn.Conv2d(channels, width, 3, padding=1, bias=bias)
            for channels in inputs
        )
        self.norms = nn.ModuleList(LevelNorm(norm, width, levels) for _ in inputs)

    def forward(self, x: Tensor, level: int = 0) -> Tensor:
        """(B, C, h, w), the map of a level -> (B, width, h, w)."""
        if self.coordinates:
            x = with_coordinates(x)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x), level))
        return x


class LevelNorm(nn.ModuleList):
    """A norm for maps of several levels: one for all, batch norms one per level."""

    def __init__(self, norm: str, channels: int, levels: int) -> None:
        # Give every level its own batch statistics; a group norm takes its own from each map.
        count = levels if norm == "batch" else 1
        super().__init__(norm_layer(norm, channels) for _ in range(count))

    def forward(self, x: Tensor, level: int) -> Tensor:
        """(B, C, h, w), the map of a level -> the same shape."""
        return self[level if len(self) > 1 else 0](x)


class PositionHead(nn.Module):
    """Centres of things and regions of stuff, as logits.

    Args:
        things: classes of things. stuff: classes of stuff; the regions have one channel more, the
            first, for any thing.
        The others: see Tower.
    """

    def __init__(
        self,
        channels_in: int,
        width: int,
        *,
        things: int,
        stuff: int,
        norm: str,
        deformable: bool,
        levels: int,
    ) -> None:
        super().__init__()
        self.tower = Tower(channels_in, width, norm=norm, deformable=deformable, levels=levels)
        self.centres = _last(width, things, bias=RARE)
        self.regions = _last(width, stuff + 1, bias=RARE)

    def forward(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> centres (B, things, h, w), regions (B, stuff + 1, h, w)."""
        x = self.tower(x, level)
        return self.centres(x), self.regions(x)


class KernelHead(nn.Module):
    """The kernel that each cell would give its object or stuff region."""

    def __init__(self, channels_in: int, width: int, *, norm: str, levels: int) -> None:
        super().__init__()
        self.tower = Tower(channels_in, width, norm=norm, coordinates=True, levels=levels)
        self.last = _last(width, width, bias=0.0)

    def forward(self, x: Tensor, level: int) -> Tensor:
        """(B, C, h, w) -> (B, width, h, w)."""
        return self.last(self.tower(x, level))


def with_coordinates(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C + 2, h, w): the row and the column of each cell, from -1 to 1."""
    batch, _, height, width = x.shape
    rows = _from_minus_one_to_one(height, x)[:, None].expand(batch, 1, height, width)
    columns = _from_minus_one_to_one(width, x).expand(batch, 1, height, width)
    return torch.cat([x, rows, columns], dim=1)


def _from_minus_one_to_one(count: int, like: Tensor) -> Tensor:
    """`torch.linspace(-1, 1, count)`, for a count that is known only at run time."""
    steps = torch.arange(count, device=like.device, dtype=like.dtype)

    # Divide by the last step, known at run time; by 1 where a side has one cell.
    return 2 * steps / steps[-1:].clamp(min=1) - 1


def _last(channels_in: int, channels_out: int, *, bias: float) -> nn.Conv2d:
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    nn.init.normal_(conv.weight, std=SPREAD)

    # Let positions start rare: most cells are empty, and would drown the others' loss.
    if conv.bias is not None:
        nn.init.constant_(conv.bias, bias)
    return conv
