"""`vidparse train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidparse.cli import options as shared

if TYPE_CHECKING:
    from vidparse.training import Progress


def train(
    dataset: shared.DatasetName = "camvid",
    data: shared.DataRoot = None,
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a .toml file.")] = "street-mnv2",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of checkpoints and log.")] = Path(
        "runs/train"
    ),
    init: Annotated[
        Path | None,
        typer.Option(help="Weights to start from: .safetensors, or .pth (torchvision ImageNet)."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="last.safetensors of the run to continue.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a recipe field: --set epochs=10 (repeatable)."),
    ] = None,
    device: shared.Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved recipe and stop.")
    ] = False,
    quiet: shared.Quiet = False,
) -> None:
    """Train a network; best.safetensors in the run's folder is ready for `segment -m`."""
    from vidparse.cli.screen import print_json
    from vidparse.cli.signals import stop_on_signals
    from vidparse.errors import UsageError
    from vidparse.training import fit, load_recipe, recipe_record

    overrides = {}
    for item in set_ or ():
        key, found, value = item.partition("=")
        if not found:
            raise UsageError(f"--set '{item}': write field=value")
        overrides[key.strip()] = value.strip()
    resolved = load_recipe(recipe, overrides)
    if dry_run:
        print_json(recipe_record(resolved))
        return
    shown = _Steps(quiet)
    with stop_on_signals() as stop:
        best = fit(
            resolved,
            dataset=dataset,
            data=data,
            out=out,
            init=init,
            resume=resume,
            device=device,
            on_step=shown.step,
            stop=stop,
        )
    if not quiet:
        typer.echo(f"best validation mIoU {best:.4f} -> {out / 'best.safetensors'}", err=True)


class _Steps:
    """A line every 50 steps; on a terminal it overwrites itself."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()

    def step(self, progress: Progress) -> None:
        last = progress.step == progress.steps
        if self._quiet or (progress.step % (5 if self._terminal else 50) and not last):
            return
        miou = f", mIoU {progress.miou:.4f}" if progress.miou is not None else ""
        text = (
            f"step {progress.step}/{progress.steps}, epoch {progress.epoch + 1}, "
            f"loss {progress.loss:.3f}{miou}, {progress.eta_s / 60:.0f} min left"
        )
        typer.echo(
            f"\r{text}   " if self._terminal else text, err=True, nl=not self._terminal or last
        )
