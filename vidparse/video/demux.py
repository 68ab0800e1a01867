"""Packets of one container in file order, past damaged places, knowing when the end came early.

Those of copied streams wait for the picture that they belong to.
"""

from __future__ import annotations

import errno
import io
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.container.streams import StreamContainer
from av.stream import Disposition, Stream

from vidparse.errors import InputError, VidparseError, expected
from vidparse.frame import Packet, VideoInfo
from vidparse.limits import has_room
from vidparse.video.access import Wishes, is_address, is_list, local_path, open_limited
from vidparse.video.damage import (
    HEAD_BYTES,
    TAIL_BYTES,
    ends_whole,
    ends_with_flv_tag,
    is_cut_nut,
    walker_for,
)
from vidparse.video.decode import stamp_of
from vidparse.video.raw import Pipe
from vidparse.video.source import Selection
from vidparse.video.unreachable import opening_error

log = logging.getLogger(__name__)

# A cut mp4 fails once for every sample that is missing; enough to jump over any damaged place.
_MAX_FAILURES_IN_A_ROW = 1000
_HELD_PACKETS = 3
_ENDS_SHOW = ("flv", "mpegts")  # formats whose last bytes show a whole end, whatever was before
_OPEN_S, READ_S = 15.0, 30.0  # that an address may stay silent
# Request packets of RTSP in its own connection first: those of UDP are lost on the way.
_RTSP_SETTINGS = {"rtsp_flags": "prefer_tcp"}
_LIVE_SETTINGS = {"analyzeduration": "2000000"}  # us; FFmpeg's 5 s of a live stream are long
MP4_IN_A_PIPE = (
    "this mp4 has its index at the end, which a pipe cannot reach; pipe matroska (-f matroska) "
    "or fragmented mp4 (-movflags frag_keyframe+empty_moov), or name the file"
)
_A_LIST = (
    "a list of other files, which is not followed; give these files themselves, or allow what it "
    "opens with --allow-protocols file"
)
_GENERATE_PTS = 1  # AVFMT_FLAG_GENPTS
_ATTACHED_PICTURE = av.stream.Disposition.attached_pic
# Titles and the like need not be UTF-8. From PyAV 19 on their bytes come through as surrogates and
# are written as they were; before, an error has to be ruled out.
_TEXTS: Wishes = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def open_container(
    target: str | Pipe,
    name: str,
    missing: list[str] | None = None,
    *,
    decoder: HWAccel | None = None,
    timeout_s: float | None = None,
) -> InputContainer:
    """A PyAV input container.

    Args:
        target: a path, a URL (with "://"), or standard input.
        name: for messages.
        missing: gets the segments of a playlist that are not there, as they are met.
        decoder: of a device; None: the CPU decodes.
        timeout_s: how long a live input may stay silent; None: it is none, and an address may stay
            so for 15 s at first, for 30 s later on.

    Raises:
        InputError: it cannot be opened or is no media file.
        Unreachable: an address that may be reached later.
    """
    wishes, begun_s = _TEXTS.copy(), time.monotonic()
    if decoder is not None:
        wishes["hwaccel"] = decoder

    try:
        settings = {} if timeout_s is None else _LIVE_SETTINGS
        if isinstance(target, str) and is_address(target):
            wishes["timeout"] = timeout_s or _OPEN_S, timeout_s or READ_S
            settings = settings | (_RTSP_SETTINGS if target.startswith("rtsp") else {})
        elif isinstance(target, str):
            path = Path(local_path(target))
            if path.is_file() and path.stat().st_size == 0:
                raise InputError(f"{name}: the file is empty; copy or record it again")

        container = open_limited(target, name, missing=missing, settings=settings, **wishes)
        # Have no times made up for formats that have none, which goes wrong where frames are
        # reordered (h264 in AVI); `Clock` fills them in.
        container.flags &= ~_GENERATE_PTS
        return container
    except MemoryError as error:
        raise _wanted_too_much(name, error) from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(target, str) and is_address(target):
            # Take what fails after so long for silence: RTSP calls that bad data.
            waited_s = timeout_s or _OPEN_S
            is_silent = time.monotonic() - begun_s >= waited_s
            raise opening_error(name, error, waited_s, is_silent=is_silent) from error
        raise InputError(f"{name}: {_why(error, target)}") from error


def _wanted_too_much(name: str, error: MemoryError) -> VidparseError:
    """The error for memory that a file claims; with little left it may be no fault of it."""
    if not has_room():
        return expected(error, name)
    return InputError(
        f"{name}: its tables claim more memory than a file can need; it is damaged, get another "
        "copy"
    )


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


def choose_track(
    streams: StreamContainer, name: str, wanted: int | None
) -> tuple[av.VideoStream, int, int]:
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
        kinds = sorted({str(s.type) for s in streams if s.type != "video"})
        if streams.video:
            kinds.append("a cover picture")
        held = " and ".join(kinds) or "nothing"
        raise InputError(f"{name}: holds {held} but no video; give a video file")

    if wanted is not None and wanted > len(moving):
        has = f"{len(moving)} video track{'s' if len(moving) > 1 else ''}"
        raise InputError(f"{name}: --track {wanted}: it has {has}; give one of these")

    # Leave the choice to FFmpeg: it knows default flags, sizes and lengths.
    if wanted is None:
        best = streams.best("video")
        known = [number for number, stream in enumerate(moving, start=1) if stream == best]
        wanted = known[0] if known else 1
    return moving[wanted - 1], wanted, len(moving)


class Demuxer:
    """Packets of some streams of a container."""

    def __init__(
        self, container: InputContainer, streams: Sequence[Stream], target: str | Pipe
    ) -> None:
        self._container, self._streams, self._target = container, streams, target
        self._failures = 0  # in a row, up to now
        self._since_failure = 0  # packets that came after the last failure
        self._end_of_last = 0  # position in the file behind the last packet
        self._largest = 0  # packet, in bytes
        self.damaged = 0  # failed reads with good packets after them
        self.lost: av.error.FFmpegError | None = None  # why the connection to an address broke

    def __iter__(self) -> Iterator[av.Packet]:
        """Whole packets. Start again after a seek; the failures of the old place are forgotten."""
        self._failures = 0
        is_remote = isinstance(self._target, str) and is_address(self._target)
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

                    # Count failures only now: without a good packet behind them they are the end.
                    self.damaged += self._failures
                    self._since_failure = 0 if self._failures else self._since_failure + 1
                    self._failures = 0
                    if packet.pos is not None:
                        self._end_of_last = max(self._end_of_last, packet.pos + packet.size)
                    self._largest = max(self._largest, packet.size)
                    yield packet
                return
            except MemoryError as error:
                raise _wanted_too_much(self._container.name, error) from error
            except IndexError:
                return  # PyAV has read all, and stumbles over a stream that began on the way
            except av.error.FFmpegError as error:
                log.debug("%s: %s", self._container.name, error)
                self._failures += 1

                # Try no further where the network failed: each try would wait for a time-out.
                if is_remote and not isinstance(error, av.error.InvalidDataError):
                    self.lost = error
                    return

    def cut_short(self) -> bool | None:
        """After the last packet: the container promised more than there is; None: nobody knows."""
        format_name, size = self._container.format.name, self._size()

        # Take failures up to the end for a cut, unless the last bytes can prove a whole one.
        if self._failures and format_name not in _ENDS_SHOW:
            return True

        # Measure formats of plain frames by their size.
        if "yuv4mpeg" in format_name:
            return size > self._end_of_last  # bytes of a frame that is not all there
        if format_name == "dv" and self._largest:  # nothing but frames of one size
            return size % self._largest != 0

        # Look at the bytes, which a pipe has kept and a file still has.
        if isinstance(self._target, Pipe):
            walker, tail = self._target.walker, self._target.tail
        else:
            path = Path(local_path(self._target))
            if not path.is_file():
                return None
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
                file.seek(max(0, size - TAIL_BYTES))
                tail = file.read()
                walker = walker_for(head)
                if walker is not None:
                    walker.follow(file)

        if format_name == "nut":
            return is_cut_nut(tail, size)
        if format_name == "mpegts":
            whole = ends_whole(tail)
            return None if whole is None else not whole

        if format_name == "flv" and ends_with_flv_tag(tail):
            return False  # though a damaged size may have led the walker astray
        if self._failures:
            return True
        cut = None if walker is None else walker.cut_by(tail)
        if cut is not None:
            return cut
        # What a parser still held of the bytes before comes after a failure at the end.
        return True if self.damaged and self._since_failure < _HELD_PACKETS else None

    def _size(self) -> int:
        if isinstance(self._target, Pipe):
            return self._target.bytes_read
        path = Path(local_path(self._target))
        return path.stat().st_size if path.is_file() else 0


@dataclass(frozen=True, slots=True)
class CopiedStream:
    """An audio or subtitle stream of an input, to be copied as it is.

    It holds what a muxer needs in a container of its own, so it outlives the file it describes.
    """

    index: int  # of its packets
    kind: str  # "audio" or "subtitle"
    codec: str  # FFmpeg's name: "aac", "subrip", ...
    language: str | None
    duration_s: float | None
    disposition: Disposition
    metadata: tuple[tuple[str, str], ...]
    template: Stream


def copied_streams(info: VideoInfo) -> list[CopiedStream]:
    """The copied streams of a video."""
    return [stream for stream in info.copied if isinstance(stream, CopiedStream)]


def copied_stream(stream: Stream) -> CopiedStream:
    """The record of a PyAV input stream that has a codec."""
    # Describe it in a container of its own: a template of a closed file crashes FFmpeg.
    holder, base = av.open(io.BytesIO(), mode="w", format="null"), stream.time_base
    return CopiedStream(
        index=stream.index,
        kind=stream.type,
        codec=stream.codec_context.codec.canonical_name,
        language=stream.language,
        duration_s=float(stream.duration * base) if stream.duration and base else None,
        disposition=stream.disposition,
        metadata=tuple(stream.metadata.items()),
        template=holder.add_stream_from_template(stream),
    )


def moved(packets: Iterable[Packet], by_s: Fraction) -> tuple[Packet, ...]:
    """The packets, later by so many seconds; they are changed in place."""
    found = tuple(packets)
    for packet in found:
        assert isinstance(packet, av.Packet)
        shift = round(by_s / packet.time_base) if packet.time_base else 0
        packet.pts = None if packet.pts is None else packet.pts + shift
        packet.dts = None if packet.dts is None else packet.dts + shift
    return found


def stream_and_time(packet: Packet) -> tuple[int, Fraction | None]:
    """Index of a packet's stream, and its beginning in seconds on the input's clock, if known."""
    assert isinstance(packet, av.Packet)

    # Fall back on decoding times: sound and texts are hardly ever reordered.
    stamp = stamp_of(packet)
    return packet.stream_index, None if stamp is None else stamp * packet.time_base


class CopiedPackets:
    """Packets of the copied streams, each kept until the picture that it belongs to.

    A file may hold its sound far ahead of its pictures; a run that is interrupted shall not end
    with sound and no picture.
    """

    def __init__(self, indices: Sequence[int], selection: Selection) -> None:
        self._start_s, self._end_s = selection.start_s, selection.end_s
        self._waiting: dict[int, deque[av.Packet]] = {index: deque() for index in indices}
        self._origin_s: Fraction | None = None

    def place(self, origin_s: Fraction) -> None:
        """Times count from here on, that of the first frame; what lies outside the range goes."""
        self._origin_s = origin_s
        for index, packets in self._waiting.items():
            self._waiting[index] = deque(packet for packet in packets if self._wanted(packet))

    def time_s(self, packet: av.Packet) -> Fraction | None:
        """Seconds from the first frame of the video."""
        _, now_s = stream_and_time(packet)
        return None if now_s is None or self._origin_s is None else now_s - self._origin_s

    def _wanted(self, packet: av.Packet) -> bool:
        start_s, end_s = self._start_s, self._end_s
        if start_s is None and end_s is None:
            return True
        now_s = self.time_s(packet)
        return (
            now_s is not None
            and (start_s is None or now_s >= start_s)
            and (end_s is None or now_s < end_s)
        )

    def add(self, packet: av.Packet) -> None:
        """Keep a packet that lies in the range, or any until it is known where that begins."""
        if packet.stream_index in self._waiting and (
            self._origin_s is None or self._wanted(packet)
        ):
            self._waiting[packet.stream_index].append(packet)

    def taken(self, before_s: Fraction | None = None) -> tuple[av.Packet, ...]:
        """Remove and return packets that begin before a time; all without one."""
        taken = []
        for packets in self._waiting.values():
            while packets:
                now_s = None if before_s is None else self.time_s(packets[0])
                if before_s is not None and now_s is not None and now_s >= before_s:
                    break
                taken.append(packets.popleft())
        return tuple(taken)

    def clear(self) -> None:
        for packets in self._waiting.values():
            packets.clear()
