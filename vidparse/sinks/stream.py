"""Bytes, JSON and video into a target: a file that appears when whole, or an open stream.

JSON of lists that grow row by row through a video is written in memory that does not grow.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vidparse.errors import OutputError
from vidparse.files import WholeFile, write_error
from vidparse.frame import Packet, VideoInfo
from vidparse.image import FULL_RANGE, LIMITED_RANGE, Yuv420, YuvAlpha
from vidparse.sinks.sink import STDOUT, Target, stream_errors
from vidparse.steering import plain_lines
from vidparse.video import VideoWriter
from vidparse.video.outfile import flush_all, write_all

_BLOCK_BYTES = 1 << 16


class ByteStream:
    """Bytes into a file that appears when whole, or into a stream, behind one pair of methods."""

    def __init__(self, target: Target | Path | BinaryIO, *, replace: bool = True) -> None:
        self._target = Target.of(target, replace=replace)
        path = self._target.path
        self.partial = WholeFile(path, replace=self._target.replace) if path else None
        self._file: BinaryIO | None = None
        self._is_terminal: bool | None = None  # not known before the first bytes

    def open(self) -> None:
        """Start the file; a stream is open already.

        Raises:
            OutputError: the file cannot be made.
        """
        if self.partial is not None:
            self.partial.create()
            with self.partial.writing():
                self._file = self.partial.path.open("wb")

    def write(self, *parts: bytes | memoryview, flush: bool = False) -> None:
        """Write all of `parts`, through to the reader when `flush`.

        Raises:
            OutputError: disk full and the like.
            ClosedPipe: the reader of the stream went away.
        """
        if self.partial is None:
            self._write_stream(parts, flush)
            return
        if self._file is None:
            raise ValueError("write before open")
        with self.partial.writing():
            for part in parts:
                self._file.write(part)
            if flush:
                self._file.flush()

    def _write_stream(self, parts: tuple[bytes | memoryview, ...], flush: bool) -> None:
        stream = self._target.stream
        assert stream is not None
        # Let no name in a record steer the terminal that somebody looks at.
        if self._is_terminal is None:
            self._is_terminal = stream.isatty()
        if self._is_terminal:
            parts = tuple(plain_lines(bytes(part)) for part in parts)

        with stream_errors("stdout" if self._target.name == STDOUT else self._target.name):
            for part in parts:
                write_all(stream, part)
            if flush:
                flush_all(stream)

    def close(self, *, keep: bool, complete: bool = True) -> Path | None:
        """Flush and put in place (keep), or remove; a stream is flushed and left open.

        Returns where a part of a result stays, see :class:`WholeFile`.
        """
        if self.partial is None:
            if keep and self._target.stream is not None:
                self.write(flush=True)
            return None

        file, self._file = self._file, None
        keep = keep and not self.partial.broken
        try:
            if file is not None and keep:
                with self.partial.writing():
                    file.close()  # flushes: the disk may be full only now
            elif file is not None:
                with suppress(OSError):
                    file.close()
        finally:
            left = self.partial.close(keep=keep, complete=complete)
        return left


@dataclass(frozen=True, slots=True)
class Encoding:
    """The encoding of pictures, in FFmpeg's names; the container "y4m" is written by ourselves."""

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
        self._is_made = False
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
            if not self._is_made:
                self._partial.create()
            self._is_made = True
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
        image: Yuv420 | YuvAlpha | np.ndarray,
        pts: int,
        packets: Sequence[Packet] = (),
        duration: int | None = None,
    ) -> None:
        """Encode one picture and mux the copied packets that came with it; see `VideoWriter`."""
        assert self._writer is not None
        with self._writing():
            self._writer.write(image, pts, packets, duration)

    def lay_aside(self, path: Path) -> None:
        """Finish a file, and copy it to `path`; `open` then writes another in its place.

        Raises:
            OutputError: disk full and the like.
        """
        assert self._partial is not None and self._writer is not None
        writer, self._writer = self._writer, None
        with self._writing():
            writer.finish()
            shutil.copyfile(self._partial.path, path)

    def close(
        self, *, keep: bool, complete: bool = True, packets: Sequence[Packet] = ()
    ) -> Path | None:
        """Finish and put in place, or abort and remove; see :class:`WholeFile`."""
        writer, self._writer = self._writer, None

        # Finish no file in which a write failed: it would look whole.
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

    Written here because PyAV cannot give FFmpeg's own muxer the pixel shape. y4m has no times: the
    frames of a variable-rate video come out evenly spaced, with a note.

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

        # Name the range by FFmpeg's extension, or readers would squeeze the ids of masks.
        if pixel_format == "gray" or info.colour.range == FULL_RANGE:
            fields.append("XCOLORRANGE=FULL")
        elif info.colour.range == LIMITED_RANGE:
            fields.append("XCOLORRANGE=LIMITED")
        self._stream.write(" ".join(fields).encode("ascii") + b"\n", flush=True)

    def write(
        self,
        image: Yuv420 | YuvAlpha | np.ndarray,
        pts: int,
        packets: Sequence[Packet] = (),
        duration: int | None = None,
    ) -> None:
        """Add a frame; `pts`, `packets` and `duration` have no place in y4m.

        Raises:
            OutputError: the stream cannot be written.
            ClosedPipe: its reader went away.
        """
        planes = (image,) if isinstance(image, np.ndarray) else image.planes

        # Pass on the memory of the planes: joining them would copy every frame.
        parts = (np.ascontiguousarray(plane).data for plane in planes)
        self._stream.write(b"FRAME\n", *parts, flush=True)

    def finish(self, packets: Sequence[Packet] = ()) -> None:
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


class Rows:
    """Lines that wait in a file without a name, until their place in an output comes.

    The file is made for the first line: an output can be put away however its beginning fails.

    Args:
        name: of the output, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.size = 0  # bytes
        self._at_end = True
        self._file: BinaryIO | None = None

    def add(self, line: bytes) -> int:
        """Keep a line, and return its place. Raises: OutputError: disk full and the like."""
        place = self.size
        with self._errors():
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115
            if not self._at_end:
                self._file.seek(place)  # flushes, so not at every line
                self._at_end = True
            self._file.write(line)
        self.size += len(line)
        return place

    def read(self, place: int, size: int) -> bytes:
        """`size` bytes of what was kept at a place. Raises: OutputError: it cannot be read."""
        assert self._file is not None  # something was kept
        self._at_end = False
        with self._errors():
            self._file.seek(place)
            return self._file.read(size)

    def blocks(self, end: int | None = None) -> Iterator[bytes]:
        """All lines, or those before a place, some bytes at a time."""
        place, end = 0, self.size if end is None else end
        while place < end:
            block = self.read(place, min(_BLOCK_BYTES, end - place))
            yield block
            place += len(block)

    def close(self) -> None:
        """Let go of the lines. Idempotent."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_error(self._name, error) from error


class JsonLists:
    """One JSON object with several lists; rows of one go straight through, others wait.

    Args:
        name: of the output, for messages.
        write: takes the next bytes of the output.
        head: the members before the lists.
        straight: the list that is written as it grows.
        waiting: lists that are written at the end.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[bytes], object],
        head: Mapping[str, object],
        *,
        straight: str,
        waiting: Iterable[str] = (),
    ) -> None:
        self._write, self._straight = write, straight
        self._waiting = {key: Rows(name) for key in waiting}
        self._filled: set[str] = set()
        fields = [f"{json.dumps(key)}: {dumped(value)},\n" for key, value in head.items()]
        write(encoded(f'{{{"".join(fields)}"{straight}": ['))

    def add(self, key: str, row: Mapping[str, object]) -> None:
        """One more row of a list.

        Raises:
            OutputError: disk full and the like. ClosedPipe: nobody reads any more.
        """
        self.add_bytes(key, encoded(f"{self._border(key)}{dumped(row)}"))

    def add_parts(self, key: str, parts: Iterable[str]) -> None:
        """One more row of a list, its JSON in parts. Raises: as `add`."""
        self.add_bytes(key, encoded(self._border(key)))
        for part in parts:
            self.add_bytes(key, encoded(part))

    def add_bytes(self, key: str, data: bytes) -> None:
        """More of the JSON of the last row. Raises: as `add`."""
        put = self._write if key == self._straight else self._waiting[key].add
        put(data)

    def _border(self, key: str) -> str:
        border = ",\n" if key in self._filled else "\n"
        self._filled.add(key)
        return border

    def finish(self) -> None:
        """Write the lists that wait, and the end. Raises: as `add`."""
        self._write(b"\n]")
        for key, rows in self._waiting.items():
            self._write(encoded(f',\n"{key}": ['))
            for block in rows.blocks():
                self._write(block)
            self._write(b"\n]")
        self._write(b"}\n")
        self.close()

    def close(self) -> None:
        """Let go of what waits. Idempotent."""
        for rows in self._waiting.values():
            rows.close()


def dumped(value: object) -> str:
    """Compact JSON of a value that holds no NaN; it is UTF-8, whatever bytes names are of."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()  # \\udcff is JSON's escape, too


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
