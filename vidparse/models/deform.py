"""Modulated deformable convolution (Zhu et al., Deformable ConvNets v2, CVPR 2019), in torch alone.

It exports to ONNX as GridSample, which is slow on CPUs; networks here have it as an option.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TAPS = 9  # of a 3x3 kernel, row by row


class DeformableConv(nn.Module):
    """A 3x3 convolution whose taps read where a second convolution sends them.

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
