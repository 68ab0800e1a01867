"""Published code bases: how the tensors of each become those of our networks.

Help lists them, so that torch is imported in the functions that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vidparse.convert.tensors import DEEP_STEM, LAYERS, Renamed, blocks_in, need, rename, resnet_of
from vidparse.errors import ModelError
from vidparse.labels import Labels

if TYPE_CHECKING:
    from torch import Tensor

BINS = range(4)  # places of the pooled maps of a PSPNet

EDGENETS_PARTS = (
    "base_net",
    *(f"bu_dec_l{level}" for level in (1, 2, 3, 4)),
    *(f"merge_enc_dec_l{level}" for level in (2, 3, 4)),
    *(f"bu_br_l{level}" for level in (2, 3, 4)),
)
EDGENETS_CLASSIFIER = ("bu_dec_l4.merge_layer.3.weight", "bu_dec_l4.merge_layer.3.bias")
# Their sizes at test time, width x height: 1024x512 on Cityscapes, 384x384 on VOC.
EDGENETS_SHORT_SIDES = {"cityscapes": 512, "voc": 384}


def from_edgenets(tensors: Mapping[str, Tensor], arch: str, labels: Labels) -> Renamed:
    """ESPNetV2 of its authors' code (sacmehta/EdgeNets): our names are theirs.

    Cityscapes weights score 20 classes, the last of them "background" (void); it is cut off, since
    our label sets have no void class. Pictures are RGB / 255 with ImageNet's mean and deviation.

    Raises:
        ModelError: the tensors are not of this network.
    """
    from vidparse.models.espnetv2 import CHANNELS

    found = rename(tensors, {part: part for part in EDGENETS_PARTS})
    own = found.tensors

    # Read the width off the deepest layer: checkpoints carry no configuration.
    deepest = len(need(own, "base_net.level4_0.act.weight"))
    widths = {channels[3]: width for width, channels in CHANNELS.items()}
    if deepest not in widths:
        raise ModelError(f"{deepest} channels at stride 16: no width of ESPNetV2 has them")

    # Cut off the void class of Cityscapes weights: our label sets have none.
    outputs = len(need(own, EDGENETS_CLASSIFIER[0]))
    if labels.name == "cityscapes" and outputs == len(labels) + 1:
        own |= {name: need(own, name)[:-1] for name in EDGENETS_CLASSIFIER}
        outputs -= 1

    config: dict[str, object] = {
        "classes": outputs,
        "width": widths[deepest],
        "decoder_width": len(need(own, "bu_br_l2.0.weight")) // 4,
        "pyramid_width": len(need(own, "bu_dec_l4.stages.0.weight")),
    }
    return Renamed(own, found.rules, (), config, EDGENETS_SHORT_SIDES.get(labels.name, 480))


# layer0 lists convolution, norm and ReLU three times, then the pooling
SEMSEG_STEM = dict(zip((0, 1, 3, 4, 6, 7), DEEP_STEM, strict=True))
SEMSEG_TABLE = {
    **{f"layer0.{place}": f"backbone.{name}" for place, name in SEMSEG_STEM.items()},
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
SEMSEG_SHORT_SIDES = {"cityscapes": 1024}


def from_semseg(tensors: Mapping[str, Tensor], arch: str, labels: Labels) -> Renamed:
    """PSPNet of hszhao/semseg: deep stem ResNet, every 3x3 of layers 3 and 4 dilated.

    Its pooled maps are resized with align_corners. Pictures are RGB with ImageNet's mean and
    deviation.

    Raises:
        ModelError: the tensors are not of this network.
    """
    found = rename(tensors, SEMSEG_TABLE)
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
    return Renamed(own, found.rules, (), config, SEMSEG_SHORT_SIDES.get(labels.name, 480))


VSPW_BACKBONE = {f"encoder.{part}": f"backbone.{part}" for part in (*DEEP_STEM, *LAYERS)}

# PPMDeepsup and, without the trailing underscore and the auxiliary classifier, PPM
VSPW_PSP = {
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
VSPW_TCB_PPM = {
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
VSPW_OCR = {
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
# our architecture, VSPW_OCR or not -> its head's names
VSPW_TABLES = {
    ("perframe", False): VSPW_PSP,
    ("perframe", True): {f"decoder.{theirs}": ours for theirs, ours in VSPW_OCR.items()},
    ("tcb-ppm", False): VSPW_TCB_PPM,
    ("tcb-ocr", True): VSPW_OCR,
}


def placed_of_vspw(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of an encoder or decoder file as they are in the whole network."""
    # Know the encoder by a layer that decoders have not: files carry no word of it.
    if "layer4.0.conv1.weight" in tensors:
        return {f"encoder.{name}": tensor for name, tensor in tensors.items()}
    if any(name.startswith(("encoder.", "decoder.")) for name in tensors):
        return tensors
    return {f"decoder.{name}": tensor for name, tensor in tensors.items()}


def from_vspw(tensors: Mapping[str, Tensor], arch: str, labels: Labels) -> Renamed:
    """The networks of VSPW's published code (VSPW-dataset/VSPW_baseline).

    Per-frame networks are kept as an encoder and a decoder file, TCB as one. The backbone is a
    ResNet with the deep stem and dilations 2 and 4, the strided 3x3 of a layer with half of it.

    Args:
        tensors: of encoder and decoder together.

    Raises:
        ModelError: the tensors are not of this network.
    """
    if not any(name.startswith("encoder.") for name in tensors):
        raise ModelError("no encoder: give the encoder's file and the decoder's, one after another")

    # Know VSPW_OCR by its own head: both kinds of per-frame network have the same backbone.
    is_ocr = arch == "tcb-ocr" or (arch == "perframe" and "decoder.head.weight" in tensors)
    found = rename(tensors, VSPW_BACKBONE | VSPW_TABLES[arch, is_ocr])
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


PANOPTICFCN_SHORT_SIDE = 720  # pixels
PANOPTICFCN_STD = (1 / 255, 1 / 255, 1 / 255)
PANOPTICFCN_BLOCKS = (3, 4, 6, 3)  # of the stages of a ResNet-50
PANOPTICFCN_SIDES = range(4)  # maps of the backbone, and P2 .. P5
PANOPTICFCN_TOWER = range(3)  # convolutions of a head


def _backbone() -> dict[str, str]:
    theirs, ours = "backbone.bottom_up", "backbone"
    table = {f"{theirs}.stem.conv1": f"{ours}.conv1", f"{theirs}.stem.conv1.norm": f"{ours}.bn1"}
    for stage, count in enumerate(PANOPTICFCN_BLOCKS):
        for block in range(count):
            here, there = f"{theirs}.res{stage + 2}.{block}", f"{ours}.layer{stage + 1}.{block}"
            for i in (1, 2, 3):
                table[f"{here}.conv{i}"] = f"{there}.conv{i}"
                table[f"{here}.conv{i}.norm"] = f"{there}.bn{i}"
            table[f"{here}.shortcut"] = f"{there}.downsample.0"
            table[f"{here}.shortcut.norm"] = f"{there}.downsample.1"
    return table


def _pyramid() -> dict[str, str]:
    table = {f"backbone.top_block.p{i}": f"fpn.p{i}" for i in (6, 7)}
    for i in PANOPTICFCN_SIDES:
        table[f"backbone.fpn_lateral{i + 2}"] = f"fpn.lateral.{i}"
        table[f"backbone.fpn_output{i + 2}"] = f"fpn.output.{i}"

        # Count by two in their names: a doubling lies between two convolutions.
        for step in range(max(1, i)):
            theirs, ours = f"semantic_fpn.p{i + 2}.{2 * step}", f"semantic.branches.{i}.{step}"
            table |= {theirs: f"{ours}.0", f"{theirs}.norm": f"{ours}.1"}
    return table


def _heads() -> dict[str, str]:
    table = {
        "position_head.out_inst": "positions.centres",
        "position_head.out_sem": "positions.regions",
        "kernel_head.out_conv": "kernels.last",
        "thing_generator.embed_extractor": "thing_embedding",
        "stuff_generator.embed_extractor": "stuff_embedding",
    }
    for i in PANOPTICFCN_TOWER:
        for theirs, ours in (("position_head", "positions"), ("kernel_head", "kernels")):
            conv, tower = f"{theirs}.{theirs}.{theirs}_head_{i + 1}", f"{ours}.tower"

            # Take both forms: a deformable convolution lies one name deeper.
            for inside in ("", ".dcnv2"):
                table[f"{conv}{inside}"] = f"{tower}.convs.{i}"
                table[f"{conv}{inside}.norm"] = f"{tower}.norms.{i}.0"
            table[f"{conv}.offset_mask_conv"] = f"{tower}.convs.{i}.offsets"
        table[f"feature_encoder.encode_head.encode_head_head_{i + 1}"] = f"encoder.convs.{i}"
    return table


PANOPTICFCN_TABLE = _backbone() | _pyramid() | _heads()
PANOPTICFCN_EMBEDDINGS = ("thing_embedding.weight", "stuff_embedding.weight")


def from_panopticfcn(tensors: Mapping[str, Tensor], arch: str, labels: Labels) -> Renamed:
    """PanopticFCN, and Clip-PanoFCN of VIPSeg's authors, as detectron2 keeps them.

    The backbone is MSRA's ResNet-50. Pictures are RGB from 0 to 255 less ImageNet's mean, not
    divided by its deviation, with the shorter side at 720 pixels.

    Raises:
        ModelError: the tensors are not of this network.
    """
    found = rename(tensors, PANOPTICFCN_TABLE)
    own = found.tensors

    # Stop at other depths here: the table of names is of a ResNet-50.
    count = blocks_in(own, "backbone.layer3.")
    if count != PANOPTICFCN_BLOCKS[2]:
        raise ModelError(f"a ResNet with {count} blocks in res4: only ResNet-50 is known here")

    for name in PANOPTICFCN_EMBEDDINGS:
        # Flatten their 1x1 convolution, which is a product here.
        own[name] = need(own, name).flatten(1)

    config = {
        "things": len(need(own, "positions.centres.weight")),
        "stuff": len(need(own, "positions.regions.weight")) - 1,
        "backbone": "resnet50-msra",
        "width": len(need(own, "fpn.p6.weight")),
        "kernel_width": len(need(own, "kernels.last.weight")),
        "feature_width": len(own[PANOPTICFCN_EMBEDDINGS[0]]),
        "deformable": "positions.tower.convs.0.offsets.weight" in own,
    }
    return Renamed(own, found.rules, (), config, PANOPTICFCN_SHORT_SIDE, PANOPTICFCN_STD)


RESNET = {name: name for name in (*DEEP_STEM, *LAYERS)}
MOBILENETV2 = {f"features.{i}": f"features.{i}" for i in range(18)}
EFFICIENTNET_LITE = {name: name for name in ("_conv_stem", "_bn0", "_blocks")}
START_TABLES = {
    "resnet": RESNET,
    "mobilenetv2": MOBILENETV2,
    "efficientnet-lite": EFFICIENTNET_LITE,
}  # first part of a backbone's name -> its names of tensors
START_CLASSIFIERS = (
    *("fc", "fc_1", "classifier", "features.18", "conv_head"),
    *("_conv_head", "_bn1", "_fc"),
)
# A block of timm's, by the place of each part in ours; the first block does not expand.
TIMM_FIRST_BLOCK = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
TIMM_BLOCK = {
    "conv_pw": "0.0",
    "bn1": "0.1",
    "conv_dw": "1.0",
    "bn2": "1.1",
    "conv_pwl": "2",
    "bn3": "3",
}


def timm_mobilenetv2() -> dict[str, str]:
    """timm's names of mobilenetv2_100 -> torchvision's."""
    from vidparse.models.backbones.mobile import MOBILENETV2_STAGES

    table = {"conv_stem": "features.0.0", "bn1": "features.0.1"}
    place = 1
    for stage, (_, _, repeats, _) in enumerate(MOBILENETV2_STAGES):
        for block in range(repeats):
            # Read the first block by its own names: it does not expand.
            parts = TIMM_FIRST_BLOCK if stage == 0 else TIMM_BLOCK
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
    return start_of(tensors, "mobilenetv2").tensors


def start_of(tensors: Mapping[str, Tensor], arch: str) -> Renamed:
    """ImageNet weights of a backbone to start from, under our names without `backbone.`.

    Names of torchvision, of the deep stem (CSAIL's and semseg's ImageNet files) and of the port of
    EfficientNet-Lite to PyTorch are ours; timm's ResNets have torchvision's names, its MobileNetV2
    has its own.

    Raises:
        ModelError: the tensors are not of this backbone.
    """
    if is_timm_mobilenetv2(tensors):
        table = timm_mobilenetv2()
    else:
        table = next(table for family, table in START_TABLES.items() if arch.startswith(family))

    # Drop a bn2 that no stem has: timm's classifier has one.
    unused = START_CLASSIFIERS if "bn2" in table else (*START_CLASSIFIERS, "bn2")
    found = rename(tensors, table, unused=unused)
    if not found.tensors:
        raise ModelError(f"no tensor of '{arch}'; check --from and --arch")
    return found


@dataclass(frozen=True, slots=True)
class CodeBase:
    """One published code base.

    archs: ours that its checkpoints become; of a start, the families of backbones.
    convert: tensors, arch and labels to tensors under our names; None for a start.
    place: names of one of several files to those of the whole network.
    """

    archs: tuple[str, ...]
    convert: Callable[[Mapping[str, Tensor], str, Labels], Renamed] | None = None
    place: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict

    def names(self) -> tuple[str, ...]:
        """Networks of ours, or backbones, that it can become."""
        if self.convert is not None:
            return self.archs
        from vidparse.models.backbones import BACKBONES

        return tuple(name for name in BACKBONES if name.startswith(self.archs))


SOURCES: dict[str, CodeBase] = {
    "edgenets": CodeBase(("espnetv2",), from_edgenets),  # sacmehta/EdgeNets
    "semseg": CodeBase(("perframe",), from_semseg),  # hszhao/semseg: PSPNet
    "vspw": CodeBase(  # VSPW_baseline: PSPNet, OCRNet, TCB
        ("perframe", "tcb-ppm", "tcb-ocr"), from_vspw, placed_of_vspw
    ),
    "panopticfcn": CodeBase(("clip-panofcn",), from_panopticfcn),  # in detectron2
    "torchvision": CodeBase(("mobilenetv2", "resnet")),
    "timm": CodeBase(("mobilenetv2", "resnet")),
    "deep-stem": CodeBase(("mobilenetv2", "resnet")),
    "efficientnet-lite": CodeBase(("efficientnet-lite",)),  # efficientnet_lite_pytorch
}


def converted_networks() -> list[str]:
    """Our networks that checkpoints of these code bases become, without backbones."""
    archs = (arch for base in SOURCES.values() if base.convert for arch in base.archs)
    return list(dict.fromkeys(archs))
