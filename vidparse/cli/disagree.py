"""`vidparse disagree`: the frames that are worth a person's time."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from vidparse.cli import options as shared
from vidparse.cli.process import stop_on_signals
from vidparse.cli.terminal import Reporter, cell, console, print_json, print_message, show
from vidparse.errors import counted
from vidparse.requests.disagreement import DisagreementRequest

if TYPE_CHECKING:
    from vidparse.disagreement import Disagreement


def disagree(
    request: DisagreementRequest,
    max_pixels: shared.MaxPixels = None,
    allow_protocols: shared.AllowProtocols = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Rank frames in which two models differ, or one wavers; write them as a task to correct."""
    from vidparse.disagreement import rank_frames, write_task
    from vidparse.disagreement.answers import Answers
    from vidparse.disagreement.task import check_task

    check_task(request)
    answers = Answers(request)
    with stop_on_signals() as stop, Reporter("disagree", quiet=quiet) as reporter:
        found = rank_frames(request, answers, on_frame=reporter.update, stop=stop)
        # Write no task without a frame: there is nothing for a person to do.
        out = request.out if found.ranked else None
        if out is not None:
            write_task(request, answers, found.ranked, on_frame=reporter.update, stop=stop)
    if json:
        print_json({**asdict(found), "out": None if out is None else str(out)})
        return

    if quiet:
        return
    for note in answers.notes:
        print_message(f"note: {note}")
    if not found.ranked:
        print_message(_agreement(found, answers.compared, has_task=request.out is not None))
        return
    _print_ranked(found)
    if out is not None:
        print_message(f"{request.to}: {counted(len(found.ranked), 'frame')} to correct -> {out}")


def _agreement(found: Disagreement, compared: int, *, has_task: bool) -> str:
    """One line for a video in which nothing differs."""
    what = "the one class" if compared == 1 else f"the {compared} classes"
    verdict = f"the models agree on {what} compared"
    if len(found.models) == 1:
        verdict = f"{found.models[0]} does not waver anywhere"
    end = "; no task is written" if has_task else ""
    return f"{found.input}: {verdict} in {counted(found.frames, 'frame')}{end}"


def _print_ranked(found: Disagreement) -> None:
    from rich.table import Table

    models = found.models
    title = " against ".join(models) if len(models) > 1 else f"{models[0]} in time"
    table = Table(title=cell(f"{found.input}: {title}"))
    for head in ("", "frame", "time", "score", "classes that differ"):
        table.add_column(head, justify="left" if head.startswith("classes") else "right")
    for place, one in enumerate(found.ranked, 1):
        pairs = ", ".join(f"{a}/{b} {share:.1%}" for a, b, share in one.pairs)
        table.add_row(
            str(place), str(one.index), f"{one.time_s:.2f} s", f"{one.score:.3f}", cell(pairs)
        )
    console().print(table)
    show(f"{counted(found.frames, 'frame')}, mean score {found.mean:.3f}")
