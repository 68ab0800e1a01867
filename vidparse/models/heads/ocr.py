"""OCRNet's head (Yuan et al., ECCV 2020): every pixel attends to one feature per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from vidparse.models.heads.refine import RefinedHead, Refinement
from vidparse.models.layers import conv_bn_relu, resize_to


class OcrHead(RefinedHead):
    """Object-contextual representations.

    The steps are methods, because networks that blend frames put something in between:
    `pixels`, `regions`, `gather`, `attend`, `classify`. The region scores of `regions` are the
    auxiliary output of training. With skip_channels 0 this is the published head.

    Args:
        pyramid: channels of the backbone's maps; the third and fourth are used, the others by
            refinement.
        width: channels of pixel and region features, 512 as published.
        key_width: channels of the attention, 256 as published.
        refinement: see RefinedHead.make_refinement.
    """

    def __init__(
        self,
        pyramid: Sequence[int],
        classes: int,
        *,
        width: int = 512,
        key_width: int = 256,
        dropout: float = 0.05,
        **refinement: Unpack[Refinement],
    ) -> None:
        super().__init__()
        self.pixel = conv_bn_relu(pyramid[3], width, 3, bias=True)
        self.region = nn.Sequential(
            conv_bn_relu(pyramid[2], width, 3, bias=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(width, classes, 1),
        )

        # Name query, key and value as attention does: pixels query regions.
        self.query = _two_projections(width, key_width)
        self.key = _two_projections(width, key_width)
        self.value = conv_bn_relu(width, key_width, 1, bias=True)
        self.context = conv_bn_relu(key_width, width, 1, bias=True)
        self.fuse = conv_bn_relu(2 * width, width, 1, bias=True)

        self.dropout = nn.Dropout2d(dropout)
        self.make_refinement(pyramid, classes, width=width, **refinement)

    def pixels(self, deep: Tensor) -> Tensor:
        """Pixel features: the deepest map -> (B, C, h, w)."""
        return self.pixel(deep)

    def regions(self, mid: Tensor) -> Tensor:
        """Region scores: the third map -> (B, K, h', w')."""
        return self.region(mid)

    def gather(self, pixels: Tensor, scores: Tensor) -> Tensor:
        """Region features (B, C, K): means of pixel features, weighted over space for each class.

        pixels: (B, C, h, w). scores: (B, K, h', w'), brought to (h, w) where the two maps differ
        in stride.
        """
        # Share out over places, not classes: a class that wins no pixel has features too.
        shares = resize_to(scores, pixels).flatten(2).softmax(dim=2)  # (B, K, h*w)
        return pixels.flatten(2) @ shares.transpose(1, 2)  # (B, C, h*w) x (B, h*w, K)

    def attend(self, pixels: Tensor, regions: Tensor) -> Tensor:
        """The context of each pixel, from the regions: (B, C, h, w), (B, C, K) -> (B, C, h, w)."""
        # Add an axis, so that the convolutions take regions as they take pixels.
        regions = regions[..., None]  # (B, C, K, 1)
        query = self.query(pixels).flatten(2).transpose(1, 2)  # (B, h*w, D)
        key = self.key(regions).flatten(2)  # (B, D, K)
        value = self.value(regions).flatten(2).transpose(1, 2)  # (B, K, D)
        weights = (query @ key * key.shape[1] ** -0.5).softmax(dim=2)  # (B, h*w, K)
        taken = (weights @ value).transpose(1, 2)  # (B, D, h*w)
        return self.context(taken.unflatten(2, pixels.shape[2:]))  # (B, C, h, w)

    def classify(self, pixels: Tensor, context: Tensor, pyramid: Sequence[Tensor] = ()) -> Tensor:
        """Scores (B, K, h, w) from pixel features and their context.

        pyramid: of the same frame; needed by a head that refines.
        """
        return self.refined(self.fused(pixels, context), pyramid)

    def fused(self, pixels: Tensor, context: Tensor) -> Tensor:
        """The features to refine and classify: (B, C, h, w) twice -> (B, C, h, w)."""
        return self.dropout(self.fuse(torch.cat([context, pixels], dim=1)))

    def scores(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Final scores (B, K, h, w) and region scores (B, K, h', w')."""
        pixels, regions = self.pixels(pyramid[3]), self.regions(pyramid[2])
        context = self.attend(pixels, self.gather(pixels, regions))
        return self.classify(pixels, context, pyramid), regions

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Maps of strides 4 to the deepest -> scores (B, K, H/s, W/s); s: see RefinedHead."""
        return self.scores(pyramid)[0]


def _two_projections(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        conv_bn_relu(channels_in, channels_out, 1, bias=True),
        conv_bn_relu(channels_out, channels_out, 1, bias=True),
    )
