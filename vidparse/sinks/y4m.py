"""YUV4MPEG2, the stream that video tools pipe into each other: a header line, then planes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from vidparse.frame import VideoInfo
from vidparse.image import FULL_RANGE
from vidparse.sinks.partial import ByteStream

_FALLBACK_RATE = Fraction(25)


class Y4mWriter:
    """Writes frames of one size to a stream. y4m has no timestamps: frames are evenly spaced.

    Args:
        stream: an open byte stream.
        info: size, rate, pixel shape and range are taken from it.
        mono: one gray plane a frame (full range) instead of 4:2:0.
    """

    def __init__(self, stream: ByteStream, info: VideoInfo, *, mono: bool) -> None:
        self.notes: list[str] = []
        self._stream = stream
        height, width = info.size_hw
        rate = self._rate(info)
        aspect = info.sample_aspect_ratio
        full = mono or info.colour.range == FULL_RANGE
        fields = [
            f"W{width} H{height} F{rate.numerator}:{rate.denominator} Ip",
            f"A{aspect.numerator}:{aspect.denominator}",
            "Cmono" if mono else "C420jpeg",
            f"XCOLORRANGE={'FULL' if full else 'LIMITED'}",
        ]
        self._header: bytes = f"YUV4MPEG2 {' '.join(fields)}\n".encode("ascii")

    def write(self, *planes: np.ndarray) -> None:
        """Add a frame: uint8 planes y, u, v, or one gray plane.

        Raises:
            OutputError: the stream can not be written.
            ClosedPipe: its reader went away.
        """
        parts = (np.ascontiguousarray(plane).data for plane in planes)
        self._stream.write(self._header, b"FRAME\n", *parts, flush=True)
        self._header = b""

    def finish(self) -> None:
        """Write the header of a stream without frames."""
        self._stream.write(self._header)
        self._header = b""

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
