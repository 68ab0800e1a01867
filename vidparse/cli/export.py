"""`vidparse export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidparse.cli import options as shared


def export(
    model: Annotated[str, typer.Argument(help="Bundled name or .safetensors file.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A .onnx or .safetensors (float16) file.")
    ],
    json: shared.Json = False,
) -> None:
    """Write a model as ONNX (checked against torch), or as float16 weights for distribution."""
    from vidparse.cli.screen import print_json
    from vidparse.errors import ModelError, UsageError
    from vidparse.export import export_onnx, export_weights, parity_record
    from vidparse.hub import resolve
    from vidparse.models.checkpoint import file_sha256, read_description

    files = resolve(model)
    if files.weights is None:
        raise ModelError(f"{model}: has no .safetensors weights to export; give one that has")
    description = read_description(files.weights)
    if out.suffix not in (".onnx", ".safetensors"):
        raise UsageError(f"-o {out}: end the name in .onnx or .safetensors")
    record: dict[str, object] = {"path": str(out)}
    if out.suffix == ".onnx":
        parity = export_onnx(description, out)
        record |= parity_record(parity)
    else:
        export_weights(description, out)
    record |= {"bytes": out.stat().st_size, "sha256": file_sha256(out)}
    if json:
        print_json(record)
    else:
        typer.echo(", ".join(f"{key} {value}" for key, value in record.items()), err=True)
