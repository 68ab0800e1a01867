"""A file that another program is still writing."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import BinaryIO

from vidparse.errors import InputError

_POLL_S = 0.05
_BOX_BYTES, _LARGE_BOX_BYTES = 8, 16
_HEAD_BYTES = 8
_MEDIA, _INDEX = b"mdat", (b"moov", b"moof")


class GrowingFile:
    """The bytes of a file as they come; a read at its end waits for more.

    Args:
        path: of the file.
        name: for messages.
        idle_s: the file has ended once it has not grown for so long; None: never.
        stop: ends the waiting, and with it the file.

    Raises:
        InputError: it cannot be read.
    """

    def __init__(
        self, path: Path, name: str, *, idle_s: float | None, stop: threading.Event
    ) -> None:
        self._name, self._idle_s, self._stop = name, idle_s, stop
        self._closed = threading.Event()
        try:
            if not path.is_file():
                raise InputError(f"{name}: no such file; --follow reads one that is there already")
            self._file: BinaryIO = path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(f"{name}: {error.strerror}; check its permissions") from error

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, those that are there; nothing once the file has ended."""
        since_s = time.monotonic()
        while True:
            data = self._file.read(size)
            if data:
                return data
            idle = self._idle_s is not None and time.monotonic() - since_s >= self._idle_s
            if idle or self._stop.is_set() or self._closed.wait(_POLL_S) or self._is_cut():
                return b""

    def _is_cut(self) -> bool:
        """True if the file was begun anew, below the place that was read."""
        return os.fstat(self._file.fileno()).st_size < self._file.tell()

    def end(self) -> None:
        """Let a read that waits return, from any thread."""
        self._closed.set()

    def close(self) -> None:
        """Let go of the file; when nobody reads any more."""
        self._closed.set()
        self._file.close()

    def check_order(self) -> None:
        """Wait for the beginning, and refuse an mp4 that cannot be read before it is finished.

        Raises:
            InputError: it puts its index behind the pictures, or never begins.
        """
        head = self._exactly(_HEAD_BYTES)
        if not head:
            raise InputError(f"{self._name}: is empty and does not grow; start its program first")
        if head[4:8] == b"ftyp":
            self._find_index()
        self._file.seek(0)

    def _find_index(self) -> None:
        """Walk the boxes up to the first with pictures or an index."""
        place = 0
        while True:
            self._file.seek(place)
            head = self._exactly(_BOX_BYTES)
            kind, size = head[4:8], int.from_bytes(head[:4], "big")
            if len(head) < _BOX_BYTES or kind in _INDEX:
                return
            if kind == _MEDIA:
                raise InputError(
                    f"{self._name}: this mp4 gets its index (moov) only when it is finished, so it "
                    "cannot be followed; record mkv, ts or fragmented mp4 "
                    "(-movflags frag_keyframe+empty_moov)"
                )
            if size == 1:
                size = int.from_bytes(self._exactly(_LARGE_BOX_BYTES - _BOX_BYTES), "big")
            place += max(size, _BOX_BYTES)

    def _exactly(self, size: int) -> bytes:
        """`size` bytes, or fewer where the file ends before."""
        data = b""
        while len(data) < size:
            part = self.read(size - len(data))
            if not part:
                return data
            data += part
        return data
