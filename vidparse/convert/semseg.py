"""PSPNet of hszhao/semseg: deep stem ResNet, every 3x3 of layers 3 and 4 dilated.

Its pooled maps are resized with align_corners. Pictures are RGB with ImageNet's mean and deviation.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vidparse.convert.renaming import DEEP_STEM, LAYERS, Renamed, need, rename, resnet_of
from vidparse.labels import Labels

ARCHS = ("perframe",)
# layer0 lists convolution, norm and ReLU three times, then the pooling
STEM = dict(zip((0, 1, 3, 4, 6, 7), DEEP_STEM, strict=True))
BINS = range(4)
TABLE = {
    **{f"layer0.{place}": f"backbone.{name}" for place, name in STEM.items()},
    **{layer: f"backbone.{layer}" for layer in LAYERS},
    **{f"ppm.features.{i}.1": f"head.pooling.branches.{i}.0" for i in BINS},
    **{f"ppm.features.{i}.2": f"head.pooling.branches.{i}.1" for i in BINS},
    "cls.0": "head.fuse.0",
    "cls.1": "head.fuse.1",
    "cls.4": "head.classifier",
    "aux.0": "auxiliary.0.0",
    "aux.1": "auxiliary.0.1",
    "aux.4": "auxiliary.2",
}
# Short sides of the pictures that it was tested on.
SHORT_SIDES = {"cityscapes": 1024}


def convert(tensors: Mapping[str, Tensor], arch: str, labels: Labels) -> Renamed:
    """Their state dict as ours.

    Raises:
        ModelError: it is not of this network.
    """
    found = rename(tensors, TABLE)
    own = found.tensors

    # Older files leave the auxiliary classifier out; it is not needed to run.
    auxiliary = own.get("auxiliary.0.0.weight")
    config = {
        "classes": len(need(own, "head.classifier.weight")),
        "backbone": resnet_of(own, deep=True),
        "output_stride": 8,
        "dilation_rule": "all",
        "head": "psp",
        "width": len(need(own, "head.fuse.0.weight")),
        "align_corners": True,
        "auxiliary": auxiliary is not None,
    }

    if auxiliary is not None:
        config["auxiliary_width"] = len(auxiliary)
    return Renamed(own, found.rules, (), config, SHORT_SIDES.get(labels.name, 480))
