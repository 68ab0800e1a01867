"""STCL: pixels of a class attract each other within a frame and across frames (VSPW 2021, first).

loss = CE + 0.2 * STCL, on pairs (target, a frame near it).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidparse.data import IGNORE
from vidparse.training.losses import contrastive_loss
from vidparse.training.objectives.objective import (
    FeatureTap,
    Setting,
    autocast,
    normalise,
    run_frames,
)
from vidparse.training.objectives.supervised import Supervised
from vidparse.training.stream import Batch


class Contrastive(Supervised):
    """Both frames are projected (1x1 convolution, batch norm, ReLU) from the head's features.

    Both are taught by their labels as well, where they have any.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        after = self.network.tapped()
        self._features = (after,)
        self.projection = nn.Sequential(
            nn.Conv2d(after.in_channels, setting.recipe.contrast_width, 1, bias=False),
            nn.BatchNorm2d(setting.recipe.contrast_width),
            nn.ReLU(inplace=True),
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        clip = normalise(batch.frames, self.preprocess)  # (B, 2, 3, H, W)
        labels, recipe = batch.labels.long(), self.recipe
        with autocast(clip.device, recipe.precision), FeatureTap(self._features[0]) as tap:
            outputs = run_frames(self.network, clip.flatten(0, 1))
            projected = self.projection(tap.take()).unflatten(0, clip.shape[:2])
        terms = self.terms(outputs, labels.flatten(0, 1))
        classes = torch.where(labels < outputs.logits.shape[1], labels, IGNORE)
        contrast = contrastive_loss(
            projected[:, 0],
            projected[:, 1],
            classes[:, 0],
            classes[:, 1],
            ignore=IGNORE,
            temperature=recipe.contrast_temperature,
            per_class=recipe.contrast_pixels,
        )
        terms["stcl"] = recipe.contrast_weight * contrast
        return terms
