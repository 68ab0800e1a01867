"""SSLTM (CVPR 2023): short-term and long-term context, and context of whole categories.

Only the supplementary material was at hand. From its text: a base like OCRNet; the
spatial-temporal transformer block (3D windows, then Mix-FFN in place of shifted windows); context
from a reference frame far away (RFCE), whose gain grows up to about 60 frames, or from the query
frame itself (QFCE); category centres, three a class, trained by a squared error (GCC). Our reading:
every size, which frames stand next to the query (those before it, so that video can be streamed),
what attends to what, and how the contexts are joined.

With Swin-S and 124 classes it has 59.3 M parameters as in the paper; `bank_key_width` was chosen
for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.models.backbones import backbone
from vidparse.models.backbones.swin import windows_along
from vidparse.models.description import StateTensor
from vidparse.models.heads import OcrHead
from vidparse.models.layers import conv_bn_relu
from vidparse.models.network import FrameNetwork, Outputs, State
from vidparse.models.tcb import Ring

SSLTM_CONTEXTS = ("reference", "query")


@dataclass(frozen=True, slots=True)
class SsltmConfig:
    """SSLTM; distances and strides are in frames."""

    classes: int
    backbone: str = "resnet101-deep"  # a key of BACKBONES
    output_stride: int = 8  # 32 with Swin
    width: int = 512  # channels of pixel and region features
    key_width: int = 256  # channels of the attention to regions
    short_term_frames: int = 2  # frames before the target that its transformer sees
    depth: int = 1  # blocks of the transformer
    heads: int = 8
    attention_window: tuple[int, int, int] = (3, 7, 7)  # frames, rows, columns
    context: str = "reference"  # RFCE, or "query": QFCE
    reference_distance: int = 60
    reference_stride: int = 6  # every so many frames one may become the reference
    centres: int = 3  # of each class
    bank_key_width: int = 128  # channels of the attention to centres
    auxiliary: bool = True  # OCR's region scores are its auxiliary output, in training


class CategoryBank(nn.Module):
    """Global category context: pixels attend to centres that stand for classes in all videos.

    Centres: (K, M, C), M a class. :func:`bank_loss` alone trains them: the attention sees them
    detached. That, and the form of the attention, are our reading.
    """

    def __init__(self, classes: int, centres: int, width: int, key_width: int) -> None:
        super().__init__()
        # like what they stand for, features after a batch norm and a ReLU
        self.centres = nn.Parameter(torch.randn(classes, centres, width).relu())
        self.query = conv_bn_relu(width, key_width, 1)
        self.key = conv_bn_relu(width, key_width, 1)
        self.value = conv_bn_relu(width, key_width, 1)
        self.context = conv_bn_relu(key_width, width, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """The context of each pixel, from the centres: (B, C, h, w) -> the same shape."""
        # Detach the centres: the loss of the scores would pull them off the means.
        centres = self.centres.detach().flatten(0, 1).T[None, :, :, None]  # (1, C, K * M, 1)
        query = self.query(pixels).flatten(2).transpose(1, 2)  # (B, h*w, D)
        key = self.key(centres).flatten(2)  # (1, D, K * M)
        value = self.value(centres).flatten(2).transpose(1, 2)  # (1, K * M, D)
        weights = (query @ key * key.shape[1] ** -0.5).softmax(dim=2)  # (B, h*w, K * M)
        taken = (weights @ value).transpose(1, 2)  # (B, D, h*w)
        return self.context(taken.unflatten(2, pixels.shape[2:]))


class Ssltm(FrameNetwork):
    """SSLTM, streamed: every frame once through the backbone.

    Pixel features of the target and of the frames before it pass the transformer. Regions are
    gathered from plain pixel features, before the transformer, so that a reference frame needs no
    neighbours and RFCE of a frame to itself is QFCE.

    State:
        pixels: pixel features of the last `short_term_frames` frames, (2, width, h, w). 3D windows
            cannot do without full maps; these have the head's width, not the backbone's: 26.3 MB
            at 480x853 with stride 8, 1.7 MB with stride 32.
        regions: region features (width, K) of every `reference_stride`-th frame, back to
            `reference_distance`: 2.5 MB for 124 classes. With "reference" alone.
        seen: 0 before the first frame; then it counts 1..`reference_stride`, over and over.
    A frame before the first is the first.

    Raises:
        ValueError: a config that makes no sense.
    """

    backbone_name = "backbone"
    config: SsltmConfig

    def __init__(self, config: SsltmConfig) -> None:
        super().__init__(config)
        _check(config)
        self.alignment = config.output_stride
        self.backbone = backbone(config.backbone, output_stride=config.output_stride)

        width = config.width
        self.head = OcrHead(
            self.backbone.channels, config.classes, width=width, key_width=config.key_width
        )

        # Widen the fusion: it joins one context more, that of the bank.
        self.head.fuse = conv_bn_relu(3 * width, width, 1, bias=True)

        self.transformer = nn.Sequential(
            *(
                SpatialTemporalBlock(width, config.heads, config.attention_window)
                for _ in range(config.depth)
            )
        )

        self.bank = CategoryBank(config.classes, config.centres, width, config.bank_key_width)

        kept = [
            StateTensor("pixels", (config.short_term_frames, width), stride=config.output_stride)
        ]
        if config.context == "reference":
            entries = config.reference_distance // config.reference_stride
            kept.append(StateTensor("regions", (entries, width, config.classes)))
        self.state_tensors: tuple[StateTensor, ...] = (*kept, StateTensor("seen", (1,)))

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """picture: (B, 3, H, W), the next frame -> logits (B, K, h, w)."""
        pyramid = self.backbone(picture)
        pixels = self.head.pixels(pyramid[3])  # (B, C, h, w)
        regions = self.head.gather(pixels, self.head.regions(pyramid[2]))  # (B, C, K)
        ring, *rings, seen = state
        stride = self.config.reference_stride

        # Detach what is kept: no gradient crosses frames in a stream.
        short = Ring(ring, seen, pixels.detach())
        neighbours = torch.cat([short.ring, pixels[:, None]], dim=1)  # (B, T, C, h, w)
        after = [short.moved_on()]

        # Let the frame be its own reference: QFCE is RFCE of a frame to itself.
        reference = regions
        if rings:
            far = Ring(rings[0], seen, regions.detach())
            reference = far.ring[:, 0]
            # the counter is on 0 or the stride when it is this frame's turn to be kept
            due = (torch.remainder(seen, stride) == 0)[:, :, None, None]  # (B, 1, 1, 1)
            after.append(torch.where(due, far.moved_on(), far.ring))
        logits = self._classify(neighbours, reference)
        return Outputs(logits), (*after, torch.remainder(seen, stride) + 1)

    @classmethod
    def companions(cls, config: SsltmConfig, rng: np.random.Generator) -> tuple[int, ...]:
        """A reference from anywhere up to its distance, the frames just before, the target."""
        near = tuple(range(-config.short_term_frames, 1))
        if config.context == "query":
            return near

        # Draw the distance: in a stream, early frames have their reference near.
        return (-int(rng.integers(1, config.reference_distance + 1)), *near)

    def forward_clip(self, frames: Tensor) -> Outputs:
        """For training: frames (B, T, 3, H, W), those of `frames_of_clip`, the target last.

        Returns logits (B, K, h, w) of the target, in training region scores (B * T, K, h', w') of
        all frames, and the target's pixel features (B, C, h, w) for the bank.
        """
        far = 1 if self.config.context == "reference" else 0
        count = far + self.config.short_term_frames + 1
        if frames.shape[1] != count:
            raise ValueError(f"{frames.shape[1]} frames: with these settings a clip has {count}")
        pyramid = self.backbone(frames.flatten(0, 1))
        pixels = self.head.pixels(pyramid[3])  # (B * T, C, h, w)
        scores = self.head.regions(pyramid[2])  # (B * T, K, h', w')
        pixels = pixels.unflatten(0, (-1, count))
        # the reference frame comes first; the query is its own reference where there is none
        at = 0 if far else count - 1
        reference = self.head.gather(pixels[:, at], scores.unflatten(0, (-1, count))[:, at])
        logits = self._classify(pixels[:, far:], reference)
        auxiliary = scores if self.training and self.config.auxiliary else None
        return Outputs(logits, auxiliary, pixels[:, -1])

    def own_terms(self, outputs: Outputs, labels: Tensor, *, ignore: int) -> dict[str, Tensor]:
        """The squared error that trains the bank."""
        assert outputs.features is not None  # of forward_clip
        return {"bank": bank_loss(self.bank.centres, outputs.features, labels, ignore=ignore)}

    def tapped(self) -> nn.Conv2d:
        return self.head.tapped()

    def _classify(self, neighbours: Tensor, regions: Tensor) -> Tensor:
        """Scores (B, K, h, w) of the last of (B, T, C, h, w), with context (B, C, K)."""
        mixed = self.transformer(neighbours.permute(0, 1, 3, 4, 2))  # (B, T, h, w, C)
        pixels = mixed[:, -1].permute(0, 3, 1, 2)  # (B, C, h, w)
        contexts = [self.head.attend(pixels, regions), self.bank(pixels)]
        return self.head.classify(pixels, torch.cat(contexts, dim=1))


def bank_loss(centres: Tensor, features: Tensor, labels: Tensor, *, ignore: int) -> Tensor:
    """Pull the nearest centre of each class to the mean feature of that class in each picture.

    Squared error as in the paper; means over a picture, and only the nearest centre, are our
    reading. No gradient flows to the features.

    Args:
        centres: (K, M, C). features: (B, C, h, w).
        labels: int64 (B, H, W) with ids 0..K-1 and `ignore`, nearest-resized to (h, w) here.

    Returns:
        Scalar, the mean over the classes present; exactly 0, with a gradient, when all is ignored.
    """
    classes = centres.shape[0]

    # Take the pixel in the middle of a cell, where plain nearest takes its first.
    small = F.interpolate(labels[:, None].float(), size=features.shape[2:], mode="nearest-exact")
    flat = small[:, 0].long().flatten(1)  # (B, h*w)

    # Make ignored pixels a class of their own: one-hot takes no other ids.
    counted = torch.where(flat == ignore, classes, flat)
    member = F.one_hot(counted, classes + 1)[..., :classes].float()  # (B, h*w, K)

    pixels = member.sum(dim=1)  # (B, K)

    # Sum in float32, since thousands of halves lose digits, and without a gradient.
    sums = features.detach().float().flatten(2) @ member  # (B, C, K)
    means = (sums / pixels.clamp(min=1)[:, None]).transpose(1, 2)  # (B, K, C)

    errors = (centres.float() - means[:, :, None]).square().mean(dim=3)  # (B, K, M)
    present = (pixels > 0).float()

    # Pull the nearest centre alone: pulling all would make them alike.
    nearest = errors.amin(dim=2)  # (B, K)
    return (nearest * present).sum() / present.sum().clamp(min=1)


def reference_index(frame: int, *, distance: int, stride: int) -> int:
    """The frame that streaming takes as reference of frame `frame`.

    It is the earliest multiple of `stride` that is at most `distance` frames back.
    """
    return max(0, -(-(frame - distance) // stride) * stride)


def frames_of_clip(frame: int, config: SsltmConfig) -> tuple[int, ...]:
    """The frames that `forward_clip` needs for the same answer as streaming at frame `frame`."""
    near = (max(0, frame - back) for back in range(config.short_term_frames, -1, -1))
    if config.context == "query":
        return tuple(near)
    reference = reference_index(
        frame, distance=config.reference_distance, stride=config.reference_stride
    )
    return (reference, *near)


def _check(config: SsltmConfig) -> None:
    if config.context not in SSLTM_CONTEXTS:
        raise ValueError(f"context '{config.context}': use {' or '.join(SSLTM_CONTEXTS)}")
    counts: Sequence[tuple[str, int]] = (
        ("short_term_frames", config.short_term_frames),
        ("depth", config.depth),
        ("reference_stride", config.reference_stride),
        ("reference_distance", config.reference_distance),
        ("centres", config.centres),
    )
    for name, value in counts:
        if value < 1:
            raise ValueError(f"{name} {value}: at least 1")

    # Require whole steps: the oldest entry of the ring, one per stride, is the reference.
    if config.reference_distance % config.reference_stride:
        raise ValueError(
            f"reference_distance {config.reference_distance}: "
            f"must be a multiple of reference_stride {config.reference_stride}"
        )


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

        # Make a row for each difference of places, 1 - side to side - 1 along an axis.
        rows = prod(2 * side - 1 for side in self.window)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, heads))

        # Keep the index out of checkpoints: it follows from the window.
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

    # Shift differences to begin at 0, as the rows of the table do.
    later, down, right = (
        one[:, None] - one[None] + side - 1 for one, side in zip((t, y, x), window, strict=True)
    )
    return (later * (2 * h - 1) + down) * (2 * w - 1) + right
