"""A request of the frames that are worth a person's time, in names and paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from vidparse.errors import UsageError
from vidparse.requests.model import PANEL, ModelChoice, Size
from vidparse.requests.option import Argument, Option, seconds

RANKED, TASK = "What is ranked", "Task"  # panels
MEASURES = ("pixels", "classes")
PRELABELS = ("first", "agreed")
MOST_MODELS = 2


@dataclass(frozen=True, slots=True)
class DisagreementRequest:
    """Everything that `vidparse disagree` takes.

    models: one, which is compared with itself in time, or two.
    by: one of MEASURES. prelabels: one of PRELABELS.
    """

    input: Annotated[str, Argument("A video, or a folder or pattern of images.", metavar="INPUT")]
    models: Annotated[
        tuple[str, ...],
        Option(
            "Name, hf:owner/repo, or a .safetensors or .onnx file; two are compared, one with "
            "itself in time.",
            flag="--model",
            short="-m",
            panel=PANEL,
            choices="models",
        ),
    ] = ()
    top: Annotated[int, Option("How many frames are listed.", panel=RANKED, least=1)] = 20
    spacing_s: Annotated[
        float,
        Option(
            "Least time between two of them, so that they are not all of one moment.",
            flag="--spacing",
            panel=RANKED,
            parse=seconds,
            text="1",
        ),
    ] = 1.0
    by: Annotated[
        str,
        Option(
            "pixels: the share that differs. classes: 1 less the mean IoU of the classes, in which "
            "small ones weigh as much as large ones.",
            panel=RANKED,
            choices="disagreements",
        ),
    ] = "pixels"
    start_s: Annotated[
        float | None,
        Option(
            "Where to begin: 90, 90s, 1.5m or [HH:]MM:SS[.mmm].",
            flag="--start",
            panel=RANKED,
            parse=seconds,
        ),
    ] = None
    end_s: Annotated[
        float | None,
        Option("Where to stop, like --start.", flag="--end", panel=RANKED, parse=seconds),
    ] = None
    every: Annotated[int, Option("Every n-th frame.", panel=RANKED, least=1)] = 1
    size: Size = None
    out: Annotated[
        Path | None,
        Option(
            "New folder for a task: pictures of these frames, with labels to correct.",
            flag="--out",
            short="-o",
            panel=TASK,
        ),
    ] = None
    to: Annotated[str, Option("Its format: {choices}.", panel=TASK, choices="writers")] = (
        "cvat-images"
    )
    prelabels: Annotated[
        str,
        Option(
            "first: as the first model answers. agreed: where the two models differ, or the one "
            "wavers, nothing.",
            panel=TASK,
            choices="prelabels",
        ),
    ] = "first"
    choice: ModelChoice = field(default_factory=ModelChoice)

    def __post_init__(self) -> None:
        """Raises: UsageError: too many models, or a word that is none of its table."""
        if len(self.models) > MOST_MODELS:
            raise UsageError(
                f"-m: {len(self.models)} models; name two to compare them, or one to see where it "
                "wavers"
            )
        for flag, word, known in (
            ("--by", self.by, MEASURES),
            ("--prelabels", self.prelabels, PRELABELS),
        ):
            if word not in known:
                raise UsageError(f"{flag} {word}: unknown; use {' or '.join(known)}")
