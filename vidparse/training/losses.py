"""Losses as pure functions of scores and labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    logits: Tensor, target: Tensor, *, ignore: int, class_weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy at label resolution.

    Args:
        logits: (B, K, h, w), brought to the target's size bilinearly (align_corners False).
        target: int64 (B, H, W) with ids 0..K-1 and `ignore`.
        class_weights: (K,) or None; the mean is then weighted (PyTorch's definition).

    Returns:
        Scalar; exactly 0, with a gradient, when every pixel is ignored.
    """
    scores = F.interpolate(
        logits.float(), size=target.shape[-2:], mode="bilinear", align_corners=False
    )
    if not (target != ignore).any():
        return scores.sum() * 0.0
    return F.cross_entropy(scores, target, class_weights, ignore_index=ignore)


def lovasz_softmax(logits: Tensor, target: Tensor, *, ignore: int) -> Tensor:
    """Lovász-softmax, a convex surrogate of 1 - mIoU (Berman et al., CVPR 2018, eq. 11-12).

    For each class present in the batch: errors m = |[y = c] - p_c| sorted in descending order,
    weighted by the discrete derivative of the Jaccard loss along that order.

    Args:
        logits: (B, K, h, w). target: int64 (B, H, W), nearest-resized to (h, w) here.

    Returns:
        Scalar mean over present classes; exactly 0, with a gradient, when all is ignored.
    """
    size = logits.shape[-2:]
    small = F.interpolate(target[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
    probabilities = logits.float().softmax(dim=1).movedim(1, 0).flatten(1)  # (K, B*h*w)
    labels = small.flatten()  # (B*h*w,)
    counted = labels != ignore
    probabilities, labels = probabilities[:, counted], labels[counted]
    losses = []
    for class_id in labels.unique().tolist():
        truth = (labels == class_id).float()
        errors, order = (truth - probabilities[class_id]).abs().sort(descending=True)
        losses.append(torch.dot(errors, _jaccard_steps(truth[order])))
    if not losses:
        return logits.sum() * 0.0
    return torch.stack(losses).mean()


def _jaccard_steps(truth: Tensor) -> Tensor:
    """Increase of the Jaccard loss as each further pixel is counted wrong, in sorted order."""
    total = truth.sum()
    intersection = total - truth.cumsum(0)
    union = total + (1 - truth).cumsum(0)
    jaccard = 1 - intersection / union
    return torch.diff(jaccard, prepend=jaccard.new_zeros(1))


def class_weights_from_counts(counts: Tensor, *, offset: float) -> Tensor:
    """w_c = 1 / ln(offset + share of class c) (Paszke et al., ENet, 2016), scaled to mean 1.

    Args:
        counts: (K,) labelled pixels of each class. offset: 1.02 in the paper; more is gentler.
    """
    share = counts.double() / counts.sum().clamp(min=1)
    weights = 1.0 / torch.log(offset + share)
    return (weights / weights.mean()).float()
