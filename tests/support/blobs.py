"""A network of a window, a memory and masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidparse.models.description import StateTensor
from vidparse.models.network import Masks, State, VideoNetwork


@dataclass(frozen=True, slots=True)
class BlobsConfig:
    classes: int = 3


class Blobs(VideoNetwork):
    """Three frames a call, a memory, masks: what no network of the zoo has yet."""

    task = "panoptic"
    window = 3
    state_tensors = (StateTensor("mean", (3,)),)

    def __init__(self, config: BlobsConfig) -> None:
        super().__init__(config)
        self.conv = nn.Conv2d(3, 6, 3, stride=4, padding=1)

    def forward(self, clip: Tensor, state: State) -> tuple[Masks, State]:
        features = self.conv(clip[0])  # (T, 6, h, w)
        mean = 0.5 * state[0] + 0.5 * clip.mean(dim=(1, 3, 4))
        scores = (features.mean(dim=(0, 2, 3)) + mean.mean()).sigmoid()  # (6,)
        kept = (scores > 0.4).nonzero()[:, 0]
        keys = torch.stack([scores[kept], 2 * scores[kept]], dim=1)
        masks = features.transpose(0, 1)[kept]
        return Masks(masks, scores[kept], kept % self.config.classes, keys), (mean,)
