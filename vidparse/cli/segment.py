"""`vidparse segment`, its lines on the screen and its summary; `vidparse info` on its inputs."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Self

from vidparse import __version__
from vidparse.addresses import masked
from vidparse.cli import options as shared
from vidparse.cli.process import all_kept, stop_on_signals
from vidparse.cli.terminal import Reporter, cell, console, print_json, print_message, show
from vidparse.errors import UsageError, VidparseError, counted
from vidparse.requests.option import Argument
from vidparse.requests.segment import PipeOptions, SegmentOptions, Track

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidparse.arrival import LiveReport
    from vidparse.batch import InputResult
    from vidparse.frame import Frame, VideoInfo
    from vidparse.inference.keyframes import KeyFrameReport
    from vidparse.inference.looks import Look
    from vidparse.inference.pace import PaceReport
    from vidparse.run import Summary, Totals
    from vidparse.video import MediaReport

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
    max_frames: shared.MaxFrames = None,
    allow_protocols: shared.AllowProtocols = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Segment videos: masks, overlays and records beside the input."""
    options = pipe.applied(options)
    with all_kept():
        from vidparse.inference.load import open_ahead

        # Let the network be opened while all else is loaded; workers have networks of their own.
        if not (options.workers or options.jobs or options.cluster):
            open_ahead(options.choice)
        from vidparse.run import segment as run_segment
        from vidparse.sinks.sink import is_stdout

    to_stdout = options.out is not None and is_stdout(str(options.out))

    # Keep stdout for one thing: JSON behind the bytes of a video would spoil both.
    if json and to_stdout:
        raise UsageError("--json: stdout already carries the output of -o -; drop one of them")

    options = replace(options, argv=tuple(sys.argv))
    with (
        Screen(quiet=quiet or json, summary=not to_stdout) as screen,
        stop_on_signals(lambda: screen.is_writing) as stop,
    ):
        summary = run_segment(inputs, options, watcher=screen, stop=stop)

    if json:
        print_json(summary_record(summary))
    screen.finish(summary)
    if summary.exit_code:
        raise SystemExit(summary.exit_code)


class Screen:
    """Shows a run to the user, by a reporter.

    is_writing: an input is being written, and its outputs can be finished.
    """

    def __init__(self, *, quiet: bool, summary: bool = True) -> None:
        self._quiet, self._summary = quiet, summary
        self._reporter = Reporter(quiet=quiet)
        self._engine = ""  # the one that summary lines have named
        self._inputs, self._ended, self._side_by_side = 1, 0, False
        self._frames = 0  # of the input under way
        self._expected: int | None = None
        self.is_writing = False

    def __enter__(self) -> Self:
        self._reporter.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._reporter.__exit__(*exc)

    def batch(self, inputs: int, *, side_by_side: bool) -> None:
        self._inputs, self._side_by_side = inputs, side_by_side
        self.is_writing = side_by_side
        if inputs > 1:
            self._reporter.begin(counted(inputs, "input"), inputs, unit="inputs/s")

    def begin(self, info: VideoInfo, frames: int | None) -> None:
        self.is_writing = True
        self._frames, self._expected = 0, frames
        if self._inputs > 1:
            self._reporter.update(self._ended, self._inputs, info.name)
        else:
            self._reporter.begin(info.name, frames)

    def frame(self, frame: Frame) -> None:
        self._frames += 1
        if self._inputs > 1:
            part = self._frames / self._expected if self._expected else 0.0
            self._reporter.update(self._ended + min(part, 1.0), self._inputs)
        else:
            self._reporter.advance()

    def notify(self, text: str) -> None:
        if not self._quiet:
            self._reporter.line(text)

    def end(self, result: InputResult) -> None:
        self._ended += 1
        self.is_writing = self._side_by_side and self._ended < self._inputs
        if self._inputs > 1:
            self._reporter.update(self._ended, self._inputs)
        else:
            self._reporter.end()
        line = self._reporter.line
        if result.settled and not result.notes:  # the summary counts it
            return

        if not self._quiet:
            for note in result.notes:
                line(f"{_shown(result)}: note: {note}")
            if self._summary and result.report is not None:
                # Name the engine once: it is the same for nearly all inputs of a run.
                new = result.engine != self._engine
                line(_done(result, result.engine if new else ""))
                self._engine = result.engine
            if self._summary and result.live is not None and result.frames:
                line(_live(result, result.live))

        if result.error is not None:
            line(f"vidparse: {result.error}")
            if result.outputs and not self._quiet:
                line(f"{_shown(result)}: kept {_outputs(result)}")

    def finish(self, summary: Summary) -> None:
        """The totals of several inputs, and a table of those that failed."""
        if len(summary.inputs) > 1 and not self._quiet:
            for note in summary.notes:
                print_message(f"note: {note}")
            print_message(_totals_line(summary.totals))

        failed = [result for result in summary.inputs if result.error is not None]
        if not failed or len(summary.inputs) == 1 or self._quiet:
            return

        from rich.table import Table

        table = Table(title=f"{len(failed)} of {len(summary.inputs)} inputs failed")
        table.add_column("input")
        table.add_column("exit code", justify="right")
        table.add_column("why")
        for result in failed:
            code = result.error.exit_code if result.error else 0
            table.add_row(cell(_shown(result)), str(code), cell(result.error))

        with contextlib.suppress(OSError):  # a stderr that is full changes nothing
            console(err=True).print(table)


def _totals_line(totals: Totals) -> str:
    """One line for a whole batch."""
    before = f" ({totals.settled} before, as the ledger has it)" if totals.settled else ""
    skipped = f", {totals.skipped} skipped" if totals.skipped else ""
    failed = f", {totals.failed} failed" if totals.failed else ""
    speed = f" ({totals.frames / totals.wall_s:.1f} fps)" if totals.frames else ""
    return (
        f"{counted(totals.inputs, 'input')}: {totals.done} done{skipped}{failed}{before}; "
        f"{counted(totals.frames, 'frame')} in {totals.wall_s:.1f} s{speed}"
    )


def _done(result: InputResult, engine: str) -> str:
    """The one summary line of an input; `engine` stands in the first one only."""
    report = result.report
    assert report is not None
    redone = f", {counted(result.redone, 'range')} redone" if result.redone else ""
    skipped = f", {result.skipped} damaged skipped" if result.skipped else ""
    repeated = f", {report.repeated} repeated" if report.repeated else ""
    frames = counted(report.frames, "frame")
    return (
        f"{_shown(result)}: {frames}{repeated}{skipped}{redone} in {report.wall_s:.1f} s "
        f"({report.fps:.1f} fps, bound by {report.bottleneck})"
        f"{_keys(report.key_frames)}"
        f"{' with ' if engine else ''}{engine} -> {_outputs(result)}"
    )


def _live(result: InputResult, live: LiveReport) -> str:
    """The fate of live frames, and the delay of those in the outputs."""
    fates = [f"{counted(live.written, 'frame')} written"]
    fates += [f"{live.passed_over} passed over for newer ones"] * (live.passed_over > 0)
    fates += [f"{live.too_late} dropped as too old"] * (live.too_late > 0)
    fates += [f"{counted(live.gaps, 'gap')} of {live.gap_s:.1f} s"] * (live.gaps > 0)
    times = (live.median_s, live.p95_s, live.most_s)
    middle, late, most = (f"{1000 * time_s:.0f} ms" for time_s in times)
    return (
        f"{_shown(result)}: live: {', '.join(fates)}; "
        f"latency {middle} (median), {late} (95 %), {most} (max)"
    )


def _keys(found: KeyFrameReport | None) -> str:
    """The share of key frames, and the spread of the times to scores."""
    if found is None:
        return ""
    return (
        f", {found.share:.0%} key frames (scores in {1000 * found.median_s:.0f} ms, 95 % in "
        f"{1000 * found.p95_s:.0f} ms, all in {1000 * found.most_s:.0f} ms)"
    )


def _shown(result: InputResult) -> str:
    return "stdin" if result.name == "-" else result.name


def _outputs(result: InputResult) -> str:
    return ", ".join("stdout" if path == "-" else path for path in result.outputs)


def summary_record(summary: Summary) -> dict[str, object]:
    """Plain values for `--json`."""

    def one(result: InputResult) -> dict[str, object]:
        report = result.report
        record: dict[str, object] = {
            "input": result.name,
            "outputs": list(result.outputs),
            "frames": result.frames,
            "skipped": result.skipped,
            "redone": result.redone,
            "notes": list(result.notes),
            "settled_before": result.settled,
            "error": masked(str(result.error)) if result.error else None,
            "exit_code": result.error.exit_code if result.error else 0,
        }

        if result.pace is not None:
            record["pace"] = _pace_record(result.pace)
        if result.live is not None:
            record["live"] = _live_record(result.live)
        # An input that failed or was passed over has no times.
        if report:
            record["wall_s"] = round(report.wall_s, 4)
            record["fps"] = round(report.fps, 3)
            record["bottleneck"] = report.bottleneck
            record["repeated"] = report.repeated
            record["key_frames"] = _key_record(report.key_frames)
            record["looks"] = _looks_record(report.looks)
            record["stages_ms_per_frame"] = {
                stage.name: round(stage.ms_per_item, 3) for stage in report.stages
            }
        return record

    return {
        "schema": "vidparse-summary/1",
        "version": __version__,
        "model": summary.model,
        "weights_sha256": summary.weights_sha256,
        "backend": summary.backend,
        "device": summary.device,
        "precision": summary.precision,
        "engine": summary.engine,
        "chosen": summary.chosen or None,
        "exit_code": summary.exit_code,
        "notes": list(summary.notes),
        "totals": asdict(summary.totals),
        "inputs": [one(result) for result in summary.inputs],
    }


def _pace_record(pace: PaceReport) -> dict[str, object]:
    return {
        "wanted_fps": pace.wanted_fps,
        "reached_fps": round(pace.reached_fps, 3),
        "kept_up": pace.kept_up,
        "steps": [{**asdict(step), "share": round(share, 4)} for step, share in pace.shares],
    }


def _live_record(live: LiveReport) -> dict[str, object]:
    times = {"median": live.median_s, "p95": live.p95_s, "max": live.most_s}
    return {
        "written": live.written,
        "passed_over": live.passed_over,
        "too_late": live.too_late,
        "gaps": live.gaps,
        "gap_s": round(live.gap_s, 3),
        "latency_ms": {name: round(1000 * time_s, 3) for name, time_s in times.items()},
    }


def _looks_record(looks: Sequence[Look]) -> dict[str, object] | None:
    """Sureness of the network at the frames that were looked at: means, and the surest frame."""
    if not looks:
        return None
    from vidparse.inference.looks import mean_look

    found = mean_look(looks)
    return {
        "frames": len(looks),
        "confidence": round(found.confidence, 4),
        "entropy": round(found.entropy, 4),
        "highest_confidence": round(max(one.confidence for one in looks), 4),
        "lowest_entropy": round(min(one.entropy for one in looks), 4),
    }


def _key_record(found: KeyFrameReport | None) -> dict[str, object] | None:
    if found is None:
        return None
    times = {"median": found.median_s, "p95": found.p95_s, "max": found.most_s}
    return {
        "keys": found.keys,
        "share": round(found.share, 4),
        "scores_ms": {name: round(1000 * time_s, 3) for name, time_s in times.items()},
    }


def info(
    inputs: Annotated[tuple[str, ...], Argument("Videos, folders, patterns or samples.")],
    track: Track = None,
    max_pixels: shared.MaxPixels = None,
    allow_protocols: shared.AllowProtocols = None,
    json: shared.Json = False,
) -> None:
    """Show what an input is: size, rate, time base, rotation, colour, audio."""
    from vidparse.sinks import is_output
    from vidparse.video import expand_inputs, report_media

    found, records, failures = expand_inputs(inputs, is_output=is_output), [], []
    for one in found:
        try:
            records.append(_media_record(report_media(one, track=track)))
        except VidparseError as error:
            # Let the error of a single input keep its exit code.
            if len(found) == 1:
                raise
            failures.append(one.name)
            print_message(f"vidparse: {error}")
    if json:
        print_json(records if len(found) > 1 else records[0])
    else:
        _print_media(records)
    if failures:
        raise SystemExit(1)


def _print_media(records: list[dict[str, object]]) -> None:
    for i, record in enumerate(records):
        if i:
            show()
        width = max(len(key) for key in record)
        for key, value in record.items():
            shown = "; ".join(value) if isinstance(value, list) else value
            show(f"{key:<{width}}  {shown if shown not in (None, '') else '-'}")


def _media_record(report: MediaReport) -> dict[str, object]:
    video = report.video
    height, width = video.size_hw
    colour = video.colour

    return {
        "name": video.name,
        "width": width,
        "height": height,
        "codec": video.codec,
        "pixel_format": video.pixel_format,
        "rate": str(video.rate) if video.rate else "variable",
        "time_base": str(video.time_base),
        "duration_s": None if video.duration_s is None else round(video.duration_s, 3),
        "frames_claimed": video.frames,
        "rotation": video.rotation,
        "sample_aspect_ratio": str(video.sample_aspect_ratio),
        "colour": f"matrix {colour.matrix}, primaries {colour.primaries}, "
        f"transfer {colour.transfer}, range {colour.range}",
        "streams": [
            " ".join(filter(None, (s.kind, s.codec, s.language, s.detail))) for s in report.streams
        ],
        "notes": list(report.notes),
    }
