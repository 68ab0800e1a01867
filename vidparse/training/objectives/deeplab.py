"""ViP-DeepLab's objective: classes of pixels, centres of things, and the way to them."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from vidparse.data import IGNORE
from vidparse.errors import UsageError
from vidparse.models.network import CentreMaps, VideoNetwork
from vidparse.training.centre_targets import centre_targets
from vidparse.training.clips import ClipPlan
from vidparse.training.losses import hard_cross_entropy, heat_loss, offset_loss
from vidparse.training.objectives.objective import (
    Objective,
    Setting,
    autocast,
    channels_last,
    normalise,
    object_clips,
)
from vidparse.training.recipe import AboveZero, Count, ObjectiveOptions, Positive, Recipe, Weight
from vidparse.training.stream import Batch


class DeepLabOptions(ObjectiveOptions):
    """Fields of a recipe for pairs of frames whose pixels point to centres.

    The defaults are those of deeplab2, for pictures of about 720 lines.
    """

    clip_length: Annotated[int, Field(ge=1, le=16)] = 2  # frames of a training clip, 2 at least
    most_gap: Positive = 1  # frames from one to the next: drawn from 1 to this
    semantic_weight: Weight = 1.0
    centre_weight: Weight = 200.0
    offset_weight: Weight = 0.01  # of an error of one pixel
    earlier_weight: Weight = 0.01  # of offsets to the frame before
    hard_share: Annotated[float, Field(gt=0, le=1)] = 0.2  # of pixels that teach classes
    centre_sigma: AboveZero = 8.0  # pixels, of the Gaussian around a centre
    small_area: Count = 4096  # pixels; the classes of smaller things weigh more
    small_weight: Weight = 3.0


class DeepLab(Objective):
    """Losses of scores, heat maps and offsets (Qiao et al., CVPR 2021, section 3.3).

    It is for networks that answer with maps of centres, and for data sets that tell objects apart.
    Void teaches nothing, and neither do frames without labels. Crowds teach their class alone.
    """

    Options = DeepLabOptions
    options: DeepLabOptions

    @classmethod
    def clips(cls, recipe: Recipe, network: VideoNetwork) -> ClipPlan:
        if network.answer_type is not CentreMaps:
            raise UsageError(
                f"objective {recipe.objective.kind}: is for networks that answer with maps of "
                f"centres, {recipe.network.arch} does not; use arch vip-deeplab"
            )
        options = recipe.objective
        assert isinstance(options, DeepLabOptions)
        if options.clip_length < 2:
            raise UsageError(
                f"clip_length {options.clip_length}: objective {options.kind} learns from frames "
                "and those before them; use 2 or more"
            )
        return object_clips(recipe, options.clip_length, options.most_gap)

    @classmethod
    def training_pass(cls, network: VideoNetwork, clips: Tensor) -> Any:
        return network(clips, network.first_state(clips))

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.classes = len(setting.labels)
        is_thing = torch.zeros(256, dtype=torch.bool)  # by class
        is_thing[sorted(setting.labels.things)] = True
        self.register_buffer("is_thing", is_thing, persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        frames = channels_last(normalise(batch.frames, self.preprocess))  # (B, T, 3, H, W)
        with autocast(frames.device, self.precision):
            maps, _ = self.training_pass(self.network, frames)
        assert isinstance(maps, CentreMaps) and batch.objects is not None  # by the plan

        # A thing that has no number, or a union of classes, may have its centre anywhere.
        labels, objects = batch.labels.long(), batch.objects.long()  # (B, T, H, W)
        known = labels < self.classes
        thing = known & self.is_thing[labels]  # type: ignore[index]
        objects = objects.masked_fill(~thing, 0)
        located = known & (~thing | (objects > 0))

        options = self.options
        targets = centre_targets(objects, sigma=options.centre_sigma)
        small = (targets.areas > 0) & (targets.areas < options.small_area)
        weights = torch.where(small, options.small_weight, 1.0)
        semantic = hard_cross_entropy(
            maps.classes,
            labels.masked_fill(~known, IGNORE).flatten(0, 1),
            ignore=IGNORE,
            weights=weights.flatten(0, 1),
            share=options.hard_share,
        )
        centres = heat_loss(maps.centres, targets.heat.flatten(0, 1), located.flatten(0, 1))
        offsets = offset_loss(
            maps.offsets, targets.offsets.flatten(0, 1), (targets.areas > 0).flatten(0, 1)
        )
        earlier = offset_loss(
            maps.earlier_offsets,
            targets.earlier_offsets.flatten(0, 1),
            targets.follows.flatten(0, 1),
        )

        # Each clip counts alike, and in it each frame with labels, or pair of such frames.
        seen = known.flatten(2).any(dim=2)  # (B, T)
        pairs = torch.zeros_like(seen)
        pairs[:, 1:] = seen[:, 1:] & seen[:, :-1]
        return {
            "semantic": options.semantic_weight * _mean_of_clips(semantic, seen),
            "centres": options.centre_weight * _mean_of_clips(centres, seen),
            "offsets": options.offset_weight * _mean_of_clips(offsets, seen),
            "earlier_offsets": options.earlier_weight * _mean_of_clips(earlier, pairs),
        }


def _mean_of_clips(each: Tensor, counted: Tensor) -> Tensor:
    """The mean over clips of their means over the frames that count; 0 for a clip without any.

    Args:
        each: (B * T,). counted: bool (B, T).
    """
    within = (each.view_as(counted) * counted).sum(dim=1)
    return (within / counted.sum(dim=1).clamp(min=1)).mean()
