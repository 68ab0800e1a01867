"""Predictions as challenges take them: a folder a video, below one that all videos share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any, BinaryIO, ClassVar

from vidparse.errors import OutputError, UsageError
from vidparse.frame import Frame, Prediction, VideoInfo
from vidparse.labels import Labels
from vidparse.sinks.partial import check_target, write_error
from vidparse.sinks.pictures import PictureFolder
from vidparse.sinks.sink import SinkOptions

_DIGITS = 8  # of VSPW's and VIPSeg's picture names


class Submission(ABC):
    """One PNG a frame in <target>/<shelf>/<video>/, which appears when complete.

    Args:
        target: the folder that all videos share; never stdout.
        options: what the user said about outputs.
        video: the name of this one, as the challenge lists it; the stem of `target` unless given.

    Raises:
        UsageError: `target` is a stream.
    """

    suffix: ClassVar[str]
    endings: ClassVar[tuple[str, ...]] = ()
    is_folder: ClassVar[bool] = True
    shelf: ClassVar[str] = ""  # between the shared folder and those of the videos

    def __init__(
        self, target: Path | BinaryIO, options: SinkOptions, *, video: str | None = None
    ) -> None:
        if not isinstance(target, Path):
            raise UsageError(
                f"-o -: {self.suffix[1:]} is a folder of pictures, which stdout can not carry; "
                "use -o DIR/"
            )
        self.video = target.stem if video is None else video
        parts = PurePath(self.video).parts
        if not parts or ".." in parts or PurePath(self.video).is_absolute():
            raise ValueError(f"'{self.video}' is no name of a video")
        self.root = target
        self.folder = target / self.shelf / self.video
        self.outputs: tuple[str, ...] = (str(self.folder),)
        self.notes: list[str] = []
        self._options = options
        self._pictures = PictureFolder(self.folder, digits=_DIGITS)
        self._made: list[Path] = []

    def check(self, *, of_pictures: bool = False) -> None:
        """Refuse, before any work, what cannot be written; `of_pictures` as in `check_target`.

        Raises:
            OutputError: the video's folder exists, or cannot be made.
        """
        if self.root.exists() and not self.root.is_dir():
            raise OutputError(
                f"{self.root}: is a file, {self.suffix[1:]} needs a folder; choose another with -o"
            )
        check_target(
            self.folder,
            overwrite=self._options.overwrite,
            is_folder=True,
            of_pictures=of_pictures,
            directory=self.root if self.root.exists() else self.root.parent,
        )

    @abstractmethod
    def open(self, info: VideoInfo, labels: Labels) -> None: ...

    @abstractmethod
    def write(self, frame: Frame, prediction: Prediction) -> None: ...

    def close(self, *, keep: bool, packets: Sequence[Any] = ()) -> None:
        try:
            self._pictures.close(keep=keep)
        finally:
            self._tidy()

    def _create(self) -> None:
        """Make the folders down to the one the pictures are first written to."""
        missing = []
        above = self.folder.parent
        while not above.exists():
            missing.append(above)
            above = above.parent
        try:
            for folder in reversed(missing):
                folder.mkdir(exist_ok=True)
                self._made.append(folder)
        except OSError as error:
            raise write_error(self.folder, error) from error
        self._pictures.create()

    def _tidy(self) -> None:
        """Remove the folders made here that have stayed empty."""
        while self._made:
            with suppress(OSError):
                self._made.pop().rmdir()
