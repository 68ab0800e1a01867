"""From coarse fused features to fine scores, with the backbone's earlier maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.models.layers import conv_bn_relu, enlarged, first_convolution


def score_alignment(output_stride: int, skip_channels: int) -> int:
    """Input sides that are multiples of it are covered evenly by the scores of a head.

    A refined head sees to the cells above stride 8 itself.
    """
    return min(output_stride, 8) if skip_channels else output_stride


class Refinement(TypedDict, total=False):
    """Options of a head that ends in scores, refined or not: those of `make_refinement`."""

    output_stride: int
    skip_channels: int
    finest: int
    antialias: bool


class RefinedHead(nn.Module):
    """A head that ends in scores, refined or not; heads derive from it.

    With `skip_channels` > 0 the fused map is brought to stride 8, then 4, adding a 1x1 projection
    of the backbone's map at each (as a feature pyramid network does), so that poles and signs keep
    their shape at the cost of an output stride of 16. With `finest` 2 a 3x3 projection of the
    stride 2 map joins at stride 4, and every place there has four scores per class, a quarter of it
    each (sub-pixel convolution, Shi et al., CVPR 2016).

    Nothing binds those four scores to each other where a picture is unlike the training data, and
    then edges look chequered. With `antialias` a binomial 3x3 filter follows them, in training too:
    it removes just the pattern that alternates from score to score (Sugawara et al., 2018, have the
    condition for it), and the layers before it learn to be sharp through it.
    """

    fuse: nn.Sequential  # a convolution first; made by the head

    def tapped(self) -> nn.Conv2d:
        """The convolution of the fusion: its input counts as the features, as in ETC's code."""
        return first_convolution(self.fuse)

    def make_refinement(
        self,
        pyramid: Sequence[int],
        classes: int,
        *,
        width: int,
        output_stride: int = 8,
        skip_channels: int = 0,
        finest: int = 4,
        antialias: bool = False,
    ) -> None:
        """Make the layers, in the constructor of the head.

        Args:
            pyramid: channels of the backbone's maps, that of stride 2 last if there is one.
            width: channels of the fused map. output_stride: its stride, 8, 16 or 32.

        Raises:
            ValueError: `finest` other than 4 and 2, or 2 without skip_channels or the map it needs;
                `antialias` without finest 2.
        """
        self.output_stride, self.finest = output_stride, finest
        self.laterals = nn.ModuleList()
        self.finest_lateral: nn.Module | None = None

        if finest not in (2, 4):
            raise ValueError(f"finest {finest}: scores are refined to stride 4 or 2")
        if finest == 2 and not skip_channels:
            raise ValueError("finest 2: needs skip_channels above 0")
        if finest == 2 and len(pyramid) != 5:
            raise ValueError("finest 2: needs a pyramid with a map of stride 2")
        if antialias and finest != 2:
            raise ValueError("antialias: is for scores at stride 2; set finest to 2")

        if skip_channels:
            self.reduce = conv_bn_relu(width, skip_channels, 1)
            self.laterals.extend(
                nn.Sequential(
                    nn.Conv2d(channels, skip_channels, 1, bias=False),
                    nn.BatchNorm2d(skip_channels),
                )
                for channels in (pyramid[1], pyramid[0])
            )
            self.refine = nn.ModuleList(
                conv_bn_relu(skip_channels, skip_channels, 3) for _ in self.laterals
            )

        if finest == 2:
            self.finest_lateral = nn.Sequential(
                nn.Conv2d(pyramid[4], skip_channels, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(skip_channels),
            )

        # Keep the filter out of checkpoints: it is a constant.
        self.binomial: Tensor | None
        kernel = None
        if antialias:
            row = torch.tensor([0.25, 0.5, 0.25])
            kernel = (row[:, None] * row).repeat(classes, 1, 1, 1)  # (K, 1, 3, 3)
        self.register_buffer("binomial", kernel, persistent=False)

        # Score four subpixels per position where the finest map has stride 2.
        scores = classes * (4 if finest == 2 else 1)
        self.classifier = nn.Conv2d(skip_channels or width, scores, 1)

    def refined(self, x: Tensor, pyramid: Sequence[Tensor]) -> Tensor:
        """Fused features (B, width, h, w) -> scores (B, K, H/s, W/s), s the finest stride."""
        if not self.laterals:
            return self.classifier(x)
        stride4, stride8 = pyramid[:2]
        lateral8, lateral4 = self.laterals
        refine8, refine4 = self.refine

        # Narrow at the coarse stride, where it costs least.
        x = self.reduce(x)
        x = enlarged(x, stride8, self.output_stride // 8)
        x = refine8(x + lateral8(stride8))  # (B, skip_channels, H/8, W/8)
        x = enlarged(x, stride4, 2) + lateral4(stride4)
        if self.finest_lateral is None:
            return self.classifier(refine4(x))
        stride2 = pyramid[4]
        scores = F.pixel_shuffle(self.classifier(refine4(x + self.finest_lateral(stride2))), 2)

        # Cut what hangs over: two scores a side make even maps of odd ones.
        scores = scores[..., : stride2.shape[2], : stride2.shape[3]]
        if self.binomial is None:
            return scores

        # Repeat the border: zeros would draw the scores along it towards 0.
        padded = F.pad(scores, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, self.binomial.to(padded.dtype), groups=len(self.binomial))
