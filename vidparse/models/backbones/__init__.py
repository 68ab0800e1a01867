"""Backbones: an image in, a pyramid of four feature maps out."""

from vidparse.models.backbones.mobilenetv2 import MobileNetV2
from vidparse.models.backbones.resnet import ResNet18

BACKBONES: dict[str, type[MobileNetV2 | ResNet18]] = {
    "mobilenetv2": MobileNetV2,
    "resnet18": ResNet18,
}
