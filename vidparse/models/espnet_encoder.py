"""Encoder of ESPNetV2 (Mehta et al., CVPR 2019): an image in, features at strides 2 to 16 out."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.models.layers import PReLU

# width -> channels at strides 2, 4, 8 and 16
CHANNELS: dict[float, tuple[int, int, int, int]] = {
    0.5: (16, 32, 64, 128),
    1.0: (32, 64, 128, 256),
    1.25: (32, 80, 160, 320),
    1.5: (32, 96, 192, 384),
    2.0: (32, 128, 256, 512),
}
BRANCHES = 4
REPEATS = (3, 7)  # units at strides 8 and 16 after the strided one


class Encoder(nn.Module):
    """Features at strides 2, 4, 8 and 16 of an image (B, 3, H, W)."""

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        at_2, at_4, at_8, at_16 = channels
        self.level1 = conv_act(3, at_2, 3, stride=2)
        self.level2_0 = StridedEesp(at_2, at_4, field=13)
        self.level3_0 = StridedEesp(at_4, at_8, field=11)
        self.level3 = nn.ModuleList(Eesp(at_8, at_8, field=9) for _ in range(REPEATS[0]))
        self.level4_0 = StridedEesp(at_8, at_16, field=9)
        self.level4 = nn.ModuleList(Eesp(at_16, at_16, field=7) for _ in range(REPEATS[1]))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> features (B, C_s, ceil(H / s), ceil(W / s)), s = 2, 4, 8, 16."""
        at_2 = self.level1(image)
        small = halve(halve(image))  # (B, 3, H/4, W/4)
        at_4 = self.level2_0(at_2, small)
        small = halve(small)
        at_8 = self.level3_0(at_4, small)
        for unit in self.level3:
            at_8 = unit(at_8)
        at_16 = self.level4_0(at_8, halve(small))
        for unit in self.level4:
            at_16 = unit(at_16)
        return at_2, at_4, at_8, at_16


class Eesp(nn.Module):
    """Extremely efficient spatial pyramid (section 3.2): reduce, split, transform, merge.

    Args:
        field: largest receptive field of a branch; a branch beyond it falls back to 3x3.
    """

    def __init__(self, channels_in: int, channels_out: int, *, field: int, stride: int = 1) -> None:
        super().__init__()
        branch = channels_out // BRANCHES
        self.stride = stride
        self.proj_1x1 = conv_act(channels_in, branch, 1, groups=BRANCHES)
        self.spp_dw = nn.ModuleList(
            nn.Sequential(
                OrderedDict(
                    conv=nn.Conv2d(
                        branch,
                        branch,
                        3,
                        stride=stride,
                        padding=dilation,
                        dilation=dilation,
                        groups=branch,
                        bias=False,
                    )
                )
            )
            for dilation in branch_dilations(field)
        )
        self.conv_1x1_exp = conv_act(channels_out, channels_out, 1, groups=BRANCHES, act=False)
        self.br_after_cat = nn.Sequential(
            OrderedDict(bn=nn.BatchNorm2d(channels_out), act=PReLU(channels_out))
        )
        self.module_act = PReLU(channels_out)  # without a use when strided; weights have it

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w), or half that size before the activation."""
        reduced = self.proj_1x1(features)  # (B, C'/4, h, w)
        branches = [self.spp_dw[0](reduced)]
        for transform in self.spp_dw[1:]:
            branches.append(transform(reduced) + branches[-1])  # hierarchical fusion
        expanded = self.conv_1x1_exp(self.br_after_cat(torch.cat(branches, dim=1)))
        if self.stride > 1:
            return expanded
        return self.module_act(expanded + features)


class StridedEesp(nn.Module):
    """EESP unit of stride 2 beside an average pool, with a shortcut from the image (figure 3)."""

    def __init__(self, channels_in: int, channels_out: int, *, field: int) -> None:
        super().__init__()
        self.eesp = Eesp(channels_in, channels_out - channels_in, field=field, stride=2)
        self.inp_reinf = nn.Sequential(conv_act(3, 3, 3), conv_act(3, channels_out, 1, act=False))
        self.act = PReLU(channels_out)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        """(B, C, h, w) and the image pooled to (B, 3, h/2, w/2) -> (B, C', h/2, w/2)."""
        both = torch.cat([halve(features), self.eesp(features)], dim=1)
        return self.act(both + self.inp_reinf(image))


def branch_dilations(field: int) -> list[int]:
    """Dilations of a unit's branches, ascending: receptive fields 3, 5, 7, 9 up to the limit."""
    fields = (3 + 2 * i for i in range(BRANCHES))
    return sorted((size if size <= field else 3) // 2 for size in fields)


def conv_act(
    channels_in: int,
    channels_out: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    act: bool = True,
) -> nn.Sequential:
    """Convolution, batch norm and (with act) PReLU under the encoder's names."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        ),
        bn=nn.BatchNorm2d(channels_out),
    )
    if act:
        layers["act"] = PReLU(channels_out)
    return nn.Sequential(layers)


def halve(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, ceil(h / 2), ceil(w / 2)), zeros beyond the border counted."""
    return F.avg_pool2d(features, 3, stride=2, padding=1)
