"""Checkpoints of others on the hub that run as they are: classes, licence and published score.

Scores are those of the authors' model zoos (tue-mps/videomt, tue-mps/eomt,
facebookresearch/Mask2Former, SHI-Labs/OneFormer), as shares of 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from vidparse.hub.address import SCHEME

_CARD = "see its card"
_EOMT = "code MIT; weights: see its card"


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """One checkpoint of transformers that vidparse knows by its address and does not bring.

    name: its address. labels: the label set of vidparse with these classes, else that of the data.
    task: semantic, instance or panoptic. mib: MiB to fetch. scores: as published, by metric.
    """

    name: str
    labels: str
    classes: int
    task: str
    summary: str
    licence: str
    mib: int
    scores: Mapping[str, float]


@cache
def published_models() -> dict[str, PublishedModel]:
    """By address, the ones for video first."""
    return {model.name: model for model in _ALL}


def _videomt(
    name: str, labels: str, classes: int, task: str, mib: int, scores: Mapping[str, float]
) -> PublishedModel:
    size = "small" if "small" in name else "large"
    summary = f"VidEoMT (ViT-{size[0].upper()}): its queries follow objects from frame to frame"
    address = f"{SCHEME}tue-mps/videomt-dinov2-{name}"
    return PublishedModel(address, labels, classes, task, summary, _CARD, mib, scores)


_ALL = (
    _videomt(
        *("large-vipseg", "vspw", 124, "panoptic", 1231),
        {"VIPSeg val VPQ": 0.552, "VIPSeg val STQ": 0.489},
    ),
    _videomt(
        *("large-vspw", "vspw", 124, "semantic", 1231),
        {"VSPW val mIoU": 0.649, "VSPW val mVC16": 0.950},
    ),
    _videomt(
        *("large-ytvis2021", "YouTube-VIS 2021", 40, "instance", 1212),
        {"YouTube-VIS 2021 val AP": 0.631},
    ),
    _videomt("large-ovis", "OVIS", 25, "instance", 1212, {"OVIS val AP": 0.525}),
    _videomt(
        *("small-ytvis2019", "YouTube-VIS 2019", 40, "instance", 92),
        {"YouTube-VIS 2019 val AP": 0.528},
    ),
    PublishedModel(
        *(f"{SCHEME}tue-mps/coco_panoptic_eomt_large_640", "COCO panoptic", 133, "panoptic"),
        *("EoMT (ViT-L), frame by frame", _EOMT, 1208, {"COCO val PQ": 0.560}),
    ),
    PublishedModel(
        *(f"{SCHEME}tue-mps/coco_panoptic_eomt_base_640_2x", "COCO panoptic", 133, "panoptic"),
        *("EoMT (ViT-B), frame by frame", _EOMT, 357, {"COCO val PQ": 0.516}),
    ),
    PublishedModel(
        *(f"{SCHEME}tue-mps/ade20k_panoptic_eomt_large_640", "ade20k", 150, "panoptic"),
        *("EoMT (ViT-L), frame by frame", _EOMT, 1208, {"ADE20K val PQ": 0.506}),
    ),
    PublishedModel(
        f"{SCHEME}shi-labs/oneformer_coco_swin_large@refs/pr/1",
        *("COCO panoptic", 133, "panoptic", "OneFormer (Swin-L), frame by frame", "MIT", 838),
        {"COCO val PQ": 0.579},
    ),
    PublishedModel(
        f"{SCHEME}facebook/mask2former-swin-large-cityscapes-panoptic",
        *("cityscapes", 19, "panoptic", "Mask2Former (Swin-L), frame by frame"),
        *("weights CC BY-NC 4.0", 826, {"Cityscapes val PQ": 0.666}),
    ),
)
