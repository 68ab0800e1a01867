"""The one way of text and progress to the user's terminal, which no name from outside can steer."""

from __future__ import annotations

import contextlib
import sys

from vidparse.steering import unsteered

TYPE_CHECKING = False  # read as true by type checkers, as in vidparse/__init__.py
if TYPE_CHECKING:
    from typing import Self, TextIO

    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.text import Text


def plain(text: object) -> str:
    """`text` as one line in which nothing steers a terminal; each such character becomes `?`.

    Users, passwords and tokens in addresses are hidden.
    """
    words = str(text)
    if "://" in words:
        from vidparse.addresses import masked  # not for a page of help

        words = masked(words)
    return unsteered(words)


def print_message(text: str) -> None:
    """Print a line on stderr, where errors, notes and summaries go.

    A stderr that is full or closed changes nothing: the result of a run does not depend on it.
    """
    with contextlib.suppress(OSError):
        _write(plain(text), sys.stderr)


def show(text: str = "") -> None:
    """Print a line for people on stdout; data is written there without this."""
    _write(plain(text), sys.stdout)


def show_page(text: str) -> None:
    """Print a page that we made of our own words, in lines and colours of its own."""
    _write(text, sys.stdout)


def print_json(record: object) -> None:
    """Print one JSON document on stdout, in ASCII.

    Raises:
        OutputError: stdout is closed, so that the record would be lost.
    """
    import json

    if sys.stdout is None:
        from vidparse.errors import OutputError

        raise OutputError(
            "--json: stdout is closed; pipe it into a program or redirect it to a file"
        )

    # Escape DEL, too, which json leaves as it is and terminals act on.
    _write(json.dumps(record, indent=2).replace("\x7f", "\\u007f"), sys.stdout)


def _write(text: str, stream: TextIO | None) -> None:
    if stream is not None:
        stream.write(f"{text}\n")
        stream.flush()


def console(*, err: bool = False, width: int | None = None) -> Console:
    """A console for tables and bars, which takes no string for markup, emoji or a number."""
    from rich.console import Console

    return Console(stderr=err, width=width, markup=False, emoji=False, highlight=False)


def cell(text: object) -> Text:
    """Text for a table's title, heads and cells, and for lines above a bar."""
    from rich.text import Text

    return Text(plain(text))


def is_terminal(*, err: bool = False) -> bool:
    """True if a person looks at stdout or, with `err`, at stderr."""
    stream = sys.stderr if err else sys.stdout
    return stream is not None and not stream.closed and stream.isatty()


class Reporter:
    """The one way of progress, notes and lines to the user while a command works.

    A context manager: a bar is drawn inside of the block only.

    Args:
        title: of the first bar; if empty, `begin` names the first task.
        quiet: no bar, no notes and no steps; only lines.
        every: steps between two lines where stderr is no terminal; 0: no lines.
        is_long: the work takes hours: the bar shows the time that has passed, and stays.
    """

    def __init__(
        self, title: str = "", *, quiet: bool = False, every: int = 0, is_long: bool = False
    ) -> None:
        self._quiet, self._every, self._is_long = quiet, every, is_long
        self._has_bar = not quiet and is_terminal(err=True)
        self._is_inside = False
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._unit = ""
        if title:
            self.begin(title)

    def __enter__(self) -> Self:
        self._is_inside = True
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, title: str, total: int | None = None, *, unit: str = "fps") -> None:
        """Show a bar for the next task; `total` None: its number of steps is unknown.

        unit: of its speed, in steps per second.
        """
        self._unit = unit
        # Draw none for a single step: to load what draws it may take longer than the step.
        if self._has_bar and self._bar is None and total != 1:
            self._bar = _bar(is_long=self._is_long)
            if self._is_inside:
                self._bar.start()
        if self._bar is not None:
            self._task = self._bar.add_task(plain(title), total=total, fps="")

    def end(self) -> None:
        """Take the bar of the task away."""
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def advance(self) -> None:
        """Count one more step of the task that has begun."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)
            self._bar.update(self._task, fps=self._fps())

    def update(self, done: float, total: int, title: str | None = None) -> None:
        """Show that `done` of `total` steps are done, under a new title if one is given."""
        if self._bar is not None and self._task is not None:
            shown = None if title is None else plain(title)
            self._bar.update(
                self._task, completed=done, total=total, description=shown, fps=self._fps()
            )

    def step(self, done: int, total: int, what: str, left_s: float) -> None:
        """Show a step in words: as the title of the bar, or without a bar as a line now and then.

        left_s: seconds that the other steps will take.
        """
        if self._has_bar and self._task is None:
            self.begin(what, total)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, description=plain(what))
        elif not self._quiet and self._every and (done % self._every == 0 or done == total):
            self.line(f"step {done}/{total}, {what}, {left_s / 60:.0f} min left")

    def note(self, text: str) -> None:
        """Print a note for the user."""
        if not self._quiet:
            self.line(f"note: {text}")

    def line(self, text: str) -> None:
        """Print a line; above the bar if one is drawn."""
        if self._bar is not None:
            # Leave the line to the bar's own console: another would write across the bar.
            self._bar.console.print(cell(text), soft_wrap=True)
        else:
            print_message(text)

    def _fps(self) -> str:
        assert self._bar is not None
        speed = self._bar.tasks[-1].speed
        return f"{speed:.1f} {self._unit}" if speed else ""


def _bar(*, is_long: bool) -> Progress:
    """A bar that counts steps and guesses the time left."""
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),  # a file may be called [red].mp4
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn() if is_long else progress.TextColumn("{task.fields[fps]}"),
        progress.TimeRemainingColumn(),
        console=console(err=True),
        transient=not is_long,
    )
