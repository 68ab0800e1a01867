"""The frames of a result with their pictures, and the small video of them that a page holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from vidparse.errors import InputError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import FULL_RANGE, Rgb, effective_matrix
from vidparse.video import Input, Source, VideoWriter, open_video
from vidparse.view.codes import small_size
from vidparse.view.records import FrameRecord, Header

_X264 = {"preset": "veryfast", "crf": "27"}
_POSTER_QUALITY = 70


def open_source(video: Input, header: Header) -> Source:
    """The video of a result.

    Raises:
        InputError: it cannot be read, or is another one than the records are of.
    """
    source = open_video(video, copy_streams=False)
    info = source.info
    if (info.size_hw, info.time_base) != (header.size_hw, header.time_base):
        source.close()
        height, width = header.size_hw
        raise InputError(
            f"{video.name}: is {info.size_hw[1]}x{info.size_hw[0]} with times in {info.time_base} "
            f"s, the records are of {width}x{height} and {header.time_base} s; give the video that "
            "was segmented with -i"
        )
    return source


def frames_of(
    source: Source, records: Iterator[tuple[FrameRecord, ...]]
) -> Iterator[tuple[Frame, tuple[FrameRecord, ...], int]]:
    """Each frame that records are of, with them, and its time since the video's first, in pts.

    Frames without a record are left out.

    Raises:
        InputError: the video lacks a frame, or its time is another one.
    """
    with closing(source):
        frames = iter(source)
        frame = next(frames, None)
        first = 0 if frame is None else frame.pts

        for group in records:
            # Pass over frames that the run left out, by --stride or --start.
            wanted = group[0]
            while frame is not None and frame.pts < wanted.pts:
                frame = next(frames, None)
            if frame is None or frame.pts != wanted.pts:
                raise InputError(
                    f"{source.info.name}: frame {wanted.number} of the records, at "
                    f"{float(wanted.pts * source.info.time_base):.3f} s, is not in it; give the "
                    "video that was segmented with -i"
                )
            yield frame, group, frame.pts - first


def shown_size(info: VideoInfo, side: int) -> tuple[int, int]:
    """The size of the page's video: pixels are square, and sides even."""
    height, width = info.size_hw
    aspect = float(info.sample_aspect_ratio) or 1.0
    return small_size((height, max(round(width * aspect), 1)), side, even=True)


class Film:
    """A video of the frames, in H.264, small and with a key frame per second: quick to seek in.

    Times are those of the frames, the first one at 0.

    Args:
        path: of the file, .mp4.
        info: of the segmented video. size_hw: of this one.

    Raises:
        OutputError: it cannot be written, from here and from the methods.
    """

    def __init__(self, path: Path, info: VideoInfo, size_hw: tuple[int, int]) -> None:
        self._matrix = effective_matrix(info.colour, info.size_hw[0])
        self._is_full = info.colour.range == FULL_RANGE
        self._writer = VideoWriter(
            path,
            replace(
                info,
                size_hw=size_hw,
                sample_aspect_ratio=Fraction(1),
                colour=replace(info.colour, matrix=self._matrix),
                metadata=(),
                copied=(),
            ),
            codec="libx264",
            container="mp4",
            pixel_format="yuv420p",
            options={**_X264, "g": str(max(1, round(info.nominal_rate)))},
        )

    def add(self, pixels: np.ndarray, frame: Frame) -> None:
        """The next frame, RGB uint8 (h, w, 3)."""
        image = Rgb(pixels).yuv420(self._matrix, self._is_full)
        self._writer.write(image, frame.pts, duration=frame.duration)

    def finish(self) -> None:
        self._writer.finish()

    def abort(self) -> None:
        """Let go of the file. Harmless after `finish`."""
        self._writer.abort()


def poster(pixels: np.ndarray) -> bytes:
    """A JPEG of the first frame, which a page shows before its video is ready."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _POSTER_QUALITY])
    return data.tobytes()
