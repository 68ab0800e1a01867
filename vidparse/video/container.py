"""Videos that FFmpeg can open: files, addresses and self-describing pipes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import av

from vidparse.errors import InputError, TruncatedError, counted
from vidparse.frame import Frame, Packet
from vidparse.limits import check_size
from vidparse.video.access import is_address
from vidparse.video.decode import frames_between
from vidparse.video.demux import copied_streams, open_container
from vidparse.video.header import Header
from vidparse.video.picture import Converter, hdr_note
from vidparse.video.playhead import Live, Playhead
from vidparse.video.raw import Pipe
from vidparse.video.source import NVDEC, Selection, Source, Stamps, packet_stamps
from vidparse.video.unreachable import lost_reason

log = logging.getLogger(__name__)

_PLAYLISTS = ("hls", "dash")
_NAMED = 3  # missing segments


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
        self._wanted_track = track
        self._end_notes: list[str] = []
        self.is_over = False  # the input ran out, and not only the range

        self._head = Playhead(target, name, selection, copy_streams, track, live=live)
        try:
            first = self._head.first
            assert first is not None  # nothing was read yet
            check_size(name, (first.height, first.width))
            self._converter = Converter(first)
            self._header = Header.read(
                name,
                self._head.container,
                self._head.stream,
                self._head.copied,
                first=first,
                converter=self._converter,
                codec=self._head.decoder.codec,
            )
            self.info = self._header.info
            if device is not None:
                self._move_to(device, first)
        except BaseException:
            self._head.close()
            raise

    def _move_to(self, device: int, first: av.VideoFrame) -> None:
        """Begin anew with the decoder of a device, unless it cannot decode this."""
        from vidparse.video.nvdec import why_on_the_cpu

        self.decoded_on = why_on_the_cpu(self.info.codec, first)
        if self.decoded_on or isinstance(self._target, Pipe) or is_address(self._target):
            return
        stored_hw = first.height, first.width
        try:
            self._head.begin_anew(device)
            again = self._head.first
            if again is None or (again.height, again.width) != stored_hw:
                raise InputError(f"{self._name}: the device does not cut off its margins")
            self.decoded_on = NVDEC

        # Try the device itself: it has limits of size and profile that no header shows.
        except (av.error.FFmpegError, InputError, NotImplementedError, RuntimeError) as error:
            log.info("%s: not decoded on cuda:%d: %s", self._name, device, error)
            self.decoded_on = "the GPU cannot decode it"
            self._head.begin_anew(None)

    @property
    def skipped(self) -> int:
        """Damaged packets and missing segments passed over so far."""
        # Take the larger count, not the sum: a missing segment often is a failed read, too.
        missing = len(set(self._head.missing))
        return self._head.decoder.damage.skipped + max(self._head.demuxer.damaged, missing)

    @property
    def notes(self) -> list[str]:
        """Warnings so far, for the user."""
        return self.notes_with(())

    def notes_with(self, others: Sequence[ContainerSource]) -> list[str]:
        """Warnings so far, of other readers of the same file, too."""
        readers = (self, *others)
        notes = [hdr_note(self.info.colour, self.info.pixel_format)]
        if self._head.tracks > 1 and self._wanted_track is None:
            notes.append(
                f"it has {self._head.tracks} video tracks, of which track {self._head.track} is "
                "read; --track chooses another"
            )

        if missing := list(dict.fromkeys(self._head.missing)):
            notes.append(f"segments of the playlist that are missing: {_listed(missing)}")
        damage = [one._head.decoder.damage for one in readers if one._head.decoder.damage.filled]
        if damage:
            first = min(one.first_filled or 0 for one in damage)
            place_s = float((first - self._head.first_pts) * self._head.time_base)
            notes.append(
                f"damaged pictures: {sum(one.filled for one in damage)}, the first at "
                f"{place_s:.2f} s; the decoder filled in what is missing there"
            )

        if resized := sum(one._converter.resized for one in readers):
            were = "was" if resized == 1 else "were"
            notes.append(f"{counted(resized, 'frame')} of another size {were} scaled")
        if repaired := sum(one._head.clock.repaired for one in readers):
            notes.append(f"repaired {counted(repaired, 'timestamp')} that ran backwards")

        ends = (note for one in readers for note in one._end_notes)
        return [note for note in (*notes, *ends) if note]

    def __iter__(self) -> Iterator[Frame]:
        """Frames of the range, lazily; once.

        Raises:
            TruncatedError: the file ends early; all its good frames were delivered.
            InputError: the range holds no frame, or the source was closed.
        """
        self._head.check_open()
        start, end = self._selection.bounds(self._head.first_pts, self._head.time_base)
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
        self._head.decoder.damage.begin(start, until)
        pts, lasts = None, 0

        for number, after, picture in self._from(start, numbered):
            if until is not None and after >= until:
                break
            lasts = self._header.duration(picture, lasts if pts is None else after - pts)
            pts = after

            # Count damage here, not in the decoder: what is before the range is no loss.
            self._head.decoder.damage.delivered(picture, pts)
            yield number, pts, lasts, picture
        else:
            self.is_over = True
        self._head.decoder.damage.end()

    def _frame(self, number: int, pts: int, lasts: int, picture: av.VideoFrame) -> Frame:
        shown = self._header.shown(pts, lasts, self.end_pts, self._selection.stride)
        over_s = (pts + shown - self._head.first_pts) * self._head.time_base
        return Frame(
            number,
            pts,
            self._converter.image(picture),
            packets=self._head.packets.taken(over_s),
            duration=shown or None,
            time_base=self._head.time_base,
        )

    @property
    def is_promised(self) -> bool:
        """True where the container gives its length, so that it is not being made now."""
        if self.info.duration_s is not None or self.info.frames is not None:
            return True

        # Pass the size of a playlist by: it has no relation to the video.
        size: int = 0 if self.format in _PLAYLISTS else self._head.container.size
        return size > 0  # else nobody knows it

    @property
    def format(self) -> str:
        """FFmpeg's name of the container."""
        return self._head.container.format.name

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
        return self._selection.bounds(self._head.first_pts, self._head.time_base)[1]

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
        time_s = float((pts - self._head.first_pts) * self._head.time_base)
        if self._head.demuxer.lost is not None:
            why = lost_reason(self._head.demuxer.lost, self._head.silence_s)
            raise TruncatedError(
                f"{self._name}: lost after {counted(count, 'frame')} ({time_s:.2f} s); it {why}"
            )

        # Check the container first: one damaged picture at the end need not be a cut.
        cut = self._head.demuxer.cut_short()
        if cut is None:
            cut = self._head.decoder.ends_badly()
        if cut:
            raise TruncatedError(
                f"{self._name}: the {'pipe' if isinstance(self._target, Pipe) else 'file'} ends "
                f"early, after {counted(count, 'frame')} ({time_s:.2f} s); they are kept, "
                "get a complete copy for the rest"
            )
        mean_s = time_s / (count - 1) if count > 1 else 0.0  # slow video: seconds for one picture
        lasts_s = max(mean_s, float(lasts * self._head.time_base))
        if note := self._header.loss_note(time_s, lasts_s):
            self._end_notes.append(note)

    def _from(self, start: int | None, numbered: bool) -> Iterator[tuple[int, int, av.VideoFrame]]:
        """(number in the file, pts, picture) from the first picture at or after `start`."""
        before = 0
        if start is not None and self._head.seek(start) and numbered:
            before = self._frames_before(self._head.pts)
        for number, (pts, picture) in enumerate(self._head.pictures(), before):
            if start is None or pts >= start:
                yield number, pts, picture

    def stamps(self) -> Stamps | None:
        """By the packets of a file; None of pipes, addresses, and packets without times."""
        if isinstance(self._target, Pipe) or is_address(self._target):
            return None

        # Open the file once more: reading here would move the place of the frames.
        bounds = self._selection.bounds(self._head.first_pts, self._head.time_base)
        try:
            with open_container(self._target, self._name) as container:
                packets = container.demux(container.streams[self._head.stream.index])
                return packet_stamps(packets, self._head.first_pts, *bounds)
        except (av.error.FFmpegError, LookupError) as error:
            log.debug("%s: packets not read: %s", self._name, error)
            return None

    def _frames_before(self, pts: int) -> int:
        """Number of frames before `pts`; files are read for it, addresses are not."""
        step = 1 / (self.info.nominal_rate * self._head.time_base)
        guess = round((pts - self._head.first_pts) / step)

        # Guess for an address: counting would fetch everything before the range.
        if is_address(str(self._target)):
            return guess
        even = None if self.info.rate is None else step
        with open_container(self._target, self._name) as container:
            try:
                packets = container.demux(container.streams[self._head.stream.index])
                return frames_between(packets, self._head.first_pts, pts, even)
            except (av.error.FFmpegError, LookupError) as error:
                log.debug("%s: frames not counted: %s", self._name, error)
                return guess

    def trailing_packets(self) -> list[Packet]:
        """Packets of the copied streams behind the last frame; call once, after iterating."""
        sound = (one.index for one in copied_streams(self.info) if one.kind == "audio")
        return self._head.trailing_packets(sound)

    def close(self) -> None:
        """Release the file, or leave it to the thread that reads at this moment. Idempotent."""
        self._head.close()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
