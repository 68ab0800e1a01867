"""The temporal loss: predictions of two frames agree along the motion between them."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from vidparse.models.netwarp import flow_in_cells, warp_features
from vidparse.training.losses.inputs import full_precision

TemporalKind = Literal["kl", "mse"]
TINY = 1e-8  # the least probability a logarithm is taken of


def warp(x: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Backward warp: out(p) = x(p + flow(p)), bilinear, and which p + flow(p) are in the picture.

    Positions are centres of pixels, 0 and w-1 the outermost ones, so that no flow is no change:
    what grid_sample does with align_corners True, and right for a side of one pixel as well.

    Args:
        x: (B, C, h, w).
        flow: (B, 2, h, w), pixels of `x`: right, then down.

    Returns:
        (B, C, h, w), where everything outside the picture is 0; bool (B, 1, h, w), inside.
    """
    height, width = x.shape[2:]
    right, down = flow.to(full_precision(x).dtype).unbind(1)  # (B, h, w) each
    columns = torch.arange(width, device=x.device) + right
    rows = torch.arange(height, device=x.device)[:, None] + down
    inside = (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)
    return warp_features(x, flow), inside[:, None]


@torch.no_grad()
def visibility(image: Tensor, other: Tensor, flow: Tensor, *, cancelling: bool = False) -> Tensor:
    """V = exp(-|I_t - warp(I_t+k)|): how well the other frame shows each pixel of this one.

    |.| is taken as the sum over channels of absolute differences. The code released with ETC
    (Liu et al., Efficient Video Segmentation Models with Per-frame Inference, temporal loss)
    takes the absolute value of the summed differences, in which red may cancel blue.

    Args:
        image: (B, C, H, W), frame t as the network sees it (mean 0, deviation 1).
        other: (B, C, H, W), frame t+k.
        flow: (B, 2, H, W) from t to t+k, pixels right and down, best computed on 0..255.
        cancelling: as in the released code.

    Returns:
        (B, 1, H, W) in 0..1; 0 where the flow leaves the picture; no gradient.
    """
    warped, inside = warp(full_precision(other), flow)
    difference = full_precision(image) - warped  # (B, C, H, W)
    if not cancelling:
        difference = difference.abs()
    distance = difference.sum(dim=1, keepdim=True).abs()  # (B, 1, H, W)
    return (-distance).exp().masked_fill(~inside, 0.0)


def temporal_loss(
    logits: Tensor, other_logits: Tensor, visible: Tensor, flow: Tensor, *, kind: str = "kl"
) -> Tensor:
    """TL of ETC (Liu et al., Efficient Video Segmentation Models with Per-frame Inference).

    "kl": mean over the positions of the logits of V * KL(q_t || warp(q_t+k)), q = softmax. V is
    averaged over the pixels of each position, the flow taken at its centre and measured in
    positions; a position whose match is outside the map counts 0. Logarithms stop at 1e-8.

    "mse": the released code, mean of (V z_t - V warp(z_t+k))^2 with the logits z brought to image
    size bilinearly (align_corners False).

    Args:
        logits: (B, K, h, w), frame t.
        other_logits: (B, K, h, w), frame t+k.
        visible: (B, 1, H, W), V, at image size; no gradient.
        flow: (B, 2, H, W) from t to t+k, image pixels right and down; no gradient.
        kind: "kl" or "mse".

    Returns:
        Scalar, 0 for equal predictions without motion.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in get_args(TemporalKind):
        raise ValueError(f"temporal loss '{kind}': use {' or '.join(get_args(TemporalKind))}")
    now, later = full_precision(logits), full_precision(other_logits)
    seen, motion = visible.detach().to(now.dtype), flow.detach().to(now.dtype)
    measure = _divergence if kind == "kl" else _squares
    return measure(now, later, seen, motion)


def _divergence(now: Tensor, later: Tensor, visible: Tensor, flow: Tensor) -> Tensor:
    seen = F.interpolate(visible, size=now.shape[2:], mode="area")  # (B, 1, h, w)
    aligned, inside = warp(later.softmax(dim=1), flow_in_cells(flow, now))
    ours = now.log_softmax(dim=1).clamp(min=math.log(TINY))

    # Stop the logarithm: beyond the map a warp gives 0.
    theirs = aligned.clamp(min=TINY).log()
    divergence = (now.softmax(dim=1) * (ours - theirs)).sum(dim=1, keepdim=True)  # (B, 1, h, w)
    return (seen * inside * divergence).mean()


def _squares(now: Tensor, later: Tensor, visible: Tensor, flow: Tensor) -> Tensor:
    both = torch.stack([now, later]).flatten(0, 1)  # (2B, K, h, w)
    large = F.interpolate(both, size=flow.shape[2:], mode="bilinear", align_corners=False)
    now, later = large.chunk(2)  # (B, K, H, W) each
    aligned, _ = warp(later, flow)
    return F.mse_loss(visible * now, visible * aligned)
