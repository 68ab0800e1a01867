"""ImageNet weights of backbones to start from.

Names of torchvision, of the deep stem (CSAIL's and semseg's ImageNet files) and of the port of
EfficientNet-Lite to PyTorch are ours; timm's ResNets have torchvision's names, its MobileNetV2 has
its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vidparse.convert.renaming import DEEP_STEM, LAYERS, Renamed, rename
from vidparse.errors import ModelError
from vidparse.models.backbones import BACKBONES
from vidparse.models.backbones.mobilenetv2 import STAGES

RESNET = {name: name for name in (*DEEP_STEM, *LAYERS)}
MOBILENETV2 = {f"features.{i}": f"features.{i}" for i in range(18)}
EFFICIENTNET_LITE = {name: name for name in ("_conv_stem", "_bn0", "_blocks")}
TABLES = {
    "resnet": RESNET,
    "mobilenetv2": MOBILENETV2,
    "efficientnet-lite": EFFICIENTNET_LITE,
}  # first part of a backbone's name -> its names of tensors
CLASSIFIERS = (
    *("fc", "fc_1", "classifier", "features.18", "conv_head"),
    *("_conv_head", "_bn1", "_fc"),
)
# A block of timm's, by the place of each part in ours; the first block does not expand.
FIRST_BLOCK = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
BLOCK = {
    "conv_pw": "0.0",
    "bn1": "0.1",
    "conv_dw": "1.0",
    "bn2": "1.1",
    "conv_pwl": "2",
    "bn3": "3",
}
ARCHS = tuple(name for name in BACKBONES if name.startswith(("mobilenetv2", "resnet")))
EFFICIENTNETS = tuple(name for name in BACKBONES if name.startswith("efficientnet-lite"))


def timm_mobilenetv2() -> dict[str, str]:
    """timm's names of mobilenetv2_100 -> torchvision's."""
    table = {"conv_stem": "features.0.0", "bn1": "features.0.1"}
    place = 1
    for stage, (_, _, repeats, _) in enumerate(STAGES):
        for block in range(repeats):
            parts = FIRST_BLOCK if stage == 0 else BLOCK
            for theirs, ours in parts.items():
                table[f"blocks.{stage}.{block}.{theirs}"] = f"features.{place}.conv.{ours}"
            place += 1
    return table


def is_timm_mobilenetv2(tensors: Mapping[str, Tensor]) -> bool:
    """True for timm's names of a MobileNetV2."""
    return "conv_stem.weight" in tensors and "blocks.6.0.conv_pwl.weight" in tensors


def by_our_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors to start from, timm's names translated; others pass."""
    if not is_timm_mobilenetv2(tensors):
        return tensors
    return convert(tensors, "mobilenetv2").tensors


def convert(tensors: Mapping[str, Tensor], arch: str) -> Renamed:
    """A backbone's tensors under our names (without `backbone.`), checked against the backbone.

    Raises:
        ModelError: it is not of this backbone.
    """
    if is_timm_mobilenetv2(tensors):
        table = timm_mobilenetv2()
    else:
        table = next(table for family, table in TABLES.items() if arch.startswith(family))
    unused = CLASSIFIERS if "bn2" in table else (*CLASSIFIERS, "bn2")
    found = rename(tensors, table, unused=unused)
    if not found.tensors:
        raise ModelError(f"no tensor of '{arch}'; check --from and --arch")
    return found
