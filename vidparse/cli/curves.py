"""`vidparse curves`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from vidparse.cli import options as shared
from vidparse.errors import counted
from vidparse.requests.option import Argument, Option


def curves(
    runs: Annotated[tuple[Path, ...], Argument("Folders of training runs.", metavar="RUN")],
    out: Annotated[Path, Option("The HTML page.", flag="--out", short="-o")] = Path("curves.html"),
    quiet: shared.Quiet = False,
) -> None:
    """Show training runs as a page: losses, scores, classes, and how their recipes differ."""
    from vidparse.cli.terminal import say
    from vidparse.training.curves import write_curves

    write_curves(runs, out)
    if not quiet:
        say(f"{counted(len(runs), 'run')} -> {out}")
