"""Inputs of losses: precision that holds up, unit length, labels at their size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-8  # added to norms


def full_precision(x: Tensor) -> Tensor:
    """Half types as float32; float32 and float64 as they are."""
    return x.float() if torch.finfo(x.dtype).bits < 32 else x


def without_autocast(x: Tensor) -> torch.autocast:
    """A context in which matrix products on the device of `x` keep their precision."""
    return torch.autocast(x.device.type, enabled=False)


def directions(x: Tensor, *, dim: int) -> Tensor:
    """Vectors along `dim` at unit length; one of length 0 stays, and has no gradient."""
    x = full_precision(x)
    length = x.norm(dim=dim, keepdim=True)

    # Mask the factor: a norm has no gradient at 0, and NaN would spread.
    return x * (1 / (length + TINY)).masked_fill(length == 0, 0.0)


def resize_labels(labels: Tensor, like: Tensor) -> Tensor:
    """Nearest resize of int64 (B, H, W) to the height and width of (B, C, h, w)."""
    small = F.interpolate(labels[:, None].float(), size=like.shape[-2:], mode="nearest-exact")
    return small[:, 0].long()  # (B, h, w)
