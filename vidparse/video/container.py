"""Videos that FFmpeg can open: files, addresses and self-describing pipes."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import av
from av.container import InputContainer

from vidparse.errors import InputError, TruncatedError, counted
from vidparse.frame import Frame, Packet
from vidparse.limits import check_size
from vidparse.video.access import is_address, local_path
from vidparse.video.camera import Camera, is_camera
from vidparse.video.decode import Clock, Decoder, frames_between
from vidparse.video.demux import (
    MP4_IN_A_PIPE,
    READ_S,
    CopiedPackets,
    Demuxer,
    choose_track,
    copied_streams,
    open_container,
)
from vidparse.video.header import Header, even_rate, fraction
from vidparse.video.picture import Converter, check_announced, hdr_note
from vidparse.video.raw import Pipe
from vidparse.video.source import NVDEC, Selection, Source, Stamps, packet_stamps
from vidparse.video.unreachable import lost_reason, opening_error

log = logging.getLogger(__name__)

_SEEK_MARGINS_S = (0, 1, 5, 20)
_PLAYLISTS = ("hls", "dash")
_NAMED = 3  # missing segments
_TRAILING_S = 5  # how far behind the end of the range its last audio packets are looked for


@dataclass(frozen=True, slots=True)
class Live:
    """The reading of a live input: each picture as soon as it is there.

    timeout_s: how long an address may stay silent.
    """

    timeout_s: float


class ContainerSource(Source):
    """Yields the frames of the main video stream, with the packets of the other streams.

    One thread may iterate. `info` and all packets stay valid after `close`.
    """

    def __init__(
        self,
        target: str | Pipe,
        name: str,
        selection: Selection,
        copy_streams: bool,
        track: int | None = None,
        *,
        device: int | None = None,
        live: Live | None = None,
    ) -> None:
        """Open `target`.

        Args:
            name: for messages: the whole path.
            track: which of several video tracks, from 1; None: the one FFmpeg thinks best.
            device: number of the CUDA device that decodes files where it can; None: the CPU does.
            live: how to read a file that is being made at this moment.

        Raises:
            InputError: it is no video, or not one frame of it can be decoded.
        """
        self._target, self._name, self._selection = target, name, selection
        self._copy_streams, self._wanted_track = copy_streams, track
        self._end_notes: list[str] = []
        self._closed = False
        self._missing: list[str] = []  # segments of a playlist
        self._device: int | None = None
        self._live = live
        self.is_over = False  # the input ran out, and not only the range

        self._container = self._open()
        try:
            self._begin()

            # Decode one picture at once: a header may promise another size, or no decoder works.
            self._first: av.VideoFrame | None = self._first_frame()
            check_size(name, (self._first.height, self._first.width))
            self._converter = Converter(self._first)
            self._header = Header.read(
                name,
                self._container,
                self._stream,
                self._copied,
                first=self._first,
                converter=self._converter,
                codec=self._decoder.codec,
            )
            self.info = self._header.info
            if device is not None:
                self._move_to(device, self._first)
        except BaseException:
            self._container.close()
            raise

    def _open(self) -> InputContainer:
        decoder = None
        if self._device is not None:
            from vidparse.video.nvdec import device_decoder

            decoder = device_decoder(self._device)
        timeout_s = None if self._live is None else self._live.timeout_s
        if isinstance(self._target, str) and is_camera(self._target):
            return Camera.named(self._target).open(timeout_s or READ_S)
        return open_container(
            self._target, self._name, self._missing, decoder=decoder, timeout_s=timeout_s
        )

    def _move_to(self, device: int, first: av.VideoFrame) -> None:
        """Begin anew with the decoder of a device, unless it cannot decode this."""
        from vidparse.video.nvdec import why_on_the_cpu

        self.decoded_on = why_on_the_cpu(self.info.codec, first)
        if self.decoded_on or isinstance(self._target, Pipe) or is_address(self._target):
            return
        stored_hw = first.height, first.width
        try:
            self._begin_anew(device)
            if self._first is None or (self._first.height, self._first.width) != stored_hw:
                raise InputError(f"{self._name}: the device does not cut off its margins")
            self.decoded_on = NVDEC

        # Try the device itself: it has limits of size and profile that no header shows.
        except (av.error.FFmpegError, InputError, NotImplementedError, RuntimeError) as error:
            log.info("%s: not decoded on cuda:%d: %s", self._name, device, error)
            self.decoded_on = "the GPU cannot decode it"
            self._begin_anew(None)

    def _begin_anew(self, device: int | None) -> None:
        """Open the file once more, decoded there, and stand at its first picture."""
        self._container.close()
        self._missing.clear()
        self._device = device
        self._container = self._open()
        self._begin()
        self._first = self._first_frame()

    @property
    def skipped(self) -> int:
        """Damaged packets and missing segments passed over so far."""
        # Take the larger count, not the sum: a missing segment often is a failed read, too.
        missing = len(set(self._missing))
        return self._decoder.damage.skipped + max(self._demuxer.damaged, missing)

    @property
    def notes(self) -> list[str]:
        """Warnings so far, for the user."""
        return self.notes_with(())

    def notes_with(self, others: Sequence[ContainerSource]) -> list[str]:
        """Warnings so far, of other readers of the same file, too."""
        readers = (self, *others)
        notes = [hdr_note(self.info.colour, self.info.pixel_format)]
        if self._tracks > 1 and self._wanted_track is None:
            notes.append(
                f"it has {self._tracks} video tracks, of which track {self._track} is read; "
                "--track chooses another"
            )

        if missing := list(dict.fromkeys(self._missing)):
            notes.append(f"segments of the playlist that are missing: {_listed(missing)}")
        damage = [one._decoder.damage for one in readers if one._decoder.damage.filled]
        if damage:
            first = min(one.first_filled or 0 for one in damage)
            place_s = float((first - self._first_pts) * self._time_base)
            notes.append(
                f"damaged pictures: {sum(one.filled for one in damage)}, the first at "
                f"{place_s:.2f} s; the decoder filled in what is missing there"
            )

        if resized := sum(one._converter.resized for one in readers):
            were = "was" if resized == 1 else "were"
            notes.append(f"{counted(resized, 'frame')} of another size {were} scaled")
        if repaired := sum(one._clock.repaired for one in readers):
            notes.append(f"repaired {counted(repaired, 'timestamp')} that ran backwards")

        ends = (note for one in readers for note in one._end_notes)
        return [note for note in (*notes, *ends) if note]

    def _begin(self) -> None:
        """Choose the streams and stand before the first packet."""
        streams = self._container.streams
        if self._container.format.name == "tty":  # FFmpeg draws any .txt as a terminal
            raise InputError(f"{self._name}: a text, not a video; give a video file")
        self._stream, self._track, self._tracks = choose_track(
            streams, self._name, self._wanted_track
        )
        self._decoder = Decoder(self._stream, self._name, at_once=self._live is not None)

        # Leave out codecs that FFmpeg does not know: a muxer could not be given them.
        copied = [s for s in streams if s.type in ("audio", "subtitle") and s.codec_context]
        self._copied = copied if self._copy_streams else []
        assert self._stream.time_base is not None  # of a stream that is read
        self._time_base = fraction(self._stream.time_base)

        # Let the clock guess where frames come unevenly: it steps only where times are missing.
        guessed = self._stream.guessed_rate
        rate = even_rate(self._stream) or (guessed and fraction(guessed))
        self._clock = Clock(self._time_base, rate)

        self._demuxer = Demuxer(self._container, [self._stream, *self._copied], self._target)
        self._packets = CopiedPackets([s.index for s in self._copied], self._selection)
        self._first_pts = 0  # not known before the first frame
        self._decoded = self._decode()

    def _first_frame(self) -> av.VideoFrame:
        frame = next(self._decoded, None)
        if frame is None:
            if self._demuxer.lost is not None:
                raise opening_error(self._name, self._demuxer.lost, self._silence_s)
            why = "not one frame can be decoded; it is damaged or cut off, get another copy"

            # Look for the cause: FFmpeg reports no more than that there is no picture.
            if isinstance(self._target, Pipe) and self._target.head[4:8] == b"ftyp":
                why = MP4_IN_A_PIPE
            elif isinstance(self._target, str) and not is_address(self._target):
                check_announced(self._name, local_path(self._target))
            raise InputError(f"{self._name}: {why}")
        self._first_pts = self._clock.pts(frame)

        # Place the copied packets only now: seconds count from the first picture.
        self._packets.place(self._first_pts * self._time_base)
        return frame

    def _decode(self) -> Generator[av.VideoFrame, None, None]:
        """Frames in presentation order; packets of copied streams gather on the way."""
        for packet in self._demuxer:
            if packet.stream_index != self._stream.index:
                self._packets.add(packet)
                continue
            yield from self._decoder.pictures(packet)
        yield from self._decoder.pictures(None)

    def __iter__(self) -> Iterator[Frame]:
        """Frames of the range, lazily; once.

        Raises:
            TruncatedError: the file ends early; all its good frames were delivered.
            InputError: the range holds no frame, or the source was closed.
        """
        self._check_open()
        start, end = self._selection.bounds(self._first_pts, self._time_base)
        count = pts = lasts = 0

        for number, pts, lasts, picture in self._pictures(start, end, self._selection.numbered):
            # Drop by stride behind the decoder: all pictures are needed to decode the next ones.
            if count % self._selection.stride == 0:
                yield self._frame(number, pts, lasts, picture)
            count += 1

        if count == 0:
            raise self._selection.nothing(self._name, self.info.duration_s)

        # Check the end only where the input ran out: a range that ends before shows nothing.
        if self.is_over:
            self.check_end(count, pts, lasts)

    def _pictures(
        self, start: int | None, until: int | None, numbered: bool
    ) -> Iterator[tuple[int, int, int, av.VideoFrame]]:
        """(number, pts, duration, picture) from pts `start` on and before `until`."""
        self.is_over = False
        self._decoder.damage.begin(start, until)
        pts, lasts = None, 0

        for number, after, picture in self._from(start, numbered):
            if until is not None and after >= until:
                break
            lasts = self._header.duration(picture, lasts if pts is None else after - pts)
            pts = after

            # Count damage here, not in the decoder: what is before the range is no loss.
            self._decoder.damage.delivered(picture, pts)
            yield number, pts, lasts, picture
        else:
            self.is_over = True
        self._decoder.damage.end()

    def _frame(self, number: int, pts: int, lasts: int, picture: av.VideoFrame) -> Frame:
        shown = self._header.shown(pts, lasts, self.end_pts, self._selection.stride)
        over_s = (pts + shown - self._first_pts) * self._time_base
        return Frame(
            number,
            pts,
            self._converter.image(picture),
            packets=self._packets.taken(over_s),
            duration=shown or None,
            time_base=self._time_base,
        )

    @property
    def _silence_s(self) -> float:
        return READ_S if self._live is None else self._live.timeout_s

    @property
    def is_promised(self) -> bool:
        """True where the container gives its length, so that it is not being made now."""
        if self.info.duration_s is not None or self.info.frames is not None:
            return True

        # Pass the size of a playlist by: it has no relation to the video.
        size: int = 0 if self.format in _PLAYLISTS else self._container.size
        return size > 0  # else nobody knows it

    @property
    def format(self) -> str:
        """FFmpeg's name of the container."""
        return self._container.format.name

    def looks_like(self, other: ContainerSource) -> None:
        """Give pictures of the size and colours of another one, which is not read any more."""
        self._converter = other._converter

    @property
    def is_whole(self) -> bool:
        """True where every frame from the first one on is wanted."""
        return self._selection.start_s is None and self._selection.stride == 1

    @property
    def end_pts(self) -> int | None:
        """First pts that is not wanted any more; None: none."""
        return self._selection.bounds(self._first_pts, self._time_base)[1]

    def piece(self, start: int | None, until: int | None) -> Iterator[Frame]:
        """Frames from pts `start` on and before `until`, of any numbers; of files alone.

        Several may be read, each behind the one before. One in which all is damaged is empty.
        Whoever reads the last one calls :meth:`check_end` behind it, if `is_over`.

        Args:
            start: of a key frame; None: the beginning, where nothing was read yet.
        """
        for number, pts, lasts, picture in self._pictures(start, until, numbered=False):
            yield self._frame(number, pts, lasts, picture)

    def check_end(self, count: int, pts: int, lasts: int) -> None:
        """Behind `count` frames, of which the last begins at `pts` and lasts `lasts`, if known.

        Raises:
            TruncatedError: the file ends early.
        """
        time_s = float((pts - self._first_pts) * self._time_base)
        if self._demuxer.lost is not None:
            why = lost_reason(self._demuxer.lost, self._silence_s)
            raise TruncatedError(
                f"{self._name}: lost after {counted(count, 'frame')} ({time_s:.2f} s); it {why}"
            )

        # Check the container first: one damaged picture at the end need not be a cut.
        cut = self._demuxer.cut_short()
        if cut is None:
            cut = self._decoder.ends_badly()
        if cut:
            raise TruncatedError(
                f"{self._name}: the {'pipe' if isinstance(self._target, Pipe) else 'file'} ends "
                f"early, after {counted(count, 'frame')} ({time_s:.2f} s); they are kept, "
                "get a complete copy for the rest"
            )
        mean_s = time_s / (count - 1) if count > 1 else 0.0  # slow video: seconds for one picture
        lasts_s = max(mean_s, float(lasts * self._time_base))
        if note := self._header.loss_note(time_s, lasts_s):
            self._end_notes.append(note)

    def _from(self, start: int | None, numbered: bool) -> Iterator[tuple[int, int, av.VideoFrame]]:
        """(number in the file, pts, frame) from the first frame at or after `start`."""
        number, pts, frame = 0, self._first_pts, self._first
        self._first = None

        # Seek in files only: a pipe has to be decoded up to the range.
        if start is not None and pts < start and not isinstance(self._target, Pipe):
            pts, frame = self._seek(start, pts, frame)
            number = self._frames_before(pts) if numbered else 0
        while frame is not None:
            if start is None or pts >= start:
                yield number, pts, frame
            self._check_open()  # FFmpeg would read through freed memory
            frame = next(self._decoded, None)
            number += 1
            pts = pts if frame is None else self._clock.pts(frame)

    def stamps(self) -> Stamps | None:
        """By the packets of a file; None of pipes, addresses, and packets without times."""
        if isinstance(self._target, Pipe) or is_address(self._target):
            return None

        # Open the file once more: reading here would move the place of the frames.
        bounds = self._selection.bounds(self._first_pts, self._time_base)
        try:
            with open_container(self._target, self._name) as container:
                packets = container.demux(container.streams[self._stream.index])
                return packet_stamps(packets, self._first_pts, *bounds)
        except (av.error.FFmpegError, LookupError) as error:
            log.debug("%s: packets not read: %s", self._name, error)
            return None

    def _frames_before(self, pts: int) -> int:
        """Number of frames before `pts`; files are read for it, addresses are not."""
        step = 1 / (self.info.nominal_rate * self._time_base)
        guess = round((pts - self._first_pts) / step)

        # Guess for an address: counting would fetch everything before the range.
        if is_address(str(self._target)):
            return guess
        even = None if self.info.rate is None else step
        with open_container(self._target, self._name) as container:
            try:
                packets = container.demux(container.streams[self._stream.index])
                return frames_between(packets, self._first_pts, pts, even)
            except (av.error.FFmpegError, LookupError) as error:
                log.debug("%s: frames not counted: %s", self._name, error)
                return guess

    def _seek(
        self, start: int, pts: int, frame: av.VideoFrame | None
    ) -> tuple[int, av.VideoFrame | None]:
        """Stand at a frame not after `start`; (pts, frame) there."""
        damage = self._decoder.damage

        # Count what an attempt meets once: it is met again, and the beginning is not wanted.
        skipped = 0 if frame is not None else damage.skipped

        # Aim further back each time: an index may lead behind the frame that was aimed at.
        for margin_s in _SEEK_MARGINS_S:
            aim = start - round(margin_s / self._time_base)
            if aim <= self._first_pts:
                break
            try:
                self._container.seek(aim, stream=self._stream, backward=True)
            except av.error.FFmpegError:
                if margin_s or frame is None:
                    break
                return pts, frame  # a stream without an index: read on from the beginning
            self._restart()
            damage.skipped = skipped
            found = next(self._decoded, None)
            # Without a pts of its own a frame after a seek cannot be placed.
            if found is not None and found.pts is not None and found.pts <= start:
                return self._clock.pts(found), found

        # Begin anew at last, and decode up to the range: no seek led to a frame before it.
        self._begin_anew(self._device)
        damage.moved()
        damage.skipped, self._decoder.damage = skipped, damage
        found, self._first = self._first, None
        return self._first_pts, found

    def _restart(self) -> None:
        self._packets.clear()
        self._clock.restart()
        self._decoder.damage.moved()
        self._decoded.close()
        self._decoded = self._decode()

    def trailing_packets(self) -> list[Packet]:
        """Packets of the copied streams behind the last frame; call once, after iterating."""
        waiting = {one.index for one in copied_streams(self.info) if one.kind == "audio"}

        # Read on past the range: sound may lie in the file behind the pictures of its time.
        end_s = self._selection.end_s
        if end_s is not None and waiting and not self._closed:
            for packet in self._demuxer:
                if packet.stream_index != self._stream.index:
                    self._packets.add(packet)
                now_s = self._packets.time_s(packet)
                if now_s is None:
                    continue
                if now_s >= end_s:
                    waiting.discard(packet.stream_index)
                if not waiting or now_s > end_s + _TRAILING_S:
                    break
        return list(self._packets.taken())

    def _check_open(self) -> None:
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
        self._container.close()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
