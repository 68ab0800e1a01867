"""A request of an evaluation, in names and paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from vidparse.requests.degradation import Degrade
from vidparse.requests.model import (
    PANEL,
    KeyFrames,
    Linker,
    Merging,
    ModelChoice,
    Size,
    Stabilize,
    Window,
)
from vidparse.requests.option import Option, comma_list, window_lengths
from vidparse.requests.training import DataRoot, DatasetName
from vidparse.requests.variants import Variants

SCORED, METRICS, OUTPUTS = "What is scored", "Metrics", "Outputs"  # panels


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """Every setting of `vidparse eval`.

    models, predictions: what is scored; neither: the default model. choice: how each model is run.
    """

    dataset: DatasetName = None
    data: DataRoot = None
    split: Annotated[str, Option("{choices}, or what the data has.", choices="splits")] = "val"
    models: Annotated[
        tuple[str, ...],
        Option(
            "Name, hf:owner/repo, or a .safetensors or .onnx file (repeatable); a,b is the mean of "
            "both.",
            flag="--model",
            short="-m",
            panel=SCORED,
            choices="models",
        ),
    ] = ()
    predictions: Annotated[
        tuple[Path, ...],
        Option(
            "Folder of predictions of any tool: VSPW masks, VIPSeg pan_pred + pred.json, COCO "
            "panoptic, mask videos (repeatable).",
            flag="--pred",
            panel=SCORED,
        ),
    ] = ()
    labels: Annotated[
        str | None,
        Option(
            "Label set to score in, where that of a model or of the data is finer: camvid. "
            "Ids of --pred are then of this set.",
            panel=SCORED,
            choices="labels",
        ),
    ] = None
    raw_ids: Annotated[
        bool,
        Option(
            "Masks hold raw VSPW ids, 1 to 124: those of --pred, and those --save writes.",
            panel=SCORED,
        ),
    ] = False
    degrade: Degrade = None
    max_videos: Annotated[
        int | None, Option("Only the first videos of the split.", panel=SCORED, least=1)
    ] = None

    metrics: Annotated[
        tuple[str, ...] | None,
        Option(
            "{choices}; vcN and vcN-strict for clips of N frames; separated by commas. "
            "Default: those that the data set is usually scored with.",
            panel=METRICS,
            choices="metrics",
            parse=comma_list,
        ),
    ] = None
    windows: Annotated[
        tuple[int, ...] | None,
        Option("Window lengths of VPQ in frames: 1,2,4,6.", panel=METRICS, parse=window_lengths),
    ] = None
    flow: Annotated[
        str, Option("Optical flow of TC: {choice}.", panel=METRICS, choices="flows")
    ] = "dis"
    flow_weights: Annotated[
        Path | None, Option("Weights of RAFT, raft-things.pth.", panel=METRICS)
    ] = None
    flow_cache: Annotated[
        Path | None,
        Option(
            "Keep flows in this folder (.flo), and take them from it. They go by the names of "
            "videos and frames, so give each data set a folder of its own.",
            panel=METRICS,
        ),
    ] = None
    bootstrap: Annotated[
        int,
        Option(
            "Draws for 95 % intervals over videos; 1000 will do.",
            panel=METRICS,
            least=0,
            most=1_000_000,
        ),
    ] = 0

    size: Size = None
    choice: ModelChoice = field(default_factory=ModelChoice)
    variants: Variants = field(default_factory=Variants)
    stabilize: Stabilize = False
    keyframes: KeyFrames = None
    window: Window = None
    linker: Linker = None
    merging: Merging | None = None
    support: Annotated[
        str,
        Option(
            "Frames that TCB (.safetensors) blends with: past, as segment does, or official: "
            "the published test code, with later frames and, for any memory, first_clip.",
            panel=PANEL,
            choices="supports",
        ),
    ] = "past"

    report: Annotated[
        Path | None, Option("Write a page with charts and the worst clips.", panel=OUTPUTS)
    ] = None
    save: Annotated[
        str | None,
        Option(
            "Keep the model's predictions as a submission: {choice}.",
            panel=OUTPUTS,
            choices="submissions",
        ),
    ] = None
    out: Annotated[
        Path | None, Option("Folder of --save.", flag="--out", short="-o", panel=OUTPUTS)
    ] = None
    overwrite: Annotated[bool, Option("Replace what --save finds there.", panel=OUTPUTS)] = False
    resume: Annotated[bool, Option("Go on with an interrupted evaluation.", panel=OUTPUTS)] = True
