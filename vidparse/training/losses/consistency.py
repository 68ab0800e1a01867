"""Labels from a network's own predictions, where it is sure of them."""

from __future__ import annotations

from torch import Tensor


def confident_labels(probabilities: Tensor, *, threshold: float, ignore: int) -> Tensor:
    """The likeliest class of each pixel, `ignore` where its probability is below the threshold.

    For automatic labels (threshold 0.5 in the first place of the VSPW challenge 2021; ETC filters
    too, at a value it does not give) and for the teacher's labels of a mean teacher (Tarvainen &
    Valpola, NeurIPS 2017, with hard labels).

    Args:
        probabilities: (B, K, h, w), not logits.
        threshold: 0..1. A probability that is not a number is below it.

    Returns:
        int64 (B, h, w).
    """
    sureness, ids = probabilities.max(dim=1)  # (B, h, w) each
    return ids.masked_fill(~(sureness >= threshold), ignore)
