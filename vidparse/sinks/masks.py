"""Class ids of every frame, exactly: a folder of index PNGs, one lossless video, or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from vidparse.errors import OutputError
from vidparse.frame import Frame, Prediction, VideoInfo
from vidparse.labels import Labels
from vidparse.sinks.encoded import EncodedVideo
from vidparse.sinks.palette import class_colours
from vidparse.sinks.partial import ByteStream, PartialFolder
from vidparse.sinks.png import gray16_png, palette_png
from vidparse.sinks.segments import class_map
from vidparse.sinks.sink import SinkOptions
from vidparse.sinks.y4m import Y4mWriter


class Masks:
    """A folder with one PNG a frame, or ids on stdout.

    PNGs are 8-bit palette indices, or 16-bit gray for more than 255 classes, called by frame index
    (000000.png) or by the picture's name when the input is a folder of pictures. The palette is
    the drawing colours; void is black. On stdout: bare gray8 or gray16le frames when the pipe is
    raw, else y4m with ids as luma.
    """

    suffix: ClassVar[str] = ".masks"
    containers: ClassVar[dict[str, str]] = {}
    is_folder: ClassVar[bool] = True

    def __init__(self, target: Path | BinaryIO, options: SinkOptions) -> None:
        self.outputs: tuple[str, ...] = (str(target) if isinstance(target, Path) else "-",)
        self.notes: list[str] = []
        self._labels: Labels | None = None
        self._out: _Folder | _Y4mPipe | _RawPipe
        if isinstance(target, Path):
            self._out = _Folder(target, options.palette)
        elif options.pipe_format == "raw":
            self._out = _RawPipe(target)
        else:
            self._out = _Y4mPipe(target)

    def open(self, info: VideoInfo, labels: Labels) -> None:
        self._labels = labels
        self._out.open(info, labels)
        self.notes += self._out.notes

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
        self._partial = PartialFolder(target)
        self._palette_name = palette
        self._palette = np.zeros((256, 3), np.uint8)

    def open(self, info: VideoInfo, labels: Labels) -> None:
        if labels.void == 255:
            colours = class_colours(labels, self._palette_name)
            self._palette[: len(colours)] = colours
        self._partial.create()

    def write(self, ids: np.ndarray, frame: Frame) -> None:
        name = f"{frame.index:06d}" if frame.name is None else Path(frame.name).name
        png = palette_png(ids, self._palette) if ids.dtype == np.uint8 else gray16_png(ids)
        with self._partial.writing():
            try:
                with (self._partial.path / f"{name}.png").open("xb") as file:
                    file.write(png)
            except FileExistsError as error:
                raise OutputError(
                    f"{self._partial.final}: two pictures are called '{name}'; "
                    "rename one or give them as separate inputs"
                ) from error

    def close(self, *, keep: bool) -> None:
        self._partial.close(keep=keep)


class _Y4mPipe:
    """Ids as the gray plane of y4m frames."""

    def __init__(self, stdout: BinaryIO) -> None:
        self.notes: list[str] = []
        self._stream = ByteStream(stdout)
        self._y4m: Y4mWriter | None = None

    def open(self, info: VideoInfo, labels: Labels) -> None:
        if labels.void > 255:
            raise OutputError(
                f"masks on stdout: y4m holds 255 classes and '{labels.name}' has {len(labels)}; "
                "use --pipe raw (gray16le) or --save mask-video (matroska)"
            )
        self._y4m = Y4mWriter(self._stream, info, mono=True)
        self.notes = self._y4m.notes

    def write(self, ids: np.ndarray, frame: Frame) -> None:
        if self._y4m is None:
            raise ValueError("write before open")
        self._y4m.write(ids)

    def close(self, *, keep: bool) -> None:
        if keep and self._y4m is not None:
            self._y4m.finish()
        self._stream.close(keep=keep)


class _RawPipe:
    """Bare gray8 or gray16le frames."""

    def __init__(self, stdout: BinaryIO) -> None:
        self.notes: list[str] = []
        self._stream = ByteStream(stdout)

    def open(self, info: VideoInfo, labels: Labels) -> None:
        pass

    def write(self, ids: np.ndarray, frame: Frame) -> None:
        little_endian = ids.astype(ids.dtype.newbyteorder("<"), copy=False)
        self._stream.write(little_endian.data, flush=True)

    def close(self, *, keep: bool) -> None:
        self._stream.close(keep=keep)


class MaskVideo:
    """Ids as the luma of one lossless FFV1 video: gray, or gray16le for more than 255 classes."""

    suffix: ClassVar[str] = ".masks.mkv"
    containers: ClassVar[dict[str, str]] = {".mkv": "matroska", ".nut": "nut", ".mov": "mov"}
    is_folder: ClassVar[bool] = False

    # Version 3 with checksums: a damaged slice is found, and four slices decode in parallel.
    _FFV1: ClassVar[dict[str, str]] = {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}

    def __init__(self, target: Path | BinaryIO, options: SinkOptions) -> None:
        self.outputs: tuple[str, ...] = (str(target) if isinstance(target, Path) else "-",)
        self.notes: list[str] = []
        if isinstance(target, Path):
            container = self.containers[target.suffix.lower()]
        else:
            container = "nut" if options.pipe_format == "nut" else "matroska"
        self._video = EncodedVideo(target, container)
        self._labels: Labels | None = None

    def open(self, info: VideoInfo, labels: Labels) -> None:
        self._labels = labels
        self._video.open(
            info,
            codec="ffv1",
            pixel_format="gray" if labels.void == 255 else "gray16le",
            options=dict(self._FFV1),
        )

    def write(self, frame: Frame, prediction: Prediction) -> None:
        if self._labels is None:
            raise ValueError("write before open")
        self._video.write(class_map(prediction, self._labels), frame.pts)

    def close(self, *, keep: bool, packets: Sequence[Any] = ()) -> None:
        try:
            self._video.close(keep=keep)
        finally:
            self.notes += self._video.notes
