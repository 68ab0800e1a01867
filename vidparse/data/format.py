"""Formats of data sets: how each lies in its folder, and how it is opened.

A new format is one file with a :class:`Format`, and one line in `vidparse.data.FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from vidparse.data import FORMATS, SAMPLES
from vidparse.data.dataset import Dataset
from vidparse.errors import InputError, UsageError

SPLITS = ("train", "val", "test")
ALL = "all"  # the split of layouts that have none
OnMissing = Callable[[InputError], None]  # gets each listed thing that is not there


def refuse(error: InputError) -> None:
    """The usual `OnMissing`: the first thing missing is one too many."""
    raise error


class Opener(Protocol):
    """The function that opens a format."""

    def __call__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
        """A split; what `on_missing` lets pass is left out.

        Raises:
            InputError: the folder is not laid out like this.
        """
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """The layout of a data set in its folder.

    open: opens a split.
    sign: its mark, in words. matches: True for a folder that has it.
    splits: those that a folder has.
    masks: patterns of the mask files of {split} and {video}; the file name of a mask is its frame's
        name and the ending after `*`.
    owns: True if a frame's name (without the ending) belongs to a split, for patterns that find
        more than the split's masks.
    every_frame: all frames of a split have masks if any has.
    usually: the name of the format that such folders are opened as where nobody names one.
    """

    open: Opener
    sign: str
    matches: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]]
    masks: tuple[str, ...] = ()
    owns: Callable[[str, str], bool] = lambda stem, split: True
    every_frame: bool = True
    usually: str = ""


def format_of(name: str) -> Format:
    """A format by its name in FORMATS.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in FORMATS:
        raise UsageError(
            f"data set '{name}': unknown; use {', '.join([*sorted(FORMATS), *SAMPLES])}"
        )
    module, _, attribute = FORMATS[name].partition(":")
    found: Format = getattr(import_module(module), attribute or "FORMAT")
    return found


def open_dataset(name: str, root: Path | None, split: str) -> Dataset:
    """A split of a data set by name; `sample://street` and `sample://crowd` need no folder.

    Raises:
        UsageError: unknown data set. InputError: the folder is missing or not laid out like it.
    """
    if name.startswith("sample://"):
        from vidparse.data.rendered import open_rendered

        return open_rendered(name, split)
    known = format_of(name)
    if root is None:
        raise UsageError(f"data set '{name}': lies in a folder; name it with --data")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; point --data at the data set")
    return known.open(root, split)


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


def recognise(root: Path) -> str:
    """The name of the format of the data set in a folder.

    Raises:
        InputError: none, or more than one; the message lists the signs.
    """
    formats = {name: format_of(name) for name in FORMATS}
    found = [name for name, known in formats.items() if known.matches(root)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{root}: looks like {' and '.join(found)}; say which with --dataset")
    looked = ", ".join(f"{known.sign} ({name})" for name, known in formats.items())
    raise InputError(f"{root}: no data set found, looked for {looked}; name it with --dataset")
