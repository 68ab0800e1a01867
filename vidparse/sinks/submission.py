"""Predictions as challenges take them: a folder per video, below one that all share; VSPW's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import BinaryIO, ClassVar

import numpy as np

from vidparse.errors import OutputError
from vidparse.files import write_error
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels, load_labels
from vidparse.labels.colours import class_colours
from vidparse.maps import Prediction
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.pictures import PictureFolder, check_target, is_empty, is_made, palette_png
from vidparse.sinks.sink import Sink, Target

_VOID = 255  # of VSPW
_DIGITS = 8  # of VSPW's and VIPSeg's picture names


class Submission(Sink):
    """One PNG per frame in <target>/<shelf>/<video>/, which appears when complete.

    Args:
        where: the folder that all videos share; never a stream.
        options: as the user gave them.
        video: the name of this one, as the challenge lists it; the stem of `where` unless given.

    Raises:
        UsageError: `where` is a stream.
    """

    is_folder: ClassVar[bool] = True
    shelf: ClassVar[str] = ""  # between the shared folder and those of the videos

    def __init__(
        self,
        where: Target | Path | BinaryIO,
        options: SinkOptions,
        *,
        video: str | None = None,
    ) -> None:
        super().__init__(where, options)
        root = self.target.folder(self.suffix[1:])

        # Refuse names that would leave the folder.
        self.video = root.stem if video is None else video
        parts = PurePath(self.video).parts
        if not parts or ".." in parts or PurePath(self.video).is_absolute():
            raise ValueError(f"'{self.video}' is no name of a video")

        self.root = root
        self.folder = root / self.shelf / self.video
        self.outputs = (str(self.folder),)
        self._pictures = PictureFolder(self.folder, digits=_DIGITS, replace=self.target.replace)
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
            overwrite=self.target.replace or (self.options.skip_existing and is_empty(self.folder)),
            is_folder=True,
            of_pictures=of_pictures,
            directory=self.root if self.root.exists() else self.root.parent,
        )

    def is_made(self) -> bool:
        """True if this video is there.

        Raises:
            OutputError: the folder holds something that no video can be added to.
        """
        return is_made(self.folder, is_folder=True)

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        try:
            return self._pictures.close(keep=keep, complete=complete)
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


class VspwFolder(Submission):
    """8-bit palette PNGs of class ids 0..K-1, void 255.

    With `SinkOptions.raw_ids` ids are as in VSPW's own masks: 1..K, void 0. Pictures have the
    input picture's name, or 8 digits of the frame index.
    """

    suffix: ClassVar[str] = ".vspw"

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        raw = self.options.raw_ids
        most = _VOID - 1 if raw else _VOID

        if len(labels) > most:
            raise OutputError(
                f"{self.folder}: 8-bit masks hold {most} classes and '{labels.name}' has "
                f"{len(labels)}; use --save masks (16 bits)"
            )

        if labels.classes != load_labels("vspw").classes:
            self.notes.append(
                f"vspw: the ids are of the classes of '{labels.name}', not of VSPW's 124; "
                "VSPW's scorer needs a model with VSPW's own classes"
            )

        self._labels = labels
        stored = np.arange(256, dtype=np.uint8)  # class id -> value in the file
        if raw:
            stored += 1  # 255 becomes 0
        self._stored = stored
        self._palette = np.zeros((256, 3), np.uint8)
        self._palette[stored[: len(labels)]] = class_colours(labels, self.options.palette)
        self._create()

    def add(self, frame: Frame, prediction: Prediction) -> None:
        ids = prediction.map.class_map(self._labels)  # (H, W)
        if self.options.raw_ids:
            ids = self._stored.take(ids)
        self._pictures.write(frame, palette_png(ids, self._palette))
