"""A playhead: a place in an open container, from which pictures are decoded, and seeks."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import av
from av.container import InputContainer

from vidparse.errors import InputError
from vidparse.frame import Packet
from vidparse.video.access import is_address, local_path
from vidparse.video.camera import Camera, is_camera
from vidparse.video.decode import Clock, Decoder
from vidparse.video.demux import (
    MP4_IN_A_PIPE,
    READ_S,
    CopiedPackets,
    Demuxer,
    choose_track,
    open_container,
)
from vidparse.video.header import even_rate, fraction
from vidparse.video.picture import check_announced
from vidparse.video.raw import Pipe
from vidparse.video.source import Selection
from vidparse.video.unreachable import opening_error

_SEEK_MARGINS_S = (0, 1, 5, 20)
_TRAILING_S = 5  # how far behind the end of the range its last audio packets are looked for


@dataclass(frozen=True, slots=True)
class Live:
    """The reading of a live input: each picture as soon as it is there.

    timeout_s: how long an address may stay silent.
    """

    timeout_s: float


class Playhead:
    """A place in the main video stream: pictures from there on, packets of the other streams.

    Args:
        name: for messages: the whole path.
        copy_streams: packets of sound and subtitles are kept, of the range that is selected.
        track: which of several video tracks, from 1; None: the one FFmpeg thinks best.
        live: how to read what is being made at this moment.

    Attributes:
        first, pts: the picture that it stands at, until it is read, and its time.
        first_pts: of the first picture of the video; all times are in units of `time_base`.
        stream: that is read: number `track`, from 1, of `tracks` video streams.
        copied: the streams whose packets are kept.
        missing: segments of a playlist that were not there.

    Raises:
        InputError: it is no video, or not one frame of it can be decoded.
    """

    def __init__(
        self,
        target: str | Pipe,
        name: str,
        selection: Selection,
        copy_streams: bool,
        track: int | None = None,
        *,
        live: Live | None = None,
    ) -> None:
        self._target, self._name, self._selection = target, name, selection
        self._copy_streams, self._wanted_track, self._live = copy_streams, track, live
        self._device: int | None = None
        self._closed = False
        self.missing: list[str] = []
        self._open()

    def begin_anew(self, device: int | None) -> None:
        """Open it once more, decoded by a CUDA device or the CPU, and stand at the first picture.

        Raises:
            InputError: as at first.
        """
        self.container.close()
        self.missing.clear()
        self._device = device
        self._open()

    def _open(self) -> None:
        self.container = self._opened()
        try:
            self._begin()

            # Decode one picture at once: a header may promise another size, or no decoder works.
            self.first: av.VideoFrame | None = self._first_frame()
        except BaseException:
            self.container.close()
            raise

    def _opened(self) -> InputContainer:
        decoder = None
        if self._device is not None:
            from vidparse.video.nvdec import device_decoder

            decoder = device_decoder(self._device)
        timeout_s = None if self._live is None else self._live.timeout_s
        if isinstance(self._target, str) and is_camera(self._target):
            return Camera.named(self._target).open(timeout_s or READ_S)
        return open_container(
            self._target, self._name, self.missing, decoder=decoder, timeout_s=timeout_s
        )

    def _begin(self) -> None:
        """Choose the streams and stand before the first packet."""
        streams = self.container.streams
        if self.container.format.name == "tty":  # FFmpeg draws any .txt as a terminal
            raise InputError(f"{self._name}: a text, not a video; give a video file")
        self.stream, self.track, self.tracks = choose_track(streams, self._name, self._wanted_track)
        self.decoder = Decoder(self.stream, self._name, at_once=self._live is not None)

        # Leave out codecs that FFmpeg does not know: a muxer could not be given them.
        copied = [s for s in streams if s.type in ("audio", "subtitle") and s.codec_context]
        self.copied = copied if self._copy_streams else []
        assert self.stream.time_base is not None  # of a stream that is read
        self.time_base = fraction(self.stream.time_base)

        # Let the clock guess where frames come unevenly: it steps only where times are missing.
        guessed = self.stream.guessed_rate
        rate = even_rate(self.stream) or (guessed and fraction(guessed))
        self.clock = Clock(self.time_base, rate)

        self.demuxer = Demuxer(self.container, [self.stream, *self.copied], self._target)
        self.packets = CopiedPackets([s.index for s in self.copied], self._selection)
        self.first_pts = 0  # not known before the first frame
        self._decoded = self._decode()

    def _first_frame(self) -> av.VideoFrame:
        frame = next(self._decoded, None)
        if frame is None:
            if self.demuxer.lost is not None:
                raise opening_error(self._name, self.demuxer.lost, self.silence_s)
            why = "not one frame can be decoded; it is damaged or cut off, get another copy"

            # Look for the cause: FFmpeg reports no more than that there is no picture.
            if isinstance(self._target, Pipe) and self._target.head[4:8] == b"ftyp":
                why = MP4_IN_A_PIPE
            elif isinstance(self._target, str) and not is_address(self._target):
                check_announced(self._name, local_path(self._target))
            raise InputError(f"{self._name}: {why}")
        self.first_pts = self.pts = self.clock.pts(frame)

        # Place the copied packets only now: seconds count from the first picture.
        self.packets.place(self.first_pts * self.time_base)
        return frame

    def _decode(self) -> Generator[av.VideoFrame, None, None]:
        """Frames in presentation order; packets of copied streams gather on the way."""
        for packet in self.demuxer:
            if packet.stream_index != self.stream.index:
                self.packets.add(packet)
                continue
            yield from self.decoder.pictures(packet)
        yield from self.decoder.pictures(None)

    def pictures(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """(pts, picture) from where it stands on, lazily.

        Raises:
            InputError: it was closed meanwhile.
        """
        pts, picture = self.pts, self.first
        self.first = None
        while picture is not None:
            yield pts, picture
            self.check_open()  # FFmpeg would read through freed memory
            picture = next(self._decoded, None)
            pts = pts if picture is None else self.clock.pts(picture)

    def seek(self, start: int) -> bool:
        """Stand at a picture not after pts `start`; False where it stays at the first one.

        Pipes stay: they have to be decoded up to the range.
        """
        if self.first_pts >= start or isinstance(self._target, Pipe):
            return False
        self.pts, self.first = self._sought(start, self.first)
        return True

    def _sought(
        self, start: int, picture: av.VideoFrame | None
    ) -> tuple[int, av.VideoFrame | None]:
        """(pts, picture) not after `start`; `picture` is the first one, if it was not read yet."""
        damage = self.decoder.damage

        # Count what an attempt meets once: it is met again, and the beginning is not wanted.
        skipped = 0 if picture is not None else damage.skipped

        # Aim further back each time: an index may lead behind the picture that was aimed at.
        for margin_s in _SEEK_MARGINS_S:
            aim = start - round(margin_s / self.time_base)
            if aim <= self.first_pts:
                break
            try:
                self.container.seek(aim, stream=self.stream, backward=True)
            except av.error.FFmpegError:
                if margin_s or picture is None:
                    break
                return self.first_pts, picture  # no index: read on from the beginning
            self._restart()
            damage.skipped = skipped
            found = next(self._decoded, None)

            # Pass one without a pts of its own by: after a seek it cannot be placed.
            if found is not None and found.pts is not None and found.pts <= start:
                return self.clock.pts(found), found

        # Begin anew at last, and decode up to the range: no seek led to a picture before it.
        self.begin_anew(self._device)
        damage.moved()
        damage.skipped, self.decoder.damage = skipped, damage
        return self.first_pts, self.first

    def _restart(self) -> None:
        self.packets.clear()
        self.clock.restart()
        self.decoder.damage.moved()
        self._decoded.close()
        self._decoded = self._decode()

    def trailing_packets(self, sound: Iterable[int]) -> list[Packet]:
        """Packets of the copied streams behind the last picture; once, when all are read.

        Args:
            sound: indices of the streams whose packets are looked for past the end of the range.
        """
        waiting = set(sound)

        # Read on past the range: sound may lie in the file behind the pictures of its time.
        end_s = self._selection.end_s
        if end_s is not None and waiting and not self._closed:
            for packet in self.demuxer:
                if packet.stream_index != self.stream.index:
                    self.packets.add(packet)
                now_s = self.packets.time_s(packet)
                if now_s is None:
                    continue
                if now_s >= end_s:
                    waiting.discard(packet.stream_index)
                if not waiting or now_s > end_s + _TRAILING_S:
                    break
        return list(self.packets.taken())

    @property
    def silence_s(self) -> float:
        """Seconds that the input may stay silent."""
        return READ_S if self._live is None else self._live.timeout_s

    def check_open(self) -> None:
        """Raises: InputError: it was closed."""
        if self._closed:
            raise InputError(f"{self._name}: was closed before its end; open it again")

    def close(self) -> None:
        """Release the file, or leave it to the thread that reads at this moment. Idempotent."""
        self._closed = True
        try:
            # Keep the container where this fails: another thread is decoding from its memory.
            self._decoded.close()
        except ValueError:
            return
        self.container.close()
