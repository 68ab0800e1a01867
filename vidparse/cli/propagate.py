"""`vidparse propagate`, and its table of frames in doubt."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from vidparse.cli import options as shared
from vidparse.cli.process import stop_on_signals
from vidparse.cli.terminal import Reporter, cell, console, print_json, print_message
from vidparse.errors import ClosedPipe, UsageError, counted
from vidparse.requests.propagate import PropagateRequest

if TYPE_CHECKING:
    from vidparse.frame import Frame
    from vidparse.propagation import Propagations, VideoResult

_SHOWN = 10  # frames in the table; the report has all


def propagate(
    request: PropagateRequest,
    max_pixels: shared.MaxPixels = None,
    allow_protocols: shared.AllowProtocols = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Carry masks of key frames to the frames between them; lists frames to look at, worst first.

    A frame is traced along the motion to the keys before and after it, and each pixel takes the
    label of the key that shows it. Key frames keep the masks that were drawn.
    """
    from vidparse.propagation import propagate as carry
    from vidparse.sinks.sink import is_stdout

    to_stdout = request.out is not None and is_stdout(str(request.out))
    if json and to_stdout:
        raise UsageError("--json: stdout already carries the output of -o -; drop one of them")

    request = replace(request, argv=tuple(sys.argv))
    with stop_on_signals() as stop, Reporter(quiet=quiet or json) as reporter:

        def begin(name: str, frames: int | None) -> None:
            reporter.end()
            reporter.begin(name, frames)

        def advance(_: Frame) -> None:
            reporter.advance()

        try:
            found = carry(request, on_begin=begin, on_frame=advance, stop=stop)
        except ClosedPipe:
            return  # whoever read our output has seen enough: a normal end

    if json:
        print_json(propagations_record(found))
    elif not quiet:
        for one in found.videos:
            _print(one, found.flow)


def _print(result: VideoResult, flow: str) -> None:
    report, origins = result.report, result.origins
    for note in result.notes:
        print_message(f"{result.name}: note: {note}")
    sides = [
        f"{counted(origins[origin], 'frame')} {words}"
        for origin, words in (
            ("both", "from keys on both sides"),
            ("before", "from the key before"),
            ("after", "from the key after"),
            ("none", "without a key"),
        )
        if origins.get(origin)
    ]
    done = ", ".join([f"{counted(origins.get('key', 0), 'key')}", *sides])
    outputs = ", ".join("stdout" if path == "-" else path for path in result.outputs)
    print_message(
        f"{result.name}: {done} in {report.wall_s:.1f} s ({report.fps:.1f} fps) with {flow}"
    )
    print_message(f"{result.name}: -> {outputs}")

    if result.reverse is not None:
        score = result.reverse
        print_message(
            f"{result.name}: {counted(score.keys, 'key')} predicted from propagated frames: "
            f"mIoU {score.miou:.1%}, WIoU {score.wiou:.1%}, pixels {score.pixel_accuracy:.1%}"
        )
    if result.worst:
        _print_worst(result)


def _print_worst(result: VideoResult) -> None:
    from rich.table import Table

    table = Table(title=cell(f"{result.name}: frames in doubt, worst first"))
    for head in ("frame", "time, s", "disagreement", "confidence"):
        table.add_column(head, justify="right")
    table.add_column("worst class")
    for doubt in result.worst[:_SHOWN]:
        table.add_row(
            str(doubt.frame),
            f"{doubt.time_s:.2f}",
            f"{doubt.disagreement:.1%}",
            f"{doubt.confidence:.0%}",
            cell(doubt.worst or "void"),
        )
    console(err=True).print(table)


def propagations_record(found: Propagations) -> dict[str, object]:
    """Plain values for `--json`."""
    return {
        "schema": "vidparse-propagations/1",
        "flow": found.flow,
        "videos": [_video_record(one) for one in found.videos],
    }


def _video_record(one: VideoResult) -> dict[str, object]:
    return {
        "input": one.name,
        "outputs": list(one.outputs),
        "notes": list(one.notes),
        "frames": one.report.frames,
        "keys": one.keys,
        "origins": one.origins,
        "wall_s": round(one.report.wall_s, 4),
        "fps": round(one.report.fps, 3),
        "worst": [doubt.record() for doubt in one.worst],
        "reverse_test": _reverse_record(one),
    }


def _reverse_record(result: VideoResult) -> dict[str, object] | None:
    score = result.reverse
    if score is None:
        return None
    return {
        "keys": score.keys,
        "miou": round(score.miou, 6),
        "wiou": round(score.wiou, 6),
        "pixel_accuracy": round(score.pixel_accuracy, 6),
        "class_iou": {name: round(iou, 6) for name, iou in score.class_iou.items()},
    }
