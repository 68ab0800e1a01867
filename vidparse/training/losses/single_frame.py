"""Single-frame distillation: a student gives the probabilities that a teacher gives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidparse.training.losses.inputs import full_precision
from vidparse.training.losses.pairwise import resize_like


def single_frame_loss(
    student: Tensor, teacher: Tensor, counted: Tensor, *, class_weights: Tensor | None = None
) -> Tensor:
    """SF of ETC (Liu et al., Efficient Video Segmentation Models with Per-frame Inference).

    KL(teacher || student) of the class probabilities, mean over the student's positions. With
    class weights the mean is weighted as the cross-entropy's is, each position by the weight that
    the teacher expects of its class: the sum over classes of probability times weight (ours).

    Args:
        student: (N, K, h, w) scores.
        teacher: (N, K, h', w') scores, brought to (h, w) bilinearly; no gradient.
        counted: bool (N, H, W), brought to (h, w) by nearest neighbours; the others do not count.
        class_weights: (K,) or None.

    Returns:
        Scalar; exactly 0, with a gradient, when no position counts.
    """
    scores = full_precision(student)
    size = scores.shape[2:]
    with torch.no_grad():
        wanted = full_precision(resize_like(teacher, scores)).log_softmax(dim=1)
        weight = F.interpolate(counted[:, None].to(scores), size, mode="nearest-exact")[:, 0]
        if class_weights is not None:
            weight = weight * torch.einsum("nkhw,k->nhw", wanted.exp(), class_weights.to(wanted))
    loss = F.kl_div(scores.log_softmax(dim=1), wanted, log_target=True, reduction="none").sum(1)
    return (weight * loss).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
