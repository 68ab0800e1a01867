"""ResNet-18 (He et al., CVPR 2016) with the 7x7 stem, dilated as the ETC students are.

Parameter names are torchvision's, so its ImageNet weights load by name.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; only the second one is dilated (ETC's PSPNet18)."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(
            channels_out, channels_out, 3, 1, dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class ResNet18(nn.Module):
    """Feature pyramid (stride 4: 64, then 128, 256, 512 channels).

    Args:
        output_stride: 8 (layers 3 and 4 keep stride 1, dilations 2 and 4), 16 or 32.
    """

    channels = (64, 128, 256, 512)

    def __init__(self, *, output_stride: int = 8) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, not {output_stride}")
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        stages = []
        channels_in, reached, dilation = 64, 4, 1
        for i, channels_out in enumerate(self.channels):
            wanted = 1 if i == 0 else 2
            stride = wanted if reached * wanted <= output_stride else 1
            reached *= stride
            dilation *= wanted // stride
            first = BasicBlock(channels_in, channels_out, stride=stride, dilation=dilation)
            second = BasicBlock(channels_out, channels_out, stride=1, dilation=dilation)
            stages.append(nn.Sequential(first, second))
            channels_in = channels_out
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> features of layer1 (64, H/4) .. layer4 (512, H/output_stride)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, 1)  # (B, 64, H/4, W/4)
        stride4 = self.layer1(x)
        second = self.layer2(stride4)
        third = self.layer3(second)
        return stride4, second, third, self.layer4(third)
