"""Backbones: an image in, a pyramid of four feature maps out."""

from collections.abc import Callable
from functools import partial

from vidparse.models.backbones.mobilenetv2 import MobileNetV2
from vidparse.models.backbones.resnet import BasicBlock, Bottleneck, ResNet
from vidparse.models.backbones.swin import Swin

Backbone = MobileNetV2 | ResNet | Swin

# Each is built from `output_stride`, ResNets from `dilation_rule` too; `channels` are those of its
# four maps. "-deep": with the deep stem, as in VSPW's networks.
BACKBONES: dict[str, Callable[..., Backbone]] = {
    "mobilenetv2": MobileNetV2,
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2), dilation_rule="all"),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
    "resnet101": partial(ResNet, Bottleneck, (3, 4, 23, 3)),
    "resnet18-deep": partial(ResNet, BasicBlock, (2, 2, 2, 2), deep_stem=True),
    "resnet50-deep": partial(ResNet, Bottleneck, (3, 4, 6, 3), deep_stem=True),
    "resnet101-deep": partial(ResNet, Bottleneck, (3, 4, 23, 3), deep_stem=True),
    "swin-t": partial(Swin, 96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin-s": partial(Swin, 96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin-b": partial(Swin, 128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "swin-l": partial(Swin, 192, (2, 2, 18, 2), (6, 12, 24, 48)),
    "swin-b-window12": partial(Swin, 128, (2, 2, 18, 2), (4, 8, 16, 32), window=12),
    "swin-l-window12": partial(Swin, 192, (2, 2, 18, 2), (6, 12, 24, 48), window=12),
}

__all__ = ["BACKBONES", "Backbone", "MobileNetV2", "ResNet", "Swin"]
