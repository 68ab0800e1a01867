"""The layout of help pages: prose and framed tables, as wide as the terminal.

A cell of a table is a list of pieces, each a text and its style: pieces stand beside each other
where they fit, else below each other.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # read as true by type checkers, as in vidparse/__init__.py
if TYPE_CHECKING:
    from collections.abc import Sequence

    Piece = tuple[str, str]
    Cell = Sequence[Piece]
    Row = Sequence[Cell]

# Styles: codes of ANSI terminals. Words of prose that are options are highlighted.
PROSE, HEAD, FAINT = "", "1", "2"
OPTION, SWITCH, NEGATION, KIND = "1;36", "1;32", "1;35", "1;33"
MARK, REQUIRED = "31", "2;31"

# top left, level, top right, upright, bottom left and right
_ROUND, _ASCII = tuple("╭─╮│╰╯"), tuple("+-+|++")
_GAP = 2  # columns between two cells
_USUAL_WIDTH, _LEAST_WIDTH = 80, 24  # characters; the least has room for our longest flag


class Page:
    """A page that is written from top to bottom.

    Args:
        width: characters of a line.
        colour: styles are written, for a terminal.
        frame: the characters of frames: as `_ROUND`.
    """

    def __init__(
        self, width: int, *, colour: bool = False, frame: tuple[str, ...] = _ROUND
    ) -> None:
        self._width = max(width, _LEAST_WIDTH)
        self._colour, self._frame = colour, frame
        self._lines: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self._lines)

    def usage(self, text: str) -> None:
        """The line that shows how a command is written."""
        first, *others = _wrapped(f"Usage: {text}", self._width - 2)
        head, rest = self._styled("Usage:", KIND), self._styled(first[len("Usage:") :], HEAD)
        self._lines += ["", f" {head}{rest}"]
        self._lines += [f" {self._styled(line, HEAD)}" for line in others]
        self._lines.append("")

    def prose(self, text: str) -> None:
        """Paragraphs with an empty line after each; all but the first are faint."""
        for i, paragraph in enumerate(text.split("\n\n")):
            for line in _wrapped(" ".join(paragraph.split()), self._width - 2):
                self._lines.append(f" {self._styled(line, FAINT if i else PROSE)}")
            self._lines.append("")

    def table(self, title: str, rows: Sequence[Row]) -> None:
        """A framed table. The last column takes the room that the others leave."""
        if not rows:
            return
        inner = self._width - 4
        widths = _column_widths(rows, inner)
        corner, level, right, upright, low_left, low_right = self._frame
        side = self._styled(upright, FAINT)

        top = f"{corner}{level} {title} ".ljust(self._width - 1, level) + right
        self._lines.append(self._styled(top, FAINT))
        # Put cells below each other where a column would be narrower than one of its words.
        is_narrow = any(
            width < max(map(_longest_word, column))
            for width, column in zip(widths, zip(*rows, strict=True), strict=True)
        )
        for row in rows:
            lines = self._stack(row, inner) if is_narrow else self._row(row, widths)
            for line in lines:
                self._lines.append(f"{side} {line} {side}")
        bottom = low_left + level * (self._width - 2) + low_right
        self._lines.append(self._styled(bottom, FAINT))

    def _row(self, row: Row, widths: list[int]) -> list[str]:
        cells = [self._cell(cell, width) for cell, width in zip(row, widths, strict=True)]
        height = max(map(len, cells))
        for cell, width in zip(cells, widths, strict=True):
            cell += [" " * width] * (height - len(cell))
        return [(" " * _GAP).join(parts) for parts in zip(*cells, strict=True)]

    def _stack(self, row: Row, width: int) -> list[str]:
        """A row on a narrow page: its last cell stands below the others, and to the right."""
        *heads, last = row
        pieces = [piece for cell in heads for piece in cell if piece[0]]
        lines = self._cell(pieces, width)
        indent = " " * _GAP
        return [*lines, *(indent + line for line in self._cell(last, width - _GAP))]

    def _cell(self, cell: Cell, width: int) -> list[str]:
        """Lines of a cell, each of that width."""
        length = _length(cell)
        if length <= width:
            line = " ".join(self._styled(text, style) for text, style in cell)
            return [line + " " * (width - length)]
        return [
            self._styled(line, style) + " " * (width - len(line))
            for text, style in cell
            for line in _wrapped(text, width)
        ]

    def _styled(self, text: str, style: str) -> str:
        if not self._colour or not text:
            return text
        if style == PROSE:
            return " ".join(map(_highlighted, text.split(" ")))
        return f"\033[{style}m{text}\033[0m"


def screen_page() -> Page:
    """An empty page as wide as the terminal, in its colours and letters."""
    # Draw frames of ASCII where the encoding has no lines: to write them would fail.
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    frame = _ROUND if encoding.lower().startswith("utf") else _ASCII
    return Page(_screen_width(), colour=_has_colour(), frame=frame)


def _screen_width() -> int:
    for name in ("TERMINAL_WIDTH", "COLUMNS"):
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])

    # Try all three streams: any of them may be a file, or closed.
    for descriptor in range(3):
        try:
            return os.get_terminal_size(descriptor).columns or _USUAL_WIDTH
        except OSError:
            continue
    return _USUAL_WIDTH


def _has_colour() -> bool:
    """As rich decides: by NO_COLOR, FORCE_COLOR and TERM, and then by the kind of stdout."""
    given = os.environ.get
    if given("NO_COLOR") or given("TERM", "").lower() in ("dumb", "unknown"):
        return False
    if given("FORCE_COLOR") or given("GITHUB_ACTIONS") or given("PY_COLORS"):
        return True
    # A console of Windows understands these codes in its newer program only.
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return is_terminal and (os.name != "nt" or bool(given("WT_SESSION")))


def _column_widths(rows: Sequence[Row], inner: int) -> list[int]:
    """Widths that fill a line: columns as wide as they need to be, widest ones shortened first."""
    needed = [max(map(_length, column)) for column in zip(*rows, strict=True)]
    room = inner - _GAP * (len(needed) - 1)
    widths = [*needed[:-1], room]
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda i: widths[i] + _padding(i, len(widths)))
        widths[widest] -= 1
    return [max(width, min(1, need)) for width, need in zip(widths, needed, strict=True)]


def _padding(column: int, columns: int) -> int:
    """Half a gap on either side that has a neighbour."""
    return (column > 0) + (column < columns - 1)


def _length(cell: Cell) -> int:
    return sum(len(text) for text, _ in cell) + max(0, len(cell) - 1)


def _longest_word(cell: Cell) -> int:
    return max((len(word) for text, _ in cell for word in text.split(" ")), default=0)


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words; only a word longer than a line is broken."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
            continue
        if lines[-1]:
            lines.append("")
        while len(word) > width:
            lines[-1], word = word[:width], word[width:]
            lines.append("")
        lines[-1] = word
    return lines


def _highlighted(word: str) -> str:
    """A word of prose in colour, if it is an option."""
    bare = word.strip("`'\"()[],.;:")
    style = OPTION if bare.startswith("--") else SWITCH
    if len(bare) < 2 or bare[0] != "-" or not bare[-1].isalnum():
        return word
    return word.replace(bare, f"\033[{style}m{bare}\033[0m", 1)
