"""Video as an output: encoded into a file that appears when whole, or onto a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vidparse.errors import OutputError
from vidparse.files import WholeFile
from vidparse.frame import VideoInfo
from vidparse.image import FULL_RANGE, LIMITED_RANGE, Yuv420
from vidparse.sinks.stream import ByteStream, Target
from vidparse.video import VideoWriter


@dataclass(frozen=True, slots=True)
class Encoding:
    """How pictures are written, in FFmpeg's names; the container "y4m" is written by ourselves."""

    container: str
    codec: str
    pixel_format: str


class EncodedVideo:
    """A video under a temporary name, or on a stream, until it is whole."""

    def __init__(self, target: Target) -> None:
        self._target = target
        path = target.path
        self._partial = WholeFile(path, replace=target.replace) if path else None
        self._writer: VideoWriter | Y4mWriter | None = None
        self.notes: list[str] = []

    def open(
        self,
        info: VideoInfo,
        encoding: Encoding,
        *,
        options: dict[str, str] | None = None,
        copy_streams: bool = False,
    ) -> None:
        """Start encoding, with `options` for the encoder.

        Raises:
            OutputError: the file or the encoder cannot be opened.
        """
        where: Path | BinaryIO
        if self._partial is not None:
            self._partial.create()
            where = self._partial.path
        else:
            assert self._target.stream is not None
            where = self._target.stream
        with self._writing():
            if encoding.container == "y4m":
                self._writer = Y4mWriter(self._target, info, pixel_format=encoding.pixel_format)
                return
            self._writer = VideoWriter(
                where,
                info,
                codec=encoding.codec,
                container=encoding.container,
                pixel_format=encoding.pixel_format,
                options=options,
                copy_streams=copy_streams,
            )

    def write(
        self,
        image: Yuv420 | np.ndarray,
        pts: int,
        packets: Sequence[Any] = (),
        duration: int | None = None,
    ) -> None:
        """Encode one picture and mux the copied packets that came with it; see `VideoWriter`."""
        assert self._writer is not None
        with self._writing():
            self._writer.write(image, pts, packets, duration)

    def close(
        self, *, keep: bool, complete: bool = True, packets: Sequence[Any] = ()
    ) -> Path | None:
        """Finish and put in place, or abort and remove; see :class:`WholeFile`."""
        writer, self._writer = self._writer, None
        if self._partial is not None and self._partial.broken:
            keep = False
        try:
            if writer is not None and keep:
                with self._writing():
                    writer.finish(packets)
            elif writer is not None:
                writer.abort()
        finally:
            if writer is not None:
                self.notes += writer.notes
            left = self._partial.close(keep=keep, complete=complete) if self._partial else None
        return left

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._partial is None:
            yield
            return
        try:
            with self._partial.writing():
                yield
        except OutputError as error:  # the writer knows the file by its temporary name only
            temporary, final = str(self._partial.path), str(self._partial.final)
            if temporary not in str(error):
                raise
            raise OutputError(str(error).replace(temporary, final)) from error


class Y4mWriter:
    """YUV4MPEG2 on a stream, with the methods of a VideoWriter: a header line, then planes.

    Written here because PyAV cannot tell FFmpeg's own muxer the pixel shape. y4m has no times: the
    frames of a variable-rate video come out evenly spaced, which a note says.

    Args:
        target: an open stream, left open.
        info: size, rate, pixel shape and range are taken from it.
        pixel_format: "yuv420p" takes `Yuv420`; "gray" takes uint8 (H, W), declared full range.
    """

    def __init__(self, target: Target, info: VideoInfo, *, pixel_format: str) -> None:
        self.notes: list[str] = []
        self._stream = ByteStream(target)
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

    def write(
        self,
        image: Yuv420 | np.ndarray,
        pts: int,
        packets: Sequence[Any] = (),
        duration: int | None = None,
    ) -> None:
        """Add a frame; `pts`, `packets` and `duration` have no place in y4m.

        Raises:
            OutputError: the stream cannot be written.
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
        rate = info.nominal_rate
        self.notes.append(
            f"y4m carries no timestamps: written as {float(rate):.3g} frames a second; "
            "use --pipe matroska to keep them"
        )
        return rate
