"""An export, and a conversion of somebody else's checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import Annotated

from vidparse.errors import UsageError
from vidparse.requests.option import Argument, Option, assignment


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """Every setting of `vidparse export`."""

    model: Annotated[str, Argument("Known name or .safetensors file.", choices="models")]
    out: Annotated[
        Path, Option("A .onnx or .safetensors (float16) file.", flag="--out", short="-o")
    ]
    int8: Annotated[bool, Option("ONNX that computes in int8, where the answer stays.")] = False
    calibrate: Annotated[
        str | None,
        Option(
            "Video, folder or pattern to calibrate --int8 on; for models of streets the default "
            "is a rendered street."
        ),
    ] = None
    profile: Annotated[
        tuple[str, ...],
        Option(
            "Folder, pattern or video of what the model learnt from; `segment` names inputs that "
            "look unlike it (repeatable)."
        ),
    ] = ()
    average: Annotated[
        tuple[str, ...],
        Option(
            "Another run of the same network: the mean of the weights is written, as between a "
            "start and its fine-tuning (repeatable)."
        ),
    ] = ()
    overwrite: Annotated[bool, Option("Replace the output.")] = False

    def __post_init__(self) -> None:
        """Raises: UsageError: the settings do not fit together."""
        if self.out.suffix not in (".onnx", ".safetensors"):
            raise UsageError(f"-o {self.out}: end the name in .onnx or .safetensors")
        if self.int8 and self.out.suffix != ".onnx":
            raise UsageError(f"-o {self.out}: int8 is for ONNX; end the name in .onnx")
        if self.calibrate and not self.int8:
            raise UsageError("--calibrate: only int8 is calibrated; add --int8")
        if self.average and self.out.suffix != ".safetensors":
            raise UsageError(
                f"-o {self.out}: --average writes weights; end the name in .safetensors, and "
                "export that file to ONNX"
            )
        if self.average and self.profile:
            raise UsageError("--profile: measures one model; export what --average writes again")


def network_setting(text: str, flag: str) -> tuple[str, object]:
    """`field=value` -> both, the value as JSON reads it, else as a text."""
    field, value = assignment(text, flag)
    try:
        # Let JSON distinguish numbers and lists from names, as no type of a field is known here.
        return field, loads(value)
    except ValueError:
        return field, value


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertRequest:
    """Every setting of `vidparse convert`."""

    files: Annotated[
        tuple[Path, ...],
        Argument("A .pth or .safetensors; or encoder and decoder.", metavar="FILE..."),
    ]
    source: Annotated[
        str,
        Option(
            "Whose: {choices}.",
            flag="--from",
            choices="sources",
        ),
    ]
    arch: Annotated[
        str,
        Option(
            "Our network: {choices}; or a backbone.",
            flag="--arch",
            choices="converted",
        ),
    ]
    out: Annotated[Path, Option("A .safetensors file.", flag="--out", short="-o")]
    labels: Annotated[
        str | None,
        Option("Label set of its classes: {choices}.", choices="labels"),
    ] = None
    short_side: Annotated[
        int | None, Option("Pixels of the network's input; as published.", least=32)
    ] = None
    settings: Annotated[
        tuple[tuple[str, object], ...],
        Option(
            "A field of the network: --set output_stride=16 (repeatable).",
            flag="--set",
            each=network_setting,
        ),
    ] = ()
