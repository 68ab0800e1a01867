"""What people see: a progress bar on a terminal, one summary line an input, a table of failures."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from vidparse.frame import Frame, VideoInfo
    from vidparse.run import InputResult, Summary


def print_json(record: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(record, indent=2))


class Screen:
    """Watches a run. The bar appears on a terminal only; a pipe gets plain lines on stderr."""

    def __init__(self, *, quiet: bool, summary: bool = True) -> None:
        self._quiet, self._summary = quiet, summary
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Screen:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[fps]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, info: VideoInfo, stride: int) -> None:
        if self._bar is not None:
            total = -(-info.frames // stride) if info.frames else None
            self._task = self._bar.add_task(info.name, total=total, fps="")

    def frame(self, frame: Frame) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)
            speed = self._bar.tasks[-1].speed
            self._bar.update(self._task, fps=f"{speed:.1f} fps" if speed else "")

    def end(self, result: InputResult) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        if not self._quiet:
            for note in result.notes:
                self._line(f"{result.name}: note: {note}")
            if self._summary and result.report is not None:
                self._line(_done(result))
        if result.error is not None:
            self._line(f"vidparse: {result.error}")
            if result.outputs:
                self._line(f"{result.name}: kept {', '.join(result.outputs)}")

    def finish(self, summary: Summary) -> None:
        """A table of the inputs that failed, when there were several."""
        failed = [result for result in summary.inputs if result.error is not None]
        if not failed or len(summary.inputs) == 1 or self._quiet:
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(title=f"{len(failed)} of {len(summary.inputs)} inputs failed")
        table.add_column("input")
        table.add_column("exit code", justify="right")
        table.add_column("why")
        for result in failed:
            code = result.error.exit_code if result.error else 0
            table.add_row(result.name, str(code), str(result.error))
        Console(stderr=True).print(table)

    def _line(self, text: str) -> None:
        if self._bar is not None:
            from rich.text import Text

            self._bar.console.print(Text(text), soft_wrap=True)
        else:
            typer.echo(text, err=True)


def _done(result: InputResult) -> str:
    """The one summary line of an input."""
    report = result.report
    assert report is not None
    skipped = f", {result.skipped} damaged skipped" if result.skipped else ""
    where = ", ".join(result.outputs)
    return (
        f"{result.name}: {report.frames} frames{skipped} in {report.wall_s:.1f} s "
        f"({report.fps:.1f} fps, bound by {report.bottleneck}) -> {where}"
    )
