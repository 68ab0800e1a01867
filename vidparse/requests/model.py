"""Options about models that several requests share: same flag, same help, everywhere."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Annotated

from vidparse import DEFAULT_MODEL
from vidparse.errors import UsageError
from vidparse.requests.option import Option, input_size, key_frames, word
from vidparse.requests.variants import PANEL, Variants

RULES = ("intended", "official", "filled")  # of merging
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
DEVICES = ("auto", "cpu", "cuda")  # and cuda:N
TASKS = ("auto", "semantic", "instance", "panoptic")  # of transformers checkpoints

Model = Annotated[
    str | os.PathLike[str],
    Option(
        "Name, hf:owner/repo, or a .safetensors or .onnx file.",
        flag="--model",
        short="-m",
        panel=PANEL,
        choices="models",
        parse=word,
    ),
]
Backend = Annotated[str, Option("{choice}.", panel=PANEL, choices="backends")]
Device = Annotated[str, Option("{choices} or cuda:N.", panel=PANEL, choices="devices")]
Precision = Annotated[str, Option("{choice}.", panel=PANEL, choices="precisions")]
Threads = Annotated[
    int, Option("CPU threads of the network; 0: one per core.", panel=PANEL, least=0)
]
Task = Annotated[
    str,
    Option("{choice}, for transformers checkpoints with several.", panel=PANEL, choices="tasks"),
]
Size = Annotated[
    int | tuple[int, int] | None,
    Option("Network input: 360 (short side) or 640x360.", panel=PANEL, parse=input_size),
]
Stabilize = Annotated[
    bool,
    Option("Less flicker: scores are blended with those before, along the motion.", panel=PANEL),
]
KeyFrames = Annotated[
    int | str | None,
    Option(
        "Faster: the network runs at key frames, and its scores move along the motion to the "
        "frames between. N: every N-th frame; auto: where the pictures change.",
        flag="--keyframes",
        panel=PANEL,
        choices="keyframes",
        parse=key_frames,
    ),
]
Window = Annotated[
    int | None,
    Option(
        "Frames that a panoptic network takes at once, 1 to 8, where it takes any number. "
        "[default: as it was trained]",
        panel=PANEL,
    ),
]
Linker = Annotated[
    str | None,
    Option(
        "How objects are known again: {choices}. [default: the one that fits the model]",
        panel=PANEL,
        choices="linkers",
    ),
]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model and how it is run: whatever it takes to load it, here or in another process.

    name: known name, hf:owner/repo[@revision][/file], .safetensors or .onnx file, or folder; in
        requests for several models, which name them apart, it is not read.
    backend: "auto" takes the fastest that keeps the answer, see the guide on models.
    device: auto, cpu, cuda or cuda:N; one that is not there raises.
    threads: CPU threads of the network; 0 means one per core.
    task: auto, semantic, instance or panoptic, for transformers checkpoints with several.
    variants: how the model looks at pictures, where the request has options for it; with it, names
        separated by commas are several models, whose probabilities are averaged.
    """

    name: str = DEFAULT_MODEL
    backend: Backend = "auto"
    device: Device = "auto"
    precision: Precision = "auto"
    threads: Threads = 0
    task: Task = "auto"
    variants: Annotated[Variants | None, "given beside it"] = None

    def of(self, name: str | os.PathLike[str]) -> ModelChoice:
        """Another model, run in the same way."""
        return replace(self, name=os.fspath(name))


@dataclass(frozen=True, slots=True)
class Merging:
    """Rules that make segments of masks, which may overlap.

    rule: of networks whose kernels find the masks, one of RULES: "intended" leaves a pixel to the
        better object; "official" is the published code, where a later object is drawn over it;
        "filled" is as "intended", and gives gaps to the likeliest object.
    min_area: least pixels of a thing in a frame; smaller ones are left out there.
    min_score: least score of a thing.
    classes: ids to keep, things and stuff; None keeps all.
    """

    rule: Annotated[
        str,
        Option(
            "Of models with kernels: intended (a pixel stays with the better object), official "
            "(the published code: a later object is drawn over it), or filled (as intended, and "
            "gaps go to the likeliest object).",
            flag="--merging",
            panel=PANEL,
            choices="rules",
        ),
    ] = "intended"
    min_area: Annotated[int, Option("Pixels that an object must have in a frame.", panel=PANEL)] = 0
    min_score: Annotated[float, Option("Score, 0 to 1, that an object must have.", panel=PANEL)] = (
        0.0
    )
    classes: tuple[int, ...] | None = None

    @property
    def first_set(self) -> str:
        """The first option that was set, by its name; "merging" where none was."""
        default = Merging()
        if self.rule != default.rule:
            return "merging"
        if self.min_area != default.min_area:
            return "min-area"
        return "min-score" if self.min_score != default.min_score else "merging"

    def __post_init__(self) -> None:
        """Raises: UsageError: a rule that is unknown, or a bound that cannot be."""
        if self.rule not in RULES:
            raise UsageError(f"merging '{self.rule}': unknown; use {', '.join(RULES)}")
        if self.min_area < 0:
            raise UsageError(f"min-area {self.min_area}: must be 0 pixels or more")
        if not 0 <= self.min_score <= 1:
            raise UsageError(f"min-score {self.min_score:g}: must lie in 0..1")

    def wants(self, class_id: int, score: float | None, *, is_thing: bool) -> bool:
        """True for a segment of a class and with a score that may be kept."""
        if self.classes is not None and class_id not in self.classes:
            return False
        return not is_thing or score is None or score >= self.min_score
