"""Option types that several commands share: same flag, same help, everywhere."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vidparse.data import FORMATS, SAMPLES
from vidparse.limits import MAX_PIXELS, allow_pixels

# Words in braces in help texts, and the tables whose names they stand for.
_TABLES = {
    "{metrics}": ("vidparse.evaluation.metrics", "METRICS"),
    "{linkers}": ("vidparse.inference", "LINKERS"),
    "{outputs}": ("vidparse.sinks", "SINKS"),
}


class ListingCommand(TyperCommand):
    """A command whose help lists the names in a table; the table is loaded when help is shown."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for parameter in self.params:
            for word, (module, table) in _TABLES.items():
                if word in (getattr(parameter, "help", None) or ""):
                    names = ", ".join(getattr(import_module(module), table))
                    parameter.help = parameter.help.replace(word, names)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Name, hf:owner/repo, or a .safetensors or .onnx file.",
        rich_help_panel="Model",
    ),
]
Backend = Annotated[
    str,
    typer.Option(help="auto, torch, onnx or openvino.", rich_help_panel="Model"),
]
Device = Annotated[
    str,
    typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel="Model"),
]
Precision = Annotated[
    str,
    typer.Option(help="auto, fp32, bf16 or fp16.", rich_help_panel="Model"),
]


def _allow_pixels(count: int | None) -> int | None:
    """Set the limit before any picture is opened."""
    allow_pixels(count)
    return count


Threads = Annotated[
    int,
    typer.Option(min=0, help="CPU threads of the network; 0: one a core.", rich_help_panel="Model"),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        min=1,
        callback=_allow_pixels,
        help=f"The largest picture that is taken on, in pixels; {MAX_PIXELS} unless given.",
        rich_help_panel="Input",
    ),
]
Track = Annotated[
    int | None,
    typer.Option(
        min=1, help="Which of several video tracks, counted from 1.", rich_help_panel="Input"
    ),
]
Task = Annotated[
    str,
    typer.Option(
        help="auto, semantic, instance or panoptic, for transformers checkpoints with several.",
        rich_help_panel="Model",
    ),
]
Stabilize = Annotated[
    bool,
    typer.Option(
        "--stabilize",
        help="Less flicker: scores are blended with those before, along the motion.",
        rich_help_panel="Model",
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        help="Frames that a panoptic network takes at once, 1 to 8, where it takes any number. "
        "[default: as it was trained]",
        rich_help_panel="Model",
    ),
]
Linker = Annotated[
    str | None,
    typer.Option(
        help="How objects are known again: {linkers}. [default: the one that fits the model]",
        rich_help_panel="Model",
    ),
]
Rule = Annotated[
    str | None,
    typer.Option(
        "--merging",
        help="Of models with kernels: intended (a pixel stays with the better object), or official "
        "(the published code: a later object is drawn over it).",
        rich_help_panel="Model",
    ),
]
MinArea = Annotated[
    int | None,
    typer.Option(help="Pixels that an object must have in a frame.", rich_help_panel="Model"),
]
MinScore = Annotated[
    float | None,
    typer.Option(help="Score, 0 to 1, that an object must have.", rich_help_panel="Model"),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]
DataRoot = Annotated[Path | None, typer.Option("--data", help="Folder of the data set.")]
DatasetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help=f"{', '.join([*sorted(FORMATS), SAMPLES[0]])} or {SAMPLES[1]}. "
        "[default: that of the folder]",
    ),
]
