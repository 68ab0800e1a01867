"""Numbers, names and tables of a page, as templates and their callers write them."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

DASH = "\N{EN DASH}"
_SERIES = 8  # colours of page.css


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell: its words, and the number it is sorted by where the words are no order."""

    words: str
    value: float | None = None
    is_best: bool = False  # bold
    is_small: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a heading per row.

    caption: for those who hear the page.
    groups: column groups, a heading and the columns under it each. A group without columns is one
        column under the heading itself. The first group is that of the row headings.
    rows: a heading and the cells of each row.
    is_sortable: readers may sort by any column, where scripts run.
    """

    caption: str
    groups: Sequence[tuple[str, Sequence[str]]]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    is_sortable: bool = False


def percent(value: float, digits: int = 2) -> str:
    """0.6431 -> "64.31"; NaN -> a dash."""
    return DASH if math.isnan(value) else f"{100 * value:.{digits}f}"


def points(value: float, digits: int = 2) -> str:
    """A difference in percentage points, with its sign; NaN -> a dash."""
    if math.isnan(value):
        return DASH
    return f"{100 * value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def count(value: int, noun: str) -> str:
    """1 -> "1 frame", 2000 -> "2,000 frames"."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def series(index: int) -> str:
    """The CSS class of the colour of an entry, run or line."""
    return f"s{index % _SERIES}"


def key(name: str, index: int) -> Markup:
    """A name behind its colour."""
    return Markup('<span class="key {}">{}</span>').format(series(index), name)


def swatch(colour: Sequence[int]) -> Markup:
    """A small square in a class colour, RGB."""
    return Markup('<i class="swatch" style="background:rgb({},{},{})"></i>').format(*colour)


def named_swatch(colour: Sequence[int], name: str) -> Markup:
    """A class name behind its colour, RGB."""
    return swatch(colour) + name


def data_url(data: bytes) -> str:
    """An encoded PNG or JPEG picture as an address that holds it."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
