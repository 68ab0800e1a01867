"""A folder with one picture a frame, called by the frame, that appears when complete."""

from __future__ import annotations

from pathlib import Path

from vidparse.errors import OutputError
from vidparse.frame import Frame
from vidparse.sinks.partial import PartialFolder


class PictureFolder:
    """PNGs under a partial folder name.

    Args:
        final: the folder's name in the end.
        digits: of the frame index, which names a frame that has no name of its own.
    """

    def __init__(self, final: Path, *, digits: int) -> None:
        self.partial = PartialFolder(final)
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

    def close(self, *, keep: bool) -> None:
        """Rename into place, or remove."""
        self.partial.close(keep=keep)
