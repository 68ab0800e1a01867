"""Clips that are mixed of two, with the labels that a teacher gave each, by one mask per clip.

CutMix: a rectangle of one picture in another (Yun et al., ICCV 2019), for segmentation without
labels by French et al. (Semi-supervised semantic segmentation needs strong, varied perturbations,
BMVC 2020). ClassMix: half of the classes of one picture in another (Olsson et al., WACV 2021).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Mix = Literal["none", "cutmix", "classmix"]
BOX_SHARE = 0.5  # of a picture that a rectangle takes


def partners(which: Tensor) -> Tensor:
    """The clip that each is mixed with, int64 (B,): the next of `which`, bool (B,).

    The last has the first; those that are not of `which` have themselves.
    """
    partner = torch.arange(len(which), device=which.device)
    partner[which] = partner[which].roll(-1)
    return partner


def boxes(count: int, size_hw: tuple[int, int], generator: torch.Generator | None = None) -> Tensor:
    """Rectangles of half a picture each, bool (count, H, W), on the CPU.

    The share of the height is 0.5^u, u from 0 to 1, the width follows, and the place is drawn among
    those that hold all of it, as French et al. have it.
    """
    heights, tops, lefts = torch.rand(3, count, generator=generator)
    shares = torch.stack([BOX_SHARE**heights, BOX_SHARE ** (1 - heights)])  # (2, count)
    sides = torch.tensor(size_hw)[:, None]
    lengths = (shares * sides).round()
    firsts = (torch.stack([tops, lefts]) * (sides - lengths + 1)).floor()

    rows, columns = (torch.arange(side)[None] for side in size_hw)  # (1, H), (1, W)
    ends = firsts + lengths
    within_y, within_x = (
        (at >= first[:, None]) & (at < end[:, None])
        for at, first, end in zip((rows, columns), firsts, ends, strict=True)
    )
    return within_y[:, :, None] & within_x[:, None, :]


def class_masks(ids: Tensor, counted: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Pixels of half of each picture's classes, drawn by chance, bool (B, H, W).

    Of an odd number of classes the larger half is taken, so that a picture of one class covers the
    other, as Olsson et al. have it.

    Args:
        ids: int64 (B, H, W), the likeliest class of every pixel, sure or not.
        counted: bool (B, H, W); other pixels are in no mask.
    """
    masks = torch.zeros_like(counted)
    for mask, own, known in zip(masks, ids, counted, strict=True):
        classes = own[known].unique()
        order = torch.randperm(len(classes), generator=generator).to(classes.device)
        drawn = classes[order[: (len(classes) + 1) // 2]]
        mask |= known & torch.isin(own, drawn)
    return masks


def mixed(values: Tensor, mask: Tensor, partner: Tensor) -> Tensor:
    """Values (B, ..., H, W) of each clip within its mask, of its partner outside.

    mask: bool (B, H, W). partner: as of :func:`partners`.
    """
    between = [1] * (values.dim() - mask.dim())
    shape = (len(mask), *between, *mask.shape[1:])
    return torch.where(mask.reshape(shape), values, values[partner])
