"""`vidparse segment`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

from vidparse.cli import options as shared
from vidparse.requests.option import Argument
from vidparse.requests.segment import PipeOptions, SegmentOptions

Inputs = Annotated[
    tuple[str, ...],
    Argument(
        "Videos, folders or patterns of images, sample://street, sample://crowd, or - for stdin.",
        show_default=False,
    ),
]


def segment(
    inputs: Inputs,
    options: SegmentOptions,
    pipe: PipeOptions,
    max_pixels: shared.MaxPixels = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Segment videos: masks, overlays and records beside the input."""
    from vidparse.cli.screen import Screen
    from vidparse.cli.signals import stop_on_signals
    from vidparse.cli.summary import summary_record
    from vidparse.cli.terminal import print_json
    from vidparse.errors import UsageError
    from vidparse.run import segment as run_segment
    from vidparse.sinks.sink import is_stdout

    to_stdout = options.out is not None and is_stdout(str(options.out))
    if json and to_stdout:
        raise UsageError("--json: stdout already carries the output of -o -; drop one of them")

    options = replace(pipe.applied(options), argv=tuple(sys.argv))
    with (
        Screen(quiet=quiet or json, summary=not to_stdout) as screen,
        stop_on_signals(lambda: screen.is_writing) as stop,
    ):
        summary = run_segment(inputs, options, watcher=screen, stop=stop)

    if json:
        print_json(summary_record(summary))
    screen.finish(summary)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)
