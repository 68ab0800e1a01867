"""HTML pages on one set of templates: whole by themselves, and readable without scripts.

A page goes from its template to its file; what it shows are numbers, names, tables and charts.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vidparse import __version__
from vidparse.errors import OutputError
from vidparse.files import check_folder, check_place, whole_file, write_error

DASH = "\N{EN DASH}"
_SERIES = 8  # colours of page.css


def render(template: str, **values: object) -> str:
    """The page of a template of this folder or of view/. Whatever `values` hold is escaped."""
    return _templates().get_template(template).render(**values)


def check_page(path: Path) -> None:
    """Refuse a place where no page can be written, before hours of work; makes its folder.

    Raises:
        OutputError: it is a folder, lies where nothing can be written, or is a file of another
            kind, such as a model.
    """
    check_place(path)

    # Replace pages alone: a wrong name must not cost a model.
    if path.is_file() and not _is_page(path):
        raise OutputError(f"{path}: is there and no HTML page; choose another name for the page")
    check_folder(path, path.parent, make=True)


def write_page(path: Path, html: str) -> None:
    """Write a page; it appears whole or not at all.

    Raises:
        OutputError: it cannot be written there; what was there stays.
    """
    check_page(path)
    data = html.encode("utf-8", "backslashreplace")  # file names need not be UTF-8
    with whole_file(path) as part:
        part.write_bytes(data)


def _is_page(path: Path) -> bool:
    """True for a file that is empty or begins as a page does."""
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip().lower()
    except OSError as error:
        raise write_error(path, error) from error
    return not head or head.startswith((b"<!doctype html", b"<html"))


@cache
def _templates() -> Environment:
    """The templates and the words they use; one per process, for it compiles."""
    templates = Environment(
        loader=ChoiceLoader([PackageLoader("vidparse", one) for one in ("page", "view")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    # Words and numbers of a page are made in one place, for its tables and its text.
    templates.filters |= {
        "percent": percent,
        "points": points,
        "count": count,
        "series": series,
        "data_url": data_url,
        "width": lambda share: f"{100 * min(max(share, 0.0), 1.0) if share == share else 0:.2f}%",
        "sort_value": lambda value: "" if math.isnan(value) else f"{value:.6g}",
    }
    templates.globals |= {
        "key": key,
        "swatch": swatch,
        "version": __version__,
    }
    return templates


@dataclass(frozen=True, slots=True)
class TableCell:
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
    rows: Sequence[tuple[str, Sequence[TableCell]]]
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
