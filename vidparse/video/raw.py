"""Standard input: a pipe that is counted and watched, and frames without any header on it."""

from __future__ import annotations

import select
import sys
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import cv2
import numpy as np

from vidparse.errors import InputError, Interrupted, TruncatedError, UsageError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import FULL_RANGE, ColourTags, Image, Rgb, Yuv420, effective_matrix
from vidparse.limits import check_size
from vidparse.requests.segment import RawPipe
from vidparse.video.damage import HEAD_BYTES, TAIL_BYTES, Walker, walker_for
from vidparse.video.source import Selection, Source

_BYTES_PER_PIXEL = {"rgb24": 3, "bgr24": 3, "rgba": 4, "bgra": 4, "gray": 1}
_TO_RGB = {
    "bgr24": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
}
RAW_PIXEL_FORMATS = (*_BYTES_PER_PIXEL, "yuv420p", "yuvj420p", "nv12")


class Pipe:
    """A one-way stream of bytes. Reads return what is there instead of waiting for all of it."""

    name = "stdin"

    def __init__(self, stream: BinaryIO | None = None) -> None:
        """Raises: InputError: standard input is closed or is a terminal."""
        stream = sys.stdin.buffer if stream is None and sys.stdin is not None else stream
        if stream is None or (stream.isatty() if hasattr(stream, "isatty") else False):
            raise InputError("stdin: nothing is piped in; use e.g. ffmpeg ... | vidparse segment -")
        # Not through Python's buffer: a thread that waits there holds a lock that the interpreter
        # wants at its end, and dies without.
        self._stream = getattr(stream, "raw", stream)
        self._read = getattr(self._stream, "read1", self._stream.read)
        self.walker: Walker | None = None  # follows the elements of its format
        self._interrupted = False
        self.head = b""  # the first bytes, to recognise the format by
        self._last: deque[bytes] = deque()
        self._kept = 0  # bytes in them
        self.bytes_read = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; empty at the end.

        Raises:
            Interrupted: instead of KeyboardInterrupt, which PyAV does not let through.
        """
        if self._interrupted:
            return b""  # FFmpeg tries again, but must not wait once more
        try:
            # Wait also where the program before has set the pipe not to block.
            while (data := self._read(size)) is None:
                select.select([self._stream], [], [])
        except KeyboardInterrupt:
            self._interrupted = True
            raise Interrupted("stdin: interrupted while waiting for the pipe") from None
        self._watch(data)
        return data

    def _watch(self, data: bytes) -> None:
        """Remember both ends, and follow the elements between them."""
        if self.walker is not None:
            self.walker.feed(data)
        elif len(self.head) < HEAD_BYTES:
            self.head += data
            if len(self.head) >= HEAD_BYTES:
                self.walker = walker_for(self.head)
                if self.walker is not None:
                    self.walker.feed(self.head)
                self.head = self.head[:HEAD_BYTES]

        # Keep the pieces as they came: joining them at each read would copy all of the tail.
        self._last.append(data)
        self._kept += len(data)
        while self._kept - len(self._last[0]) >= TAIL_BYTES:
            self._kept -= len(self._last.popleft())
        self.bytes_read += len(data)

    @property
    def tail(self) -> bytes:
        """The last bytes, `TAIL_BYTES` of them or more where there are so many."""
        return b"".join(self._last)

    def read_exactly(self, size: int) -> bytearray:
        """`size` bytes, or fewer when the stream ends."""
        # Fill one buffer: joining the pieces of a pipe would copy every frame once more.
        data = bytearray(size)
        view, filled = memoryview(data), 0
        while filled < size:
            part = self.read(size - filled)
            if not part:
                return data[:filled]
            view[filled : filled + len(part)] = part
            filled += len(part)
        return data

    def seekable(self) -> bool:
        return False

    def readable(self) -> bool:
        return True


class RawSource(Source):
    """Yields the frames of a raw pipe; pts counts frames, time base is one frame.

    The pipe stays open when it is closed: it belongs to the process.
    """

    def __init__(self, pipe: Pipe, raw: RawPipe, selection: Selection) -> None:
        height, width = raw.size_hw
        if raw.pixel_format not in RAW_PIXEL_FORMATS:
            known = ", ".join(RAW_PIXEL_FORMATS)
            raise UsageError(f"pixel format '{raw.pixel_format}': not readable raw; use {known}")
        if min(height, width) < 1 or raw.rate <= 0:
            raise UsageError(
                f"raw pipe {width}x{height} at {raw.rate}: must all be above zero; "
                "correct --size and --rate"
            )
        check_size("stdin", raw.size_hw)

        self._pipe, self._raw, self._selection = pipe, raw, selection

        # Take gray for full range, as FFmpeg does where nothing is tagged.
        full = raw.pixel_format in ("gray", "yuvj420p")
        tags = ColourTags(range=FULL_RANGE if full else 0)
        self._matrix = effective_matrix(tags, height)

        self.info = VideoInfo(
            name="stdin",
            size_hw=(height, width),
            time_base=1 / Fraction(raw.rate),
            rate=Fraction(raw.rate),
            frames=None,
            duration_s=None,
            sample_aspect_ratio=Fraction(1),
            colour=tags,
            codec="rawvideo",
            pixel_format=raw.pixel_format,
        )

    def __iter__(self) -> Iterator[Frame]:
        """Raises: TruncatedError: the pipe ended inside a frame. InputError: it held none."""
        height, width = self.info.size_hw

        # Round halved chroma up, as FFmpeg does: rounded down, each odd frame would be misread.
        small = -(-height // 2) * -(-width // 2)
        wanted = height * width * _BYTES_PER_PIXEL.get(self._raw.pixel_format, 1)
        if self._raw.pixel_format not in _BYTES_PER_PIXEL:
            wanted += 2 * small

        start, end = self._selection.bounds(0, self.info.time_base)
        pts = index = 0
        while end is None or pts < end:
            data = self._pipe.read_exactly(wanted)
            if len(data) < wanted:
                break
            if start is None or pts >= start:
                if index % self._selection.stride == 0:
                    yield self._frame(pts, data)
                index += 1
            pts += 1
        else:
            # Leave without a check: what the pipe holds behind the range is not wanted.
            return

        if data:
            raise TruncatedError(
                f"stdin: the pipe ended inside frame {pts} ({len(data)} of {wanted} bytes); "
                f"{pts} whole frames were read, check --size and --pixel-format"
            )
        if pts == 0:
            raise InputError("stdin: the pipe held no frame; check the program that writes it")
        if index == 0:
            raise self._selection.nothing("stdin", float(pts * self.info.time_base))

    def _frame(self, pts: int, data: bytes | bytearray) -> Frame:
        image = self._image(np.frombuffer(data, np.uint8))
        lasts = self._selection.stride
        return Frame(pts, pts, image, duration=lasts, time_base=self.info.time_base)

    def _image(self, data: np.ndarray) -> Image:
        """data: uint8 (bytes of one frame,)."""
        height, width = self.info.size_hw
        name = self._raw.pixel_format
        luma = data[: height * width].reshape(height, width)
        half = -(-height // 2), -(-width // 2)
        full = self.info.colour.range == FULL_RANGE

        if name == "gray":
            grey = np.full(half, 128, np.uint8)
            return Yuv420(luma, grey, grey, self._matrix, full)
        if name in _BYTES_PER_PIXEL:
            packed = data.reshape(height, width, -1)
            return Rgb(packed if name == "rgb24" else cv2.cvtColor(packed, _TO_RGB[name]))

        chroma = data[height * width :]
        if name == "nv12":
            u, v = cv2.split(chroma.reshape(*half, 2))
        else:
            u, v = chroma.reshape(2, *half)
        return Yuv420(luma, u, v, self._matrix, full)
