"""Lovász-softmax: a loss that follows the mean intersection over union."""

from __future__ import annotations

import torch
from torch import Tensor

from vidparse.training.losses.inputs import full_precision, resize_labels


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
