"""`vidparse convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vidparse.cli import options as shared
from vidparse.errors import counted


def convert(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="A .pth or .safetensors; or encoder and decoder."),
    ],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="Whose: edgenets, semseg, vspw, panopticfcn; or, for backbones, torchvision, "
            "timm, deep-stem, efficientnet-lite.",
        ),
    ],
    arch: Annotated[
        str,
        typer.Option(
            help="Our network: espnetv2, perframe, tcb-ppm, tcb-ocr, clip-panofcn; or a backbone."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .safetensors file.")],
    labels: Annotated[
        str | None,
        typer.Option(help="Label set of its classes: cityscapes, voc, vspw, camvid, ..."),
    ] = None,
    short_side: Annotated[
        int | None, typer.Option(min=32, help="Pixels of the network's input; as published.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A field of the network: --set output_stride=16 (repeatable)."),
    ] = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Turn a checkpoint of published code into ours, or ImageNet weights into a start for train."""
    from dataclasses import asdict

    from vidparse.cli.terminal import print_json, say
    from vidparse.convert import convert

    done = convert(
        files,
        out,
        source=source,
        arch=arch,
        labels=labels,
        short_side=short_side,
        settings=_settings(set_ or ()),
    )
    if json:
        print_json(asdict(done) | {"path": str(done.path)})
    elif not quiet:
        for rule, count in done.rules.items():
            say(f"{rule} ({counted(count, 'tensor')})")
        if done.dropped:
            say(f"left out: {', '.join(done.dropped)}")
        kind = f", {done.labels}" if done.labels else ", a start for `vidparse train --init`"
        say(f"{done.path}: {done.arch}{kind}, {counted(done.tensors, 'tensor')}")


def _settings(items: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """`field=value` -> values as JSON reads them, else text."""
    from json import loads

    from vidparse.cli.parsing import assignments

    settings: dict[str, Any] = {}
    for key, value in assignments(items).items():
        try:
            settings[key] = loads(value)
        except ValueError:
            settings[key] = value
    return settings
