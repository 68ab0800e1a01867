"""Inference: preprocess, network, postprocess, and the threads they run in."""

from vidparse.inference.answer import Answer, ClassIds, Masks, Scores
from vidparse.inference.load import BACKENDS, load_model
from vidparse.inference.panoptic import LINKERS, Linker
from vidparse.inference.pipeline import RunReport, StageTime, run
from vidparse.inference.runners import RUNNERS, Runner, engine_and_reason
from vidparse.inference.session import Session

__all__ = [
    "BACKENDS",
    "LINKERS",
    "RUNNERS",
    "Answer",
    "ClassIds",
    "Linker",
    "Masks",
    "RunReport",
    "Runner",
    "Scores",
    "Session",
    "StageTime",
    "engine_and_reason",
    "load_model",
    "run",
]
