"""Does a media file end where its own structure says it should?

FFmpeg reads a cut Matroska, AVI or fragmented mp4 file to its last packet and reports a normal end.
The structure tells more: each of these formats is a row of elements that announce their length.
A walker follows that row, skipping the contents, and so knows when the last element is not all
there. It takes bytes as they pass (pipes) or jumps through a file.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import BinaryIO, Final

# A walker asks for n > 0 bytes, or skips -n bytes when n < 0. It asks for the head of an element
# only at a border between elements, where an end is a proper end.
Walk = Generator[tuple[int, bool], bytes, None]

_UNKNOWN: Final = -1
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_MEDIA_BOXES: Final = (b"mdat", b"moov", b"moof")


def _walk_boxes() -> Walk:
    """ISO base media (mp4, mov): 32-bit size and type; size 1 = 64-bit size, 0 = to the end."""
    while True:
        head = yield 8, True
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        header = 8
        if size == 1:
            size, header = int.from_bytes((yield 8, False), "big"), 16
        # Padding after the last box, or a box of a kind nobody loses a frame with.
        if size < header or (kind not in _MEDIA_BOXES and not kind.isalnum()):
            return
        if size > header:
            yield header - size, kind not in _MEDIA_BOXES


def _walk_ebml() -> Walk:
    """Matroska, WebM: variable-length id and size; unknown size (streamed) = look inside."""
    while True:
        first = (yield 1, True)[0]
        length = 9 - first.bit_length()
        if length > 4:
            return  # not an element: padding or damage that the demuxer will speak of
        tail = (yield length - 1, False) if length > 1 else b""
        element = int.from_bytes(bytes([first]) + tail, "big")
        size = yield from _ebml_size()
        if size == _UNKNOWN and element in (_SEGMENT, _CLUSTER):
            continue
        if size > 0:
            yield -size, False


def _ebml_size() -> Generator[tuple[int, bool], bytes, int]:
    first = (yield 1, False)[0]
    length = 9 - first.bit_length()
    if length > 8:
        return 0
    tail = (yield length - 1, False) if length > 1 else b""
    value = int.from_bytes(bytes([first]) + tail, "big") & ((1 << 7 * length) - 1)
    return _UNKNOWN if value == (1 << 7 * length) - 1 else value


def _walk_riff() -> Walk:
    """AVI: RIFF chunks with a 32-bit size (OpenDML files have several)."""
    while True:
        head = yield 8, True
        size = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or size in (0, 0xFFFFFFFF):
            return  # written by a program that could not seek back to fill in the size
        yield -size, False
        if size % 2:
            yield -1, True


class Walker:
    """Follows the elements of one file; `cut` is True while an element is not all there."""

    def __init__(self, walk: Walk) -> None:
        self._walk: Walk | None = walk
        self._held = bytearray()
        self._wanted, self.cut = next(walk)
        self.cut = False
        self._clean = True

    def feed(self, data: bytes) -> None:
        """Bytes of a pipe, in order."""
        view = memoryview(data)
        while len(view) and self._walk is not None:
            if self._wanted < 0:
                step = min(len(view), -self._wanted)
                view = view[step:]
                self._wanted += step
                if self._wanted == 0:
                    self._advance(b"")
            else:
                step = min(len(view), self._wanted - len(self._held))
                self._held += view[:step]
                view = view[step:]
                if len(self._held) == self._wanted:
                    taken, self._held = bytes(self._held), bytearray()
                    self._advance(taken)
        self.cut = self._walk is not None and not (self._clean and not self._held)

    def follow(self, file: BinaryIO) -> None:
        """A seekable file from its beginning, reading only the heads of elements."""
        size = file.seek(0, os.SEEK_END)
        position = file.seek(0)
        while self._walk is not None:
            if self._wanted < 0:
                position -= self._wanted
                if position > size:
                    self.cut = not self._clean
                    return
                file.seek(position)
                self._advance(b"")
                continue
            data = file.read(self._wanted)
            position += len(data)
            if len(data) < self._wanted:
                self.cut = not self._clean
                return
            self._advance(data)

    def _advance(self, data: bytes) -> None:
        try:
            assert self._walk is not None
            self._wanted, self._clean = self._walk.send(data)
        except StopIteration:
            self._walk = None


def walker_for(head: bytes) -> Walker | None:
    """The walker for a file that starts with `head` (12 bytes or more), None for other formats."""
    if head[:4] == b"\x1aE\xdf\xa3":
        return Walker(_walk_ebml())
    if head[4:8] in (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return Walker(_walk_boxes())
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        return Walker(_walk_riff())
    return None
