"""The format of a data set, known by the layout of its folder, or by what a file begins with."""

from __future__ import annotations

from pathlib import Path

from vidparse.data import FORMATS, SAMPLES
from vidparse.data.dataset import format_of
from vidparse.data.folders import damaged_record
from vidparse.errors import InputError, UsageError

_PACKED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")  # as annotation tools export


def usual_format(root: Path | None) -> str:
    """The name of the format that a folder is opened as where nobody names one.

    Raises:
        UsageError: no folder is named, either. InputError: it is missing, or as of `recognise`.
    """
    if root is None:
        raise UsageError(
            f"data set: none is named; give its folder with --data, or --dataset {SAMPLES[0]}"
        )
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; point --data at the data set")
    name = recognise(root)
    return format_of(name).usually or name


def recognise(root: Path, *, option: str = "--dataset") -> str:
    """The name of the format of the data set in a folder, or of an annotation tool's file.

    option: by which the user can name it, for messages.

    Raises:
        InputError: none, or more than one; a damaged file may be of any, and a packed one, too.
    """
    formats = {name: format_of(name) for name in FORMATS}
    if root.is_file():
        if root.suffix.lower() in _PACKED:
            raise InputError(f"{root}: is packed; unpack it, and give the folder")
        formats = {name: known for name, known in formats.items() if known.file}
    found = [name for name, known in formats.items() if known.matches(root)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{root}: looks like {' and '.join(found)}; choose one with {option}")

    # Name a damaged file first: no sign of its format may be left.
    if damage := damaged_record(root):
        raise damage
    if root.is_file():
        looked = ", ".join(known.file for known in formats.values())
        raise InputError(
            f"{root}: no data set found, it is none of {looked}; name its format with {option}, or "
            "give the folder of a data set"
        )
    raise InputError(
        f"{root}: no data set found, laid out as none of {', '.join(formats)}; name one with "
        f"{option} to learn what it lacks"
    )
