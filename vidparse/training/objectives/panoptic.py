"""Clip-PanoFCN's objective: positions of kernels, and the masks that these kernels give.

Miao et al., Large-scale Video Panoptic Segmentation in the Wild, CVPR 2022, section 4, which takes
its targets, level by level, from PanopticFCN (Li et al., CVPR 2021, section 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vidparse.data import IGNORE
from vidparse.errors import UsageError
from vidparse.models.network import KernelMaps, VideoNetwork
from vidparse.training.clips import ClipPlan
from vidparse.training.losses import ClipLosses, class_weights_from_counts, clip_losses
from vidparse.training.objectives.objective import Objective, Setting, channels_last, object_clips
from vidparse.training.recipe import ObjectiveOptions, Offset, Positive, Recipe, Share, Weight
from vidparse.training.stream import Batch

STRIDE = 4  # of masks, features and region masks
SCALES = ((1, 64), (32, 128), (64, 256), (128, 512), (256, 2048))  # pixels, of P3 .. P7
VOID = 255  # of `stuff`
MOST_OBJECTS = 100  # of a level; the largest are kept
_OVERLAP = 0.7  # least IoU of a box that is shifted by the radius of a Gaussian (CornerNet)


class PanopticOptions(ObjectiveOptions):
    """Fields of a recipe for clips of things and stuff."""

    clip_length: Annotated[int, Field(ge=1, le=16)] = 3  # frames of a training clip
    most_gap: Positive = 1  # frames from one to the next: drawn from 1 to this
    position_weight: Weight = 1.0
    centre_alpha: Share = 0.25  # focal weight of the centres of things against the rest
    mask_weight: Weight = 3.0
    pixel_weight: Weight = 0.0  # cross-entropy of pixels, for networks that pool kernels
    class_weight_offset: Offset = 0.0  # > 1: pixels weigh 1 / ln(offset + share of their region)
    least_share: Share = 0.5  # of a cell that a region covers, to be taught there
    positions: Positive = 3  # best cells of a thing, whose kernels learn its mask
    mask_frames: Literal["own", "clip"] = "own"  # in which a kernel is taught its thing's mask


class Panoptic(Objective):
    """Position and mask losses of whole clips (Miao et al., CVPR 2022, section 4).

    It is for networks that answer with kernel maps, and for data sets that distinguish objects.
    A thing is one and the same in all frames of a clip; frames without labels teach nothing. Of a
    crowd the pixels are known to be things, but not how many, nor where their centres are.
    """

    Options = PanopticOptions
    options: PanopticOptions

    @classmethod
    def clips(cls, recipe: Recipe, network: VideoNetwork) -> ClipPlan:
        if not network.any_window:
            raise UsageError(
                f"objective {recipe.objective.kind}: is for networks that answer with kernel maps, "
                f"{recipe.network.arch} does not; use arch clip-panofcn"
            )
        options = recipe.objective
        assert isinstance(options, PanopticOptions)
        return object_clips(recipe, options.clip_length, options.most_gap)

    @classmethod
    def training_pass(cls, network: VideoNetwork, clips: Tensor) -> Any:
        return network(clips, ())

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        labels = setting.labels
        table = torch.full((256,), VOID, dtype=torch.int64)  # class -> region
        for region, class_id in enumerate(sorted(set(range(len(labels))) - set(labels.things))):
            table[class_id] = region + 1
        things = torch.full((256,), -1, dtype=torch.int64)  # class -> number among the things
        for number_, class_id in enumerate(sorted(labels.things)):
            table[class_id], things[class_id] = 0, number_
        table[IGNORE] = VOID
        self.register_buffer("regions", table, persistent=False)
        self.register_buffer("things", things, persistent=False)
        self.counts = len(labels.things), len(labels) - len(labels.things)
        self.register_buffer("region_weights", self._region_weights(setting), persistent=False)

    def _region_weights(self, setting: Setting) -> Tensor | None:
        """Weight of a pixel of each region (Ks + 1,), region 0 any thing; None for no weights."""
        if not self.options.class_weight_offset:
            return None
        things, pixels = set(setting.labels.things), setting.class_counts()
        each = [int(pixels[i]) for i in range(len(pixels)) if i not in things]
        counts = torch.tensor([int(pixels.sum()) - sum(each), *each])
        return class_weights_from_counts(counts, offset=self.options.class_weight_offset)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        frames = channels_last(self.normalised(batch.frames))  # (B, T, 3, H, W)
        with self.autocast(frames.device):
            maps, _ = self.network(frames, ())
        assert isinstance(maps, KernelMaps) and batch.objects is not None  # by the plan

        # Every parameter takes part in every step, whatever is in view.
        zero = torch.stack([one.float().mean() for one in _tensors(maps)]).sum() * 0.0
        terms = dict.fromkeys(ClipLosses._fields, zero)

        # Teach each clip by itself: an object of one is nothing to another.
        labels, objects = batch.labels.long(), batch.objects.long()
        known = (labels != IGNORE).flatten(2).any(dim=2)  # (B, T)
        for i in known.any(dim=1).nonzero().flatten().tolist():
            # Pass over frames without labels, which are no empty ones.
            seen = known[i].nonzero().flatten()
            losses = self._taught(
                maps, seen + i * known.shape[1], labels[i, seen], objects[i, seen]
            )
            for name, term in losses._asdict().items():
                terms[name] = terms[name] + term / len(known)
        weights = {
            "position": self.options.position_weight,
            "mask": self.options.mask_weight,
            "pixel": self.options.pixel_weight,
        }
        return {name: weights[name.split("_")[0]] * term for name, term in terms.items()}

    def _taught(
        self, maps: KernelMaps, frames: Tensor, labels: Tensor, objects: Tensor
    ) -> ClipLosses:
        """Losses of one clip of T frames.

        Args:
            frames: int64 (T,), its places in the maps.
            labels, objects: int64 (T, H, W).
        """
        masks, class_ids = self._objects(labels, objects)
        centres = [level[frames] for level in maps.centres]
        level_sizes = [(level.shape[-2], level.shape[-1]) for level in centres]
        targets = clip_targets(
            masks,
            class_ids,
            self.regions[labels],  # type: ignore[index]
            level_sizes=level_sizes,
            num_things=self.counts[0],
            num_stuff=self.counts[1],
            least_share=self.options.least_share,
        )

        return clip_losses(
            centres,
            [level[frames] for level in maps.regions],
            [level[frames] for level in maps.kernels],
            maps.features[frames],
            targets,
            class_ids,
            thing_embedding=maps.thing_embedding,
            stuff_embedding=maps.stuff_embedding,
            positions=self.options.positions,
            pooled=None if maps.pooled is None else maps.pooled[frames],
            region_weights=self.region_weights,  # type: ignore[arg-type]
            centre_alpha=self.options.centre_alpha,
            known_centres=known_centres(self._crowds(labels, objects), level_sizes),
            whole_clip=self.options.mask_frames == "clip",
        )

    def _crowds(self, labels: Tensor, objects: Tensor) -> Tensor:
        """bool (T, Kt, H, W): pixels of a class of things that belong to no object."""
        kinds = self.things[labels].masked_fill(objects > 0, -1)  # type: ignore[index]
        return kinds[:, None] == torch.arange(self.counts[0], device=kinds.device)[:, None, None]

    def _objects(self, ids: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Masks bool (N, T, H, W) of the things in view, and their numbers among the things (N,).

        A thing is of the class that most of its pixels have; where none is a thing's, it is none.
        """
        kinds = self.things[ids]  # type: ignore[index]
        of_things = torch.where(kinds >= 0, objects, 0)
        most = int(of_things.max()) + 1
        votes = torch.bincount(
            (of_things * self.counts[0] + kinds.clamp(min=0)).flatten(),
            minlength=most * self.counts[0],
        ).view(most, self.counts[0])
        present = votes.sum(dim=1) > 0
        present[0] = False
        numbers = present.nonzero().flatten()
        masks = of_things[None] == numbers[:, None, None, None]
        return masks, votes[numbers].argmax(dim=1)


def _tensors(maps: KernelMaps) -> list[Tensor]:
    levels = [*maps.centres, *maps.regions, *maps.kernels]
    levels += [] if maps.pooled is None else [maps.pooled]
    return [*levels, maps.features, *maps.thing_embedding, *maps.stuff_embedding]


@dataclass(frozen=True, slots=True)
class ClipTargets:
    """The targets of one clip of T frames; lists are over the levels P3, P4 ...

    members: bool (N, T), the objects whose size in a frame fits the level.
    centres: float32 (T, Kt, h, w), Gaussians around the centres of things.
    regions: float32 (T, Ks + 1, h, w), the share of a cell that a region covers, 0 below the least;
        channel 0 is any thing.
    masks: float32 (N, T, H / 4, W / 4), from 0 to 1.
    region_masks: float32 (T, Ks + 1, H / 4, W / 4), from 0 to 1.
    """

    members: list[Tensor]
    centres: list[Tensor]
    regions: list[Tensor]
    masks: Tensor
    region_masks: Tensor


def clip_targets(
    masks: Tensor,
    class_ids: Tensor,
    stuff: Tensor,
    *,
    level_sizes: Sequence[tuple[int, int]],
    num_things: int,
    num_stuff: int,
    least_share: float = 0.5,
) -> ClipTargets:
    """The targets of a clip.

    An object that fits a level in any frame is drawn there in all frames that show it. An object
    that vanishes at stride 4 is a member of its levels and is not drawn. Where more than
    MOST_OBJECTS fit a level, those with the most pixels in the clip stay.

    Args:
        masks: bool (N, T, H, W), one row per object, empty where it is away; N may be 0, and H and
            W are multiples of 32.
        class_ids: int64 (N,), 0 .. num_things - 1.
        stuff: int64 (T, H, W): 0 any thing, 1 .. num_stuff, VOID.
        level_sizes: (h, w) of P3 .. P7.
        least_share: of a cell that a region must cover to be a target there.
    """
    size_hw = (stuff.shape[-2], stuff.shape[-1])
    fine_hw = (size_hw[0] // STRIDE, size_hw[1] // STRIDE)
    fine = _resized(masks.float(), fine_hw)  # (N, T, H / 4, W / 4)
    region_masks = _resized(_one_hot(stuff, num_stuff + 1), fine_hw)  # (T, Ks + 1, H / 4, W / 4)

    # Choose and draw on the CPU: a GPU would stop for each of the many small things.
    device, kinds = stuff.device, class_ids.tolist()
    boxes = _box_sizes(masks).cpu()  # (N, T, 2)
    size = boxes.prod(dim=-1).sqrt()  # (N, T)
    area, there = masks.sum(dim=(1, 2, 3)).cpu(), _is_there(masks).cpu()  # (N,), (N, T)

    # Find centres at stride 4, as published: what vanishes there is not drawn.
    places = _mass_centres(fine).cpu()  # (N, T, 2); NaN where nothing is left of an object

    members, centres, regions = [], [], []
    for (low, high), level_hw in zip(SCALES, level_sizes, strict=True):
        inside = (size >= low) & (size <= high) & there

        # Keep the largest of too many, where the published code fails.
        inside &= _largest(inside.any(dim=1), area)[:, None]
        members.append(inside.to(device))

        # Draw each of its objects in all frames, whichever of them fit.
        drawn = torch.zeros(len(stuff), num_things, *level_hw)

        # Keep height with height: the published code swaps the two scales.
        per_row, per_column = level_hw[0] / size_hw[0], level_hw[1] / size_hw[1]
        cells = places * places.new_tensor((level_hw[0] / fine_hw[0], level_hw[1] / fine_hw[1]))

        # Mark absence by NaN: by cell (0, 0), as published, an object there is lost.
        shown = inside.any(dim=1)[:, None] & ~places.isnan().any(dim=2)
        for n, t in shown.nonzero().tolist():
            height, width = boxes[n, t].tolist()
            radius = gaussian_radius(height * per_row, width * per_column)
            row, column = cells[n, t].tolist()
            _draw(drawn[t, kinds[n]], (int(row), int(column)), radius)
        centres.append(drawn.to(device))

        covered = _resized(region_masks, level_hw).clamp(max=1.0)
        regions.append(torch.where(covered < least_share, 0.0, covered))
    return ClipTargets(members, centres, regions, fine, region_masks)


def known_centres(crowds: Tensor, level_sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Weights of cells: 0 where the centres of a class are unknown, in its crowds; else 1.

    Args:
        crowds: bool (T, Kt, H, W), the pixels of crowds of each class of things.
        level_sizes: (h, w) of P3 .. P7.

    Returns:
        over the levels, float32 (T, Kt, h, w): 0 for a cell that a crowd reaches into, else 1.
    """
    known = []
    for size_hw in level_sizes:
        # Take the maximum: one pixel of a crowd makes its cell unknown.
        reached = F.adaptive_max_pool2d(crowds.float(), size_hw)
        known.append(1.0 - reached)
    return known


def gaussian_radius(height: float, width: float) -> int:
    """Radius in cells of the Gaussian around the centre of a box, measured in cells.

    CornerNet (Law and Deng, ECCV 2018, section 3.2) in the form of its published code, which
    divides all three roots by 2.
    """
    around, area = height + width, height * width
    shrunk = around**2 - 4 * area * (1 - _OVERLAP) / (1 + _OVERLAP)
    within = 4 * around**2 - 16 * (1 - _OVERLAP) * area
    beyond = 4 * _OVERLAP**2 * around**2 + 16 * _OVERLAP * (1 - _OVERLAP) * area

    # Divide all three by 2, as the published code does, and not by twice their first factor.
    roots = (
        (around + math.sqrt(shrunk)) / 2,
        (2 * around + math.sqrt(within)) / 2,
        (-2 * _OVERLAP * around + math.sqrt(beyond)) / 2,
    )
    return max(0, int(min(roots)))


def _resized(maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """float (A, B, H, W) -> (A, B, h, w), bilinear without antialiasing; A and B may be 0."""
    if not maps.numel():
        return maps.new_zeros(*maps.shape[:2], *size_hw)
    return F.interpolate(maps, size_hw, mode="bilinear", align_corners=False)


def _one_hot(stuff: Tensor, channels: int) -> Tensor:
    """int64 (T, H, W) -> float32 (T, C, H, W); void has no channel."""
    classes = torch.arange(channels, device=stuff.device)[:, None, None]
    return (stuff[:, None] == classes).float()


def _is_there(masks: Tensor) -> Tensor:
    """bool (N, T): frames that show an object."""
    return masks.flatten(2).any(dim=2)


def _box_sizes(masks: Tensor) -> Tensor:
    """float32 (N, T, 2): last minus first row and column with a pixel; 0 where there is none."""
    sides = []
    for axis in (3, 2):
        seen = masks.any(dim=axis)  # (N, T, H) or (N, T, W)
        length = seen.shape[-1]
        places = torch.arange(length, device=masks.device)
        first = torch.where(seen, places, length).amin(dim=-1)
        last = torch.where(seen, places, -1).amax(dim=-1)

        # Leave out the + 1, as published: the scales of levels are meant for this size.
        sides.append((last - first).clamp(min=0).float())
    return torch.stack(sides, dim=-1)


def _mass_centres(fine: Tensor) -> Tensor:
    """float32 (N, T, 2): mean row and column of the cells above 0, each of the same weight."""
    there = (fine > 0).float()
    rows = torch.arange(fine.shape[-2], device=fine.device, dtype=torch.float32)
    columns = torch.arange(fine.shape[-1], device=fine.device, dtype=torch.float32)
    count = there.sum(dim=(2, 3))
    row = (there.sum(dim=3) * rows).sum(dim=2) / count
    column = (there.sum(dim=2) * columns).sum(dim=2) / count
    return torch.stack([row, column], dim=-1)


def _largest(wanted: Tensor, area: Tensor) -> Tensor:
    """bool (N,): of the `wanted` objects the MOST_OBJECTS with the most pixels."""
    if int(wanted.sum()) <= MOST_OBJECTS:
        return wanted

    # Sort stably, so that equal areas give one choice in every run.
    order = torch.argsort(torch.where(wanted, area, -1), descending=True, stable=True)
    kept = torch.zeros_like(wanted)
    kept[order[:MOST_OBJECTS]] = True
    return kept


def _draw(heat: Tensor, cell: tuple[int, int], radius: int) -> None:
    """Draw a Gaussian around a cell of a map (h, w), in place; the greater value stays."""
    row, column = cell
    height, width = heat.shape
    top, bottom = max(0, row - radius), min(height, row + radius + 1)
    left, right = max(0, column - radius), min(width, column + radius + 1)
    sigma = (2 * radius + 1) / 3
    y, x = np.ogrid[top - row : bottom - row, left - column : right - column]
    values = np.exp(-(x**2 + y**2) / (2 * sigma**2)).astype(np.float32)
    part = heat[top:bottom, left:right]

    # Keep the greater value, so that both peaks stay 1 where two objects meet.
    torch.maximum(part, torch.from_numpy(values), out=part)
