"""Swin Transformer (Liu et al., ICCV 2021) for pictures of any size.

Parameter names are those of Microsoft's checkpoints (`layers.N.blocks.M.attn.qkv...`), so their
ImageNet weights load by name; only the norms of the four maps (norm0 .. norm3) start fresh.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 4  # pixels along the side of a patch
APART = -100.0  # added to attention scores of tokens that only the shift made neighbours


class WindowAttention(nn.Module):
    """Attention among the tokens of a window, with a learned bias for each relative position."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

        # Keep the index out of checkpoints: it follows from the window.
        index = relative_positions(window)
        self.register_buffer("relative_position_index", index, persistent=False)

    def forward(self, x: Tensor, apart: Tensor | None) -> Tensor:
        """x: (B * windows, T, C); apart: (windows, T, T), added to the scores, or None."""
        number, tokens, channels = x.shape
        split = self.qkv(x).reshape(number, tokens, 3, self.heads, channels // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)  # each (N, heads, T, C / heads)
        bias = self.relative_position_bias_table[self.relative_position_index]
        bias = bias.permute(2, 0, 1)[None]  # (1, heads, T, T)
        scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5 + bias  # (N, heads, T, T)
        if apart is not None:
            # Set pictures apart, whose windows lie in a row: the mask is that of one picture.
            by_picture = scores.reshape(-1, *apart.shape[:1], *scores.shape[1:])
            scores = (by_picture + apart[:, None]).reshape(scores.shape)
        out = scores.softmax(dim=3) @ value  # (N, heads, T, C / heads)
        return self.proj(out.transpose(1, 2).reshape(number, tokens, channels))


class Mlp(nn.Module):
    """Two linear layers with GELU between, four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Window attention and MLP, each after a LayerNorm and around a shortcut (eq. 3).

    drop_path: share of pictures, in training, for which a residual branch is skipped.
    """

    def __init__(
        self, channels: int, heads: int, *, window: int, shift: int, drop_path: float
    ) -> None:
        super().__init__()
        self.window, self.shift, self.drop_path = window, shift, drop_path
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)

    def forward(self, x: Tensor, apart: Tensor) -> Tensor:
        """x: (B, h, w, C); apart: (windows, T, T), used where windows are shifted."""
        x = x + self._dropped(self._attended(self.norm1(x), apart))
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _attended(self, x: Tensor, apart: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        rows, columns = windows_along(height, self.window), windows_along(width, self.window)
        # As published, padding is zero after the norm and takes part in the attention.
        x = F.pad(x, (0, 0, 0, columns * self.window - width, 0, rows * self.window - height))

        # Roll the map, so that shifted windows are whole; the mask keeps apart what met.
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        tokens = to_windows(x, rows, columns, self.window)
        tokens = self.attn(tokens, apart if self.shift else None)
        x = from_windows(tokens, rows, columns, self.window)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]

    def _dropped(self, branch: Tensor) -> Tensor:
        if not self.training or not self.drop_path:
            return branch

        # Enlarge the branches that are kept, so that the mean is that of use.
        kept = 1 - self.drop_path
        chosen = torch.rand(branch.shape[0], 1, 1, 1, device=branch.device) < kept
        return branch * chosen.to(branch.dtype) / kept


class PatchMerging(nn.Module):
    """Four neighbours become one token of twice the channels; odd sides are padded with zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, ceil(h / 2), ceil(w / 2), 2C)."""
        batch, height, width, channels = x.shape
        rows, columns = windows_along(height, 2), windows_along(width, 2)
        x = F.pad(x, (0, 0, 0, 2 * columns - width, 0, 2 * rows - height))
        x = x.reshape(batch, rows, 2, columns, 2, channels)

        # Order the four as the published weights do, which fix the order of the channels.
        x = x.permute(0, 1, 3, 4, 2, 5).flatten(3)  # (B, h/2, w/2, 4C): down before right
        return self.reduction(self.norm(x))


class Stage(nn.Module):
    """Blocks in pairs of plain and shifted windows, then the merging that starts the next stage."""

    def __init__(
        self, channels: int, heads: int, *, window: int, drop_paths: list[float], merges: bool
    ) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(
            SwinBlock(
                channels, heads, window=window, shift=i % 2 * (window // 2), drop_path=drop_path
            )
            for i, drop_path in enumerate(drop_paths)
        )
        self.downsample = PatchMerging(channels) if merges else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> the same shape; `downsample` is left to the caller, who wants both."""
        # Make the mask once: all shifted blocks of a stage share it.
        apart = shift_mask(x, self.window)
        for block in self.blocks:
            x = block(x, apart)
        return x


class PatchEmbedding(nn.Module):
    """A 4x4 patch of pixels becomes a token."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, PATCH, PATCH)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, ceil(H / 4), ceil(W / 4), C)."""
        height, width = x.shape[2:]
        rows, columns = windows_along(height, PATCH), windows_along(width, PATCH)
        x = F.pad(x, (0, PATCH * columns - width, 0, PATCH * rows - height))
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class Swin(nn.Module):
    """Feature pyramid of strides 4, 8, 16, 32, each map with a LayerNorm of its own.

    Args:
        embedding: channels of the first map; they double from map to map.
        depths, heads: blocks, and heads of their attention, of each stage.
        window: tokens along the side of a window, 7 or 12 in the published weights.
        drop_path: rate of the last block; it grows linearly from 0.
        output_stride: 32; there is no dilated form.
    """

    def __init__(
        self,
        embedding: int,
        depths: tuple[int, int, int, int],
        heads: tuple[int, int, int, int],
        *,
        window: int = 7,
        drop_path: float = 0.3,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        if output_stride != 32:
            raise ValueError(f"output_stride of Swin must be 32, not {output_stride}")
        self.channels = (embedding, 2 * embedding, 4 * embedding, 8 * embedding)

        self.patch_embed = PatchEmbedding(embedding)

        # Drop later blocks more often.
        last = max(1, sum(depths) - 1)
        rates = [drop_path * i / last for i in range(sum(depths))]

        self.layers = nn.ModuleList()
        for i, (channels, depth, count) in enumerate(
            zip(self.channels, depths, heads, strict=True)
        ):
            done = sum(depths[:i])
            self.layers.append(
                Stage(
                    channels,
                    count,
                    window=window,
                    drop_paths=rates[done : done + depth],
                    merges=i < 3,
                )
            )

        self.norm0, self.norm1, self.norm2, self.norm3 = map(nn.LayerNorm, self.channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> maps (C, H/4), (2C, H/8), (4C, H/16), (8C, H/32), sides rounded up."""
        x = self.patch_embed(x)
        found = []
        for i, stage in enumerate(self.layers):
            x = stage(x)

            # Norm the map that is given out, and pass the plain one on, as published.
            found.append(self.get_submodule(f"norm{i}")(x).permute(0, 3, 1, 2))
            x = stage.get_submodule("downsample")(x)
        stride4, stride8, stride16, stride32 = found
        return stride4, stride8, stride16, stride32


def windows_along(size: int, window: int) -> int:
    """The number of windows that cover `size` tokens."""
    return (size + window - 1) // window


def to_windows(x: Tensor, rows: int, columns: int, window: int) -> Tensor:
    """(B, rows * window, columns * window, C) -> (B * rows * columns, window^2, C)."""
    batch, _, _, channels = x.shape
    x = x.reshape(batch, rows, window, columns, window, channels).transpose(2, 3)
    return x.reshape(batch * rows * columns, window * window, channels)


def from_windows(tokens: Tensor, rows: int, columns: int, window: int) -> Tensor:
    """The inverse of :func:`to_windows`."""
    channels = tokens.shape[2]
    x = tokens.reshape(-1, rows, columns, window, window, channels).transpose(2, 3)
    return x.reshape(-1, rows * window, columns * window, channels)


def relative_positions(window: int) -> Tensor:
    """int64 (T, T): row of the bias table for each pair of the T = window^2 tokens."""
    cell = torch.arange(window * window)
    y, x = cell // window, cell % window

    # Shift differences to begin at 0, as the rows of the table do.
    down = y[:, None] - y[None] + window - 1
    right = x[:, None] - x[None] + window - 1
    return down * (2 * window - 1) + right


def shift_mask(x: Tensor, window: int) -> Tensor:
    """(windows, T, T): 0, or APART for tokens that come from different sides of a shifted map.

    x: (B, h, w, C), not yet padded. A shift by window // 2 brings the first rows and columns to
    the end, where the last windows then hold tokens of up to four places.
    """
    rows, columns = windows_along(x.shape[1], window), windows_along(x.shape[2], window)
    down, right = (_places(count * window, window, x) for count in (rows, columns))

    # Number the places by row and column: tokens of one number were neighbours before.
    place = (3 * down[:, None] + right)[None, :, :, None]  # (1, h, w, 1)
    tokens = to_windows(place, rows, columns, window)[..., 0]  # (windows, T)
    differ = tokens[:, None, :] != tokens[:, :, None]  # (windows, T, T)
    return differ.to(x.dtype) * APART


def _places(size: int, window: int, like: Tensor) -> Tensor:
    """int64 (size,): 0 in all windows but the last; there 1, and 2 for what the shift brought."""
    cell = torch.arange(size, device=like.device)
    return (cell >= size - window).long() + (cell >= size - window // 2).long()
