"""The screen: a progress bar on a terminal, a summary line per input, a table of failures."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING

from vidparse.cli.terminal import cell, console, is_terminal, plain, say
from vidparse.errors import counted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from vidparse.frame import Frame, VideoInfo
    from vidparse.summary import InputResult, Summary


def frame_bar() -> Progress:
    """A bar on stderr that counts frames and guesses the time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),  # a file may be called [red].mp4
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]}"),
        TimeRemainingColumn(),
        console=console(err=True),
        transient=True,
    )


def above(bar: Progress | None, text: str) -> None:
    """A line on stderr; where a bar is drawn, above it."""
    if bar is not None:
        bar.console.print(cell(text), soft_wrap=True)
    else:
        say(text)


class FrameBar:
    """Frames, or other steps, done of one task, on a terminal only."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        self._bar = frame_bar() if not quiet and is_terminal(err=True) else None
        self._task = self._bar.add_task(plain(name), total=None, fps="") if self._bar else None

    def __enter__(self) -> FrameBar:
        if self._bar is not None:
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

    def update(self, done: int, total: int) -> None:
        if self._bar is not None and self._task is not None:
            speed = self._bar.tasks[0].speed
            fps = f"{speed:.1f} fps" if speed else ""
            self._bar.update(self._task, completed=done, total=total, fps=fps)

    def note(self, text: str) -> None:
        """A line on stderr, above the bar where one is drawn."""
        above(self._bar, text)


class Screen:
    """Watches a run. The bar appears on a terminal only; a pipe gets plain lines on stderr."""

    def __init__(self, *, quiet: bool, summary: bool = True) -> None:
        self._quiet, self._summary = quiet, summary
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._engine = ""  # what the summary lines have named
        self.is_writing = False  # an input is under way whose outputs can be finished

    def __enter__(self) -> Screen:
        if not self._quiet and is_terminal(err=True):
            self._bar = frame_bar()
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

    def begin(self, info: VideoInfo, frames: int | None) -> None:
        self.is_writing = True
        if self._bar is not None:
            self._task = self._bar.add_task(plain(info.name), total=frames, fps="")

    def frame(self, frame: Frame) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)
            speed = self._bar.tasks[-1].speed
            self._bar.update(self._task, fps=f"{speed:.1f} fps" if speed else "")

    def end(self, result: InputResult) -> None:
        self.is_writing = False
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        if not self._quiet:
            for note in result.notes:
                above(self._bar, f"{_shown(result)}: note: {note}")
            if self._summary and result.report is not None:
                new = result.engine != self._engine
                above(self._bar, _done(result, result.engine if new else ""))
                self._engine = result.engine
        if result.error is not None:
            above(self._bar, f"vidparse: {result.error}")
            if result.outputs and not self._quiet:
                above(self._bar, f"{_shown(result)}: kept {_outputs(result)}")

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
