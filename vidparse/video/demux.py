"""Packets of one container in file order, past damaged places, knowing when the end came early."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from vidparse.errors import InputError
from vidparse.video.access import is_address, is_list, local_path, open_limited
from vidparse.video.damage import SYNC_BYTES, is_cut_nut, is_cut_transport_stream, walker_for
from vidparse.video.raw import Pipe

log = logging.getLogger(__name__)

# A cut mp4 fails once for every sample that is missing; enough to jump over any damaged place.
_MAX_FAILURES_IN_A_ROW = 1000
_HELD_PACKETS = 3
_URL_TIMEOUTS_S = (15.0, 30.0)  # to open, to read
MP4_IN_A_PIPE = (
    "this mp4 has its index at the end, which a pipe cannot reach; pipe matroska (-f matroska) "
    "or fragmented mp4 (-movflags frag_keyframe+empty_moov), or name the file"
)
_A_LIST = "a list of other files, which is not followed; give these files themselves"
_GENERATE_PTS = av.container.core.Flags.gen_pts.value
_ATTACHED_PICTURE = av.stream.Disposition.attached_pic
# Titles and the like need not be UTF-8. From PyAV 19 on their bytes come through as surrogates and
# are written as they were; before, an error has to be ruled out.
_TEXTS: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)


def open_container(target: str | Pipe, name: str, missing: list[str] | None = None) -> Any:
    """A PyAV input container.

    Args:
        target: a path, a URL (with "://"), or standard input.
        name: for messages.
        missing: gets the segments of a playlist that are not there, as they are met.

    Raises:
        InputError: it cannot be opened or is no media file.
    """
    timeout = None
    try:
        if isinstance(target, str) and is_address(target):
            timeout = _URL_TIMEOUTS_S
        elif isinstance(target, str):
            path = Path(local_path(target))
            if path.is_file() and path.stat().st_size == 0:
                raise InputError(f"{name}: the file is empty; copy or record it again")
        container: Any = open_limited(target, name, missing=missing, timeout=timeout, **_TEXTS)
        # Without this, times are made up for formats that have none, and wrongly when frames are
        # reordered (h264 in AVI); see `Clock` for what is done instead.
        container.flags &= ~_GENERATE_PTS
        return container
    except MemoryError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{name}: {_why(error, target)}") from error


def _why(error: Exception, target: str | Pipe) -> str:
    """The reason and the next step, in the user's words."""
    number = getattr(error, "errno", None)
    if isinstance(error, FileNotFoundError) or number == errno.ENOENT:
        return "no such file; check the path"
    if isinstance(error, PermissionError):
        return "may not be read; check its permissions"
    if isinstance(target, Pipe):
        if not target.bytes_read:
            return "nothing came through the pipe; check the program that writes it"
        if target.head[4:8] == b"ftyp":
            return MP4_IN_A_PIPE
        if is_list(target.head):
            return _A_LIST
        return (
            "the pipe holds no known format; pipe y4m (-f yuv4mpegpipe), matroska or nut, "
            "or describe raw frames with --pipe raw --size --rate"
        )
    if is_address(target):
        return f"cannot be opened ({getattr(error, 'strerror', error)}); check the address"
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError):
        return _why_invalid(Path(local_path(target)))
    return f"cannot be opened ({getattr(error, 'strerror', error)}); is it a video?"


def _why_invalid(path: Path) -> str:
    if not path.is_file():
        return "no such file; check the path"
    with path.open("rb") as file:
        head = file.read(12)
    if is_list(head):
        return _A_LIST
    if head[4:8] == b"ftyp":
        return (
            "the mp4 index (moov) is missing, so the recording was not finished; "
            "repair it with a tool such as untrunc, or record again"
        )
    return "not a video or image that can be read; give a video file"


def choose_track(streams: Any, name: str, wanted: int | None) -> tuple[Any, int, int]:
    """The video stream to read, its number from 1, and how many there are to choose from.

    Args:
        streams: of a PyAV container.
        name: for messages.
        wanted: its number; None: the one that FFmpeg thinks best.

    Raises:
        InputError: there is no video, or no track of that number.
    """
    moving = [s for s in streams.video if not s.disposition & _ATTACHED_PICTURE]
    moving = [s for s in moving if s.frames != 1] or moving  # beside a still of an animation
    if not moving:
        kinds = sorted({s.type for s in streams if s.type != "video"})
        if streams.video:
            kinds.append("a cover picture")
        held = " and ".join(kinds) or "nothing"
        raise InputError(f"{name}: holds {held} but no video; give a video file")
    if wanted is not None and wanted > len(moving):
        has = f"{len(moving)} video track{'s' if len(moving) > 1 else ''}"
        raise InputError(f"{name}: --track {wanted}: it has {has}; give one of these")
    if wanted is None:
        best = streams.best("video")
        wanted = moving.index(best) + 1 if best in moving else 1
    return moving[wanted - 1], wanted, len(moving)


class Demuxer:
    """Packets of some streams of a container."""

    def __init__(self, container: Any, streams: list[Any], target: str | Pipe) -> None:
        self._container, self._streams, self._target = container, streams, target
        self._failures = 0  # in a row, up to now
        self._since_failure = 0  # packets that came after the last failure
        self._end_of_last = 0  # position in the file behind the last packet
        self._largest = 0  # packet, in bytes
        self.damaged = 0  # failed reads with good packets after them

    def __iter__(self) -> Iterator[Any]:
        """Whole packets. Start again after a seek; the failures of the old place are forgotten."""
        self._failures = 0
        # These mark all pictures of a damaged piece, also the good ones beside it.
        tolerant = self._container.format.name in ("mpegts", "mpeg", "mpegvideo")
        while self._failures < _MAX_FAILURES_IN_A_ROW:
            try:
                for packet in self._container.demux(self._streams):
                    if packet.size == 0:
                        continue  # PyAV's sign to flush; the decoder is flushed by its owner
                    if packet.is_corrupt and not tolerant:
                        self._failures += 1
                        continue
                    self.damaged += self._failures
                    self._since_failure = 0 if self._failures else self._since_failure + 1
                    self._failures = 0
                    if packet.pos is not None:
                        self._end_of_last = max(self._end_of_last, packet.pos + packet.size)
                    self._largest = max(self._largest, packet.size)
                    yield packet
                return
            except MemoryError:
                raise
            except av.error.FFmpegError as error:
                log.debug("%s: %s", self._container.name, error)
                self._failures += 1

    def cut_short(self) -> bool | None:
        """After the last packet: the container promised more than there is; None: nobody knows."""
        if self._failures:
            return True
        format_name, size = self._container.format.name, self._size()
        if "yuv4mpeg" in format_name:
            return size > self._end_of_last  # bytes of a frame that is not all there
        if format_name == "dv" and self._largest:  # nothing but frames of one size
            return size % self._largest != 0
        if isinstance(self._target, Pipe):
            walker, head, tail = self._target.walker, self._target.head, self._target.tail
        else:
            path = Path(local_path(self._target))
            if not path.is_file():
                return None
            with path.open("rb") as file:
                head = file.read(SYNC_BYTES)
                file.seek(max(0, size - 12))
                tail = file.read()
                walker = walker_for(head)
                if walker is not None:
                    walker.follow(file)
        if format_name == "nut":
            return is_cut_nut(tail, size)
        if format_name == "mpegts":
            return is_cut_transport_stream(head, size) or None
        if walker is not None and not walker.lost:
            return walker.cut
        # What a parser still held of the bytes before comes after a failure at the end.
        return True if self.damaged and self._since_failure < _HELD_PACKETS else None

    def _size(self) -> int:
        if isinstance(self._target, Pipe):
            return self._target.bytes_read
        path = Path(local_path(self._target))
        return path.stat().st_size if path.is_file() else 0
