"""The limits of a process: the largest picture, the most frames, and what inputs may open.

Every reader checks the size of a picture before it takes memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from vidparse.errors import InputError, UsageError

MAX_SIDE = 16384  # H.264 and most players end here; also keeps lying headers from eating memory
MAX_PIXELS = 2**27  # 134 million: four times 8K, or the sensor of a 108-megapixel camera
SMALLEST, LARGEST = 32, 8192  # sides of a network input, pixels

NETWORK_PROTOCOLS = (
    *("http", "https", "ftp", "sftp", "rtsp", "rtsps", "rtp", "srtp", "udp", "tcp", "tls", "srt"),
    *("rtmp", "rtmps", "rtmpt", "rtmpe", "rtmpte", "rtmpts", "mmsh", "mmst"),
)
# FFmpeg's names of all that inputs can be allowed to open (`--allow-protocols`).
PROTOCOLS = ("file", *NETWORK_PROTOCOLS, "crypto", "data", "concat", "subfile", "cache", "async")

_ROOM = 1 << 28  # bytes, more than to open any file takes

_max_pixels = MAX_PIXELS
_max_frames: int | None = None
_allowed_protocols: frozenset[str] = frozenset()
_decoder_threads = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits that a user can set, to take them to another process."""

    pixels: int
    frames: int | None
    protocols: frozenset[str]

    @classmethod
    def of_this_process(cls) -> Self:
        return cls(_max_pixels, _max_frames, _allowed_protocols)

    def set_here(self) -> None:
        """Give this process the same limits."""
        allow_pixels(self.pixels)
        allow_frames(self.frames)
        allow_protocols(self.protocols)


def max_pixels() -> int:
    """The most pixels that a picture may have in this process."""
    return _max_pixels


def decoder_limit() -> str:
    """FFmpeg's own option of that name, which counts with rows rounded up to 64 pixels."""
    return str(min(_max_pixels + 64 * MAX_SIDE, 2**31 - 1))  # it is a C int


def allow_pixels(count: int | None) -> None:
    """Set the limit for this process (`--max-pixels`); None sets the default.

    Raises:
        UsageError: it is not above zero.
    """
    global _max_pixels
    if count is not None and count < 1:
        raise UsageError(f"--max-pixels {count}: must be 1 or more; the default is {MAX_PIXELS}")
    _max_pixels = MAX_PIXELS if count is None else count


def max_frames() -> int | None:
    """The most frames that are taken of each input in this process; None: all."""
    return _max_frames


def allow_frames(count: int | None) -> None:
    """Set that number for this process (`--max-frames`).

    Raises:
        UsageError: it is not above zero.
    """
    global _max_frames
    if count is not None and count < 1:
        raise UsageError(f"--max-frames {count}: must be 1 or more; leave it out for all frames")
    _max_frames = count


def allowed_protocols() -> frozenset[str]:
    """Protocols by which lists may open anything, in this process; usually none."""
    return _allowed_protocols


def allow_protocols(names: Iterable[str] | None) -> None:
    """Set these for this process (`--allow-protocols`).

    Raises:
        UsageError: one is not in PROTOCOLS.
    """
    global _allowed_protocols
    wanted = frozenset(names or ())
    if unknown := sorted(wanted - {*PROTOCOLS}):
        raise UsageError(
            f"--allow-protocols {unknown[0]}: no protocol that can be allowed; "
            f"use {', '.join(PROTOCOLS)}"
        )
    _allowed_protocols = wanted


def decoder_threads() -> int:
    """Threads of each video decoder in this process; 0: as many as FFmpeg likes."""
    return _decoder_threads


def allow_decoder_threads(count: int) -> None:
    """Set the threads of video decoders, for processes that share the CPUs of a machine."""
    global _decoder_threads
    _decoder_threads = count


def has_room() -> bool:
    """True where this process could take a good deal of memory: whoever lacked it wanted more.

    Tables of damaged files claim sizes that no machine has, and libraries call that a lack of
    memory, too.
    """
    try:
        mmap.mmap(-1, _ROOM).close()
    except (OSError, ValueError, MemoryError):
        return False
    return True


def check_size(name: str, size_hw: tuple[int, int]) -> None:
    """Raises: InputError: a side is zero or longer than MAX_SIDE, or the pixels are too many."""
    height, width = size_hw
    if min(height, width) < 1:
        raise InputError(f"{name}: the picture has no size; the file is damaged or not a video")
    if max(height, width) > MAX_SIDE:
        raise InputError(
            f"{name}: {width}x{height} pixels; scale it to at most {MAX_SIDE} a side first "
            "(the file may also be damaged)"
        )
    if height * width > _max_pixels:
        raise InputError(
            f"{name}: {width}x{height} pixels are more than {_max_pixels}; scale it down, or allow "
            f"them with --max-pixels {height * width}"
        )


def check_png(name: str, data: bytes) -> None:
    """`check_size` of the size that a PNG announces; other bytes pass.

    Raises:
        InputError: as `check_size`.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        check_size(name, (height, width))
