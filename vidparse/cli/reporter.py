"""Progress on stderr: a bar on a terminal, lines elsewhere, and nothing where nobody wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from vidparse.cli.terminal import cell, console, is_terminal, plain, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Reporter:
    """The one way of progress, notes and lines to the user while a command works.

    A context manager: a bar is drawn inside of the block only.

    Args:
        title: of the bar, where one thing is done from the first moment on.
        quiet: no bar, no notes and no steps; lines stay.
        every: steps from line to line where no terminal is; 0: none.
        is_long: it takes hours: the bar tells the time that has passed, and stays at the end.
    """

    def __init__(
        self, title: str = "", *, quiet: bool = False, every: int = 0, is_long: bool = False
    ) -> None:
        self._quiet, self._every = quiet, every
        self._bar = _bar(is_long=is_long) if not quiet and is_terminal(err=True) else None
        self._task: TaskID | None = None
        if title:
            self.begin(title)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, title: str, total: int | None = None) -> None:
        """Show a bar for the next thing; None: nobody knows how many steps it has."""
        if self._bar is not None:
            self._task = self._bar.add_task(plain(title), total=total, fps="")

    def end(self) -> None:
        """Take the bar of a thing away."""
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def advance(self) -> None:
        """One more step of what has begun."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)
            self._bar.update(self._task, fps=self._fps())

    def update(self, done: int, total: int) -> None:
        """So many steps are done, of so many as far as is known."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, fps=self._fps())

    def step(self, done: int, total: int, what: str, left_s: float) -> None:
        """A step with words of its own: the title of the bar, or now and then a line.

        left_s: seconds that the other steps will take.
        """
        if self._bar is not None:
            if self._task is None:
                self.begin(what, total)
            assert self._task is not None
            self._bar.update(self._task, completed=done, description=plain(what))
        elif not self._quiet and self._every and (done % self._every == 0 or done == total):
            self.line(f"step {done}/{total}, {what}, {left_s / 60:.0f} min left")

    def note(self, text: str) -> None:
        """Something that the user should know."""
        if not self._quiet:
            self.line(f"note: {text}")

    def line(self, text: str) -> None:
        """A line; where a bar is drawn, above it."""
        if self._bar is not None:
            self._bar.console.print(cell(text), soft_wrap=True)
        else:
            say(text)

    def _fps(self) -> str:
        assert self._bar is not None
        speed = self._bar.tasks[-1].speed
        return f"{speed:.1f} fps" if speed else ""


def _bar(*, is_long: bool) -> Progress:
    """A bar that counts steps and guesses the time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),  # a file may be called [red].mp4
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn() if is_long else TextColumn("{task.fields[fps]}"),
        TimeRemainingColumn(),
        console=console(err=True),
        transient=not is_long,
    )
