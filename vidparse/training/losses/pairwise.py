"""Pairwise-frame distillation: what a teacher finds alike in two frames, a student does too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidparse.training.losses.inputs import directions, full_precision, without_autocast


def pairwise_frame_loss(
    student_a: Tensor, student_b: Tensor, teacher_a: Tensor, teacher_b: Tensor, *, pool: int = 1
) -> Tensor:
    """PF of ETC (Liu et al., Efficient Video Segmentation Models with Per-frame Inference).

    A_ij = cosine of position i of one frame and position j of the other; the loss is the mean
    over all pairs of (A_ij of the student - A_ij of the teacher)^2.

    Args:
        student_a, student_b: (B, C, h, w), two frames of a video.
        teacher_a, teacher_b: (B, C', h', w'), the same frames; C' need not be C; brought to
            (h, w) bilinearly; no gradient.
        pool: positions, side of the squares averaged first. 1 keeps all N = h*w positions, and
            two N x N maps a sample.

    Returns:
        Scalar, 0 when student and teacher agree.
    """
    with torch.no_grad():
        teachers = [resize_like(x, student_a) for x in (teacher_a, teacher_b)]
        wanted = cosine_map(*(_pooled(x, pool) for x in teachers))
    found = cosine_map(_pooled(student_a, pool), _pooled(student_b, pool))
    return F.mse_loss(found, wanted.to(found.dtype))


def cosine_map(a: Tensor, b: Tensor) -> Tensor:
    """Cosines of all N = h*w positions of (B, C, h, w) with all of another: (B, N, N).

    1e-8 is added to norms: a position of zeros has cosine 0 with everything.
    """
    one, other = (directions(x.flatten(2), dim=1) for x in (a, b))  # (B, C, N) each
    with without_autocast(a):
        return one.transpose(1, 2) @ other  # (B, N, C) x (B, C, N) -> (B, N, N)


def resize_like(teacher: Tensor, student: Tensor) -> Tensor:
    """(B, C, h', w') at the height and width of the student, bilinearly (align_corners False)."""
    if teacher.shape[2:] == student.shape[2:]:
        return teacher
    size = student.shape[2:]
    return F.interpolate(full_precision(teacher), size=size, mode="bilinear", align_corners=False)


def _pooled(x: Tensor, pool: int) -> Tensor:
    """Means of squares; those at the right and lower border may be smaller."""
    return F.avg_pool2d(full_precision(x), pool, ceil_mode=True) if pool > 1 else x
