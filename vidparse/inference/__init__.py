"""Inference: preprocess, network, postprocess, and the threads they run in."""

from vidparse.inference.answer import Answer, ClassIds, Scores
from vidparse.inference.clip_segments import ClipSegments, Merging, PanopticAnswer
from vidparse.inference.linkers import LINKERS
from vidparse.inference.load import BACKENDS, load_model
from vidparse.inference.masks import Masks
from vidparse.inference.panoptic import Linker
from vidparse.inference.pipeline import RunReport, StageTime, run
from vidparse.inference.runners import RUNNERS, Runner, engine_and_reason
from vidparse.inference.session import Session

__all__ = [
    "BACKENDS",
    "LINKERS",
    "RUNNERS",
    "Answer",
    "ClassIds",
    "ClipSegments",
    "Linker",
    "Masks",
    "Merging",
    "PanopticAnswer",
    "RunReport",
    "Runner",
    "Scores",
    "Session",
    "StageTime",
    "engine_and_reason",
    "load_model",
    "run",
]
