"""Losses of scores against labels: cross-entropy in three forms, and Lovász-softmax."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidparse.training.losses.inputs import full_precision, resize_labels


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
    scores = _at_label_size(logits, target)

    # Give 0 with a gradient where torch gives NaN, the mean of nothing.
    if not (target != ignore).any():
        return scores.sum() * 0.0
    return F.cross_entropy(scores, target, _like(class_weights, scores), ignore_index=ignore)


def union_cross_entropy(
    logits: Tensor,
    target: Tensor,
    unions: Tensor,
    *,
    ignore: int,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy where a label may name several classes, one of which is right.

    A pixel labelled with a union costs -log of the summed probability of its members (the
    marginal loss of Shi et al., Medical Image Analysis 2021). Only the pixels that carry a union
    are gathered, so a target without any costs what `cross_entropy` costs, and equals it.

    Args:
        logits: (B, K, h, w), brought to the target's size bilinearly (align_corners False).
        target: int64 (B, H, W): 0..K-1 are classes, K..K+G-1 rows of `unions`, and `ignore`.
        unions: bool (G, K), the members of each union.
        class_weights: (K,) or None. A union weighs the mean of its members; the mean over pixels
            is then weighted (PyTorch's definition).

    Returns:
        Scalar; exactly 0, with a gradient, when every pixel is ignored.

    Raises:
        ValueError: `ignore` is the id of a class or union, or a union has no member.
    """
    classes = unions.shape[1]
    if 0 <= ignore < classes + len(unions):
        raise ValueError(f"ignore {ignore} is also the id of a class or union")

    partial = (target >= classes) & (target != ignore)  # (B, H, W)
    if not partial.any():
        return cross_entropy(logits, target, ignore=ignore, class_weights=class_weights)
    if not unions.any(dim=1).all():
        raise ValueError("a union has no member: no class would be right")

    # Pixels of one class cost as usual; gather those of a union, and add what they cost.
    scores = _at_label_size(logits, target)  # (B, K, H, W)
    weights = scores.new_ones(classes) if class_weights is None else class_weights.to(scores)
    exact = target.masked_fill(partial, ignore)
    total = F.cross_entropy(scores, exact, weights, ignore_index=ignore, reduction="sum")

    row = target[partial] - classes  # (N,)
    shares = scores.movedim(1, 3)[partial].log_softmax(dim=1)  # (N, K)

    # Add probabilities up by their logarithms, so that small ones are not lost.
    losses = -shares.masked_fill(~unions[row], -torch.inf).logsumexp(dim=1)  # (N,)
    members = unions.to(scores)  # (G, K)
    partial_weights = ((members @ weights) / members.sum(dim=1))[row]  # (N,)

    total = total + (partial_weights * losses).sum()
    return total / (weights[exact[exact != ignore]].sum() + partial_weights.sum())


def pseudo_cross_entropy(logits: Tensor, pseudo: Tensor, counted: Tensor, *, ignore: int) -> Tensor:
    """Cross-entropy of the pixels that have a label, over the number of those that count.

    For labels that a network gave where it is sure: divided by the labelled pixels alone, the few
    that it is sure of at first would weigh as much as all pixels of true labels. No class weighs
    more than another, since rare classes are those that it is wrong about.

    Args:
        logits: (B, K, h, w), brought to the labels' size bilinearly (align_corners False).
        pseudo: int64 (B, H, W) with ids 0..K-1 and `ignore`.
        counted: bool (B, H, W), all pixels that might have had a label; the others cost nothing.

    Returns:
        Scalar; exactly 0, with a gradient, when no counted pixel has a label.
    """
    scores = _at_label_size(logits, pseudo)
    labels = pseudo.masked_fill(~counted, ignore)
    total = F.cross_entropy(scores, labels, ignore_index=ignore, reduction="sum")
    return total / counted.sum().clamp(min=1)


def bootstrapped_cross_entropy(
    logits: Tensor, target: Tensor, *, ignore: int, threshold: float = 0.3, least: int = 4096
) -> Tensor:
    """Mean cross-entropy of the hardest pixels of each picture, then of the pictures.

    The recipe of FC-HarDNet (Chao et al., ICCV 2019, released code). Its threshold is taken to be
    a loss in nats, as that code compares it: 0.3 leaves out pixels whose class already has a
    probability over exp(-0.3) = 0.74. Unlike there, ignored pixels are never among the hardest,
    and a picture without labels is left out of the mean.

    Args:
        logits: (B, K, h, w), brought to the target's size bilinearly (align_corners False).
        target: int64 (B, H, W) with ids 0..K-1 and `ignore`.
        threshold: nats; pixels with a larger loss count.
        least: pixels; as many of the largest losses count if fewer are above the threshold.

    Returns:
        Scalar; exactly 0, with a gradient, when every pixel is ignored.
    """
    scores = _at_label_size(logits, target)
    pixels = F.cross_entropy(scores, target, ignore_index=ignore, reduction="none")  # (B, H, W)

    means = []
    for losses, labels in zip(pixels, target, strict=True):
        # Leave ignored pixels out: their loss of 0 would fill up the hardest.
        counted = losses[labels != ignore]  # (N,)
        hard = counted[counted > threshold]
        if len(hard) < least:
            hard = counted.topk(min(least, len(counted))).values
        if len(hard):
            means.append(hard.mean())
    return torch.stack(means).mean() if means else scores.sum() * 0.0


def class_weights_from_counts(counts: Tensor, *, offset: float) -> Tensor:
    """w_c = 1 / ln(offset + share of class c) (Paszke et al., ENet, 2016), scaled to mean 1.

    Args:
        counts: (K,) labelled pixels of each class. offset: 1.02 in the paper; more is gentler.
    """
    # Divide in float64: float32 counts exactly up to 2^24 pixels alone.
    share = counts.double() / counts.sum().clamp(min=1)
    weights = 1.0 / torch.log(offset + share)
    return (weights / weights.mean()).float()


def _at_label_size(logits: Tensor, target: Tensor) -> Tensor:
    """(B, K, h, w) at the size of (B, H, W)."""
    return F.interpolate(
        full_precision(logits), size=target.shape[-2:], mode="bilinear", align_corners=False
    )


def _like(weights: Tensor | None, scores: Tensor) -> Tensor | None:
    return None if weights is None else weights.to(scores)


def lovasz_softmax(logits: Tensor, target: Tensor, *, ignore: int) -> Tensor:
    """Lovász-softmax, a convex surrogate of 1 - mIoU (Berman et al., CVPR 2018, eq. 11-12).

    For each class present in the batch: errors m = |[y = c] - p_c| sorted in descending order,
    weighted by the discrete derivative of the Jaccard loss along that order.

    Args:
        logits: (B, K, h, w). target: int64 (B, H, W), nearest-resized to (h, w) here; ids from K
            on (unions of classes) are ignored as `ignore` is.

    Returns:
        Scalar mean over present classes; exactly 0, with a gradient, when all is ignored.
    """
    scores = full_precision(logits)
    probabilities = scores.softmax(dim=1).movedim(1, 0).flatten(1)  # (K, B*h*w)
    labels = resize_labels(target, logits).flatten()  # (B*h*w,)
    counted = (labels != ignore) & (labels < logits.shape[1])
    probabilities, labels = probabilities[:, counted], labels[counted]  # (K, N), (N,)

    losses = []
    for class_id in labels.unique().tolist():
        truth = (labels == class_id).to(scores.dtype)
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
