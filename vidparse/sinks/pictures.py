"""A folder with one picture a frame, called by the frame, that appears when complete."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vidparse.errors import OutputError
from vidparse.files import WholeFolder, check_folder, check_place
from vidparse.frame import Frame

_MASK_NAME = re.compile(r"\d{6,}\.png")


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
        """Raises: OutputError: the folder can not be made."""
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
