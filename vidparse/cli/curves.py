"""`vidparse curves`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidparse.cli import options as shared
from vidparse.errors import counted


def curves(
    runs: Annotated[list[Path], typer.Argument(help="Folders of training runs.", metavar="RUN")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML page.")] = Path("curves.html"),
    quiet: shared.Quiet = False,
) -> None:
    """Show training runs as a page: losses, scores, classes, and how their recipes differ."""
    from vidparse.cli.terminal import say
    from vidparse.training.curves import write_curves

    write_curves(runs, out)
    if not quiet:
        say(f"{counted(len(runs), 'run')} -> {out}")
