"""Class ids of every frame, exactly: a folder of index PNGs, one lossless video, or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from vidparse.errors import OutputError
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels
from vidparse.maps import Prediction
from vidparse.sinks.palette import class_colours
from vidparse.sinks.pictures import Pictures, gray_png, palette_png, pictures_at
from vidparse.sinks.sink import Sink
from vidparse.sinks.stream import EncodedVideo, Encoding

FFV1_CONTAINERS = {".mkv": "matroska", ".nut": "nut"}
_SLICED_FROM_PX = 64


class Masks(Sink):
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


class GrayMasks(Masks):
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
        is_asked = self.target.stream is not None and self.options.pipe_format is not None
        encoding = Encoding(container if is_asked else default, "ffv1", _gray(labels))
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
