"""Inference: preprocess, network, postprocess, and the threads they run in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidparse.tables import public_member

if TYPE_CHECKING:
    from vidparse.inference.answer import Answer, ClassIds, Scores
    from vidparse.inference.centre_maps import CentreMaps
    from vidparse.inference.clip_segments import ClipSegments, PanopticAnswer
    from vidparse.inference.kernel_maps import KernelMaps, decode_clip
    from vidparse.inference.kernels import fuse_kernels
    from vidparse.inference.linkers import LINKERS
    from vidparse.inference.load import decided, load_chosen, load_model
    from vidparse.inference.masks import Masks
    from vidparse.inference.panoptic import Linker
    from vidparse.inference.pipeline import RunReport, Stages, StageTime, run
    from vidparse.inference.runners import RUNNERS, Runner, engine_and_reason
    from vidparse.inference.session import Session, SessionOptions
    from vidparse.inference.tracking import KernelMemory
    from vidparse.requests.model import Merging, ModelChoice

# Public name -> module; loaded on first use, as most of it is for panoptic networks alone.
_PUBLIC = {
    "Answer": "vidparse.inference.answer",
    "CentreMaps": "vidparse.inference.centre_maps",
    "ClassIds": "vidparse.inference.answer",
    "ClipSegments": "vidparse.inference.clip_segments",
    "KernelMaps": "vidparse.inference.kernel_maps",
    "KernelMemory": "vidparse.inference.tracking",
    "LINKERS": "vidparse.inference.linkers",
    "Linker": "vidparse.inference.panoptic",
    "Masks": "vidparse.inference.masks",
    "Merging": "vidparse.requests.model",
    "ModelChoice": "vidparse.requests.model",
    "PanopticAnswer": "vidparse.inference.clip_segments",
    "RUNNERS": "vidparse.inference.runners",
    "RunReport": "vidparse.inference.pipeline",
    "Runner": "vidparse.inference.runners",
    "Scores": "vidparse.inference.answer",
    "Session": "vidparse.inference.session",
    "SessionOptions": "vidparse.inference.session",
    "StageTime": "vidparse.inference.pipeline",
    "Stages": "vidparse.inference.pipeline",
    "decode_clip": "vidparse.inference.kernel_maps",
    "engine_and_reason": "vidparse.inference.runners",
    "fuse_kernels": "vidparse.inference.kernels",
    "decided": "vidparse.inference.load",
    "load_chosen": "vidparse.inference.load",
    "load_model": "vidparse.inference.load",
    "run": "vidparse.inference.pipeline",
}
__all__ = [
    "LINKERS",
    "RUNNERS",
    "Answer",
    "CentreMaps",
    "ClassIds",
    "ClipSegments",
    "KernelMaps",
    "KernelMemory",
    "Linker",
    "Masks",
    "Merging",
    "ModelChoice",
    "PanopticAnswer",
    "RunReport",
    "Runner",
    "Scores",
    "Session",
    "SessionOptions",
    "StageTime",
    "Stages",
    "decided",
    "decode_clip",
    "engine_and_reason",
    "fuse_kernels",
    "load_chosen",
    "load_model",
    "run",
]


def __getattr__(name: str) -> object:
    return public_member(_PUBLIC, __name__, name)
