"""Backbones: an image in, a pyramid of four feature maps out, and on request one of stride 2."""

from collections.abc import Callable
from functools import partial

from vidparse.models.backbones.mobile import EfficientNetLite, MobileNetV2
from vidparse.models.backbones.resnet import BasicBlock, Bottleneck, FirstStrided, ResNet
from vidparse.models.backbones.swin import Swin

Backbone = EfficientNetLite | MobileNetV2 | ResNet | Swin

# Each is built from `output_stride`, ResNets from `dilation_rule` too, MobileNetV2 from `finest`;
# `channels` are those of its maps. "-deep": with the deep stem, as in VSPW's networks; "-msra":
# strided as MSRA's, which detectron2 starts from.
BACKBONES: dict[str, Callable[..., Backbone]] = {
    "mobilenetv2": MobileNetV2,
    "efficientnet-lite0": EfficientNetLite,
    "efficientnet-lite2": partial(EfficientNetLite, 1.1, 1.2),
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2), dilation_rule="all"),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
    "resnet50-msra": partial(ResNet, FirstStrided, (3, 4, 6, 3)),
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


def backbone(
    name: str, *, output_stride: int, finest: int = 4, dilation_rule: str = ""
) -> Backbone:
    """A backbone with fresh weights; settings at their defaults stay the backbone's own.

    Raises:
        ValueError: unknown, or it has no use for a setting.
    """
    if name not in BACKBONES:
        raise ValueError(f"no backbone '{name}'; known are {', '.join(BACKBONES)}")

    # Pass on only settings that differ from the default: most backbones do not take them.
    options: dict[str, object] = {}
    if dilation_rule:
        if not name.startswith("resnet"):
            raise ValueError(f"backbone '{name}' has no use for dilation_rule")
        options["dilation_rule"] = dilation_rule
    if finest != 4:
        if name != "mobilenetv2":
            raise ValueError(f"backbone '{name}' has no map of stride 2; leave finest at 4")
        options["finest"] = finest
    return BACKBONES[name](output_stride=output_stride, **options)


__all__ = ["BACKBONES", "Backbone", "EfficientNetLite", "MobileNetV2", "ResNet", "Swin", "backbone"]
