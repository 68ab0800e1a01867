"""A page from its template to its file."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vidparse import __version__
from vidparse.errors import OutputError
from vidparse.files import check_folder, check_place, whole_file, write_error
from vidparse.page import words


def render(template: str, **values: Any) -> str:
    """The page of a template of this folder. Whatever `values` hold is escaped."""
    return _templates().get_template(template).render(**values)


def check_page(path: Path) -> None:
    """Refuse a place where no page can be written, before hours of work; makes its folder.

    Raises:
        OutputError: it is a folder, lies where nothing can be written, or is a file of another
            kind, a model, say.
    """
    check_place(path)
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
    """The templates of this folder and the words they use; one per process, for it compiles."""
    templates = Environment(
        loader=PackageLoader("vidparse", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "percent": words.percent,
        "points": words.points,
        "count": words.count,
        "series": words.series,
        "data_url": words.data_url,
        "width": lambda share: f"{100 * min(max(share, 0.0), 1.0) if share == share else 0:.2f}%",
        "sort_value": lambda value: "" if math.isnan(value) else f"{value:.6g}",
    }
    templates.globals |= {
        "key": words.key,
        "swatch": words.swatch,
        "version": __version__,
    }
    return templates
