"""The screen of `segment`: a summary line per input, and a table of failures."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from vidparse.cli.reporter import Reporter
from vidparse.cli.terminal import cell, console
from vidparse.errors import counted

if TYPE_CHECKING:
    from vidparse.frame import Frame, VideoInfo
    from vidparse.summary import InputResult, Summary


class Screen:
    """Watches a run, and tells the user by a reporter.

    is_writing: an input is under way whose outputs can be finished.
    """

    def __init__(self, *, quiet: bool, summary: bool = True) -> None:
        self._quiet, self._summary = quiet, summary
        self._reporter = Reporter(quiet=quiet)
        self._engine = ""  # the one that summary lines have named
        self.is_writing = False

    def __enter__(self) -> Self:
        self._reporter.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._reporter.__exit__(*exc)

    def begin(self, info: VideoInfo, frames: int | None) -> None:
        self.is_writing = True
        self._reporter.begin(info.name, frames)

    def frame(self, frame: Frame) -> None:
        self._reporter.advance()

    def end(self, result: InputResult) -> None:
        self.is_writing = False
        self._reporter.end()
        say = self._reporter.line
        if not self._quiet:
            for note in result.notes:
                say(f"{_shown(result)}: note: {note}")
            if self._summary and result.report is not None:
                new = result.engine != self._engine
                say(_done(result, result.engine if new else ""))
                self._engine = result.engine

        if result.error is not None:
            say(f"vidparse: {result.error}")
            if result.outputs and not self._quiet:
                say(f"{_shown(result)}: kept {_outputs(result)}")

    def finish(self, summary: Summary) -> None:
        """A table of the inputs that failed, when there were several."""
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


def _done(result: InputResult, engine: str) -> str:
    """The one summary line of an input; `engine` stands in the first one only."""
    report = result.report
    assert report is not None
    skipped = f", {result.skipped} damaged skipped" if result.skipped else ""
    frames = counted(report.frames, "frame")
    return (
        f"{_shown(result)}: {frames}{skipped} in {report.wall_s:.1f} s "
        f"({report.fps:.1f} fps, bound by {report.bottleneck})"
        f"{' with ' if engine else ''}{engine} -> {_outputs(result)}"
    )


def _shown(result: InputResult) -> str:
    return "stdin" if result.name == "-" else result.name


def _outputs(result: InputResult) -> str:
    return ", ".join("stdout" if path == "-" else path for path in result.outputs)
