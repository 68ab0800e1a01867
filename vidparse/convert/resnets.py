"""The kind of ResNet that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vidparse.convert.renaming import blocks_in, need
from vidparse.errors import ModelError

# blocks of layer3, bottlenecks or not -> layers
DEPTHS = {(2, False): 18, (6, True): 50, (23, True): 101}
LAYERS = ("layer1", "layer2", "layer3", "layer4")
DEEP_STEM = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3")


def resnet_of(tensors: Mapping[str, Tensor], *, deep: bool) -> str:
    """Key of BACKBONES, from our names with `backbone.` before them.

    Raises:
        ModelError: a depth that we do not have.
    """
    need(tensors, "backbone.layer3.0.conv1.weight")
    count = blocks_in(tensors, "backbone.layer3.")
    bottleneck = "backbone.layer3.0.conv3.weight" in tensors
    if (count, bottleneck) not in DEPTHS:
        raise ModelError(f"a ResNet with {count} blocks in layer3: unknown; use 18, 50 or 101")
    return f"resnet{DEPTHS[count, bottleneck]}{'-deep' if deep else ''}"
