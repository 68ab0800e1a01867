"""Pictures of any shape for a network that takes squares of one size, by the rules of EoMT.

Kerssies et al., "Your ViT is secretly an image segmentation model", CVPR 2025, section 4: windows
along the longer side for semantic, padding for instance and panoptic segmentation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Crop = tuple[slice, slice]  # rows, columns


def on_square(pictures: Tensor, side: int, fill: Tensor) -> Tensor:
    """Pictures (N, 3, h, w) in the upper left of squares (N, 3, side, side) of `fill` (3, 1, 1)."""
    height, width = pictures.shape[-2:]
    if (height, width) == (side, side):
        return pictures
    squares = fill.to(pictures.dtype).expand(len(pictures), -1, side, side).clone()
    squares[..., :height, :width] = pictures
    return squares


def crops_of(size_hw: tuple[int, int], side: int) -> list[Crop]:
    """The fewest windows of `side` along the longer side of a picture, evenly spread."""
    longer = max(size_hw)
    count = math.ceil(longer / side)
    step = side - (count * side - longer) / (count - 1) if count > 1 else 0.0
    spans = [slice(start, start + side) for start in (int(i * step) for i in range(count))]
    whole = slice(None)
    along_height = size_hw[0] > size_hw[1]
    return [(span, whole) if along_height else (whole, span) for span in spans]


def joined(parts: Sequence[Tensor], crops: Sequence[Crop], size_hw: tuple[int, int]) -> Tensor:
    """The mean (N, K, H, W) of parts (N, K, h, w), each at its place in the picture."""
    total = parts[0].new_zeros((*parts[0].shape[:2], *size_hw))
    times = parts[0].new_zeros(size_hw)
    for part, (rows, columns) in zip(parts, crops, strict=True):
        total[..., rows, columns] += part
        times[rows, columns] += 1
    return total / torch.clamp(times, min=1)
