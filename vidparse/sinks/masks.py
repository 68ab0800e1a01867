"""Class ids of every frame, exactly: a folder of index PNGs, one lossless video, or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from vidparse.errors import OutputError
from vidparse.frame import Frame, Prediction, VideoInfo
from vidparse.labels import Labels
from vidparse.sinks.encoded import EncodedVideo, Encoding
from vidparse.sinks.palette import class_colours
from vidparse.sinks.pictures import PictureFolder
from vidparse.sinks.png import gray16_png, palette_png
from vidparse.sinks.segments import class_map
from vidparse.sinks.sink import SinkOptions

_FILE_CONTAINERS = {".mkv": "matroska", ".nut": "nut"}
_SLICED_FROM_PX = 64


class Masks:
    """A folder with one PNG a frame, or ids on stdout.

    PNGs are 8-bit palette indices, or 16-bit gray for more than 255 classes, called by frame index
    (000000.png) or by the picture's name when the input is a folder of pictures. The palette is
    the drawing colours; void is black. On stdout: bare gray8 or gray16le frames when the pipe is
    raw, else y4m with ids as luma.
    """

    suffix: ClassVar[str] = ".masks"
    endings: ClassVar[tuple[str, ...]] = ()
    is_folder: ClassVar[bool] = True

    def __init__(self, target: Path | BinaryIO, options: SinkOptions) -> None:
        self.outputs: tuple[str, ...] = (str(target) if isinstance(target, Path) else "-",)
        self._labels: Labels | None = None
        self._out: _Folder | _Pipe
        if isinstance(target, Path):
            self._out = _Folder(target, options.palette)
        else:
            self._out = _Pipe(target, raw=options.pipe_format == "raw")
        self.notes = self._out.notes

    def open(self, info: VideoInfo, labels: Labels) -> None:
        self._labels = labels
        self._out.open(info, labels)

    def write(self, frame: Frame, prediction: Prediction) -> None:
        if self._labels is None:
            raise ValueError("write before open")
        self._out.write(np.ascontiguousarray(class_map(prediction, self._labels)), frame)

    def close(self, *, keep: bool, packets: Sequence[Any] = ()) -> None:
        self._out.close(keep=keep)


class _Folder:
    """Index PNGs under a partial folder name."""

    def __init__(self, target: Path, palette: str | None) -> None:
        self.notes: list[str] = []
        self._pictures = PictureFolder(target, digits=6)
        self._palette_name = palette
        self._palette = np.zeros((256, 3), np.uint8)

    def open(self, info: VideoInfo, labels: Labels) -> None:
        if labels.void == 255:
            colours = class_colours(labels, self._palette_name)
            self._palette[: len(colours)] = colours
        self._pictures.create()

    def write(self, ids: np.ndarray, frame: Frame) -> None:
        png = palette_png(ids, self._palette) if ids.dtype == np.uint8 else gray16_png(ids)
        self._pictures.write(frame, png)

    def close(self, *, keep: bool) -> None:
        self._pictures.close(keep=keep)


class _Pipe:
    """Ids as the gray plane of y4m or bare frames."""

    def __init__(self, stdout: BinaryIO, *, raw: bool) -> None:
        self._raw = raw
        self._video = EncodedVideo(stdout)
        self.notes = self._video.notes

    def open(self, info: VideoInfo, labels: Labels) -> None:
        if labels.void > 255 and not self._raw:
            raise OutputError(
                f"masks on stdout: y4m holds 255 classes and '{labels.name}' has {len(labels)}; "
                "use --pipe raw (gray16le) or --save mask-video (matroska)"
            )
        container = "rawvideo" if self._raw else "y4m"
        self._video.open(info, Encoding(container, "rawvideo", _gray(labels)))

    def write(self, ids: np.ndarray, frame: Frame) -> None:
        self._video.write(ids, frame.pts)

    def close(self, *, keep: bool) -> None:
        self._video.close(keep=keep)


class MaskVideo:
    """Ids as the luma of one lossless FFV1 video: gray, or gray16le for more than 255 classes."""

    suffix: ClassVar[str] = ".masks.mkv"
    endings: ClassVar[tuple[str, ...]] = tuple(_FILE_CONTAINERS)
    is_folder: ClassVar[bool] = False

    def __init__(self, target: Path | BinaryIO, options: SinkOptions) -> None:
        self.outputs: tuple[str, ...] = (str(target) if isinstance(target, Path) else "-",)
        if isinstance(target, Path):
            self._container = _FILE_CONTAINERS[target.suffix.lower()]
        else:
            self._container = "nut" if options.pipe_format == "nut" else "matroska"
        self._video = EncodedVideo(target)
        self.notes = self._video.notes
        self._labels: Labels | None = None

    def open(self, info: VideoInfo, labels: Labels) -> None:
        self._labels = labels
        encoding = Encoding(self._container, "ffv1", _gray(labels))
        self._video.open(info, encoding, options=_ffv1_options(info.size_hw))

    def write(self, frame: Frame, prediction: Prediction) -> None:
        if self._labels is None:
            raise ValueError("write before open")
        self._video.write(class_map(prediction, self._labels), frame.pts)

    def close(self, *, keep: bool, packets: Sequence[Any] = ()) -> None:
        self._video.close(keep=keep)


def _gray(labels: Labels) -> str:
    return "gray" if labels.void == 255 else "gray16le"


def _ffv1_options(size_hw: tuple[int, int]) -> dict[str, str]:
    """Version 3: every frame stands alone, damage is found by checksums, slices run in parallel.

    It refuses pictures of a few pixels, which version 1 takes.
    """
    if min(size_hw) < _SLICED_FROM_PX:
        return {"level": "1"}
    return {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}
