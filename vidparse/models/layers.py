"""Convolution blocks and poolings that several networks are built of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn_relu(
    channels_in: int, channels_out: int, kernel: int, *, dilation: int = 1, bias: bool = False
) -> nn.Sequential:
    """Convolution that keeps its input's size, batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, padding=padding, dilation=dilation, bias=bias),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def first_convolution(layers: nn.Module) -> nn.Conv2d:
    """The first one inside a block."""
    return next(module for module in layers.modules() if isinstance(module, nn.Conv2d))


class PReLU(nn.PReLU):
    """Parametric ReLU that exports as what runtimes do fast.

    a x + (1 - a) max(x, 0) is the same; as an ONNX operator of its own PReLU costs several times as
    much, and keeps the convolutions around it from sharing their layout.
    """

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w), a slope a channel."""
        # Use torch's own operator where nothing is exported: one pass instead of three.
        if not torch.compiler.is_compiling():
            return super().forward(features)
        slope = self.weight[:, None, None]
        return slope * features + (1 - slope) * features.relu()


def adaptive_bins(size: int, bins: int, like: Tensor) -> Tensor:
    """Averaging matrix (bins, size) of adaptive average pooling along one axis.

    Bin i covers floor(i * size / bins) up to ceil((i + 1) * size / bins), so that
    `adaptive_bins(h, s, x) @ x @ adaptive_bins(w, s, x).T` equals `adaptive_avg_pool2d(x, s)`.
    It is built from the size at run time, hence exports to ONNX with dynamic height and width.
    """
    cell = torch.arange(size, device=like.device)  # (size,)
    index = torch.arange(bins, device=like.device)[:, None]  # (bins, 1)

    # Divide whole numbers: floats would round some edges to the cell beside.
    first = index * size // bins
    last = ((index + 1) * size + bins - 1) // bins
    inside = ((cell >= first) & (cell < last)).to(like.dtype)  # (bins, size)
    return inside / inside.sum(dim=1, keepdim=True)


def pool_near(features: Tensor, rows: int, columns: int) -> Tensor:
    """Adaptive average pooling of (B, C, h, w) to (B, C, rows, columns), traced, where no bin
    covers more than three cells a side: h <= 1.5 * rows + 0.5, and so with the width.
    """
    # Turn the map for its columns: whole rows are picked quickly.
    columns_first = _rows_of_three(features, rows).transpose(2, 3)
    return _rows_of_three(columns_first, columns).transpose(2, 3)


def _rows_of_three(features: Tensor, bins: int) -> Tensor:
    """(B, C, h, w) -> (B, C, bins, w): each bin a weighted sum of the three rows from its first."""
    size = features.shape[2]
    index = torch.arange(bins, device=features.device)
    first = index * size // bins
    length = ((index + 1) * size + bins - 1) // bins - first  # 1, 2 or 3
    parts = []
    for step in range(3):
        share = ((length > step) / length).to(features.dtype)[:, None]  # (bins, 1)

        # Stay on the map where a bin is shorter: the share of that row is 0.
        row = torch.clamp(first + step, max=size - 1)
        parts.append(features.index_select(2, row) * share)
    return parts[0] + parts[1] + parts[2]


def pool_to(features: Tensor, bins: int) -> Tensor:
    """Adaptive average pooling of (B, C, h, w) to (B, C, bins, bins)."""
    # Spare the matrices where one bin covers the map.
    if bins == 1:
        return features.mean(dim=(2, 3), keepdim=True)
    rows = adaptive_bins(features.shape[2], bins, features)
    columns = adaptive_bins(features.shape[3], bins, features)
    return rows @ features @ columns.T


def resize_to(features: Tensor, like: Tensor, *, align_corners: bool = False) -> Tensor:
    """Bilinear resize of (B, C, h, w) to the height and width of `like`."""
    return F.interpolate(
        features, size=like.shape[2:], mode="bilinear", align_corners=align_corners
    )


def enlarged(features: Tensor, like: Tensor, factor: int) -> Tensor:
    """(B, C, h, w) `factor` times as large, bilinearly, cut to the height and width of `like`.

    A convolution of stride s has its cell i around pixel s * i, whatever the size of the picture.
    Where that is no multiple of s, a resize to the very size of a finer map would draw the cells
    together, the last of them by up to s pixels.
    """
    if factor == 1:
        return features
    grown = F.interpolate(
        features, scale_factor=float(factor), mode="bilinear", align_corners=False
    )
    return grown[..., : like.shape[2], : like.shape[3]]


def enlarged_in_place(features: Tensor, like: Tensor, factor: int) -> Tensor:
    """As `enlarged`, with cell i of the map at cell factor * i of the result, not half between.

    So scores of networks that were trained with align_corners on sides of 1 + a multiple of the
    stride (TensorFlow's DeepLab: 513) lie right at any size.
    """
    # Repeat the last cells: they reach over the pixels up to where the next would lie.
    padded = F.pad(features, (0, 1, 0, 1), mode="replicate")
    height, width = features.shape[2] * factor + 1, features.shape[3] * factor + 1
    grown = F.interpolate(padded, size=(height, width), mode="bilinear", align_corners=True)
    return grown[..., : like.shape[2], : like.shape[3]]
