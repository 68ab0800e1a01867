"""Clip-PanoFCN's objective: positions of kernels, and the masks that these kernels give."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from vidparse.data import IGNORE
from vidparse.errors import UsageError
from vidparse.models.network import KernelMaps, VideoNetwork
from vidparse.training.clips import ClipPlan
from vidparse.training.losses import class_weights_from_counts, clip_losses
from vidparse.training.losses.panoptic import ClipLosses
from vidparse.training.objectives.objective import (
    Objective,
    Setting,
    autocast,
    channels_last,
    normalise,
    object_clips,
)
from vidparse.training.recipe import ObjectiveOptions, Offset, Positive, Recipe, Share, Weight
from vidparse.training.stream import Batch
from vidparse.training.targets import VOID, clip_targets, known_centres


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

    It is for networks that answer with kernel maps, and for data sets that tell objects apart.
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
        frames = channels_last(normalise(batch.frames, self.preprocess))  # (B, T, 3, H, W)
        with autocast(frames.device, self.precision):
            maps, _ = self.network(frames, ())
        assert isinstance(maps, KernelMaps) and batch.objects is not None  # by the plan

        # Every parameter takes part in every step, whatever is in view.
        zero = torch.stack([one.float().mean() for one in _tensors(maps)]).sum() * 0.0
        terms = dict.fromkeys(ClipLosses._fields, zero)

        # Teach each clip by itself: an object of one is nothing to another.
        labels, objects = batch.labels.long(), batch.objects.long()
        known = (labels != IGNORE).flatten(2).any(dim=2)  # (B, T)
        for i in known.any(dim=1).nonzero().flatten().tolist():
            seen = known[i].nonzero().flatten()  # a frame without labels is no empty one
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
