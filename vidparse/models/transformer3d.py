"""Attention in windows of space and time, and the feed-forward network that joins the windows.

These are the parts of SSLTM's spatial-temporal transformer. Maps are (B, T, H, W, C).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.models.backbones.swin import windows_along


class WindowAttention3d(nn.Module):
    """Multi-head self-attention inside windows that do not overlap, with a relative position bias.

    Maps are padded at their ends to whole windows; what was padded is never attended to.

    Args:
        window: frames, rows and columns of a window.
    """

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: Sequence[int]) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels do not divide among {heads} heads")
        if len(window) != 3 or min(window) < 1:
            raise ValueError(f"window {tuple(window)}: give frames, rows and columns, 1 or more")
        self.heads = heads
        self.window = (int(window[0]), int(window[1]), int(window[2]))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        rows = prod(2 * side - 1 for side in self.window)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, heads))
        index = relative_positions_3d(self.window)
        self.register_buffer("relative_position_index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) -> the same shape."""
        sizes = (x.shape[1], x.shape[2], x.shape[3])
        counts = [windows_along(size, side) for size, side in zip(sizes, self.window, strict=True)]
        frames, rows, columns = (
            count * side - size
            for count, side, size in zip(counts, self.window, sizes, strict=True)
        )
        x = F.pad(x, (0, 0, 0, columns, 0, rows, 0, frames))
        inside = self._inside(sizes, counts, x)  # (windows, N)
        out = self._attend(to_windows_3d(x, counts, self.window), inside)
        out = from_windows_3d(out, counts, self.window)
        return out[:, : sizes[0], : sizes[1], : sizes[2]]

    def _attend(self, tokens: Tensor, inside: Tensor) -> Tensor:
        """tokens: (B * windows, N, C); inside: bool (windows, N), False for padding."""
        number, count, channels = tokens.shape
        split = self.qkv(tokens).reshape(number, count, 3, self.heads, channels // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)  # each (B*n, heads, N, C/heads)
        bias = self.relative_position_bias_table[self.relative_position_index]  # (N, N, heads)
        scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5 + bias.permute(2, 0, 1)
        by_clip = scores.reshape(-1, *inside.shape[:1], *scores.shape[1:])
        # (B, windows, heads, N, N); no window is all padding
        by_clip = by_clip.masked_fill(~inside[:, None, None, :], float("-inf"))
        out = by_clip.softmax(dim=4).reshape(scores.shape) @ value  # (B*n, heads, N, C/heads)
        return self.proj(out.transpose(1, 2).reshape(number, count, channels))

    def _inside(self, sizes: Sequence[int], counts: Sequence[int], like: Tensor) -> Tensor:
        """bool (windows, N): which tokens are of the map."""
        t, h, w = (
            torch.arange(count * side, device=like.device) < size
            for count, side, size in zip(counts, self.window, sizes, strict=True)
        )
        grid = t[:, None, None] & h[:, None] & w  # (T', H', W')
        return to_windows_3d(grid[None, ..., None], counts, self.window)[..., 0]


class MixFfn(nn.Module):
    """Linear, 3x3 depthwise convolution of each frame, GELU, linear.

    The convolution crosses the borders of windows, so that no shifted windows are needed.
    """

    def __init__(self, channels: int, *, ratio: int = 4) -> None:
        super().__init__()
        inner = ratio * channels
        self.expand = nn.Linear(channels, inner)
        self.mix = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.reduce = nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) -> the same shape."""
        batch, frames = x.shape[:2]
        inner = self.expand(x).flatten(0, 1).permute(0, 3, 1, 2)  # (B * T, ratio * C, H, W)
        mixed = F.gelu(self.mix(inner)).permute(0, 2, 3, 1)  # (B * T, H, W, ratio * C)
        return self.reduce(mixed).unflatten(0, (batch, frames))


class SpatialTemporalBlock(nn.Module):
    """Window attention, then Mix-FFN, each after a LayerNorm and around a shortcut."""

    def __init__(self, channels: int, heads: int, window: Sequence[int], *, ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention3d(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mix_ffn = MixFfn(channels, ratio=ratio)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.attention.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) -> the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.mix_ffn(self.norm2(x))


def to_windows_3d(x: Tensor, counts: Sequence[int], window: Sequence[int]) -> Tensor:
    """(B, T, H, W, C) of counts x window cells -> (B * windows, N, C), N cells a window."""
    (frames, rows, columns), (t, h, w) = counts, window
    x = x.reshape(x.shape[0], frames, t, rows, h, columns, w, x.shape[4])
    x = x.permute(0, 1, 3, 5, 2, 4, 6, 7)  # (B, frames, rows, columns, t, h, w, C)
    return x.reshape(-1, t * h * w, x.shape[7])


def from_windows_3d(tokens: Tensor, counts: Sequence[int], window: Sequence[int]) -> Tensor:
    """The inverse of :func:`to_windows_3d`."""
    (frames, rows, columns), (t, h, w) = counts, window
    channels = tokens.shape[2]
    x = tokens.reshape(-1, frames, rows, columns, t, h, w, channels)
    x = x.permute(0, 1, 4, 2, 5, 3, 6, 7)  # (B, frames, t, rows, h, columns, w, C)
    return x.reshape(-1, frames * t, rows * h, columns * w, channels)


def relative_positions_3d(window: Sequence[int]) -> Tensor:
    """int64 (N, N): row of the bias table for each pair of the N = t * h * w cells of a window."""
    _, h, w = window
    steps = torch.meshgrid(*(torch.arange(side) for side in window), indexing="ij")
    t, y, x = (one.flatten() for one in steps)  # (N,) each
    later, down, right = (
        one[:, None] - one[None] + side - 1 for one, side in zip((t, y, x), window, strict=True)
    )
    return (later * (2 * h - 1) + down) * (2 * w - 1) + right
