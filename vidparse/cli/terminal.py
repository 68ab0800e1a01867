"""The one way of text to the user's terminal: names and facts from outside cannot steer it."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Controls (C0, DEL, C1), what breaks lines, what turns the direction of writing, what has no
# width, and bytes that are no text. Joiners and direction marks stay: languages need them.
_STEERING = re.compile(
    "\r\n|[\0-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)


def plain(text: object) -> str:
    """`text` as one line in which nothing steers a terminal; each such character becomes `?`."""
    return _STEERING.sub("?", str(text))


def say(text: str) -> None:
    """A line on stderr, where errors, notes and summaries go.

    A stderr that is full or closed changes nothing: the result of a run does not depend on it.
    """
    with contextlib.suppress(OSError):
        typer.echo(plain(text), err=True)


def show(text: str = "") -> None:
    """A line on stdout, for people; data goes there by itself."""
    typer.echo(plain(text))


def print_json(record: object) -> None:
    """One JSON document on stdout, in ASCII."""
    typer.echo(json.dumps(record, indent=2).replace("\x7f", "\\u007f"))


def console(*, err: bool = False, width: int | None = None) -> Console:
    """For tables and bars: strings are what they are, not markup, emoji codes or numbers."""
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
