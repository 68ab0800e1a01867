"""Ids of every frame, exactly, of classes or of objects: PNGs, one lossless video, or a pipe."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np

from vidparse.errors import OutputError
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels
from vidparse.labels.colours import class_colours
from vidparse.maps import MAX_ID, Prediction, ids_to_rgb, object_map
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.pictures import (
    Pictures,
    gray16_png,
    gray_png,
    palette_png,
    pictures_at,
    rgb_png,
)
from vidparse.sinks.sink import Sink, Target
from vidparse.sinks.stream import EncodedVideo, Encoding, Rows

FFV1_CONTAINERS = {".mkv": "matroska", ".nut": "nut"}
_SLICED_FROM_PX = 64
_WIDEST_SHORT_ID = 65535
_TIME = struct.Struct("<qq")  # pts, and duration or -1


class ClassMasks(Sink):
    """A folder with one PNG per frame, numbered PNGs (x_%04d.png), one PNG, or ids on a stream.

    PNGs are 8-bit palette indices, or 16-bit gray for more than 255 classes, called by frame index
    (000000.png) or by the picture's name when the input is a folder of pictures. The palette holds
    the label set's own colours, or those of --palette; void is black. On a stream: bare gray8 or
    gray16le frames when the pipe is raw, else y4m with ids as luma.
    """

    suffix: ClassVar[str] = ".masks"
    is_folder: ClassVar[bool] = True
    picture_endings: ClassVar[tuple[str, ...]] = (".png",)

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        path, is_raw = self.target.path, self.options.pipe_format == "raw"
        self._video = EncodedVideo(self.target) if path is None else None
        self._pictures = self._pictures_at(path) if path is not None else None
        self._labels = labels
        if self._pictures is not None:
            # Fill all entries of the palette: void is the last one, and stays black.
            self._palette = np.zeros((256, 3), np.uint8)
            if labels.void == 255:
                colours = class_colours(labels, self.options.palette)
                self._palette[: len(colours)] = colours
            self._pictures.create()
            return

        assert self._video is not None
        if labels.void > 255 and not is_raw:
            raise OutputError(
                f"masks on stdout: y4m holds 255 classes and '{labels.name}' has {len(labels)}; "
                "use --pipe raw (gray16le) or --save mask-video (matroska)"
            )
        container = "rawvideo" if is_raw else "y4m"
        self._video.open(info, Encoding(container, "rawvideo", _gray(labels)))

    def _pictures_at(self, path: Path) -> Pictures:
        replace = self.target.replace
        return pictures_at(path, digits=6, replace=replace, endings=self.picture_endings)

    def add(self, frame: Frame, prediction: Prediction) -> None:
        ids = np.ascontiguousarray(prediction.map.class_map(self._labels))  # (H, W)
        if self._video is not None:
            self._video.write(ids, frame.pts)
            return
        assert self._pictures is not None
        self._pictures.write(frame, self._png(ids))

    def _png(self, ids: np.ndarray) -> bytes:
        return palette_png(ids, self._palette) if ids.dtype == np.uint8 else gray_png(ids)

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        if self._pictures is not None:
            return self._pictures.close(keep=keep, complete=complete)
        assert self._video is not None
        self._video.close(keep=keep)
        self.notes += self._video.notes
        return None


class GrayMasks(ClassMasks):
    """The same as plain gray PNGs, 8 or 16 bits: for readers that turn palettes into colours."""

    suffix: ClassVar[str] = ".masks-gray"

    def _png(self, ids: np.ndarray) -> bytes:
        return gray_png(ids)


class MaskVideo(Sink):
    """Ids as the luma of one lossless FFV1 video: gray, or gray16le for more than 255 classes."""

    suffix: ClassVar[str] = ".masks.mkv"
    endings: ClassVar[tuple[str, ...]] = tuple(FFV1_CONTAINERS)

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._video = EncodedVideo(self.target)
        self._labels = labels
        default = FFV1_CONTAINERS.get(self.target.ending, "matroska")
        container = "nut" if self.options.pipe_format == "nut" else "matroska"
        has_pipe_format = self.target.stream is not None and self.options.pipe_format is not None
        encoding = Encoding(container if has_pipe_format else default, "ffv1", _gray(labels))
        self._video.open(info, encoding, options=ffv1_options(info.size_hw))

    def add(self, frame: Frame, prediction: Prediction) -> None:
        ids = prediction.map.class_map(self._labels)
        self._video.write(ids, frame.pts, duration=frame.duration)

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        try:
            return self._video.close(keep=keep, complete=complete)
        finally:
            self.notes += self._video.notes


def _gray(labels: Labels) -> str:
    return "gray" if labels.void == 255 else "gray16le"


def ffv1_options(size_hw: tuple[int, int]) -> dict[str, str]:
    """Version 3: every frame stands alone, damage is found by checksums, slices run in parallel.

    It refuses pictures of a few pixels, which version 1 takes.
    """
    if min(size_hw) < _SLICED_FROM_PX:
        return {"level": "1"}
    return {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}


_SHORT, _WIDE = "gray16le", "bgr0"


class _Ids(Sink):
    """An output of the ids alone: 0 for nothing; of a semantic prediction class + 1."""

    _noun: ClassVar[str]
    _labels: Labels

    def _ids(self, prediction: Prediction) -> np.ndarray:
        """uint16 (H, W), or uint32 where that is too narrow.

        Raises:
            OutputError: an id needs more than 24 bits.
        """
        self.note_if_semantic(prediction, self._noun)
        ids = object_map(prediction.map, self._labels).ids
        highest = int(ids.max(initial=0))
        if highest > MAX_ID:
            raise OutputError(
                f"{self.target.name}: id {highest} does not fit 24 bits; segment the video in "
                "parts with --start and --end"
            )
        return ids.astype(np.uint16 if highest <= _WIDEST_SHORT_ID else np.uint32, copy=False)

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._labels = labels


class Ids(_Ids):
    """One 16-bit gray PNG of ids per frame; RGB for a frame with an id above 65535.

    The id of an RGB pixel is R + 256 G + 65536 B, as in `Panoptic`.

    Raises:
        UsageError: `where` is a stream.
    """

    suffix: ClassVar[str] = ".ids"
    is_folder: ClassVar[bool] = True
    picture_endings: ClassVar[tuple[str, ...]] = (".png",)
    _noun: ClassVar[str] = "ids"

    def __init__(self, where: Target | Path | BinaryIO, options: SinkOptions) -> None:
        super().__init__(where, options)
        place = self.target.folder("ids")
        replace = self.target.replace
        self._pictures = pictures_at(place, digits=6, replace=replace, endings=self.picture_endings)

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        super().begin(info, labels)
        self._pictures.create()

    def add(self, frame: Frame, prediction: Prediction) -> None:
        ids = self._ids(prediction)
        png = gray16_png(ids) if ids.dtype == np.uint16 else rgb_png(ids_to_rgb(ids))
        self._pictures.write(frame, png)

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        return self._pictures.close(keep=keep, complete=complete)


class IdVideo(_Ids):
    """Ids as one lossless FFV1 video: 16-bit gray, or 24-bit RGB where one is above 65535.

    A file is written anew from its start when the first such id comes. A pipe cannot be
    written anew, so that pipes always have 24 bits. `vidparse.video.read_id_video` reads both.
    """

    suffix: ClassVar[str] = ".ids.mkv"
    endings: ClassVar[tuple[str, ...]] = tuple(FFV1_CONTAINERS)
    by_ending: ClassVar[bool] = False
    _noun: ClassVar[str] = "id-video"

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        super().begin(info, labels)
        self._info = info
        self._video = EncodedVideo(self.target)
        self._times = Rows(self.target.name)
        self._count = 0

        # Begin a pipe with 24 bits: what went down it cannot be written anew.
        self._start(_WIDE if self.target.path is None else _SHORT)

    def _start(self, pixel_format: str) -> None:
        self._is_wide = pixel_format == _WIDE
        container = FFV1_CONTAINERS.get(self.target.ending, "matroska")
        if self.target.path is None and self.options.pipe_format is not None:
            container = "nut" if self.options.pipe_format == "nut" else "matroska"
        encoding = Encoding(container, "ffv1", pixel_format)
        self._video.open(self._info, encoding, options=ffv1_options(self._info.size_hw))

    def add(self, frame: Frame, prediction: Prediction) -> None:
        ids = self._ids(prediction)
        if ids.dtype != np.uint16 and not self._is_wide:
            self._widen()
        self._put(ids, frame.pts, frame.duration)

        # Keep the exact times beside: Matroska rounds them to milliseconds.
        if not self._is_wide:
            lasts = -1 if frame.duration is None else frame.duration
            self._times.add(_TIME.pack(frame.pts, lasts))
            self._count += 1

    def _put(self, ids: np.ndarray, pts: int, duration: int | None) -> None:
        picture = _bgr0(ids) if self._is_wide else ids
        self._video.write(picture, pts, duration=duration)

    def _widen(self) -> None:
        """Write the frames so far again, with 24 bits for each id."""
        from vidparse.video import read_id_video

        with tempfile.TemporaryDirectory() as folder:
            # Read the ids back from the file: those of a long video do not fit in memory.
            narrow = Path(folder) / "narrow.mkv"
            self._video.lay_aside(narrow)
            self._start(_WIDE)
            if self._count:
                for i, ids in enumerate(read_id_video(narrow)):
                    pts, lasts = _TIME.unpack(self._times.read(i * _TIME.size, _TIME.size))
                    self._put(ids, pts, None if lasts < 0 else lasts)
        self._times.close()

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        self._times.close()
        try:
            return self._video.close(keep=keep, complete=complete)
        finally:
            self.notes += self._video.notes


def _bgr0(ids: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 4) of ids that are R + 256 G + 65536 B."""
    big_endian = (ids.astype(np.uint32) << 8).astype(">u4")  # B, G, R, 0
    return big_endian.view(np.uint8).reshape(*ids.shape, 4)
