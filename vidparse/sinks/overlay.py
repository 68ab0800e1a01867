"""The overlay: the input video with the classes drawn over it, its sound and its timing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import cv2
import numpy as np

from vidparse.errors import OutputError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import FULL_RANGE, Yuv420, effective_matrix
from vidparse.labels import Labels
from vidparse.maps import Prediction
from vidparse.sinks.encoded import EncodedVideo, Encoding
from vidparse.sinks.legend import Legend
from vidparse.sinks.palette import drawn_colours
from vidparse.sinks.pictures import Pictures, pictures_at
from vidparse.sinks.render import Painter
from vidparse.sinks.sink import Sink, SinkOptions
from vidparse.sinks.stream import Target

_FILE_CONTAINERS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}
_AS_PICTURE = Encoding("", "", "rgb24")
_JPEG_QUALITY = 95
_PIPES = {
    "y4m": Encoding("y4m", "rawvideo", "yuv420p"),
    "raw": Encoding("rawvideo", "rawvideo", "rgb24"),
    "matroska": Encoding("matroska", "libx264", "yuv420p"),
    "nut": Encoding("nut", "rawvideo", "yuv420p"),
}


class Overlay(Sink):
    """H.264 in mp4, mkv or mov; on a stream y4m, raw rgb24, H.264 in matroska, or raw in nut.

    Of a picture a picture, and numbered pictures where the name has a place for a number.
    """

    suffix: ClassVar[str] = ".overlay.mp4"
    endings: ClassVar[tuple[str, ...]] = tuple(_FILE_CONTAINERS)
    picture_suffix: ClassVar[str] = ".overlay.png"
    picture_endings: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg")

    def __init__(self, where: Target | Path | BinaryIO, options: SinkOptions) -> None:
        """Raises: OutputError: a pipe that is called as what a pipe cannot hold."""
        super().__init__(where, options)
        path = self.target.path
        self._pictures: Pictures | None = None
        if path is not None and self.target.ending in self.picture_endings:
            self._pictures = pictures_at(path, digits=6, replace=self.target.replace)
        self._encoding = self._chosen_encoding() if self._pictures is None else _AS_PICTURE

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._video = EncodedVideo(self.target)
        options = self.options
        colours = drawn_colours(labels, options.palette)
        legend = None
        if options.legend:
            aspect = float(info.sample_aspect_ratio)
            legend = Legend(labels.classes, colours, options.classes, pixel_aspect=aspect)
        self._painter = Painter(
            labels, colours, opacity=options.opacity, contours=options.contours, legend=legend
        )
        self._matrix = effective_matrix(info.colour, info.size_hw[0])
        self._full_range = info.colour.range == FULL_RANGE
        if self._pictures is not None:
            self._pictures.create()
            return
        self._video.open(
            info, self._encoding, options=self._encoder_options(), copy_streams=options.audio
        )

    def _chosen_encoding(self) -> Encoding:
        ending = self.target.ending
        if self.target.path is not None:
            return Encoding(_FILE_CONTAINERS[ending], "libx264", "yuv420p")
        if self.options.pipe_format is not None:
            return _PIPES[self.options.pipe_format]
        if ending in (".mp4", ".mov"):
            raise OutputError(
                f"{self.target.name}: a pipe can not hold {ending[1:]}; end its name in .mkv, "
                "or choose a form with --pipe"
            )
        return _PIPES[{".mkv": "matroska", ".nut": "nut"}.get(ending, "y4m")]

    def _encoder_options(self) -> dict[str, str]:
        if self._encoding.codec != "libx264":
            return {}
        asked = {"preset": self.options.preset, "crf": self.options.crf}
        return {key: str(value) for key, value in asked.items() if value is not None}

    def add(self, frame: Frame, prediction: Prediction) -> None:
        image = frame.image
        if not isinstance(image, Yuv420):
            image = image.yuv420(self._matrix, self._full_range)
        painted = self._painter.paint(image, prediction)
        packets = frame.packets if self.options.audio else ()
        rgb = self._encoding.pixel_format == "rgb24"
        if self._pictures is not None:
            self._pictures.write(frame, _encoded(painted.rgb(), self.target.ending))
            return
        shown = painted.rgb() if rgb else painted
        self._video.write(shown, frame.pts, packets, frame.duration)

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Any]) -> Path | None:
        if self._pictures is not None:
            return self._pictures.close(keep=keep, complete=complete)
        copied = packets if self.options.audio else ()
        try:
            return self._video.close(keep=keep, complete=complete, packets=copied)
        finally:
            self.notes += self._video.notes


def _encoded(rgb: np.ndarray, ending: str) -> bytes:
    """A picture file of RGB uint8 (H, W, 3)."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if ending != ".png" else []
    done, data = cv2.imencode(ending, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise OutputError(f"a picture of {rgb.shape[1]}x{rgb.shape[0]}: is too large for {ending}")
    return data.tobytes()
