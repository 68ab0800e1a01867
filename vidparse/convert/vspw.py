"""The networks of VSPW's published code (VSPW-dataset/VSPW_baseline).

Per-frame networks are kept as an encoder and a decoder file, TCB as one. The backbone is a ResNet
with the deep stem and dilations 2 and 4, the strided 3x3 of a layer with half of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vidparse.convert.renaming import DEEP_STEM, LAYERS, Renamed, need, rename, resnet_of
from vidparse.errors import ModelError
from vidparse.labels import Labels

ARCHS = ("perframe", "tcb-ppm", "tcb-ocr")
BACKBONE = {f"encoder.{part}": f"backbone.{part}" for part in (*DEEP_STEM, *LAYERS)}
BINS = range(4)

# PPMDeepsup and, without the trailing underscore and the auxiliary classifier, PPM
PSP = {
    **{f"decoder.ppm.{i}.1": f"head.pooling.branches.{i}.0" for i in BINS},
    **{f"decoder.ppm.{i}.2": f"head.pooling.branches.{i}.1" for i in BINS},
    **{
        f"decoder.{last}.{theirs}": ours
        for last in ("conv_last_", "conv_last")
        for theirs, ours in ((0, "head.fuse.0"), (1, "head.fuse.1"), (4, "head.classifier"))
    },
    "decoder.cbr_deepsup.0": "auxiliary.0.0",
    "decoder.cbr_deepsup.1": "auxiliary.0.1",
    "decoder.conv_last_deepsup_": "auxiliary.2",
}
# Clip_PSP: the poolings are modules of their own
TCB_PPM = {
    **{f"ppm_conv.ppm.{i}.{j}": f"head.pooling.branches.{i}.{j}" for i in BINS for j in (0, 1)},
    "ppm_conv.conv_last_.0": "head.fuse.0",
    "ppm_conv.conv_last_.1": "head.fuse.1",
    "ppm_conv.conv_last_.4": "head.classifier",
    "deepsup.0": "auxiliary.0.0",
    "deepsup.1": "auxiliary.0.1",
    "deepsup.4": "auxiliary.2",
}
_ATTENTION = "spatial_ocr_head.object_context_block"
# SpatialOCRNet and, with the same names, ClipOCRNet
OCR = {
    "conv_3x3": "head.pixel",
    "dsn_head.0": "head.region.0.0",
    "dsn_head.1": "head.region.0.1",
    "dsn_head.4": "head.region.2",
    **{
        f"{_ATTENTION}.{theirs}.{3 * i + j}": f"head.{ours}.{i}.{j}"
        for theirs, ours in (("f_pixel", "query"), ("f_object", "key"))
        for i in (0, 1)
        for j in (0, 1)
    },
    f"{_ATTENTION}.f_down": "head.value",
    f"{_ATTENTION}.f_up": "head.context",
    "spatial_ocr_head.conv_bn_dropout": "head.fuse",
    "head": "head.classifier",
}
# our architecture, OCR or not -> its head's names
TABLES = {
    ("perframe", False): PSP,
    ("perframe", True): {f"decoder.{theirs}": ours for theirs, ours in OCR.items()},
    ("tcb-ppm", False): TCB_PPM,
    ("tcb-ocr", True): OCR,
}


def place(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of an encoder or decoder file as they are in the whole network."""
    if "layer4.0.conv1.weight" in tensors:
        return {f"encoder.{name}": tensor for name, tensor in tensors.items()}
    if any(name.startswith(("encoder.", "decoder.")) for name in tensors):
        return tensors
    return {f"decoder.{name}": tensor for name, tensor in tensors.items()}


def convert(tensors: Mapping[str, Tensor], arch: str, labels: Labels) -> Renamed:
    """Their state dict, encoder and decoder together, as ours.

    Raises:
        ModelError: it is not of this network.
    """
    if not any(name.startswith("encoder.") for name in tensors):
        raise ModelError("no encoder: give the encoder's file and the decoder's, one after another")

    # Tell OCR by its own head: both kinds of per-frame network have the same backbone.
    is_ocr = arch == "tcb-ocr" or (arch == "perframe" and "decoder.head.weight" in tensors)
    found = rename(tensors, BACKBONE | TABLES[arch, is_ocr])
    own = found.tensors

    config = {
        "classes": len(need(own, "head.classifier.weight")),
        "backbone": resnet_of(own, deep=True),
        "output_stride": 8,
        "width": len(need(own, "head.fuse.0.weight")),
        "auxiliary": is_ocr or "auxiliary.2.weight" in own,
    }

    if arch == "perframe":
        config["head"] = "ocr" if is_ocr else "psp"
    if is_ocr:
        config["key_width"] = len(need(own, "head.value.0.weight"))
    elif config["auxiliary"]:
        config["auxiliary_width"] = len(need(own, "auxiliary.0.0.weight"))
    return Renamed(own, found.rules, (), config, short_side=480)
