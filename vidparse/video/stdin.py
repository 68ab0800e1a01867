"""Standard input as FFmpeg wants it: not seekable, counted, and watched for an early end."""

from __future__ import annotations

import sys
from typing import BinaryIO

from vidparse.errors import InputError, Interrupted
from vidparse.video.damage import SYNC_BYTES, Walker, walker_for

_HEAD_BYTES = _TAIL_BYTES = 12


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
        stream = getattr(stream, "raw", stream)
        self._read = getattr(stream, "read1", stream.read)
        self.walker: Walker | None = None  # follows the elements of its format
        self._interrupted = False
        self.head, self.tail = b"", b""  # the first and last bytes, to recognise the format by
        self.bytes_read = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; empty at the end.

        Raises:
            Interrupted: instead of KeyboardInterrupt, which PyAV does not let through.
        """
        if self._interrupted:
            return b""  # FFmpeg tries again; told once, it must not wait once more
        try:
            data = self._read(size)
        except KeyboardInterrupt:
            self._interrupted = True
            raise Interrupted("stdin: interrupted while waiting for the pipe") from None
        if self.walker is not None:
            self.walker.feed(data)
        elif len(self.head) < _HEAD_BYTES:
            self.head += data[:SYNC_BYTES]
            if len(self.head) >= _HEAD_BYTES:
                self.walker = walker_for(self.head)
                if self.walker is not None:
                    self.walker.feed(self.head)
                    self.walker.feed(data[SYNC_BYTES:])
        elif len(self.head) < SYNC_BYTES:
            self.head += data[: SYNC_BYTES - len(self.head)]
        self.tail = (
            (self.tail + data)[-_TAIL_BYTES:] if len(data) < _TAIL_BYTES else data[-_TAIL_BYTES:]
        )
        self.bytes_read += len(data)
        return data

    def read_exactly(self, size: int) -> bytearray:
        """`size` bytes, or fewer when the stream ends."""
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
