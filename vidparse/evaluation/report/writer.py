"""The page as a file that appears complete or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vidparse.errors import OutputError
from vidparse.evaluation.report.page import html_page
from vidparse.evaluation.result import Evaluation


def check_report(path: Path) -> None:
    """Refuse a place where no report can be written, before hours of work; makes its folder.

    Raises:
        OutputError: it is a folder, lies where nothing can be written, or is a file of another
            kind, a model, say.
    """
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it for the report")
    if path.is_file() and not _is_page(path):
        raise OutputError(f"{path}: is there and no HTML page; choose another name for the report")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _failed(path, error) from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"{path}: folder {path.parent} is not writable; choose another place for the report"
        )


def write_report(path: Path, evaluation: Evaluation) -> None:
    """Write the page under a temporary name beside `path`, then rename it.

    Raises:
        OutputError: it can not be written there; what was there stays.
    """
    check_report(path)
    data = html_page(evaluation).encode("utf-8", "backslashreplace")  # file names need not be UTF-8
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _is_page(path: Path) -> bool:
    """Whether a file is empty or begins as a page does."""
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip().lower()
    except OSError as error:
        raise _failed(path, error) from error
    return not head or head.startswith((b"<!doctype html", b"<html"))


def _failed(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or type(error).__name__
    return OutputError(
        f"{path}: can not be written ({reason}); choose another place for the report"
    )
