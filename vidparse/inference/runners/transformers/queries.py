"""Answers of networks of queries, a mask and a class for each query, read in two ways."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate

from vidparse.inference.masks import Masks

LEAST_SCORE = 0.5  # of a query's class, above which its mask counts


def class_scores(
    classes: torch.Tensor, masks: torch.Tensor, mask_hw: tuple[int, int] | None
) -> torch.Tensor:
    """Semantic inference of MaskFormer (Cheng et al., NeurIPS 2021, section 3.4).

    Args:
        classes: logits (Q, K + 1), "no object" last. masks: logits (Q, h, w).
        mask_hw: size to bring the masks to first; None: as they are.

    Returns:
        (K, h, w) sums over queries of class times mask probability.
    """
    probability = classes.softmax(-1)[:, :-1]  # (Q, K)
    inside = _resized(masks, mask_hw).sigmoid()  # (Q, h, w)
    return torch.einsum("qc,qhw->chw", probability, inside)


def scored_masks(
    classes: torch.Tensor, masks: torch.Tensor, mask_hw: tuple[int, int] | None
) -> Masks:
    """The queries that found something, in their order; arguments as for :func:`class_scores`."""
    scores, class_ids = classes.softmax(-1).max(-1)  # (Q,)
    found = (class_ids != classes.shape[-1] - 1) & (scores > LEAST_SCORE)
    inside = _resized(masks[found], mask_hw).sigmoid()  # (N, h, w)
    return Masks(
        inside[:, None].cpu().numpy(), scores[found].cpu().numpy(), class_ids[found].cpu().numpy()
    )


def _resized(masks: torch.Tensor, size_hw: tuple[int, int] | None) -> torch.Tensor:
    if size_hw is None or not len(masks):
        return masks
    return interpolate(masks[None], size_hw, mode="bilinear", align_corners=False)[0]
