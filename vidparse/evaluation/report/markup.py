"""Numbers, names and tables as HTML. Whatever comes from outside passes through `text`."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DASH = "\N{EN DASH}"
_SERIES = 8  # entry colours in page.css


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell: its HTML, and what it is sorted by when that is not its text."""

    body: str
    value: float | None = None


def text(value: object) -> str:
    """A name or number, escaped for content and for quoted attributes."""
    return html.escape(str(value), quote=True)


def percent(value: float, digits: int = 2) -> str:
    """0.6431 -> "64.31"; NaN -> a dash."""
    return DASH if math.isnan(value) else f"{100 * value:.{digits}f}"


def points(value: float, digits: int = 2) -> str:
    """A difference in percentage points, with its sign; NaN -> a dash."""
    if math.isnan(value):
        return DASH
    return f"{100 * value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def count(value: int, noun: str) -> str:
    """1 -> "1 frame", 2 -> "2 frames"."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def series(index: int) -> str:
    """The CSS class of an entry's colour."""
    return f"s{index % _SERIES}"


def key(name: str, index: int) -> str:
    """An entry's name behind its colour."""
    return f'<span class="key {series(index)}">{text(name)}</span>'


def swatch(colour: Sequence[int]) -> str:
    """A small square in a class colour."""
    red, green, blue = colour
    return f'<i class="swatch" style="background:rgb({red},{green},{blue})"></i>'


def picture(data: bytes, alt: str) -> str:
    """An encoded picture inside the page."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    packed = base64.b64encode(data).decode("ascii")
    return f'<img src="data:image/{kind};base64,{packed}" alt="{text(alt)}" loading="lazy">'


def section(name: str, title: str, *parts: str) -> str:
    """A section with a heading that the table of contents can point to."""
    body = "\n".join(part for part in parts if part)
    return f'<section id="{name}"><h2>{title}</h2>\n{body}\n</section>'


def table(
    caption: str,
    groups: Sequence[tuple[str, Sequence[str]]],
    rows: Iterable[tuple[str, Sequence[Cell]]],
    *,
    sortable: bool = False,
) -> str:
    """A table that scrolls by itself when the window is narrow.

    Args:
        caption: plain words for those who hear the page; what follows is HTML.
        groups: column groups: a heading and the columns under it; the columns of a group without
            any are one, under its own heading. The first group is that of the row headings.
        rows: a row heading and its cells.
        sortable: readers may sort by any column, where scripts run.
    """
    two = any(names for _, names in groups)
    upper, lower, column = [], [], 0
    for heading, names in groups:
        if names:
            upper.append(f'<th scope="colgroup" colspan="{len(names)}">{heading}</th>')
        else:
            span = ' rowspan="2"' if two else ""
            upper.append(f'<th scope="col"{span} data-column="{column}">{heading}</th>')
        for i, name in enumerate(names):
            lower.append(f'<th scope="col" data-column="{column + i}">{name}</th>')
        column += max(1, len(names))
    head = f"<tr>{''.join(upper)}</tr>" + (f"<tr>{''.join(lower)}</tr>" if two else "")
    body = "\n".join(
        f'<tr><th scope="row">{heading}</th>{"".join(map(_cell, cells))}</tr>'
        for heading, cells in rows
    )
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table{kind}>'
        f'<caption class="unseen">{caption}</caption>'
        f"<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    if cell.value is None:
        return f"<td>{cell.body}</td>"
    value = "" if math.isnan(cell.value) else f"{cell.value:.6g}"
    return f'<td data-value="{value}">{cell.body}</td>'
