"""Inference: preprocess, network, postprocess, and the threads they run in."""

from vidparse.inference.answer import Answer, ClassIds, Scores
from vidparse.inference.centre_maps import CentreMaps
from vidparse.inference.clip_segments import ClipSegments, PanopticAnswer
from vidparse.inference.kernel_maps import KernelMaps, decode_clip
from vidparse.inference.kernels import fuse_kernels
from vidparse.inference.linkers import LINKERS
from vidparse.inference.load import load_chosen, load_model
from vidparse.inference.masks import Masks
from vidparse.inference.panoptic import Linker
from vidparse.inference.pipeline import RunReport, Stages, StageTime, run
from vidparse.inference.runners import RUNNERS, Runner, engine_and_reason
from vidparse.inference.session import Session, SessionOptions
from vidparse.inference.tracking import KernelMemory
from vidparse.requests.model import Merging, ModelChoice

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
    "decode_clip",
    "engine_and_reason",
    "fuse_kernels",
    "load_chosen",
    "load_model",
    "run",
]
