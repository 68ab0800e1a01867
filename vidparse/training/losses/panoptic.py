"""Losses of panoptic networks.

Clip-PanoFCN (Miao et al., Large-scale Video Panoptic Segmentation in the Wild, CVPR 2022, section
4, after PanopticFCN, Li et al., CVPR 2021, section 3.3): where kernels are, and which masks they
give.

ViP-DeepLab, picture by picture: hard pixels, heat of centres, offsets to them, as in
Panoptic-DeepLab (Cheng et al., CVPR 2020, section 3.2), whose scores learn as those of DeeperLab
(Yang et al., 2019). All maps are brought to the size of the labels first, as in deeplab2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vidparse.training.losses.inputs import full_precision

_TINY = 1e-8
_LEAST_INSIDE = 0.1  # of an object's mask at a cell that may give its kernel

Embedding = tuple[Tensor, Tensor]  # weight (D, C), bias (D,)


class Targets(Protocol):
    """The targets of a clip; see `vidparse.training.targets.ClipTargets`."""

    @property
    def members(self) -> Sequence[Tensor]: ...
    @property
    def centres(self) -> Sequence[Tensor]: ...
    @property
    def regions(self) -> Sequence[Tensor]: ...
    @property
    def masks(self) -> Tensor: ...
    @property
    def region_masks(self) -> Tensor: ...


class ClipLosses(NamedTuple):
    """Scalars, before their weights (1 for positions and 3 for masks, as published).

    pixel_stuff: 0 but for pooled kernels.
    """

    position_things: Tensor
    position_stuff: Tensor
    mask_things: Tensor
    mask_stuff: Tensor
    pixel_stuff: Tensor


def position_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Focal loss with soft targets, a_t (1 - p_t)^gamma BCE, the sum over cells.

    p_t = p y + (1 - p)(1 - y) and a_t = alpha y + (1 - alpha)(1 - y) for a target y.

    Args:
        logits, targets: (T, K, S), of the S cells of maps; targets from 0 to 1.
        weights: of each cell, for any of these axes, 0 where its target is unknown; None for 1.
    """
    # Compute in float32: halves round a small 1 - p to 0.
    logits, targets = logits.float(), targets.float()
    p = logits.sigmoid()
    p_t = p * targets + (1 - p) * (1 - targets)
    a_t = alpha * targets + (1 - alpha) * (1 - targets)

    # Start from logits: the logarithm of a p that is rounded to 0 is infinite.
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    each = a_t * (1 - p_t) ** gamma * each
    return (each if weights is None else each * weights).sum()


def _cells(levels: Sequence[Tensor]) -> Tensor:
    """Maps (T, K, h, w) of all levels as one (T, K, S): one launch on a GPU in place of five."""
    return torch.cat([level.flatten(2) for level in levels], dim=2)


def _shares(levels: Sequence[Tensor]) -> Tensor:
    """The part of its own map that each cell of all levels is, float32 (S,)."""
    counts = [level.shape[-2] * level.shape[-1] for level in levels]
    return torch.cat([torch.full((n,), 1 / n, device=levels[0].device) for n in counts])


def weighted_dice_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Dice loss of M masks, each of which k kernels predict; the sum over masks.

    Each kernel's is 1 - 2 sum(p y) / (sum p^2 + sum y^2); they are weighted in the proportion of
    `weights`, through which gradients flow.

    Args:
        logits: (M, k, h, w); M may be 0. targets: (M, h, w) from 0 to 1. weights: (M, k), 0 or
            more; a mask whose weights are all 0 costs nothing.
    """
    # Add up in float32: a sum over a map passes what halves hold.
    p = logits.float().sigmoid().flatten(2)  # (M, k, h * w)
    y = targets.float().flatten(1)[:, None]
    shared = (p * y).sum(dim=2)
    both = (p**2).sum(dim=2) + (y**2).sum(dim=2)
    dice = 1 - 2 * shared / both.clamp(min=_TINY)  # (M, k)
    weights = weights.float()
    share = weights / weights.sum(dim=1, keepdim=True).clamp(min=_TINY)
    return (dice * share).sum()


def clip_losses(
    centres: Sequence[Tensor],
    regions: Sequence[Tensor],
    kernels: Sequence[Tensor],
    features: Tensor,
    targets: Targets,
    class_ids: Tensor,
    *,
    thing_embedding: Embedding,
    stuff_embedding: Embedding,
    positions: int = 3,
    pooled: Tensor | None = None,
    region_weights: Tensor | None = None,
    centre_alpha: float = 0.25,
    known_centres: Sequence[Tensor] | None = None,
    whole_clip: bool = False,
) -> ClipLosses:
    """The losses of one clip of T frames.

    Args:
        centres: over levels, logits (T, Kt, h, w). regions: logits (T, Ks + 1, h, w), channel 0 is
            any thing. kernels: (T, C, h, w).
        features: (T, D, H / 4, W / 4).
        targets: of `clip_targets`, with N objects.
        class_ids: int64 (N,), of the objects.
        thing_embedding, stuff_embedding: an embedded kernel is weight @ kernel + bias.
        positions: the best cells of an object, whose kernels are taught its mask.
        pooled: (T, Ks + 1, C) or more channels, the kernels of the regions where the network pools
            them; the regions of the levels then give no masks.
        region_weights: (Ks + 1,), of the pixels of each region in their cross-entropy; None for 1.
        centre_alpha: of the focal loss of things, the weight of their centres against the rest.
        known_centres: over levels, (T, Kt, h, w), 0 where a centre is unknown; None for 1.
        whole_clip: a kernel is taught its object's mask in all frames of the clip at once, as it is
            used once it is fused; by default in the frame that it comes from, as published.
    """
    # Keep a graph behind the zero: a clip without objects must have gradients too.
    zero = features.float().mean() * 0.0
    position_things = position_loss(
        _cells(centres),
        _cells(targets.centres),
        alpha=centre_alpha,
        weights=None if known_centres is None else _cells(known_centres),
    )
    # Of stuff each map's mean counts, as published; of things the sum.
    position_stuff = position_loss(
        _cells(regions), _cells(targets.regions), weights=_shares(regions)
    )

    mask_things, mask_stuff = zero, zero
    things, pairs = 0, 0
    for level, kernel_map in enumerate(kernels):
        # Each object teaches the kernels of its best cells in each frame where it fits the level.
        objects, frames = targets.members[level].nonzero(as_tuple=True)
        things += len(objects)
        if len(objects):
            masks = targets.masks[objects, frames]
            chosen, weights = _best_kernels(
                _rows(centres[level], frames, class_ids[objects]),
                kernel_map.index_select(0, frames),
                masks,
                positions,
            )
            if whole_clip:
                logits = _clip_masks(chosen, features, thing_embedding)
                masks = targets.masks[objects].flatten(1, 2)
            else:
                logits = _masks(chosen, features.index_select(0, frames), thing_embedding)
            mask_things = mask_things + weighted_dice_loss(logits, masks, weights)

        # Each region teaches the kernel that is the average over its cells.
        if pooled is not None:
            continue
        frames, classes = (targets.regions[level] > 0).flatten(2).any(dim=2).nonzero(as_tuple=True)
        pairs += len(frames)
        if len(frames):
            cells = targets.regions[level][frames, classes] > 0  # (M, h, w)
            logits = _region_masks(
                cells,
                kernel_map.index_select(0, frames),
                features.index_select(0, frames),
                stuff_embedding,
            )
            mask_stuff = mask_stuff + weighted_dice_loss(
                logits, targets.region_masks[frames, classes], torch.ones_like(logits[:, :, 0, 0])
            )
    mask_stuff = mask_stuff / max(1, pairs)
    pixel_stuff = zero
    if pooled is not None:
        mask_stuff, pixel_stuff = _pooled_losses(
            pooled, features, targets, stuff_embedding, region_weights
        )
    return ClipLosses(
        position_things / max(1, things),
        position_stuff / len(features),
        mask_things / max(1, things),
        mask_stuff,
        pixel_stuff,
    )


def _pooled_losses(
    pooled: Tensor,
    features: Tensor,
    targets: Targets,
    embedding: Embedding,
    weights: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Dice loss of the regions in view, their mean, and cross-entropy of pixels over all regions.

    A region that is not in view has a kernel, too, which learns to win no pixel. The mean over
    pixels is weighted (PyTorch's definition), where there are weights (Ks + 1,).
    """
    width = embedding[0].shape[1]
    logits = _masks(pooled[..., :width], features, embedding)  # (T, Ks + 1, H / 4, W / 4)
    wanted = targets.region_masks
    frames, classes = wanted.flatten(2).any(dim=2).nonzero(as_tuple=True)
    chosen = _rows(logits, frames, classes)[:, None]
    dice = weighted_dice_loss(
        chosen, wanted[frames, classes], torch.ones_like(chosen[:, :, 0, 0])
    ) / max(1, len(frames))

    mass = wanted if weights is None else wanted * weights[:, None, None]
    pixels = -(mass * logits.log_softmax(dim=1)).sum() / mass.sum().clamp(min=_TINY)
    return dice, pixels


def _rows(maps: Tensor, frames: Tensor, channels: Tensor) -> Tensor:
    """(T, K, h, w) -> (M, h, w). Selected, not indexed: gradients then add up in a fixed order."""
    return maps.flatten(0, 1).index_select(0, frames * maps.shape[1] + channels)


def _best_kernels(
    scores: Tensor, kernels: Tensor, masks: Tensor, positions: int
) -> tuple[Tensor, Tensor]:
    """Kernels (M, k, C) of the k best cells of M objects, and their scores (M, k).

    Args:
        scores: logits (M, h, w) of the objects' classes in their frames.
        kernels: (M, C, h, w). masks: (M, H / 4, W / 4).
    """
    inside = F.interpolate(
        masks[:, None].float(), scores.shape[-2:], mode="bilinear", align_corners=False
    )
    guide = torch.where(inside[:, 0] > _LEAST_INSIDE, scores.float().sigmoid(), 0.0).flatten(1)

    # Leave the weights in the graph, as published: they teach the centres as well.
    weights, cells = guide.topk(min(positions, guide.shape[1]), dim=1)  # (M, k)
    chosen = kernels.flatten(2).gather(2, cells[:, None].expand(-1, kernels.shape[1], -1))
    return chosen.transpose(1, 2), weights


def _region_masks(cells: Tensor, kernels: Tensor, features: Tensor, embedding: Embedding) -> Tensor:
    """Mask logits (M, 1, H / 4, W / 4) of M regions of cells (M, h, w).

    A region's kernel is the sum over its cells divided by the cells of the whole map.
    """
    mean = (kernels.float() * cells[:, None]).mean(dim=(2, 3))  # (M, C)
    return _masks(mean[:, None], features, embedding)


def _clip_masks(kernels: Tensor, features: Tensor, embedding: Embedding) -> Tensor:
    """Kernels (M, k, C), embedded, times features (T, D, h, w) of one clip -> (M, k, T * h, w)."""
    everywhere = features.transpose(0, 1).flatten(1, 2)[None]  # (1, D, T * h, w)
    joined = _masks(kernels.flatten(0, 1)[None], everywhere, embedding)
    return joined.unflatten(1, kernels.shape[:2])[0]


def _masks(kernels: Tensor, features: Tensor, embedding: Embedding) -> Tensor:
    """Kernels (M, k, C), embedded, times features (M, D, h, w) -> (M, k, h, w)."""
    weight, bias = embedding
    embedded = kernels.float() @ weight.float().T + bias.float()
    return torch.einsum("mkd,mdhw->mkhw", embedded, features.float())


def hard_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    ignore: int,
    weights: Tensor | None = None,
    share: float = 0.2,
) -> Tensor:
    """Mean of the greatest weighted cross-entropies of each picture.

    The mean is over pixels and not over their weights, so that heavy pixels cost more.

    Args:
        logits: (N, K, h, w), brought to the target's size bilinearly.
        target: int64 (N, H, W) with ids 0..K-1 and `ignore`.
        weights: (N, H, W), 0 or more; None for 1.
        share: of all pixels of a picture, that count. Where fewer have a label, these do.

    Returns:
        (N,); exactly 0, with a gradient, for a picture without labels.
    """
    scores = _at_size(logits, target)
    each = F.cross_entropy(scores, target, ignore_index=ignore, reduction="none")  # (N, H, W)
    if weights is not None:
        each = each * weights

    # Pixels without a label cost 0, so they are never among the hardest to the harm of others.
    count = max(1, round(share * each[0].numel()))
    hardest = each.flatten(1).topk(count, dim=1, sorted=False).values
    known = (target != ignore).sum(dim=(1, 2))
    return hardest.sum(dim=1) / known.clamp(1, count)


def heat_loss(heat: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of centres over the known pixels of each picture.

    Args:
        heat: (N, 1, h, w). target: (N, H, W). known: bool (N, H, W).

    Returns:
        (N,); 0 for a picture of which nothing is known.
    """
    return _mean_within((_at_size(heat, target)[:, 0] - target) ** 2, known)


def offset_loss(offsets: Tensor, target: Tensor, where: Tensor) -> Tensor:
    """Mean absolute error of offsets, of both axes, over some pixels of each picture.

    Args:
        offsets: (N, 2, h, w). target: (N, 2, H, W). where: bool (N, H, W).

    Returns:
        (N,), in the unit of the offsets; 0 for a picture without such a pixel.
    """
    return _mean_within((_at_size(offsets, target) - target).abs().mean(dim=1), where)


def _at_size(maps: Tensor, like: Tensor) -> Tensor:
    """(N, C, h, w) at the height and width of `like`, in float32 or more."""
    size_hw = like.shape[-2:]
    return F.interpolate(full_precision(maps), size_hw, mode="bilinear", align_corners=False)


def _mean_within(each: Tensor, where: Tensor) -> Tensor:
    """(N, H, W), bool (N, H, W) -> (N,)."""
    return (each * where).sum(dim=(1, 2)) / where.sum(dim=(1, 2)).clamp(min=1)
