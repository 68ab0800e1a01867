"""Temporal Context Blending (Miao et al., VSPW, CVPR 2021), computed once per frame.

The published code runs the backbone on the target and on N support frames for every target. What
blending needs of a support frame is small (pooled maps for st-ppm, a vector per class for st-ocr),
so it is kept as state and every frame goes through the backbone once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vidparse.models.backbones import backbone
from vidparse.models.description import StateTensor
from vidparse.models.heads import AuxiliaryHead, OcrHead, PspHead, score_alignment
from vidparse.models.heads.pooling import POOL_BINS
from vidparse.models.network import FrameNetwork, Outputs, State

MEMORIES = ("none", "first_clip", "fifo", "ema")


@dataclass(frozen=True, slots=True)
class TcbPpmConfig:
    """TCB st-ppm: PSPNet whose pooled maps are averaged over frames."""

    classes: int
    backbone: str = "resnet101-deep"  # a key of BACKBONES
    output_stride: int = 8
    width: int = 512  # channels of the fused map
    skip_channels: int = 0  # > 0: refine with stride 8 and 4 features (see RefinedHead)
    finest: int = 4  # with skip_channels: stride of the scores, 4 or 2
    antialias: bool = False  # with finest 2: no chequered edges (see RefinedHead)
    dilations: tuple[int, ...] = (3, 6, 9)  # frames back, of each support
    auxiliary: bool = True  # scores of the third stage as well, in training only
    auxiliary_width: int = 512


@dataclass(frozen=True, slots=True)
class TcbOcrConfig:
    """TCB st-ocr: OCRNet whose region features are averaged over frames, with a memory."""

    classes: int
    backbone: str = "resnet101-deep"
    output_stride: int = 8
    width: int = 512  # channels of pixel and region features
    key_width: int = 256  # channels of the attention
    skip_channels: int = 0  # as st-ppm's
    finest: int = 4
    antialias: bool = False
    dilations: tuple[int, ...] = (3, 6, 9)
    memory: str = "fifo"  # one of MEMORIES, in inference only
    memory_frames: int = 8  # of "fifo"
    memory_decay: float = 0.9  # of "ema"
    auxiliary: bool = True  # OCR's region scores are its auxiliary output, in training


class Ring:
    """A ring of what was kept of the frames before, oldest first.

    Before the first frame of a video the ring is zero and `seen` is 0; the first frame then
    stands for all frames before it, so a support before the start is the first frame.
    """

    def __init__(self, ring: Tensor, seen: Tensor, now: Tensor) -> None:
        """ring: (B, D, *shape), seen: (B, 1) frames so far, now: (B, *shape)."""
        # Choose by a mask, not a branch, which an exported graph would fix.
        begun = (seen > 0).reshape(-1, *[1] * (ring.dim() - 1))
        self.ring = torch.where(begun, ring, now[:, None])
        self.now = now

    def ago(self, frames: int) -> Tensor:
        """The entry of `frames` frames ago: (B, *shape)."""
        return self.ring[:, self.ring.shape[1] - frames]

    def blend(self, dilations: Sequence[int]) -> Tensor:
        """Mean over the frame and its supports (equation 1 of the paper)."""
        total = self.now
        for dilation in dilations:
            total = total + self.ago(dilation)
        return total / (len(dilations) + 1)

    def moved_on(self) -> Tensor:
        """The ring after this frame."""
        return torch.cat([self.ring[:, 1:], self.now[:, None]], dim=1)


class _Tcb(FrameNetwork):
    """The frames that both forms of TCB blend, in training and as published."""

    backbone_name = "backbone"
    has_published_form = True
    memory_interval_s = 1 / 15  # VSPW's, of which the supports are 3, 6 and 9 frames back

    config: TcbPpmConfig | TcbOcrConfig

    def __init__(self, config: TcbPpmConfig | TcbOcrConfig) -> None:
        super().__init__(config)
        if not config.dilations or min(config.dilations) < 1:
            raise ValueError(f"dilations {config.dilations}: must be 1 or more frames back")
        self.alignment = score_alignment(config.output_stride, config.skip_channels)
        self.backbone = backbone(
            config.backbone, output_stride=config.output_stride, finest=config.finest
        )

    @classmethod
    def companions(
        cls, config: TcbPpmConfig | TcbOcrConfig, rng: np.random.Generator
    ) -> tuple[int, ...]:
        """The supports, farthest first, and the target."""
        return (*(-dilation for dilation in sorted(config.dilations, reverse=True)), 0)

    def published_supports(self, frame: int, frames: int) -> tuple[int, ...]:
        """Later frames where the video has them all."""
        return support_indices(frame, frames, self.config.dilations, support="official")


class TcbPpm(_Tcb):
    """TCB st-ppm.

    State: ring of the pooled maps of the last max(dilations) frames, (D, C, 50) floats, and the
    number of frames seen.
    """

    training_only = ("auxiliary",)
    config: TcbPpmConfig

    def __init__(self, config: TcbPpmConfig) -> None:
        super().__init__(config)
        pyramid = self.backbone.channels
        self.head = PspHead(
            pyramid,
            config.classes,
            width=config.width,
            output_stride=config.output_stride,
            skip_channels=config.skip_channels,
            finest=config.finest,
            antialias=config.antialias,
        )
        self.auxiliary: AuxiliaryHead | None = None
        if config.auxiliary:
            self.auxiliary = AuxiliaryHead(pyramid[2], config.classes, width=config.auxiliary_width)
        cells = sum(bins * bins for bins in POOL_BINS)
        self.state_tensors = (
            StateTensor("pooled", (max(config.dilations), pyramid[3], cells)),
            StateTensor("seen", (1,)),
        )

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """picture: (B, 3, H, W), the next frame -> logits (B, K, h, w)."""
        pyramid = self.backbone(picture)
        ring, seen = state

        # Blend pooled maps: these are small enough to keep, so a frame is encoded once.
        past = Ring(ring, seen, _flat(self.head.pool(pyramid[3])))
        pooled = _square(past.blend(self.config.dilations))
        return Outputs(self.head.decode(pyramid, pooled)), (past.moved_on(), seen + 1)

    def forward_clip(self, frames: Tensor) -> Outputs:
        """The published scheme, for training: every frame through the backbone.

        frames: (B, N + 1, 3, H, W), the target last -> logits (B, K, h, w) of the target and, in
        training, auxiliary scores (B * (N + 1), K, h', w') of all frames.
        """
        batch, count = frames.shape[:2]
        pyramid = self.backbone(frames.flatten(0, 1))
        pooled = _flat(self.head.pool(pyramid[3])).unflatten(0, (batch, count))

        # Decode the target alone: its supports give nothing but pooled maps.
        target = tuple(level.unflatten(0, (batch, count))[:, -1] for level in pyramid)
        logits = self.head.decode(target, _square(pooled.mean(dim=1)))
        auxiliary = None
        if self.training and self.auxiliary is not None:
            auxiliary = self.auxiliary(pyramid[2])
        return Outputs(logits, auxiliary)

    def tapped(self) -> nn.Conv2d:
        return self.head.tapped()

    def forward_published(self, frames: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """The published test code: :meth:`forward_clip`; st-ppm has no memory."""
        return self.forward_clip(frames), ()


class TcbOcr(_Tcb):
    """TCB st-ocr, and its memory.

    State: ring of the region features of the last max(dilations) frames, (D, C, K) floats; what the
    memory holds of the blended ones; the number of frames seen.

    Memory, over the blended region features of each frame (inference only):
        none: just the frame's own.
        first_clip: the published code's behaviour: the mean with those of the first frame.
        fifo: uniform mean with those of the last `memory_frames` frames.
        ema: running average with weight `memory_decay` on the past.
    """

    config: TcbOcrConfig

    def __init__(self, config: TcbOcrConfig) -> None:
        super().__init__(config)
        if config.memory not in MEMORIES:
            raise ValueError(f"memory '{config.memory}': use {', '.join(MEMORIES)}")

        self.head = OcrHead(
            self.backbone.channels,
            config.classes,
            width=config.width,
            key_width=config.key_width,
            output_stride=config.output_stride,
            skip_channels=config.skip_channels,
            finest=config.finest,
            antialias=config.antialias,
        )

        regions = (config.width, config.classes)

        # Keep one entry where the memory is a single value, the first or a running one.
        kept = {"none": 0, "fifo": config.memory_frames}.get(config.memory, 1)
        memory = (StateTensor("memory", (kept, *regions)),) if kept else ()
        self.state_tensors = (
            StateTensor("regions", (max(config.dilations), *regions)),
            *memory,
            StateTensor("seen", (1,)),
        )

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """picture: (B, 3, H, W), the next frame -> logits (B, K, h, w)."""
        pyramid = self.backbone(picture)
        ring, *memory, seen = state
        pixels = self.head.pixels(pyramid[3])  # (B, C, h, w)
        scores = self.head.regions(pyramid[2])  # (B, K, h, w)
        past = Ring(ring, seen, self.head.gather(pixels, scores))  # of (B, C, K)
        regions, memory = self._remember(past.blend(self.config.dilations), memory, seen)
        logits = self.head.classify(pixels, self.head.attend(pixels, regions), pyramid)
        return Outputs(logits), (past.moved_on(), *memory, seen + 1)

    def _remember(
        self, blended: Tensor, memory: Sequence[Tensor], seen: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Region features with the memory's, and the memory after this frame; no gradient."""
        if not memory:
            return blended, []
        held = memory[0]  # (B, M, C, K)
        seen = seen[:, :, None]  # (B, 1, 1)
        begun = seen > 0
        new = blended.detach()
        if self.config.memory == "first_clip":
            first = torch.where(begun, held[:, 0], new)
            return (first + blended) / 2, [first[:, None]]
        if self.config.memory == "ema":
            decay = self.config.memory_decay

            # Start from the first frame: an average from zero would be too small for long.
            mean = torch.where(begun, decay * held[:, 0] + (1 - decay) * blended, blended)
            return mean, [mean.detach()[:, None]]

        # Divide by the entries that were filled: the others are zero.
        count = seen.clamp(max=held.shape[1])
        mean = (held.sum(dim=1) + blended) / (count + 1)
        return mean, [torch.cat([held[:, 1:], new[:, None]], dim=1)]

    def forward_clip(self, frames: Tensor) -> Outputs:
        """The published scheme, for training: every frame through the backbone, no memory.

        frames: (B, N + 1, 3, H, W), the target last -> logits (B, K, h, w) of the target and, in
        training, region scores (B * (N + 1), K, h', w') of all frames.
        """
        target, pyramid, scores, blended = self._blended_clip(frames)
        logits = self.head.classify(target, self.head.attend(target, blended), pyramid)
        return Outputs(logits, scores if self.training and self.config.auxiliary else None)

    def tapped(self) -> nn.Conv2d:
        return self.head.tapped()

    def forward_published(self, frames: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """The published test code: :meth:`forward_clip`, and "first_clip" for any memory.

        frames: (B, N + 1, 3, H, W), the target last; videos begin at their first frame.
        state: () before it, then the blended region features (B, C, K) of its clip.
        """
        target, pyramid, _, blended = self._blended_clip(frames)
        if self.config.memory != "none":
            # Keep the first clip for the whole video, as the published memory does.
            state = state or (blended,)
            blended = (state[0] + blended) / 2
        context = self.head.attend(target, blended)
        return Outputs(self.head.classify(target, context, pyramid)), state

    def _blended_clip(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Tensor, Tensor]:
        """Of (B, N + 1, 3, H, W): pixel features (B, C, h, w) and pyramid of the target, region
        scores (B * (N + 1), K, h', w') of all frames, and the mean of their region features
        (B, C, K)."""
        batch, count = frames.shape[:2]
        pyramid = self.backbone(frames.flatten(0, 1))
        pixels = self.head.pixels(pyramid[3])
        scores = self.head.regions(pyramid[2])
        blended = self.head.gather(pixels, scores).unflatten(0, (batch, count)).mean(dim=1)
        target, *levels = (one.unflatten(0, (batch, count))[:, -1] for one in (pixels, *pyramid))
        return target, tuple(levels), scores, blended


def support_indices(
    frame: int, frames: int, dilations: Sequence[int], *, support: str = "past"
) -> tuple[int, ...]:
    """The frames that support frame `frame` of a video of `frames` frames.

    past: `frame` - d, the first frame before the start; what streaming does.
    official: the published test code: `frame` + d where the video is long enough, else
        `frame` - d; its negative indices (which wrap around to the end) become the first frame.
    """
    if support == "official" and frame + max(dilations) < frames:
        return tuple(frame + d for d in dilations)

    # Stop at the first frame: negative indices would wrap around to the end.
    return tuple(max(frame - d, 0) for d in dilations)


def _flat(pooled: Sequence[Tensor]) -> Tensor:
    """Pooled maps (B, C, s, s) of every bin size as one (B, C, cells)."""
    return torch.cat([one.flatten(2) for one in pooled], dim=2)


def _square(cells: Tensor) -> list[Tensor]:
    """The inverse of :func:`_flat`."""
    maps = cells.split([bins * bins for bins in POOL_BINS], dim=2)
    return [one.unflatten(2, (bins, bins)) for one, bins in zip(maps, POOL_BINS, strict=True)]
