"""A request of automatic labels, in names and paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from vidparse.limits import SMALLEST
from vidparse.requests.model import PANEL, ModelChoice
from vidparse.requests.option import Argument, Option, comma_list, seconds, votes
from vidparse.requests.variants import LABELS, LabelVariants

LABELLED = "What is labelled"  # panel


@dataclass(frozen=True, slots=True)
class AutolabelRequest:
    """Everything that `vidparse autolabel` takes.

    inputs, or dataset and data: what is labelled.
    models: none: the default model. choice: how each is run.
    votes: how much each counts; none: all alike.
    classes: own ones made of the models', see `OwnClasses`; none: all of them.
    """

    inputs: Annotated[
        tuple[str, ...], Argument("Videos, or folders or patterns of images.", metavar="INPUT")
    ] = ()
    out: Annotated[
        Path,
        Option(
            "Folder of images, masks and labels.json: a data set of the kind `folder`.",
            flag="--out",
            short="-o",
        ),
    ] = Path("pseudo")
    models: Annotated[
        tuple[str, ...],
        Option(
            "Name, hf:owner/repo, or a .safetensors or .onnx file; several are averaged.",
            flag="--model",
            short="-m",
            panel=PANEL,
            choices="models",
        ),
    ] = ()
    votes: Annotated[
        tuple[float, ...] | None,
        Option(
            "How much each model counts, in their order: 0.7,0.3. [default: all alike]",
            panel=PANEL,
            parse=votes,
        ),
    ] = None

    dataset: Annotated[
        str | None,
        Option(
            "Label a split of this data set; kinds as for eval.", panel=LABELLED, choices="datasets"
        ),
    ] = None
    data: Annotated[Path | None, Option("Folder of the data set.", panel=LABELLED)] = None
    split: Annotated[
        str, Option("{choices}, or what the data has.", panel=LABELLED, choices="splits")
    ] = "train"
    unlabelled: Annotated[
        bool, Option("Only frames of the data set that have no mask.", panel=LABELLED)
    ] = False
    every: Annotated[
        int, Option("Every n-th frame of videos and folders.", panel=LABELLED, least=1)
    ] = 1
    start_s: Annotated[
        float | None,
        Option(
            "Where to begin in each video: 90, 90s, 1.5m or [HH:]MM:SS[.mmm].",
            flag="--start",
            panel=LABELLED,
            parse=seconds,
        ),
    ] = None
    end_s: Annotated[
        float | None,
        Option("Where to stop, like --start.", flag="--end", panel=LABELLED, parse=seconds),
    ] = None
    max_frames: Annotated[
        int | None, Option("Only the first frames.", panel=LABELLED, least=1, most=10**9)
    ] = None
    shrink: Annotated[
        int | None,
        Option(
            "Bring larger pictures to this shorter side, and keep them so.",
            panel=LABELLED,
            least=SMALLEST,
        ),
    ] = None

    variants: LabelVariants = field(default_factory=LabelVariants)
    threshold: Annotated[
        float,
        Option(
            "Least probability of a label; below it 255, ignore.", panel=LABELS, least=0, most=1
        ),
    ] = 0.5
    within: Annotated[
        bool,
        Option("Labels must agree with the coarser ones that the data set has.", panel=LABELS),
    ] = False
    labels: Annotated[
        str | None,
        Option(
            "Label set to bring models to that have different ones: camvid.",
            panel=LABELS,
            choices="labels",
        ),
    ] = None
    classes: Annotated[
        tuple[str, ...] | None,
        Option(
            "Own classes, made of the models': vehicle=car+bus,person,other=*. Pixels of no class "
            "are void. [default: the models' classes]",
            panel=LABELS,
            parse=comma_list,
        ),
    ] = None

    overwrite: Annotated[bool, Option("Begin anew, without the labels made before.")] = False
    choice: ModelChoice = field(default_factory=ModelChoice)
