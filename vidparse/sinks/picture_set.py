"""Outputs that hold the pictures, too: folders that annotation tools and trainers open."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, ClassVar

import cv2
import numpy as np

from vidparse.errors import OutputError
from vidparse.filenames import text_name
from vidparse.files import WholeFolder
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels, labels_to_json
from vidparse.maps import Prediction
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.sink import Sink, Target

_COPIED = (".jpg", ".jpeg", ".png", ".bmp", ".webp")  # pictures that every such tool opens
_JPEG_QUALITY = 95
_DIGITS = 6
LABELS_FILE = "classes.json"  # "labels.json" is the mark of the data set `folder`


class PictureSet(Sink):
    """A folder of pictures and their labels, which appears when whole.

    Pictures that lie on disk are copied as they are, frames of videos become JPEGs.

    Attributes:
        copies_files: a frame that lies on disk needs no pixels; else all frames have them.
        video: folder within the folders of pictures.
        place: name of the folder, for addresses of pictures in its files; whoever moves the folder
            afterwards sets it.

    Raises:
        UsageError: `where` is a stream.
    """

    is_folder: ClassVar[bool] = True
    copies_files: ClassVar[bool] = True

    def __init__(self, where: Target | Path | BinaryIO, options: SinkOptions) -> None:
        super().__init__(where, options)
        self.folder = WholeFolder(self.target.folder(self.suffix[1:]), replace=self.target.replace)
        self.video = ""
        self.place = self.folder.final.name
        self._is_started = self._is_panoptic = False

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self.labels, self.info = labels, info
        self.folder.create()
        self._is_started = True
        with self.folder.writing():
            self.start()

    def add(self, frame: Frame, prediction: Prediction) -> None:
        self._is_panoptic |= prediction.segments is not None
        with self.folder.writing():
            self.add_picture(frame, prediction)

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        keep = keep and self._is_started and not self.folder.broken
        try:
            if self._is_started:
                with self.folder.writing():
                    self.finish(keep=keep)
        except BaseException:
            keep = False
            raise
        finally:
            left = self.folder.close(keep=keep, complete=complete)
        return left

    @property
    def lone_name(self) -> str:
        """The name of the one video of a folder: clip.vspw-set -> clip."""
        return text_name(self.folder.final.name.removesuffix(self.suffix)) or "video"

    def next_video(self, info: VideoInfo, *, alone: bool) -> None:
        """Set the video of the next pictures; `alone`: there is no other in the folder."""
        self.video = "" if alone else info.name

    @abstractmethod
    def start(self) -> None:
        """Write what comes before the first picture. Raises: OSError: disk full and the like."""

    @abstractmethod
    def add_picture(self, frame: Frame, prediction: Prediction) -> None:
        """Write a picture and its labels. Raises: OSError: disk full and the like."""

    @abstractmethod
    def finish(self, *, keep: bool) -> None:
        """Write what comes after the last picture, if the folder is kept; close files."""

    def save_picture(self, frame: Frame, shelf: str) -> Path:
        """Write the picture of a frame to a folder, under its own name or its number.

        Raises:
            OutputError: two pictures of one name. OSError: disk full and the like.
        """
        ending, data = picture_bytes(frame)
        return self.save(f"{shelf}/{self.video}/{picture_stem(frame)}{ending}", data)

    def save(self, place: str, data: bytes) -> Path:
        """Write a file of the folder, whole or not at all; its path.

        Raises:
            OutputError: it is there. OSError: disk full and the like.
        """
        path = self.folder.path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError as error:
            raise OutputError(
                f"{self.folder.final}: two pictures are called '{path.stem}'; rename one or give "
                "them as separate inputs"
            ) from error
        except BaseException:
            path.unlink(missing_ok=True)  # after an interrupt the folder is kept: whole files
            raise
        return path

    def save_labels(self) -> None:
        """Write classes.json; classes are things where predictions have objects."""
        labels = self.labels
        if not self._is_panoptic:
            labels = replace(labels, things=frozenset())
        self.save(LABELS_FILE, labels_bytes(labels))


def labels_bytes(labels: Labels) -> bytes:
    """A label set as a file of its own."""
    record = json.dumps(labels_to_json(labels), indent=2, ensure_ascii=False)
    return f"{record}\n".encode("utf-8", "backslashreplace")


def picture_stem(frame: Frame) -> str:
    """The picture's own name when the input is a folder of pictures, else the frame's number."""
    if frame.name is None:
        return f"{frame.index:0{_DIGITS}d}"
    return text_name(Path(frame.name).name)


def is_copied(path: Path) -> bool:
    """True for a picture that every tool opens as it is."""
    return path.suffix.lower() in _COPIED


def picture_bytes(frame: Frame) -> tuple[str, bytes]:
    """The ending of a picture's file, and what is in it.

    Raises:
        OutputError: too large for JPEG. OSError: the picture's own file went away.
    """
    if frame.file is not None and is_copied(frame.file):
        return frame.file.suffix, frame.file.read_bytes()
    return ".jpg", jpeg(frame.image.rgb())


def jpeg(rgb: np.ndarray, quality: int = _JPEG_QUALITY) -> bytes:
    """JPEG of RGB uint8 (H, W, 3).

    Raises:
        OutputError: it is too large for JPEG.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise OutputError(
            f"a picture of {rgb.shape[1]}x{rgb.shape[0]}: is too large for JPEG; "
            "give a smaller video"
        )
    return data.tobytes()
