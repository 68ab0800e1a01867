"""YUV4MPEG2, the stream that video tools pipe into each other: a header line, then planes.

Written here because PyAV can not tell FFmpeg's own muxer the pixel shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from vidparse.frame import VideoInfo
from vidparse.image import FULL_RANGE, LIMITED_RANGE, Yuv420
from vidparse.sinks.partial import ByteStream

_FALLBACK_RATE = Fraction(25)


class Y4mWriter:
    """Writes frames to a stream, with the methods of a VideoWriter.

    y4m has no timestamps: the frames of a variable-rate video come out evenly spaced, which a note
    says.

    Args:
        stream: an open binary stream, left open.
        info: size, rate, pixel shape and range are taken from it.
        pixel_format: "yuv420p" takes `Yuv420`; "gray" takes uint8 (H, W), declared full range.
    """

    def __init__(self, stream: BinaryIO, info: VideoInfo, *, pixel_format: str) -> None:
        self.notes: list[str] = []
        self._stream = ByteStream(stream)
        height, width = info.size_hw
        rate = self._rate(info)
        aspect = info.sample_aspect_ratio
        fields = [
            f"YUV4MPEG2 W{width} H{height} F{rate.numerator}:{rate.denominator} Ip",
            f"A{aspect.numerator}:{aspect.denominator}",
            "Cmono" if pixel_format == "gray" else "C420jpeg",
        ]
        if pixel_format == "gray" or info.colour.range == FULL_RANGE:
            fields.append("XCOLORRANGE=FULL")
        elif info.colour.range == LIMITED_RANGE:
            fields.append("XCOLORRANGE=LIMITED")
        self._stream.write(" ".join(fields).encode("ascii") + b"\n", flush=True)

    def write(self, image: Yuv420 | np.ndarray, pts: int, packets: Sequence[Any] = ()) -> None:
        """Add a frame; `pts` and `packets` have no place in y4m.

        Raises:
            OutputError: the stream can not be written.
            ClosedPipe: its reader went away.
        """
        planes = (image.y, image.u, image.v) if isinstance(image, Yuv420) else (image,)
        parts = (np.ascontiguousarray(plane).data for plane in planes)
        self._stream.write(b"FRAME\n", *parts, flush=True)

    def finish(self, packets: Sequence[Any] = ()) -> None:
        """Nothing: every frame is flushed as it is written."""

    def abort(self) -> None:
        """Nothing either."""

    def _rate(self, info: VideoInfo) -> Fraction:
        if info.rate is not None:
            return info.rate
        if info.frames and info.duration_s:
            rate = Fraction(info.frames / info.duration_s).limit_denominator(1001)
        else:
            rate = _FALLBACK_RATE
        self.notes.append(
            f"y4m carries no timestamps: written as {float(rate):.3g} frames a second; "
            "use --pipe matroska to keep them"
        )
        return rate
