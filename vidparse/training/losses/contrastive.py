"""The contrastive loss of two frames: pixels of a class draw together, across time as well."""

from __future__ import annotations

import torch
from torch import Tensor

from vidparse.training.losses.inputs import (
    directions,
    full_precision,
    resize_labels,
    without_autocast,
)


def contrastive_loss(
    anchors_features: Tensor,
    reference_features: Tensor,
    anchor_labels: Tensor,
    reference_labels: Tensor,
    *,
    ignore: int,
    temperature: float = 0.07,
    per_class: int = 32,
    generator: torch.Generator | None = None,
) -> Tensor:
    """STCL, the spatio-temporal contrastive loss of the first place in the VSPW challenge 2021.

    For each anchor i, the mean over its positives p of
    -log(exp(i.p / tau) / (exp(i.p / tau) + sum over negatives n of exp(i.n / tau))), averaged
    over the anchors of the batch that have a positive. Anchors are pixels of the first map;
    positives (without i itself) and negatives are pixels of both maps of the same sample, of the
    anchor's class and of others. A denominator holds one positive only, so a sample with a single
    class gives exactly 0.

    Of each class, frame and sample, up to `per_class` pixels are drawn; the rest has no gradient.

    Args:
        anchors_features: (B, D, h, w), frame t; brought to unit length here.
        reference_features: (B, D, h', w'), another frame of the video.
        anchor_labels: int64 (B, H, W), any size, nearest-resized to (h, w). Every id but `ignore`
            is a class of its own: give `ignore` to unions of classes.
        reference_labels: int64 (B, H', W'), nearest-resized to (h', w').
        temperature: tau.
        generator: of the draw; its device need not be that of the features.

    Returns:
        Scalar in float32 (float64 for float64), under autocast too; exactly 0, with a gradient,
        when no anchor has a positive.
    """
    anchor_ids = resize_labels(anchor_labels, anchors_features)  # (B, h, w)
    reference_ids = resize_labels(reference_labels, reference_features)  # (B, h', w')

    losses = []
    with without_autocast(anchors_features):
        for anchor, anchor_id, other, other_id in zip(
            anchors_features, anchor_ids, reference_features, reference_ids, strict=True
        ):
            anchors = _pixels(anchor, anchor_id, ignore, per_class, generator)
            others = _pixels(other, other_id, ignore, per_class, generator)
            losses.append(_anchor_losses(*anchors, *others, temperature))

    # Give 0 with a graph behind it: a backward pass without one fails.
    if not any(map(len, losses)):
        nothing = full_precision(anchors_features).sum() + full_precision(reference_features).sum()
        return nothing * 0.0
    return torch.cat(losses).mean()  # of (anchors,)


def _pixels(
    features: Tensor, labels: Tensor, ignore: int, per_class: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Directions (N, D) and classes (N,) of pixels drawn from (D, h, w) and (h, w)."""
    ids = labels.flatten()  # (h*w,)
    drawn = _draw(ids, ignore, per_class, generator)  # (N,)
    return directions(features.flatten(1).T[drawn], dim=1), ids[drawn]


def _draw(ids: Tensor, ignore: int, per_class: int, generator: torch.Generator | None) -> Tensor:
    """Positions in (P,) of up to `per_class` pixels of each class, by chance: (N,)."""
    known = (ids != ignore).nonzero()[:, 0]
    device = generator.device if generator is not None else ids.device
    chance = torch.randperm(len(known), generator=generator, device=device)
    shuffled = known[chance.to(ids.device)]

    # Sort shuffled pixels stably: the first of each class are then drawn by chance.
    classes, order = ids[shuffled].sort(stable=True)
    first = torch.searchsorted(classes, classes)  # where the class of each begins
    rank = torch.arange(len(classes), device=ids.device) - first
    return shuffled[order[rank < per_class]]


def _anchor_losses(
    anchors: Tensor, anchor_ids: Tensor, others: Tensor, other_ids: Tensor, temperature: float
) -> Tensor:
    """Loss of each anchor of (A, D) that has a positive in itself and (R, D): (A' <= A,)."""
    contrast = torch.cat([anchors, others])  # (A + R, D)
    same = anchor_ids[:, None] == torch.cat([anchor_ids, other_ids])  # (A, A + R)

    # Take the anchor out of its positives: a cosine of 1 teaches nothing.
    positive = same.clone()
    positive.fill_diagonal_(False)
    scores = anchors @ contrast.T / temperature  # (A, A + R)

    # Use the least number, not -inf, whose gradient is NaN where all are masked.
    nothing = torch.finfo(scores.dtype).min
    negatives = scores.masked_fill(same, nothing).logsumexp(dim=1, keepdim=True)  # (A, 1)
    # -log(e^p / (e^p + e^n)) = log(e^0 + e^(n - p))
    losses = torch.logaddexp(negatives - scores, scores.new_zeros(()))  # (A, A + R)
    count = positive.sum(dim=1)  # (A,)
    total = losses.masked_fill(~positive, 0.0).sum(dim=1)  # (A,)
    return total[count > 0] / count[count > 0]
