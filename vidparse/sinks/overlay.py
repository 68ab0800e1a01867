"""The overlay: the input video with the classes drawn over it, its sound and its timing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from vidparse.frame import Frame, Prediction, VideoInfo
from vidparse.image import FULL_RANGE, Yuv420, effective_matrix
from vidparse.labels import Labels
from vidparse.sinks.encoded import EncodedVideo, Encoding
from vidparse.sinks.legend import Legend
from vidparse.sinks.palette import class_colours
from vidparse.sinks.render import Painter
from vidparse.sinks.sink import SinkOptions

_FILE_CONTAINERS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}
_PIPES = {
    "y4m": Encoding("y4m", "rawvideo", "yuv420p"),
    "raw": Encoding("rawvideo", "rawvideo", "rgb24"),
    "matroska": Encoding("matroska", "libx264", "yuv420p"),
    "nut": Encoding("nut", "rawvideo", "yuv420p"),
}


class Overlay:
    """H.264 in mp4, mkv or mov; on stdout y4m, raw rgb24, H.264 in matroska, or raw in nut."""

    suffix: ClassVar[str] = ".overlay.mp4"
    endings: ClassVar[tuple[str, ...]] = tuple(_FILE_CONTAINERS)
    is_folder: ClassVar[bool] = False

    def __init__(self, target: Path | BinaryIO, options: SinkOptions) -> None:
        self.outputs: tuple[str, ...] = (str(target) if isinstance(target, Path) else "-",)
        self._options = options
        if isinstance(target, Path):
            container = _FILE_CONTAINERS[target.suffix.lower()]
            self._encoding = Encoding(container, "libx264", "yuv420p")
        else:
            self._encoding = _PIPES[options.pipe_format or "y4m"]
        self._video = EncodedVideo(target)
        self.notes = self._video.notes
        self._painter: Painter | None = None
        self._matrix, self._full_range = 0, False

    def open(self, info: VideoInfo, labels: Labels) -> None:
        options = self._options
        colours = class_colours(labels, options.palette)
        legend = Legend(labels.classes, colours, options.classes) if options.legend else None
        self._painter = Painter(
            labels, colours, opacity=options.opacity, contours=options.contours, legend=legend
        )
        self._matrix = effective_matrix(info.colour, info.size_hw[0])
        self._full_range = info.colour.range == FULL_RANGE
        self._video.open(
            info, self._encoding, options=self._encoder_options(), copy_streams=options.audio
        )

    def _encoder_options(self) -> dict[str, str]:
        if self._encoding.codec != "libx264":
            return {}
        asked = {"preset": self._options.preset, "crf": self._options.crf}
        return {key: str(value) for key, value in asked.items() if value is not None}

    def write(self, frame: Frame, prediction: Prediction) -> None:
        if self._painter is None:
            raise ValueError("write before open")
        image = frame.image
        if not isinstance(image, Yuv420):
            image = image.yuv420(self._matrix, self._full_range)
        painted = self._painter.paint(image, prediction)
        packets = frame.packets if self._options.audio else ()
        rgb = self._encoding.pixel_format == "rgb24"
        self._video.write(painted.rgb() if rgb else painted, frame.pts, packets)

    def close(self, *, keep: bool, packets: Sequence[Any] = ()) -> None:
        self._video.close(keep=keep, packets=packets if self._options.audio else ())
