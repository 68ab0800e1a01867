"""Pictures as outputs, one per frame: in a folder, numbered beside each other, or a single one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from vidparse.errors import OutputError
from vidparse.files import WholeFile, WholeFolder, check_folder, check_place
from vidparse.frame import Frame
from vidparse.video.inputs import is_image

_MASK_NAME = re.compile(r"\d{6,}\.png")
_NUMBER = re.compile(r"%0?(\d*)d")


class Pictures(Protocol):
    """Where the pictures of an output go."""

    def create(self) -> None:
        """Raises: OutputError: it cannot be made."""

    def write(self, frame: Frame, data: bytes) -> Path:
        """Add an encoded picture, whole or not at all; where it lies for now.

        Raises:
            OutputError: disk full and the like, or a picture that has no place.
        """

    def close(self, *, keep: bool, complete: bool = True) -> Path | None:
        """Put in place, or remove; see :class:`WholeFile`."""


def pictures_at(path: Path, *, digits: int, replace: bool) -> Pictures:
    """By the path: x_%04d.png is numbered, x.png is one picture, all else is a folder."""
    if is_numbered(path):
        return NumberedPictures(path, replace=replace)
    return (
        OnePicture(path, replace=replace)
        if path.suffix
        else PictureFolder(path, digits=digits, replace=replace)
    )


def is_numbered(path: Path) -> bool:
    """Whether a name has a place for the number of the frame, as x_%04d.png has."""
    return _NUMBER.search(path.name) is not None and is_image(path)


def numbered_files(path: Path) -> Iterator[Path]:
    """What lies at a name with a place for a number."""
    before, _, after = _NUMBER.split(path.name, maxsplit=1)
    name = re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")
    if path.parent.is_dir():
        yield from (entry for entry in path.parent.iterdir() if name.fullmatch(entry.name))


class PictureFolder:
    """PNGs under a partial folder name.

    Args:
        final: the folder's name in the end.
        digits: of the frame index, which names a frame that has no name of its own.
        replace: whether an older folder may be replaced.
    """

    def __init__(self, final: Path, *, digits: int, replace: bool = True) -> None:
        self.partial = WholeFolder(final, replace=replace)
        self._digits = digits

    def stem(self, frame: Frame) -> str:
        """The picture's own name when the input is a folder of pictures, else the index."""
        return f"{frame.index:0{self._digits}d}" if frame.name is None else Path(frame.name).name

    def create(self) -> None:
        """Raises: OutputError: the folder cannot be made."""
        self.partial.create()

    def write(self, frame: Frame, png: bytes) -> Path:
        """Add a whole picture or none; where it lies for now.

        Raises:
            OutputError: disk full and the like, or two frames of one name.
        """
        path = self.partial.path / f"{self.stem(frame)}.png"
        with self.partial.writing():
            try:
                file = path.open("xb")
            except FileExistsError as error:
                raise OutputError(
                    f"{self.partial.final}: two pictures are called '{path.stem}'; "
                    "rename one or give them as separate inputs"
                ) from error
            try:
                with file:
                    file.write(png)
            except BaseException:
                path.unlink(missing_ok=True)  # after an interrupt the folder is kept: whole files
                raise
        return path

    def close(self, *, keep: bool, complete: bool = True) -> Path | None:
        """Put in place, or remove; see :class:`WholeFolder`."""
        return self.partial.close(keep=keep, complete=complete)


class NumberedPictures:
    """Pictures called by the number of their frame; they lie in a folder until they are whole."""

    def __init__(self, path: Path, *, replace: bool) -> None:
        self._path = path
        self._folder = _Numbered(path, replace=replace)

    def create(self) -> None:
        self._folder.create()

    def write(self, frame: Frame, data: bytes) -> Path:
        name = _NUMBER.sub(lambda match: f"{frame.index:0{match[1] or 1}d}", self._path.name, 1)
        path = self._folder.path / name
        with self._folder.writing():
            path.write_bytes(data)
        return path

    def close(self, *, keep: bool, complete: bool = True) -> Path | None:
        return self._folder.close(keep=keep, complete=complete)


class _Numbered(WholeFolder):
    """A folder whose files go to the folder round it."""

    def _has_older(self) -> bool:
        return any(numbered_files(self._place))

    def _move(self) -> None:
        older = {path.name for path in numbered_files(self._place)}
        if older and not self._replace:
            raise self._appeared()
        for path in sorted(self.path.iterdir()):
            path.replace(self._place.with_name(path.name))
            older.discard(path.name)
        for name in older:  # of a longer video
            self._place.with_name(name).unlink(missing_ok=True)
        self._remove(self.path)


class OnePicture:
    """The picture of an input that is one."""

    def __init__(self, path: Path, *, replace: bool) -> None:
        self._file = WholeFile(path, replace=replace)
        self._is_written = False

    def create(self) -> None:
        self._file.create()

    def write(self, frame: Frame, data: bytes) -> Path:
        if self._is_written:
            name = self._file.final
            raise OutputError(
                f"{name}: holds one picture and there are more; number them, as in "
                f"-o {name.stem}_%04d{name.suffix}"
            )
        with self._file.writing():
            self._file.path.write_bytes(data)
        self._is_written = True
        return self._file.path

    def close(self, *, keep: bool, complete: bool = True) -> Path | None:
        return self._file.close(keep=keep, complete=complete)


def check_target(
    final: Path,
    *,
    overwrite: bool,
    is_folder: bool,
    of_pictures: bool = False,
    directory: Path | None = None,
) -> None:
    """Refuse, before any work, an output that must not or cannot be written.

    Args:
        final: the output's name.
        overwrite: whether an existing output may be replaced.
        is_folder: whether the output is a folder of mask pictures.
        of_pictures: whether the masks have the names of pictures, which are any.
        directory: what must be writable, and is made; the folder round `final` unless given.

    Raises:
        OutputError: the output exists, or lies where nothing can be written.
    """
    if is_numbered(final):
        if not overwrite and any(numbered_files(final)):
            raise OutputError(f"{final}: such files exist; use --overwrite or -o")
        check_folder(final, final.parent, make=True)
        return
    check_place(final, is_folder=is_folder)
    if final.exists() or final.is_symlink():
        if not overwrite:
            raise OutputError(f"{final}: exists; use --overwrite or -o")
        _check_replaceable(final, is_folder, any_name=of_pictures)
    check_folder(final, directory or final.parent, make=True)


def _check_replaceable(final: Path, is_folder: bool, *, any_name: bool) -> None:
    if not is_folder:
        return
    for entry in os.scandir(final) if final.exists() else ():
        ours = entry.name.endswith(".png") if any_name else _MASK_NAME.fullmatch(entry.name)
        if not ours or not entry.is_file(follow_symlinks=False):
            raise OutputError(
                f"{final}: holds '{entry.name}', which is no mask of ours, so it is not replaced; "
                "remove the folder or use -o"
            )
