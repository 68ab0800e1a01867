"""Targets of ViP-DeepLab: centres of things, and the way to them from each of their pixels.

Panoptic-DeepLab (Cheng et al., CVPR 2020, section 3.2) and ViP-DeepLab (Qiao et al., CVPR 2021,
section 3.3). A centre is the mean of a thing's pixels, and may lie outside of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_REACH = 3  # standard deviations, and a pixel, within which a centre is drawn: deeplab2


@dataclass(frozen=True, slots=True)
class CentreTargets:
    """The targets of B clips of T frames, at the size of their labels.

    heat: float32 (B, T, H, W), Gaussians of height 1 around the centres.
    areas: int64 (B, T, H, W), the pixels that the thing there has in its frame; 0 where none is.
    offsets: float32 (B, T, 2, H, W), rows and columns in pixels to the centre of the thing there;
        0 where none is.
    earlier_offsets: as offsets, to its centre in the frame before.
    follows: bool (B, T, H, W), where the frame before shows the thing, too: the places at which
        earlier_offsets are known.
    """

    heat: Tensor
    areas: Tensor
    offsets: Tensor
    earlier_offsets: Tensor
    follows: Tensor


def centre_targets(objects: Tensor, *, sigma: float) -> CentreTargets:
    """The targets of clips.

    Args:
        objects: int64 (B, T, H, W), 0 or the number of a thing, one and the same in its clip.
        sigma: pixels, the standard deviation of the Gaussians.
    """
    batch, length, height, width = objects.shape
    counts, centres = _mass_centres(objects)  # (B, T, M), (B, T, M, 2)
    counts[..., 0] = 0  # no thing
    places = objects.flatten(2)  # (B, T, H * W)
    areas = counts.gather(2, places).view_as(objects)

    # Look up each thing in the frame before; the first frame of a clip has none.
    earlier_counts, earlier_centres = torch.zeros_like(counts), torch.zeros_like(centres)
    earlier_counts[:, 1:], earlier_centres[:, 1:] = counts[:, :-1], centres[:, :-1]
    earlier_areas = earlier_counts.gather(2, places).view_as(objects)

    there = areas > 0
    follows = there & (earlier_areas > 0)
    return CentreTargets(
        _heat(centres.flatten(0, 1), counts.flatten(0, 1) > 0, (height, width), sigma).unflatten(
            0, (batch, length)
        ),
        areas,
        _offsets(objects, centres, there),
        _offsets(objects, earlier_centres, follows),
        follows,
    )


def _mass_centres(objects: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels int64 (B, T, M) of each number 0 .. M - 1, and their mean row and column.

    The second is float32 (B, T, M, 2), and 0 where there is no pixel.
    """
    batch, length, height, width = objects.shape
    most = int(objects.max()) + 1
    device = objects.device
    first = torch.arange(batch * length, device=device).view(batch, length, 1, 1) * most
    keys = (first + objects).flatten()

    # Whole numbers add up exactly in float64, whatever the order.
    rows = torch.arange(height, device=device, dtype=torch.float64)[:, None]
    columns = torch.arange(width, device=device, dtype=torch.float64)
    shape = (batch, length, most)
    counts, row_sums, column_sums = (
        torch.bincount(keys, values, minlength=math.prod(shape)).view(shape)
        for values in (
            None,
            rows.expand(objects.shape).flatten(),
            columns.expand(objects.shape).flatten(),
        )
    )
    sums = torch.stack([row_sums, column_sums], dim=-1)
    return counts, (sums / counts.clamp(min=1)[..., None]).float()


def _offsets(objects: Tensor, centres: Tensor, where: Tensor) -> Tensor:
    """float32 (B, T, 2, H, W): from pixels to the centre of their thing, 0 outside of `where`."""
    height, width = objects.shape[2:]
    rows = torch.arange(height, device=objects.device)[:, None]
    columns = torch.arange(width, device=objects.device)
    places = objects.flatten(2)
    ways = [
        centres[..., axis].gather(2, places).view_as(objects) - own
        for axis, own in enumerate((rows, columns))
    ]
    return torch.stack(ways, dim=2) * where[:, :, None]


def _heat(centres: Tensor, seen: Tensor, size_hw: tuple[int, int], sigma: float) -> Tensor:
    """float32 (N, H, W): a Gaussian around each centre; the greater stays where two meet.

    Args:
        centres: float32 (N, M, 2). seen: bool (N, M), the centres that there are.
    """
    heat = torch.zeros(len(centres), *size_hw, device=centres.device)
    frames, numbers = seen.nonzero(as_tuple=True)
    places = centres[frames, numbers]  # (K, 2)
    bells = []  # (K, H) and (K, W), the factors of the Gaussians
    for axis, side in enumerate(size_hw):
        distances = torch.arange(side, device=centres.device) - places[:, axis, None]
        bells.append(torch.exp(distances**2 / (-2 * sigma**2)))

    # Draw where it shows alone: whole maps of all things would take gigabytes.
    reach = _REACH * sigma + 1
    for k, (frame, place) in enumerate(zip(frames.tolist(), places.tolist(), strict=True)):
        rows, columns = (
            slice(max(0, math.ceil(one - reach)), math.floor(one + reach) + 1) for one in place
        )
        part = heat[frame, rows, columns]
        drawn = bells[0][k, rows, None] * bells[1][k, None, columns]
        torch.maximum(part, drawn, out=part)
    return heat
