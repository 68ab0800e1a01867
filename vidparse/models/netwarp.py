"""NetWarp (Gadde et al., ICCV 2017) on PSPNet or OCRNet, as the VSPW benchmark uses it.

Features of the frame before are brought to this frame along the optical flow and added to its own,
at two places: the deepest map of the backbone, and what the head's classifier sees.

Three defects of VSPW's published code are not repeated: a flow that is brought to the size of the
features has its displacements scaled too, the refined flow may be negative, and the frame before
the first is the first, never one that is yet to come.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.flow.raft import STRIDE, Raft, ResidualBlock, load_raft
from vidparse.models.backbones import backbone
from vidparse.models.description import StateTensor
from vidparse.models.heads import AuxiliaryHead, OcrHead, PspHead
from vidparse.models.layers import conv_bn_relu, resize_to
from vidparse.models.network import FrameNetwork, Outputs, State

_SMALLEST_SIDE = 128  # pixels; smaller pictures are padded, as for the other uses of RAFT


class PictureFlow(nn.Module):
    """RAFT between normalised pictures: frozen, always in inference mode and in float32.

    As made it finds no motion at all, until weights are loaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, iterations: int) -> None:
        super().__init__()
        if iterations < 1:
            raise ValueError(f"flow_iterations {iterations}: at least 1")
        self.iterations = iterations
        self.raft = Raft()
        for block in self.raft.modules():
            if isinstance(block, ResidualBlock) and hasattr(block, "norm3"):
                # Keep it as downsample.1 alone: a checkpoint takes a tensor under one name.
                del block.norm3

        # Start without motion: that of random weights would tear the features apart.
        for parameter in self.raft.update_block.flow_head.conv2.parameters():
            nn.init.zeros_(parameter)
        self.requires_grad_(False)
        self.eval()
        # ImageNet's constants, those of every network of the zoo
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def train(self, mode: bool = True) -> PictureFlow:
        """Stays in inference mode."""
        return super().train(False)

    def forward(self, now: Tensor, past: Tensor) -> Tensor:
        """Flow from `now` to `past`, both (B, 3, H, W): (B, 2, H, W) pixels right and down."""
        height, width = now.shape[2:]
        above, below = _margins(height)
        left, right = _margins(width)

        # Leave autocast: positions need float32.
        with torch.autocast(now.device.type, enabled=False):
            pairs = torch.stack([now, past], dim=1).detach().float()  # (B, 2, 3, H, W)
            pairs = 2 * (pairs * self.std + self.mean) - 1  # 0..1 -> RAFT's -1..1
            flows = []

            # Go pair by pair, so that one volume of correlations is held at a time.
            for pair in pairs.unbind(0):
                # Repeat the border: zeros would draw an edge that never moves.
                padded = F.pad(pair, (left, right, above, below), mode="replicate")
                flows.append(self.raft(padded, iterations=self.iterations))
        return torch.stack(flows)[:, :, above : above + height, left : left + width]

    def load(self, raft: Raft) -> None:
        """Take over the weights of a RAFT."""
        tensors = raft.state_dict()
        self.raft.load_state_dict({name: tensors[name] for name in self.raft.state_dict()})


def _margins(side: int) -> tuple[int, int]:
    """Pixels to add before and after, the odd one after."""
    wanted = max(_SMALLEST_SIDE, (side + STRIDE - 1) // STRIDE * STRIDE)
    before = (wanted - side) // 2
    return before, wanted - side - before


class NoFlow(nn.Module):
    """Nothing moves."""

    def forward(self, now: Tensor, past: Tensor) -> Tensor:
        """(B, 3, H, W) twice -> zeros (B, 2, H, W)."""
        return torch.zeros_like(now[:, :2])


NETWARP_HEADS = ("psp", "ocr")
NETWARP_FLOWS = ("raft", "none")
RAFT_WEIGHTS = "raft-things.pth"


@dataclass(frozen=True, slots=True)
class NetWarpConfig:
    """NetWarp on a backbone and one of two heads.

    flow: "raft", whose weights come from :meth:`NetWarp.load_flow` before training and are part of
    the checkpoint after it; or "none", no motion at all, as an ablation and for small experiments.
    """

    classes: int
    backbone: str = "resnet101-deep"  # a key of BACKBONES
    output_stride: int = 8
    head: str = "psp"  # one of NETWARP_HEADS
    width: int = 512  # channels inside the head and the auxiliary classifier
    key_width: int = 256  # ocr: channels of the attention
    flow: str = "raft"  # one of NETWARP_FLOWS
    flow_iterations: int = 20
    auxiliary: bool = True  # scores of the third stage as well, in training only


class FlowCnn(nn.Module):
    """Refines a flow for the warping of features (FlowCNN of the paper).

    Its last layer is linear and passes the given flow on unchanged at the start of training.
    Pictures go in normalised (the published code gives 0..255, which batch norm undoes).
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_bn_relu(2 + 3 + 3 + 3, 16, 3), conv_bn_relu(16, 32, 3), conv_bn_relu(32, 2, 3)
        )
        self.last = nn.Conv2d(4, 2, 3, padding=1)

        # Pass the flow on as it is at first, so that training begins from a useful warp.
        with torch.no_grad():
            for parameter in self.last.parameters():
                parameter.zero_()
            for axis in range(2):
                self.last.weight[axis, 2 + axis, 1, 1] = 1.0

    def forward(self, flow: Tensor, now: Tensor, past: Tensor) -> Tensor:
        """(B, 2, H, W) pixels and two pictures (B, 3, H, W) -> (B, 2, H, W) pixels."""
        seen = torch.cat([flow, now, past, past - now], dim=1)  # (B, 11, H, W)
        return self.last(torch.cat([self.layers(seen), flow], dim=1))


class WarpBlend(nn.Module):
    """F_t' = w0 * F_t + w1 * warp(F_t-1), a weight a channel each; w0 = 1 and w1 = 0 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w0 = nn.Parameter(torch.ones(channels))
        self.w1 = nn.Parameter(torch.zeros(channels))

    def forward(self, now: Tensor, past: Tensor, flow: Tensor) -> Tensor:
        """now, past: (B, C, h, w). flow: (B, 2, H, W) from now to past, in pixels."""
        warped = warp_features(past, flow_in_cells(flow, now))
        return self.w0[:, None, None] * now + self.w1[:, None, None] * warped


class NetWarp(FrameNetwork):
    """NetWarp: backbone and head named as in `PerFrame`, whose weights fit.

    What is warped are the plain features of the frame before, not those that were blended with its
    own past, as in the published code: two frames decide, in training and in use.

    State: the frame before, normalised, (3, H, W); its deepest features (C, h, w); with "ocr" what
    the classifier saw of it, (width, h, w), while "psp" finds that again from the deepest features;
    the number of frames seen. With a ResNet-101 of stride 8, 58 MB at 480x853, "ocr" 71 MB.

    Raises:
        ValueError: unknown head or flow.
    """

    backbone_name = "backbone"
    training_only = ("auxiliary",)
    config: NetWarpConfig

    def __init__(self, config: NetWarpConfig) -> None:
        super().__init__(config)
        _check(config)
        self.alignment = config.output_stride
        self.backbone = backbone(config.backbone, output_stride=config.output_stride)

        pyramid = self.backbone.channels
        self.head: OcrHead | PspHead
        self.auxiliary: AuxiliaryHead | None = None
        if config.head == "ocr":
            self.head = OcrHead(
                pyramid, config.classes, width=config.width, key_width=config.key_width
            )
            features = config.width
        else:
            self.head = PspHead(pyramid, config.classes, width=config.width)
            features = 2 * pyramid[3]
            if config.auxiliary:
                self.auxiliary = AuxiliaryHead(pyramid[2], config.classes, width=config.width)

        self.flow: nn.Module = NoFlow()
        if config.flow == "raft":
            self.flow = PictureFlow(config.flow_iterations)
            self.flow_weights = RAFT_WEIGHTS

        self.flow_cnn = FlowCnn()
        self.warp_deep = WarpBlend(pyramid[3])
        self.warp_head = WarpBlend(features)

        kept = [
            StateTensor("picture", (3,), stride=1),
            StateTensor("deep", (pyramid[3],), stride=config.output_stride),
        ]
        if config.head == "ocr":
            # Keep what OCR found: it needs regions too, which the deepest map does not give.
            kept.append(StateTensor("features", (features,), stride=config.output_stride))
        self.state_tensors: tuple[StateTensor, ...] = (*kept, StateTensor("seen", (1,)))

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """picture: (B, 3, H, W), the next frame -> logits (B, K, h, w)."""
        pyramid = self.backbone(picture)
        deep, regions = pyramid[3], self._regions(pyramid[2])
        own = [picture, deep]
        if regions is not None:
            own.append(self._features(deep, regions))
        *kept, seen = state

        # Choose by a mask, not a branch: the first frame, its own past, takes the same graph.
        begun = (seen > 0)[:, :, None, None]  # (B, 1, 1, 1)
        past_picture, past_deep, *rest = (
            torch.where(begun, old, new) for old, new in zip(kept, own, strict=True)
        )

        # Find PSP's features again: they are twice as many as those they are made of.
        past_features = rest[0] if rest else self._features(past_deep, None)

        flow = self._refined_flow(picture, past_picture)
        features = self._features(self.warp_deep(deep, past_deep, flow), regions)
        logits = self._classify(self.warp_head(features, past_features, flow))

        # Hand on plain features, not blended ones: two frames decide, as in training.
        return Outputs(logits), (*(one.detach() for one in own), seen + 1)

    @classmethod
    def companions(cls, config: NetWarpConfig, rng: np.random.Generator) -> tuple[int, ...]:
        """The frame before, and the target."""
        return (-1, 0)

    def forward_clip(self, frames: Tensor) -> Outputs:
        """For training: frames (B, 2, 3, H, W), the target last -> its logits (B, K, h, w).

        In training also auxiliary scores (B * 2, K, h', w') of both frames, in the order given.
        """
        if frames.shape[1] != 2:
            raise ValueError(
                f"{frames.shape[1]} frames: NetWarp takes the one before and the target"
            )

        past_picture, picture = frames.unbind(1)
        flow = self._refined_flow(picture, past_picture)

        # Run the backbone on both frames at once, so that batch norm sees one batch.
        pyramid = self.backbone(frames.flatten(0, 1))
        past_deep, deep = pyramid[3].unflatten(0, (-1, 2)).unbind(1)

        blended = self.warp_deep(deep, past_deep, flow)
        regions = self._regions(pyramid[2])  # (B * 2, K, h', w')

        # Blend the target alone, as in use: the frame before has no past here.
        both = torch.stack([past_deep, blended], dim=1).flatten(0, 1)  # (B * 2, C, h, w)
        past_features, features = self._features(both, regions).unflatten(0, (-1, 2)).unbind(1)
        logits = self._classify(self.warp_head(features, past_features, flow))

        auxiliary = None
        if self.training and self.config.auxiliary:
            auxiliary = regions if self.auxiliary is None else self.auxiliary(pyramid[2])
        return Outputs(logits, auxiliary)

    def tapped(self) -> nn.Conv2d:
        return self.head.tapped()

    def load_flow(self, path: Path) -> None:
        """Take over the published weights of RAFT, once, before training.

        Raises:
            ModelError: missing, damaged or another network's weights.
            ValueError: the network follows no flow.
        """
        if not isinstance(self.flow, PictureFlow):
            raise ValueError("this NetWarp was made with flow 'none': it takes no weights of RAFT")
        raft, _ = load_raft(path)
        self.flow.load(raft)

    def _refined_flow(self, now: Tensor, past: Tensor) -> Tensor:
        return self.flow_cnn(self.flow(now, past), now, past)

    def _regions(self, mid: Tensor) -> Tensor | None:
        """Region scores of OCR: (B, K, h', w')."""
        return self.head.regions(mid) if isinstance(self.head, OcrHead) else None

    def _features(self, deep: Tensor, regions: Tensor | None) -> Tensor:
        """Features that the second warp blends: (B, 2C, h, w) of PSP, (B, width, h, w) of OCR."""
        if isinstance(self.head, OcrHead):
            assert regions is not None
            pixels = self.head.pixels(deep)
            gathered = self.head.gather(pixels, regions)
            return self.head.fused(pixels, self.head.attend(pixels, gathered))
        return self.head.pooling(deep, self.head.pool(deep))

    def _classify(self, features: Tensor) -> Tensor:
        if isinstance(self.head, PspHead):
            features = self.head.dropout(self.head.fuse(features))
        return self.head.classifier(features)


def flow_in_cells(flow: Tensor, features: Tensor) -> Tensor:
    """Flow (B, 2, H, W) in pixels, brought to the size and the cells of (B, C, h, w)."""
    height, width = flow.shape[2:]
    rows, columns = features.shape[2:]
    right, down = resize_to(flow, features).unbind(1)  # (B, h, w) each

    # Scale each axis by itself: rounded sizes do not share one ratio.
    return torch.stack([right * (columns / width), down * (rows / height)], dim=1)


def warp_features(features: Tensor, flow: Tensor) -> Tensor:
    """Backward warp: out(x) = features(x + flow(x)), bilinear, 0 from outside the map.

    features: (B, C, h, w). flow: (B, 2, h, w), cells right and down.
    """
    height, width = features.shape[2:]

    # Widen halves: they have no room for positions.
    exact = torch.promote_types(features.dtype, torch.float32)
    flow = flow.to(exact)
    columns = torch.arange(width, dtype=flow.dtype, device=flow.device)
    rows = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    # grid_sample's -1 and 1 are the outer edges of the map
    x = (2 * (columns + flow[:, 0]) + 1) / width - 1
    y = (2 * (rows + flow[:, 1]) + 1) / height - 1
    at = torch.stack([x, y], dim=3)  # (B, h, w, 2)
    return F.grid_sample(features.to(exact), at, align_corners=False).to(features.dtype)


def _check(config: NetWarpConfig) -> None:
    if config.head not in NETWARP_HEADS:
        raise ValueError(f"head '{config.head}': use {' or '.join(NETWARP_HEADS)}")
    if config.flow not in NETWARP_FLOWS:
        raise ValueError(f"flow '{config.flow}': use {' or '.join(NETWARP_FLOWS)}")
