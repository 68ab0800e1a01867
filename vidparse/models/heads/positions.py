"""The heads of PanopticFCN (Li et al., CVPR 2021): positions, kernels, encoded features.

One position head and one kernel head serve all levels of a feature pyramid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidparse.models.fpn import norm_layer

TAPS = 9  # of a 3x3 kernel, row by row


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
        nn.init.zeros_(self.offsets.weight)
        if self.offsets.bias is not None:
            nn.init.zeros_(self.offsets.bias)
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, 3, 3))
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
    return F.conv2d(
        taps.reshape(batch, channels * TAPS, height, width),
        weight.reshape(len(weight), channels * TAPS, 1, 1),
        bias,
    )


CONVOLUTIONS = 3  # of a tower
SPREAD = 0.01  # standard deviation of the first weights of the last convolutions
RARE = -2.19  # first bias of positions: a probability of 0.1


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
    return 2 * steps / steps[-1:].clamp(min=1) - 1


def _last(channels_in: int, channels_out: int, *, bias: float) -> nn.Conv2d:
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    nn.init.normal_(conv.weight, std=SPREAD)
    if conv.bias is not None:
        nn.init.constant_(conv.bias, bias)
    return conv
