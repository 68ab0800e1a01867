"""Multi-frame distillation: how self-similarity moves through a clip, from teacher to student."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.training.losses.inputs import full_precision, without_autocast
from vidparse.training.losses.pairwise import cosine_map, resize_like

HIDDEN = 4


class MotionEncoder(nn.Module):
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
    encoder: MotionEncoder, student: Tensor, teacher: Tensor, *, cell: int = 16
) -> tuple[Tensor, Tensor]:
    """MF of ETC (Liu et al., Efficient Video Segmentation Models with Per-frame Inference).

    Each frame's features are averaged in cells, the cosines of all pairs of its n cells are an
    n x n picture, and the clip of pictures is encoded; the loss is the mean squared difference of
    the last cell states plus that of the last hidden states.

    Args:
        encoder: gets gradients from both its uses.
        student: (B, T, C, h, w), features before the classifier.
        teacher: (B, T, C', h', w'), the same crop; brought to (h, w) bilinearly; no gradient.
        cell: positions of the map, side and stride of the cells. What is left over at the right
            and below is dropped; a side shorter than a cell is one cell.

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
