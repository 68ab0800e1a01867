"""Losses of ViP-DeepLab, picture by picture: hard pixels, heat of centres, offsets to them.

Panoptic-DeepLab (Cheng et al., CVPR 2020, section 3.2), whose scores learn as those of DeeperLab
(Yang et al., 2019). All maps are brought to the size of the labels first, as in deeplab2.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vidparse.training.losses.inputs import full_precision


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
