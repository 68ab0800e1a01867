"""The application object, its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from vidparse import __version__
from vidparse.cli import bench, evaluate, export, info, models, segment, train
from vidparse.errors import VidparseError

app = typer.Typer(
    name="vidparse",
    help="Video segmentation: masks, overlays and records, with exact time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("segment")(segment.segment)
app.command("info")(info.info)
app.command("models")(models.models)
app.command("bench")(bench.bench)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("export")(export.export)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vidparse {__version__}")
        raise typer.Exit


@app.callback()
def callback(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; works after any command, too.")
    ] = False,
) -> None:
    """Video segmentation: masks, overlays and records, with exact time."""


def main() -> None:
    """Run the command line; expected errors are one line on stderr and their own exit code."""
    # Idle compute threads must sleep, not spin: other stages need the cores. Read once by OpenMP.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = "--debug" in sys.argv or bool(os.environ.get("VIDPARSE_DEBUG"))
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app()
    except VidparseError as error:
        if debug:
            raise
        typer.echo(f"vidparse: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("vidparse: interrupted", err=True)
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        typer.echo(
            f"vidparse: internal error: {type(error).__name__}: {reason}; "
            "run again with --debug and report it",
            err=True,
        )
        sys.exit(1)
