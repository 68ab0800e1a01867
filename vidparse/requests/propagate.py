"""The settings of `vidparse propagate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from vidparse.requests.model import PANEL, ModelChoice
from vidparse.requests.option import (
    DEFAULT_CUT,
    Argument,
    Option,
    comma_list,
    cut_threshold,
    frame_rate,
)
from vidparse.requests.outputs import OUTPUT, SAVE, Out, SinkOptions

KEYS, MOTION = "Key frames", "Motion"  # panels


@dataclass(frozen=True, slots=True)
class PropagateRequest:
    """Every setting of `vidparse propagate`.

    source and keys: a video and the folder of its key masks; or dataset and data: every video of a
        data set some of whose frames have masks.
    label_set: name of a label set, or a label file; None: labels.json in or beside the keys, the
        categories of their json, or classes named by their numbers.
    cut: threshold at which a shot ends, and what is known of its objects with it; None: never.
    """

    source: Annotated[
        str | None,
        Argument("A video, or a folder or pattern of images.", metavar="INPUT", show_default=False),
    ] = None
    keys: Annotated[
        Path | None,
        Argument(
            "Folder of key masks, named by frame number (000015.png) or as the images.",
            metavar="KEYS",
            show_default=False,
        ),
    ] = None
    dataset: Annotated[
        str | None,
        Option(
            "Instead, all videos of this data set between their labelled frames; kinds as for "
            "eval.",
            panel=KEYS,
            choices="datasets",
        ),
    ] = None
    data: Annotated[Path | None, Option("Folder of the data set.", panel=KEYS)] = None
    split: Annotated[
        str, Option("{choices}, or what the data has.", panel=KEYS, choices="splits")
    ] = "train"
    label_set: Annotated[
        str | None,
        Option(
            "What the class ids mean: {choices}, or a label file. [default: labels.json with the "
            "keys, or numbers]",
            panel=KEYS,
            choices="labels",
        ),
    ] = None
    ids: Annotated[
        bool,
        Option(
            "8-bit masks hold ids of objects, 0 for none, as 16-bit ones without labels do.",
            panel=KEYS,
        ),
    ] = False
    reverse_test: Annotated[
        bool,
        Option(
            "Also predict every key frame from its propagated neighbours, and report the mIoU "
            "(VSPW's test of such labels).",
            panel=KEYS,
        ),
    ] = False

    out: Out = None
    save: Annotated[
        str | tuple[str, ...] | None,
        Option(
            SAVE + "overlay,masks,confidence,report (of keys with ids: panoptic, not masks).",
            panel=OUTPUT,
            choices="propagated",
            parse=comma_list,
        ),
    ] = None
    sinks: SinkOptions = field(default_factory=SinkOptions)

    model: Annotated[
        str | None,
        Option(
            "Let a model's classes, whatever they are, decide where no key shows what is there: a "
            "name, hf:owner/repo, or a .safetensors or .onnx file. [default: none]",
            flag="--model",
            short="-m",
            panel=PANEL,
            choices="models",
        ),
    ] = None
    choice: ModelChoice = field(default_factory=ModelChoice)
    flow: Annotated[
        str, Option("Where the motion comes from: {choice}.", panel=MOTION, choices="flows")
    ] = "dis"
    flow_weights: Annotated[Path | None, Option("Weights of RAFT.", panel=MOTION)] = None
    flow_device: Annotated[str, Option("Of RAFT, as torch names it.", panel=MOTION)] = "cpu"
    cut: Annotated[
        float | None,
        Option(
            "Where a shot ends, over which nothing is propagated: auto (hard cuts), off, or a "
            "threshold from 0 to 2.",
            panel=MOTION,
            choices="cuts",
            parse=cut_threshold,
            text="auto",
        ),
    ] = DEFAULT_CUT
    image_rate: Annotated[
        Fraction | None,
        Option(
            "Images per second of folders and patterns: 25, 30000/1001.",
            flag="--rate",
            panel="Input",
            parse=frame_rate,
        ),
    ] = None
    argv: tuple[str, ...] = ()
