"""`vidparse autolabel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidparse.cli import options as shared
from vidparse.errors import counted
from vidparse.requests.autolabel import AutolabelRequest

if TYPE_CHECKING:
    from vidparse.training.autolabel import AutolabelResult


def autolabel(
    request: AutolabelRequest,
    max_pixels: shared.MaxPixels = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Label frames with the mean answer of several models, to train on; goes on if interrupted."""
    from vidparse.cli.reporter import Reporter
    from vidparse.cli.signals import stop_on_signals
    from vidparse.cli.terminal import print_json
    from vidparse.training.autolabel import autolabel_record, make_labels

    title = f"autolabel {request.out.name}"
    with stop_on_signals() as stop, Reporter(title, quiet=quiet) as reporter:
        result = make_labels(request, on_frame=reporter.update, on_note=reporter.note, stop=stop)
    if json:
        print_json(autolabel_record(result))
    elif not quiet:
        _print(result)


def _print(result: AutolabelResult) -> None:
    from vidparse.cli.terminal import say

    counts = result.counts
    before = f" ({result.skipped} done before)" if result.skipped else ""
    frames = result.made + result.skipped
    lines = [
        *(f"note: {note}" for note in result.notes),
        *(["note: no pixel was sure enough; lower --threshold"] if not counts.kept_share else []),
        f"{counted(frames, 'frame')}{before}, "
        f"{counts.kept_share:.1%} of the pixels labelled -> {result.out}",
    ]
    for line in lines:
        say(line)
