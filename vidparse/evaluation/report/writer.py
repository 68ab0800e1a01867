"""The page as a file that appears complete or not at all."""

from __future__ import annotations

from pathlib import Path

from vidparse.errors import OutputError
from vidparse.evaluation.report.page import html_page
from vidparse.evaluation.result import Evaluation
from vidparse.files import check_folder, check_place, whole_file, write_error


def check_report(path: Path) -> None:
    """Refuse a place where no report can be written, before hours of work; makes its folder.

    Raises:
        OutputError: it is a folder, lies where nothing can be written, or is a file of another
            kind, a model, say.
    """
    check_place(path)
    if path.is_file() and not _is_page(path):
        raise OutputError(f"{path}: is there and no HTML page; choose another name for the report")
    check_folder(path, path.parent, make=True)


def write_report(path: Path, evaluation: Evaluation) -> None:
    """Write the page under a temporary name beside `path`, then rename it.

    Raises:
        OutputError: it cannot be written there; what was there stays.
    """
    check_report(path)
    data = html_page(evaluation).encode("utf-8", "backslashreplace")  # file names need not be UTF-8
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
