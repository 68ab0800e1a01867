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
from vidparse.models.fpn import NORMS, Fpn, SemanticFpn
from vidparse.models.heads.positions import SPREAD, KernelHead, PositionHead, Tower
from vidparse.models.network import KernelMaps, State, VideoNetwork

LEVELS = 5  # P3 .. P7, on which positions and kernels are found


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
        own = torch.zeros(config.stuff + 1, kernel_width)
        self.region_kernels = nn.Parameter(own) if config.pooled else None

    @classmethod
    def settings_for(cls, labels: Labels) -> dict[str, int]:
        things = len(labels.things)
        if not things:
            raise UsageError(
                f"clip-panofcn: the classes ({labels.name}) have no things to tell apart; mark "
                "some in labels.json, or use a semantic network"
            )
        return {"things": things, "stuff": len(labels) - things}

    def forward(self, clip: Tensor, state: State = ()) -> tuple[KernelMaps, State]:
        """(B, T, 3, H, W) -> the maps of its N = B * T frames, those of one clip in a row.

        The frames are padded with zeros below and on the right to multiples of 32; the maps are
        those of the padded frames.
        """
        height, width = clip.shape[-2:]
        frames = F.pad(
            clip.flatten(0, 1), (0, -width % self.alignment, 0, -height % self.alignment)
        )
        levels = self.fpn(self.backbone(frames)[:4])
        features = self.encoder(self.semantic(levels[:4]))

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
    chances = chances.sigmoid()  # (N, Ks + 1, cells)
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
