"""Heads: a pyramid of feature maps in, class scores out."""

from collections.abc import Callable

from vidparse.models.heads.ocr import OcrHead
from vidparse.models.heads.pooling import (
    AuxiliaryHead,
    DeepLabHead,
    LightDeepLabHead,
    PspHead,
    UperNetHead,
)
from vidparse.models.heads.refine import score_alignment

Head = DeepLabHead | LightDeepLabHead | OcrHead | PspHead | UperNetHead

# Each is built from (channels of the pyramid, classes, keyword options of its own).
HEADS: dict[str, Callable[..., Head]] = {
    "psp": PspHead,
    "ocr": OcrHead,
    "upernet": UperNetHead,
    "deeplab": DeepLabHead,
    "deeplab-light": LightDeepLabHead,
}

__all__ = [
    "HEADS",
    "AuxiliaryHead",
    "DeepLabHead",
    "Head",
    "LightDeepLabHead",
    "OcrHead",
    "PspHead",
    "UperNetHead",
    "score_alignment",
]
