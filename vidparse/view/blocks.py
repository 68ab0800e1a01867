"""Blocks of a page: frames and video bytes, packed so that a browser opens those it needs.

A block is a script element of its own that no browser runs, with base64 in it. The ids of 64
frames are one block of deflated runs. Until the page is written blocks wait in a file.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vidparse.sinks.stream import Rows
from vidparse.view.codes import Runs

CHUNK = 64  # frames
_BLOCK_BYTES = 3 << 18  # of video; a multiple of 3, so that base64 needs no padding
_LEVEL = 9  # zlib
_WHOLE = struct.Struct("<i")


def element(name: str, data: bytes) -> bytes:
    """The element of a block. `name` is ours, letters, digits and dashes."""
    head = f'<script type="application/octet-stream" id="{name}">'.encode("ascii")
    return head + base64.b64encode(data) + b"</script>\n"


def video_elements(path: Path) -> Iterator[bytes]:
    """The bytes of a video file, as blocks video-0, video-1, ..."""
    with path.open("rb") as file:
        place = 0
        while data := file.read(_BLOCK_BYTES):
            yield element(f"video-{place}", data)
            place += 1


class Chunks:
    """The maps of a run, in blocks NAME-0, NAME-1, ...

    A block is, deflated: uint32 (1 + F,), the number of frames and the runs in each; then of all
    runs in turn the low bytes of the codes, their high bytes, the low bytes of the lengths and
    their high bytes.

    Args:
        name: before the number of a block.
        rows: where blocks wait.
    """

    def __init__(self, name: str, rows: Rows) -> None:
        self._name, self._rows = name, rows
        self._waiting: list[Runs] = []
        self.count = 0

    def add(self, runs: Runs) -> None:
        """One more frame. Raises: OutputError: disk full and the like."""
        self._waiting.append(runs)
        if len(self._waiting) == CHUNK:
            self.finish()

    def finish(self) -> None:
        """Write what waits. Raises: as `add`."""
        if not self._waiting:
            return
        counts = np.array([len(self._waiting), *(len(one.codes) for one in self._waiting)], "<u4")
        numbers = [np.concatenate(column) for column in zip(*self._waiting, strict=True)]

        # Put equal bytes side by side: deflate finds more in them.
        planes = [plane for one in numbers for plane in (one & 255, one >> 8)]
        data = counts.tobytes() + b"".join(plane.astype(np.uint8).tobytes() for plane in planes)
        self._rows.add(element(f"{self._name}-{self.count}", zlib.compress(data, _LEVEL)))
        self._waiting.clear()
        self.count += 1


class Column:
    """A number per frame, int32, deflated as it grows.

    Args:
        name: of its block. output: of the page, for messages.
    """

    def __init__(self, name: str, output: str) -> None:
        self._name, self._rows = name, Rows(output)
        self._deflate = zlib.compressobj(_LEVEL)

    def add(self, value: int) -> None:
        """Raises: OutputError: disk full and the like. struct.error: no 32 bits."""
        self._rows.add(self._deflate.compress(_WHOLE.pack(value)))

    def finish(self) -> bytes:
        """Its element, once."""
        self._rows.add(self._deflate.flush())
        data = b"".join(self._rows.blocks())
        self._rows.close()
        return element(self._name, data)
