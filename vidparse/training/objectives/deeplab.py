"""ViP-DeepLab's objective: classes of pixels, centres of things, and the way to them.

Panoptic-DeepLab (Cheng et al., CVPR 2020, section 3.2) and ViP-DeepLab (Qiao et al., CVPR 2021,
section 3.3). A centre is the mean of a thing's pixels, and may lie outside of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from vidparse.data import IGNORE
from vidparse.errors import UsageError
from vidparse.models.network import CentreMaps, VideoNetwork
from vidparse.training.clips import ClipPlan
from vidparse.training.losses import hard_cross_entropy, heat_loss, offset_loss
from vidparse.training.objectives.objective import Objective, Setting, channels_last, object_clips
from vidparse.training.recipe import AboveZero, Count, ObjectiveOptions, Positive, Recipe, Weight
from vidparse.training.stream import Batch

_REACH = 3  # standard deviations, and a pixel, within which a centre is drawn: deeplab2


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

    It is for networks that answer with maps of centres, and for data sets that distinguish objects.
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

        # Give every uint8 id a place: ids of unions and IGNORE are looked up, too.
        is_thing = torch.zeros(256, dtype=torch.bool)  # by class
        is_thing[sorted(setting.labels.things)] = True
        self.register_buffer("is_thing", is_thing, persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        frames = channels_last(self.normalised(batch.frames))  # (B, T, 3, H, W)
        with self.autocast(frames.device):
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

        # Weigh small things more, as published: few pixels teach them.
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


@dataclass(frozen=True, slots=True)
class CentreTargets:
    """The targets of B clips of T frames, at the size of their labels.

    heat: float32 (B, T, H, W), Gaussians of height 1 around the centres.
    areas: int64 (B, T, H, W), the pixels that the thing there has in its frame; 0 where none is.
    offsets: float32 (B, T, 2, H, W), rows and columns in pixels to the centre of the thing there;
        0 where none is.
    earlier_offsets: as offsets, to its centre in the frame before.
    follows: bool (B, T, H, W), where the frame before shows the thing, too: the places at which
        earlier_offsets are known.
    """

    heat: Tensor
    areas: Tensor
    offsets: Tensor
    earlier_offsets: Tensor
    follows: Tensor


def centre_targets(objects: Tensor, *, sigma: float) -> CentreTargets:
    """The targets of clips.

    Args:
        objects: int64 (B, T, H, W), 0 or the number of a thing, one and the same in its clip.
        sigma: pixels, the standard deviation of the Gaussians.
    """
    batch, length, height, width = objects.shape
    counts, centres = _mass_centres(objects)  # (B, T, M), (B, T, M, 2)
    counts[..., 0] = 0  # no thing
    places = objects.flatten(2)  # (B, T, H * W)
    areas = counts.gather(2, places).view_as(objects)

    # Look up each thing in the frame before; the first frame of a clip has none.
    earlier_counts, earlier_centres = torch.zeros_like(counts), torch.zeros_like(centres)
    earlier_counts[:, 1:], earlier_centres[:, 1:] = counts[:, :-1], centres[:, :-1]
    earlier_areas = earlier_counts.gather(2, places).view_as(objects)

    there = areas > 0
    follows = there & (earlier_areas > 0)
    return CentreTargets(
        _heat(centres.flatten(0, 1), counts.flatten(0, 1) > 0, (height, width), sigma).unflatten(
            0, (batch, length)
        ),
        areas,
        _offsets(objects, centres, there),
        _offsets(objects, earlier_centres, follows),
        follows,
    )


def _mass_centres(objects: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels int64 (B, T, M) of each number 0 .. M - 1, and their mean row and column.

    The second is float32 (B, T, M, 2), and 0 where there is no pixel.
    """
    batch, length, height, width = objects.shape
    most = int(objects.max()) + 1
    device = objects.device

    # Number the things of all frames apart, so that one count serves the batch.
    first = torch.arange(batch * length, device=device).view(batch, length, 1, 1) * most
    keys = (first + objects).flatten()

    # Whole numbers add up exactly in float64, whatever the order.
    rows = torch.arange(height, device=device, dtype=torch.float64)[:, None]
    columns = torch.arange(width, device=device, dtype=torch.float64)
    shape = (batch, length, most)
    counts, row_sums, column_sums = (
        torch.bincount(keys, values, minlength=math.prod(shape)).view(shape)
        for values in (
            None,
            rows.expand(objects.shape).flatten(),
            columns.expand(objects.shape).flatten(),
        )
    )
    sums = torch.stack([row_sums, column_sums], dim=-1)
    return counts, (sums / counts.clamp(min=1)[..., None]).float()


def _offsets(objects: Tensor, centres: Tensor, where: Tensor) -> Tensor:
    """float32 (B, T, 2, H, W): from pixels to the centre of their thing, 0 outside of `where`."""
    height, width = objects.shape[2:]
    rows = torch.arange(height, device=objects.device)[:, None]
    columns = torch.arange(width, device=objects.device)
    places = objects.flatten(2)
    ways = [
        centres[..., axis].gather(2, places).view_as(objects) - own
        for axis, own in enumerate((rows, columns))
    ]
    return torch.stack(ways, dim=2) * where[:, :, None]


def _heat(centres: Tensor, seen: Tensor, size_hw: tuple[int, int], sigma: float) -> Tensor:
    """float32 (N, H, W): a Gaussian around each centre; the greater stays where two meet.

    Args:
        centres: float32 (N, M, 2). seen: bool (N, M), the centres that there are.
    """
    heat = torch.zeros(len(centres), *size_hw, device=centres.device)
    frames, numbers = seen.nonzero(as_tuple=True)
    places = centres[frames, numbers]  # (K, 2)
    bells = []  # (K, H) and (K, W), the factors of the Gaussians
    for axis, side in enumerate(size_hw):
        distances = torch.arange(side, device=centres.device) - places[:, axis, None]
        bells.append(torch.exp(distances**2 / (-2 * sigma**2)))

    # Draw where it shows alone: whole maps of all things would take gigabytes.
    reach = _REACH * sigma + 1
    for k, (frame, place) in enumerate(zip(frames.tolist(), places.tolist(), strict=True)):
        rows, columns = (
            slice(max(0, math.ceil(one - reach)), math.floor(one + reach) + 1) for one in place
        )
        part = heat[frame, rows, columns]
        drawn = bells[0][k, rows, None] * bells[1][k, None, columns]
        torch.maximum(part, drawn, out=part)
    return heat
