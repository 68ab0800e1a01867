"""`vidparse export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidparse.cli import options as shared

if TYPE_CHECKING:
    from vidparse.export import Quantized
    from vidparse.models.description import Description

_SHOWN = ("path", "frames", "max_abs_difference", "argmax_agreement", "bytes", "sha256")


def export(
    model: Annotated[str, typer.Argument(help="Known name or .safetensors file.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A .onnx or .safetensors (float16) file.")
    ],
    int8: Annotated[
        bool, typer.Option("--int8", help="ONNX that computes in int8, where the answer stays.")
    ] = False,
    calibrate: Annotated[
        str | None,
        typer.Option(
            help="Video, folder or pattern to calibrate --int8 on; for models of streets the "
            "default is a rendered street."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    json: shared.Json = False,
) -> None:
    """Write a model as ONNX (checked against torch), or as float16 weights for distribution."""
    from vidparse.cli.terminal import print_json, say
    from vidparse.errors import ModelError, UsageError
    from vidparse.export import export_onnx, export_weights, parity_record
    from vidparse.hub import resolve
    from vidparse.models.checkpoint import file_sha256, read_description

    if out.suffix not in (".onnx", ".safetensors"):
        raise UsageError(f"-o {out}: end the name in .onnx or .safetensors")
    if int8 and out.suffix != ".onnx":
        raise UsageError(f"-o {out}: int8 is for ONNX; end the name in .onnx")
    if calibrate and not int8:
        raise UsageError("--calibrate: only int8 is calibrated; add --int8")
    files = resolve(model)
    if files.weights is None:
        raise ModelError(f"{model}: has no .safetensors weights to export; give one that has")
    description = read_description(files.weights)
    record: dict[str, object] = {"path": str(out)}
    if int8:
        record |= _export_int8(description, out, calibrate, overwrite=overwrite, quiet=json)
    elif out.suffix == ".onnx":
        record |= parity_record(export_onnx(description, out, overwrite=overwrite))
    else:
        export_weights(description, out, overwrite=overwrite)
    record |= {"bytes": out.stat().st_size, "sha256": file_sha256(out)}
    if json:
        print_json(record)
    else:
        shown = [key for key in _SHOWN if key in record]
        say(", ".join(f"{key} {record[key]}" for key in shown))


def _export_int8(
    description: Description, out: Path, calibrate: str | None, *, overwrite: bool, quiet: bool
) -> dict[str, object]:
    from vidparse.cli.screen import FrameBar
    from vidparse.cli.terminal import say
    from vidparse.export import (
        CALIBRATION_FRAMES,
        check_rendered,
        check_target,
        export_int8,
        quantized_record,
    )
    from vidparse.inference.samples import sample_clips

    check_target(out, source=description.path, overwrite=overwrite)
    clips = None
    if calibrate:
        clips = sample_clips(calibrate, description.preprocess, CALIBRATION_FRAMES)
    else:
        check_rendered(description.labels)
    say(f"int8: calibrating on {calibrate or 'a rendered street'}, which takes minutes")
    with FrameBar("int8", quiet=quiet) as bar:
        quantized = export_int8(
            description,
            out,
            clips=clips,
            overwrite=overwrite,
            on_step=bar.update,
            on_note=bar.note,
        )
    for line in _lines(quantized, calibrate):
        say(line)
    return quantized_record(quantized)


def _lines(quantized: Quantized, calibrate: str | None) -> list[str]:
    """Facts about an int8 model, one line each."""
    parity = quantized.parity
    frames = "rendered frames" if quantized.rendered else f"frames of {calibrate}"
    lines = [
        f"int8: calibrated on {quantized.calibration_frames} {frames}; on {parity.frames} others "
        f"the class is float32's at {parity.argmax_agreement:.2%} of positions (feature resolution)"
    ]
    if quantized.rendered:
        lines.append("note: rendered frames are not your videos; --calibrate CLIP is surer")
    if quantized.weight_bits != 8:
        lines.append("note: weights have 7 bits; 8 agreed less (CPUs without VNNI overflow)")
    lines += [
        f"stays float: {layer.name} (it alone in int8 changes {layer.harm:.2%} of positions)"
        for layer in quantized.float_layers
    ]
    if quantized.temporal_operations:
        lines.append(
            f"stays float: what is remembered, and the {quantized.temporal_operations} operations "
            "that blend it (rounding would add up from frame to frame)"
        )
    return lines
