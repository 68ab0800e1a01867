"""STCL: pixels of a class attract each other within a frame and across frames (VSPW 2021, first).

loss = CE + 0.2 * STCL, on pairs (target, a frame near it).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from vidparse.data import IGNORE
from vidparse.models.network import VideoNetwork
from vidparse.training.clips import ClipPlan, plan_of
from vidparse.training.losses import contrastive_loss
from vidparse.training.objectives.objective import (
    EncoderTap,
    FeatureTap,
    Setting,
    check_per_frame,
    encoder_of,
    run_frames,
)
from vidparse.training.objectives.supervised import Supervised, SupervisedOptions
from vidparse.training.recipe import Positive, Recipe, Weight
from vidparse.training.stream import Batch


class ContrastiveOptions(SupervisedOptions):
    """STCL's fields of a recipe; the pixels that are drawn are our reading."""

    gap: Positive = 3  # frames between target and reference, at most
    contrast_weight: Weight = 0.2
    contrast_width: Positive = 512
    contrast_temperature: Annotated[float, Field(ge=1e-3)] = 0.07
    contrast_pixels: Positive = 32  # per class and frame
    contrast_features: Literal["encoder", "head"] = "encoder"  # that are projected


@dataclass(frozen=True, slots=True)
class Pair:
    """The target and a frame before or after it."""

    gap: int  # at most

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """The target comes first."""
        distance = int(rng.integers(1, self.gap + 1))
        return (0, -distance if rng.random() < 0.5 else distance)


class Contrastive(Supervised):
    """Both frames are projected (1x1 convolution, batch norm, ReLU) from the encoder's features.

    The paper (section 2.1 and figure 2) projects what the encoder gives; the head's fused map is
    our variant. Both frames are taught by their labels as well, where they have any: with
    contrast_weight 0 that alone remains, which is what the gain is measured against.
    """

    Options = ContrastiveOptions
    options: ContrastiveOptions

    @classmethod
    def clips(cls, recipe: Recipe, network: VideoNetwork) -> ClipPlan:
        check_per_frame(recipe, network)
        options = recipe.objective
        assert isinstance(options, ContrastiveOptions)
        return plan_of(recipe, Pair(options.gap))

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.projection: nn.Sequential | None = None
        self._tap: FeatureTap | EncoderTap | None = None
        if not self.options.contrast_weight:
            return  # a projection that nothing teaches would still decay

        if self.options.contrast_features == "head":
            after = self.network.tapped()
            channels, self._tap = after.in_channels, FeatureTap(after)
        else:
            encoder = encoder_of(self.network, self.recipe)
            channels, self._tap = encoder.channels[3], EncoderTap(encoder)
        self.projection = nn.Sequential(
            nn.Conv2d(channels, self.options.contrast_width, 1, bias=False),
            nn.BatchNorm2d(self.options.contrast_width),
            nn.ReLU(inplace=True),
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        clip = self.normalised(batch.frames)  # (B, 2, 3, H, W)
        labels, options = batch.labels.long(), self.options
        projected: Tensor | None = None
        with self.autocast(clip.device), self._tap or contextlib.nullcontext():
            outputs = run_frames(self.network, clip.flatten(0, 1))
            if self.projection is not None and self._tap is not None:
                projected = self.projection(self._tap.take()).unflatten(0, clip.shape[:2])
        terms = self.terms(outputs, labels.flatten(0, 1))
        if projected is None:
            return terms

        # Ignore unions: two pixels of one need not be of the same class.
        classes = torch.where(labels < outputs.logits.shape[1], labels, IGNORE)
        contrast = contrastive_loss(
            projected[:, 0],
            projected[:, 1],
            classes[:, 0],
            classes[:, 1],
            ignore=IGNORE,
            temperature=options.contrast_temperature,
            per_class=options.contrast_pixels,
        )
        terms["stcl"] = options.contrast_weight * contrast
        return terms
