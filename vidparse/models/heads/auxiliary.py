"""The classifier on an earlier stage that helps training."""

from __future__ import annotations

from torch import nn

from vidparse.models.layers import conv_bn_relu


class AuxiliaryHead(nn.Sequential):
    """Training-time classifier on an earlier stage: 3x3, dropout, 1x1 (PSPNet).

    width: 256 in ETC's networks, 512 in the VSPW ones.
    """

    def __init__(self, channels: int, classes: int, *, width: int = 256) -> None:
        super().__init__(
            conv_bn_relu(channels, width, 3), nn.Dropout2d(0.1), nn.Conv2d(width, classes, 1)
        )
