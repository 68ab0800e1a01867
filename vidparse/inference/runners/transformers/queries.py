"""Answers of networks of queries, a mask and a class for each query, read in two ways."""

from __future__ import annotations

import torch
from torch import Tensor

from vidparse.inference.runners.transformers.architecture import Architecture
from vidparse.models.description import INSTANCE
from vidparse.models.network import Masks, QueryMasks


def class_scores(classes: Tensor, masks: Tensor) -> Tensor:
    """Semantic inference of MaskFormer (Cheng et al., NeurIPS 2021, section 3.4).

    Args:
        classes: logits (N, Q, K + 1), "no object" last. masks: logits (N, Q, h, w).

    Returns:
        (N, K, h, w) sums over queries of class times mask probability.
    """
    probability = classes.softmax(-1)[..., :-1]  # (N, Q, K)
    return torch.einsum("nqc,nqhw->nchw", probability, masks.sigmoid())


def found_masks(
    classes: Tensor, masks: Tensor, architecture: Architecture, task: str
) -> Masks | QueryMasks:
    """The queries that found something in one picture, in their order.

    Args:
        classes: logits (Q, K + 1), "no object" last. masks: logits (Q, h, w).
    """
    probability = classes.softmax(-1)
    if task == INSTANCE:  # the best class counts, however sure "no object" is
        scores, class_ids = probability[:, :-1].max(-1)  # (Q,)
        found = scores >= architecture.least_instance
    else:
        scores, class_ids = probability.max(-1)
        found = (class_ids != classes.shape[-1] - 1) & (scores > architecture.least_score)
    answer = (masks[found][:, None], scores[found], class_ids[found])
    if not architecture.square:
        return Masks(*answer)
    queries = found.nonzero()[:, 0] if architecture.follows else None
    return QueryMasks(*answer, queries, architecture.least_instance if task == INSTANCE else None)
