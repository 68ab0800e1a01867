"""Feature pyramid network (Lin et al., CVPR 2017) and its semantic branch (Kirillov et al., 2019).

Maps are named by the power of two of their stride: P2 has stride 4, P7 stride 128.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from vidparse.models.layers import resize_to

GROUPS = 32  # of a group norm, where the channels allow
NORMS = ("group", "batch", "none")


class Fpn(nn.Module):
    """P2 .. P7 from the four maps of a backbone; P6 and P7 are strided convolutions of P5.

    Args:
        pyramid: channels of the maps of stride 4, 8, 16, 32. width: channels of P2 .. P7.
    """

    def __init__(self, pyramid: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in pyramid)
        self.output = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in pyramid)
        self.p6 = nn.Conv2d(width, width, 3, 2, 1)
        self.p7 = nn.Conv2d(width, width, 3, 2, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)  # as published: Xavier of Caffe2
                _zero_bias(module)

    def forward(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps of stride 4, 8, 16, 32 -> P2 .. P7, (B, width, h, w) each."""
        sides = [lateral(one) for lateral, one in zip(self.lateral, pyramid, strict=True)]
        merged = [sides[-1]]  # from the coarsest
        for finer in reversed(sides[:-1]):
            # Take the finer map's size, not a doubling: odd sides differ by a cell.
            above = F.interpolate(merged[-1], size=finer.shape[2:], mode="nearest")
            merged.append(finer + above)
        levels = [output(one) for output, one in zip(self.output, reversed(merged), strict=True)]

        # Put a ReLU between the two: without it they would be one linear map.
        p6 = self.p6(levels[-1])
        return *levels, p6, self.p7(F.relu(p6))


class SemanticFpn(nn.Module):
    """P2 .. P5 brought to stride 4 by convolutions and doublings, and added.

    Args:
        channels: of each level. width: of the sum. norm: one of NORMS.
    """

    def __init__(self, channels: int, width: int, *, norm: str = "group") -> None:
        super().__init__()
        self.branches = nn.ModuleList(Branch(channels, width, i, norm=norm) for i in range(4))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """P2 .. P5, (B, C, h, w) each -> (B, width, H/4, W/4)."""
        at_stride_4 = [branch(levels[: i + 1]) for i, branch in enumerate(self.branches)]
        return sum(at_stride_4[1:], start=at_stride_4[0])


class Branch(nn.ModuleList):
    """The way of one level to stride 4: a 3x3 convolution, norm and ReLU before each doubling.

    doublings: 0 for P2, which has one convolution too.
    """

    def __init__(self, channels: int, width: int, doublings: int, *, norm: str) -> None:
        inputs = [channels] + [width] * (doublings - 1)
        super().__init__(_branch_step(one, width, norm) for one in inputs)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """levels: P2 up to the branch's own, whose sizes the doublings take, from the last."""
        x, *finer = reversed(levels)
        if not finer:
            return self[0](x)
        for step, like in zip(self, finer, strict=True):
            x = resize_to(step(x), like)
        return x


def norm_layer(norm: str, channels: int) -> nn.Module:
    """A norm by its name.

    Raises:
        ValueError: none of NORMS.
    """
    if norm == "group":
        groups = math.gcd(GROUPS, channels)

        # Put two channels in a group: one value, as in maps of one cell, has no spread.
        if groups == channels:
            groups = max(1, channels // 2)
        return nn.GroupNorm(groups, channels)
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"no norm '{norm}'; known are {', '.join(NORMS)}")


def _branch_step(channels_in: int, channels_out: int, norm: str) -> nn.Sequential:
    """Convolution 3x3, norm, ReLU."""
    # Leave the bias to the norm, which would take it away.
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=norm == "none")
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    _zero_bias(conv)
    return nn.Sequential(conv, norm_layer(norm, channels_out), nn.ReLU(inplace=True))


def _zero_bias(conv: nn.Conv2d) -> None:
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
