"""A request of a training run, in names and paths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from vidparse.errors import UsageError
from vidparse.requests.model import Device, Threads
from vidparse.requests.option import Option, assignment

DatasetName = Annotated[
    str | None,
    Option("{choice}. [default: that of the folder]", flag="--dataset", choices="datasets"),
]
DataRoot = Annotated[Path | None, Option("Folder of the data set.", flag="--data")]


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """A data set by its name and place: NAME=FOLDER[:SPLIT][@WEIGHT]."""

    dataset: str
    root: Path | None
    split: str = "train"
    weight: float | None = None  # its share of the clips; None: by its number of frames


def available_recipes() -> list[str]:
    """Names of the recipes that ship with vidparse."""
    folder = Path(__file__).parents[1] / "training" / "recipes"
    return sorted(path.stem for path in folder.glob("*.toml"))


def parse_source(text: str, flag: str = "") -> SourceRequest:
    """`idd-lite=IDD`, `folder=pseudo:train@0.5` or `sample://street@0.2`.

    Raises:
        UsageError: not such a text.
    """
    body, at, weight = text.rpartition("@")
    if not at or "/" in weight:  # a folder may well have one in its name
        body, weight = text, ""
    try:
        share = float(weight) if weight else None
    except ValueError as error:
        raise UsageError(
            f"data set '{text}': '{weight}' is no weight; write NAME=FOLDER@0.5"
        ) from error
    if share is not None and not 0 < share < math.inf:
        raise UsageError(f"data set '{text}': a weight is a number above 0")

    if body.startswith("sample://"):
        return SourceRequest(body, None, weight=share)
    name, found, place = body.partition("=")
    if not found or not place:
        raise UsageError(f"data set '{text}': write NAME=FOLDER, NAME=FOLDER:SPLIT or with @WEIGHT")
    root, colon, split = place.rpartition(":")

    # Leave a colon in a folder's name alone: no split has a slash behind it.
    if not colon or "/" in split:
        root, split = place, "train"
    return SourceRequest(name, Path(root), split, share)


@dataclass(frozen=True, slots=True)
class Scored:
    """The data that a run is scored on; without a source, none."""

    source: SourceRequest | None


def parse_scored(text: str, flag: str) -> Scored:
    """NAME=FOLDER:SPLIT, or none. Raises: UsageError: not such a text, or one with a weight."""
    source = None if text == "none" else parse_source(text)
    if source is not None and source.weight is not None:
        raise UsageError(f"{flag} {text}: what is scored has no weight; leave it out")
    return Scored(source)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Every setting of `vidparse train`."""

    dataset: DatasetName = None
    data: DataRoot = None
    also: Annotated[
        tuple[SourceRequest, ...],
        Option(
            "More data, of the same classes or of unions of them: NAME=FOLDER:SPLIT@WEIGHT; split "
            "and weight may be left out (repeatable).",
            each=parse_source,
        ),
    ] = ()
    validation: Annotated[
        Scored | None,
        Option(
            "What is scored: NAME=FOLDER:SPLIT, or none; else the split val.",
            flag="--val",
            parse=parse_scored,
        ),
    ] = None
    recipe: Annotated[
        str | None,
        Option(
            "Name of a recipe, or a .toml file; by default street-plain, with a --teacher "
            "street-student, and the network of --init where that is a model of vidparse.",
            choices="recipes",
        ),
    ] = None
    out: Annotated[
        Path | None,
        Option(
            "Folder of checkpoints and log; by default runs/train, or that of --resume.",
            flag="--out",
            short="-o",
        ),
    ] = None
    init: Annotated[
        str | None,
        Option(
            "Weights to start from: a model, .safetensors, or .pth (ImageNet).", choices="models"
        ),
    ] = None
    teacher: Annotated[
        str | None,
        Option("Model to distil, for recipes with objective etc.", choices="models"),
    ] = None
    flow_weights: Annotated[Path | None, Option("raft-things.pth, for NetWarp.")] = None
    resume: Annotated[
        Path | None,
        Option("last.safetensors of the run to continue, with its recipe and data."),
    ] = None
    overwrite: Annotated[bool, Option("Begin anew in a folder that holds a run.")] = False
    changes: Annotated[
        tuple[tuple[str, str], ...],
        Option(
            "Override a recipe field: --set epochs=10 (repeatable).", flag="--set", each=assignment
        ),
    ] = ()
    device: Device = "auto"
    threads: Threads = 0
    tensorboard: Annotated[bool, Option("Write for TensorBoard as well.")] = False
    dry_run: Annotated[bool, Option("Check all of it; print recipe, steps and memory.")] = False

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.out or (self.resume.parent if self.resume else Path("runs/train"))
