"""PanopticFCN, and Clip-PanoFCN of VIPSeg's authors, as detectron2 keeps them.

The backbone is MSRA's ResNet-50. Pictures are RGB from 0 to 255 less ImageNet's mean, not divided
by its deviation, with the shorter side at 720 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vidparse.convert.renaming import Renamed, blocks_in, need, rename
from vidparse.errors import ModelError
from vidparse.labels import Labels

ARCHS = ("clip-panofcn",)
SHORT_SIDE = 720  # pixels
STD = (1 / 255, 1 / 255, 1 / 255)
BLOCKS = (3, 4, 6, 3)  # of the stages of a ResNet-50
SIDES = range(4)  # maps of the backbone, and P2 .. P5
TOWER = range(3)  # convolutions of a head


def _backbone() -> dict[str, str]:
    theirs, ours = "backbone.bottom_up", "backbone"
    table = {f"{theirs}.stem.conv1": f"{ours}.conv1", f"{theirs}.stem.conv1.norm": f"{ours}.bn1"}
    for stage, count in enumerate(BLOCKS):
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
    for i in SIDES:
        table[f"backbone.fpn_lateral{i + 2}"] = f"fpn.lateral.{i}"
        table[f"backbone.fpn_output{i + 2}"] = f"fpn.output.{i}"
        for step in range(max(1, i)):  # between two convolutions lies a doubling
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
    for i in TOWER:
        for theirs, ours in (("position_head", "positions"), ("kernel_head", "kernels")):
            conv, tower = f"{theirs}.{theirs}.{theirs}_head_{i + 1}", f"{ours}.tower"
            for inside in ("", ".dcnv2"):  # the second where it is deformable
                table[f"{conv}{inside}"] = f"{tower}.convs.{i}"
                table[f"{conv}{inside}.norm"] = f"{tower}.norms.{i}.0"
            table[f"{conv}.offset_mask_conv"] = f"{tower}.convs.{i}.offsets"
        table[f"feature_encoder.encode_head.encode_head_head_{i + 1}"] = f"encoder.convs.{i}"
    return table


TABLE = _backbone() | _pyramid() | _heads()
EMBEDDINGS = ("thing_embedding.weight", "stuff_embedding.weight")


def convert(tensors: Mapping[str, Tensor], arch: str, labels: Labels) -> Renamed:
    """Their state dict as ours.

    Raises:
        ModelError: it is not of this network.
    """
    found = rename(tensors, TABLE)
    own = found.tensors

    count = blocks_in(own, "backbone.layer3.")
    if count != BLOCKS[2]:
        raise ModelError(f"a ResNet with {count} blocks in res4: only ResNet-50 is known here")

    for name in EMBEDDINGS:
        own[name] = need(own, name).flatten(1)  # their 1x1 convolution is a product

    config = {
        "things": len(need(own, "positions.centres.weight")),
        "stuff": len(need(own, "positions.regions.weight")) - 1,
        "backbone": "resnet50-msra",
        "width": len(need(own, "fpn.p6.weight")),
        "kernel_width": len(need(own, "kernels.last.weight")),
        "feature_width": len(own[EMBEDDINGS[0]]),
        "deformable": "positions.tower.convs.0.offsets.weight" in own,
    }
    return Renamed(own, found.rules, (), config, SHORT_SIDE, STD)
