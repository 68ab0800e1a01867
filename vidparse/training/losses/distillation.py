"""Distillation: what a teacher, or a network itself where it is sure, finds in the same frames.

The losses of ETC (Liu et al., Efficient Video Segmentation Models with Per-frame Inference): PF on
pairs of frames, MF on clips, SF on single frames. Labels of a mean teacher are `confident_labels`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.training.losses.inputs import directions, full_precision, without_autocast

HIDDEN = 4  # channels of the encoder of motion


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


class ConvLSTM(nn.Module):
    """The ConvLSTM of ETC's multi-frame loss: one channel in, 4 hidden, kernel 3, zero states.

    One convolution makes the gates, in the order input, forget, output, candidate. Student and
    teacher pass through the same weights, which are optimised with the student's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Conv2d(1 + HIDDEN, 4 * HIDDEN, kernel_size=3, padding=1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Cell and hidden state, (B, 4, n, n) each, after the steps of (B, T, n, n)."""
        cell = maps.new_zeros(maps.shape[0], HIDDEN, *maps.shape[2:])  # (B, 4, n, n)
        hidden = cell
        for step in maps.split(1, dim=1):  # (B, 1, n, n)
            gates = self.gates(torch.cat([step, hidden], dim=1))  # (B, 16, n, n)
            take, keep, show, candidate = gates.chunk(4, dim=1)  # (B, 4, n, n) each
            cell = keep.sigmoid() * cell + take.sigmoid() * candidate.tanh()
            hidden = show.sigmoid() * cell.tanh()
        return cell, hidden

    @torch.no_grad()
    def clip_weights(self, limit: float = 0.1) -> None:
        """Keep every weight within +-limit: after each step, lest all maps be encoded alike."""
        for weight in self.parameters():
            weight.clamp_(-limit, limit)


def multi_frame_loss(
    encoder: ConvLSTM, student: Tensor, teacher: Tensor, *, cell: int = 16
) -> tuple[Tensor, Tensor]:
    """MF of ETC (Liu et al., Efficient Video Segmentation Models with Per-frame Inference).

    Each frame's features are averaged in cells, the cosines of all pairs of its n cells are an
    n x n picture, and the clip of pictures is encoded; the loss is the mean squared difference of
    the last cell states plus that of the last hidden states.

    Args:
        encoder: gets gradients from both its uses.
        student: (B, T, C, h, w), features before the classifier.
        teacher: (B, T, C', h', w'), the same crop; brought to (h, w) bilinearly; no gradient.
        cell: positions of the map, side and stride of the cells. The rest at the right and below
            is dropped; a side shorter than a cell is one cell.

    Returns:
        The loss, a scalar, 0 when student and teacher agree; and the mean of (1 - cell state of
        the teacher), which the released code minimises too, to keep the encoder from collapse.
    """
    batch = student.shape[0]
    found = student.flatten(0, 1)  # (B*T, C, h, w)
    with torch.no_grad():
        wanted = resize_like(teacher.flatten(0, 1), found)  # (B*T, C', h, w)
        wanted_maps = _self_similarity(wanted, cell).unflatten(0, (batch, -1))
    found_maps = _self_similarity(found, cell).unflatten(0, (batch, -1))  # (B, T, n, n)

    with without_autocast(student):
        found_cell, found_hidden = encoder(found_maps)
        wanted_cell, wanted_hidden = encoder(wanted_maps.to(found_maps.dtype))
    loss = F.mse_loss(found_cell, wanted_cell) + F.mse_loss(found_hidden, wanted_hidden)
    return loss, (1 - wanted_cell).mean()


def _self_similarity(features: Tensor, cell: int) -> Tensor:
    """Cosines between the cells of each (C, h, w) of (B*T, C, h, w): (B*T, n, n)."""
    side = [min(cell, length) for length in features.shape[2:]]
    cells = F.avg_pool2d(full_precision(features), side)  # (B*T, C, h // cell, w // cell)
    return cosine_map(cells, cells)


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

    # Divide by next to nothing at least, so that nothing counted gives 0, not NaN.
    return (weight * loss).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


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

    # Negate the comparison, so that NaN counts as unsure.
    return ids.masked_fill(~(sureness >= threshold), ignore)
