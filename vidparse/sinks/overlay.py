"""The overlay: the input video with the classes drawn over it, its sound and its timing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from vidparse.frame import Frame, Prediction, VideoInfo
from vidparse.image import FULL_RANGE, Yuv420, effective_matrix
from vidparse.labels import Labels
from vidparse.sinks.encoded import EncodedVideo
from vidparse.sinks.legend import Legend
from vidparse.sinks.palette import class_colours
from vidparse.sinks.partial import ByteStream
from vidparse.sinks.render import Painter
from vidparse.sinks.sink import SinkOptions
from vidparse.sinks.y4m import Y4mWriter

# PERF.md: superfast costs half the time of veryfast and a sixth of medium.
_PRESET, _CRF = "superfast", 20


class Overlay:
    """H.264 in mp4, mkv or mov; on stdout y4m, raw rgb24, H.264 in matroska, or raw in nut."""

    suffix: ClassVar[str] = ".overlay.mp4"
    containers: ClassVar[dict[str, str]] = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}
    is_folder: ClassVar[bool] = False

    def __init__(self, target: Path | BinaryIO, options: SinkOptions) -> None:
        self.outputs: tuple[str, ...] = (str(target) if isinstance(target, Path) else "-",)
        self.notes: list[str] = []
        self._options = options
        self._out: _Film | _Y4mPipe | _RawPipe
        if isinstance(target, Path):
            self._out = _Film(target, self.containers[target.suffix.lower()], options)
        elif options.pipe_format in ("matroska", "nut"):
            self._out = _Film(target, options.pipe_format, options)
        elif options.pipe_format == "raw":
            self._out = _RawPipe(target)
        else:
            self._out = _Y4mPipe(target)
        self._painter: Painter | None = None
        self._matrix, self._full_range = 0, False

    def open(self, info: VideoInfo, labels: Labels) -> None:
        colours = class_colours(labels, self._options.palette)
        legend = Legend(labels.classes, colours, self._options.classes)
        self._painter = Painter(
            labels,
            colours,
            opacity=self._options.opacity,
            contours=self._options.contours,
            legend=legend if self._options.legend else None,
        )
        self._matrix = effective_matrix(info.colour, info.size_hw[0])
        self._full_range = info.colour.range == FULL_RANGE
        self._out.open(info)

    def write(self, frame: Frame, prediction: Prediction) -> None:
        if self._painter is None:
            raise ValueError("write before open")
        image = frame.image
        if not isinstance(image, Yuv420):
            image = image.yuv420(self._matrix, self._full_range)
        self._out.write(self._painter.paint(image, prediction), frame)

    def close(self, *, keep: bool, packets: Sequence[Any] = ()) -> None:
        try:
            self._out.close(keep=keep, packets=packets)
        finally:
            self.notes += self._out.notes


class _Film:
    """Encoded pictures with copied streams."""

    def __init__(self, target: Path | BinaryIO, container: str, options: SinkOptions) -> None:
        self.notes: list[str] = []
        self._video = EncodedVideo(target, container)
        self._raw = container == "nut"
        self._audio = options.audio
        self._x264 = {
            "preset": options.preset or _PRESET,
            "crf": str(_CRF if options.crf is None else options.crf),
        }

    def open(self, info: VideoInfo) -> None:
        self._video.open(
            info,
            codec="rawvideo" if self._raw else "libx264",
            pixel_format="yuv420p",
            options={} if self._raw else self._x264,
            copy_streams=self._audio,
        )

    def write(self, image: Yuv420, frame: Frame) -> None:
        self._video.write(image, frame.pts, frame.packets if self._audio else ())

    def close(self, *, keep: bool, packets: Sequence[Any]) -> None:
        try:
            self._video.close(keep=keep, packets=packets if self._audio else ())
        finally:
            self.notes = self._video.notes


class _Y4mPipe:
    """4:2:0 frames on stdout."""

    def __init__(self, stdout: BinaryIO) -> None:
        self.notes: list[str] = []
        self._stream = ByteStream(stdout)
        self._y4m: Y4mWriter | None = None

    def open(self, info: VideoInfo) -> None:
        self._y4m = Y4mWriter(self._stream, info, mono=False)
        self.notes = self._y4m.notes

    def write(self, image: Yuv420, frame: Frame) -> None:
        if self._y4m is None:
            raise ValueError("write before open")
        self._y4m.write(image.y, image.u, image.v)

    def close(self, *, keep: bool, packets: Sequence[Any]) -> None:
        if keep and self._y4m is not None:
            self._y4m.finish()
        self._stream.close(keep=keep)


class _RawPipe:
    """Bare rgb24 frames on stdout."""

    def __init__(self, stdout: BinaryIO) -> None:
        self.notes: list[str] = []
        self._stream = ByteStream(stdout)

    def open(self, info: VideoInfo) -> None:
        pass

    def write(self, image: Yuv420, frame: Frame) -> None:
        self._stream.write(image.rgb().data, flush=True)

    def close(self, *, keep: bool, packets: Sequence[Any]) -> None:
        self._stream.close(keep=keep)
