"""Encoded video out, frame by frame, each with the time it had in the input."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

import av
import numpy as np
from av.container import OutputContainer

from vidparse.errors import ClosedPipe, OutputError
from vidparse.frame import Packet, VideoInfo
from vidparse.image import Yuv420, YuvAlpha
from vidparse.video.outfile import OutFile, advice
from vidparse.video.remux import Remuxer

log = logging.getLogger(__name__)
_BUFFER_BYTES: Final = 1 << 18
_KEYFRAME_S: Final = 2
_FRAGMENT_US: Final = 1_000_000
_MAX_WAIT_S: Final = 2  # for the first packet of a copied stream
_MAX_SCALE: Final = 2**31 - 1
_NEEDS_EVEN: Final = ("libx264", "libx265", "libsvtav1", "h264_nvenc", "hevc_nvenc")
_QUICKTIME: Final = ("mp4", "mov")
_BEGIN_AT_ZERO: Final = (*_QUICKTIME, "webm")
_NO_CLOCK: Final = ("yuv4mpegpipe", "rawvideo")
_MATROSKA: Final = ("matroska", "webm")
_SHAPED: Final = ("libx264", "libx265", "h264_nvenc", "hevc_nvenc", "mpeg4")  # by their own header
# bf=0: an mp4 cut inside a group of pictures then ends with whole frames, in order.
_X264_DEFAULTS: Final = {"preset": "superfast", "crf": "20", "bf": "0"}
_FRAME_DURATION: Final[int] = av.codec.context.Flags.frame_duration.value
_FAILURES: Final = (av.error.FFmpegError, OSError, ValueError, LookupError)


class VideoWriter:
    """One video file or pipe being written.

    Times: every frame keeps its pts in `info.time_base`, exactly, also when the steps vary, and the
    last one its duration. Exceptions: Matroska counts in milliseconds (rounded to the nearest one,
    there is no way round it), y4m and rawvideo have no times at all. mp4 and mov begin at 0 with
    the first picture or packet, at the same distances: they could hold a later start only by an
    empty edit, through which players wait. WebM does, too, so that layers of one run, which may
    have alpha in WebM alone, lie on each other.

    mp4 is written as fragments of about a second, so that a killed program leaves a file that plays
    up to the last fragment, and is turned into an ordinary mp4 at the end. A copied stream that is
    still silent after two seconds makes it a plain mp4 from the start, which cannot be played
    before it is finished. A request of B-frames ("bf") costs the last frame of uneven mp4 video:
    FFmpeg's edit list cuts it off.

    Odd sizes: H.264 with 4:2:0 colour can only be of even size (its crop rectangle counts in steps
    of two), so the last row or column is repeated once. FFV1, y4m and rawvideo stay odd.

    Not for several threads at once.
    """

    def __init__(
        self,
        target: Path | str | BinaryIO,
        info: VideoInfo,
        *,
        codec: str,
        container: str,
        pixel_format: str,
        options: dict[str, str] | None = None,
        copy_streams: bool = False,
        size_hw: tuple[int, int] | None = None,
    ) -> None:
        """Open the output and write its header.

        Args:
            target: a path, or a binary stream such as standard output (never closed here).
            info: time base, rate, colour, aspect, metadata, and the streams to copy.
            codec: an FFmpeg encoder: "libx264", "ffv1", "rawvideo", "wrapped_avframe" (y4m).
            container: an FFmpeg muxer: "mp4", "matroska", "yuv4mpegpipe", "rawvideo", "nut".
            pixel_format: "yuv420p" takes `Yuv420`, "gray" uint8 (H, W), "gray16le" uint16 (H, W),
                "rgb24" uint8 (H, W, 3), "yuva420p" and "yuva444p10le" `YuvAlpha`.
            options: for the encoder, over the defaults for libx264.
            copy_streams: also write the packets of `info.copied`.
            size_hw: of the pictures; `info.size_hw` unless given.

        Raises:
            OutputError: the target cannot be written, or codec and container do not go together.
            ClosedPipe: the reader of the pipe has gone.
        """
        self._info = info
        self._pixel_format = pixel_format
        self.size_hw = size_hw or info.size_hw
        self.notes: list[str] = []
        self._count = 0
        self._first_pts: int | None = None
        self._lasts: int | None = None  # duration of the frame before
        self._waiting: av.Packet | None = None  # a picture whose duration is not known yet
        self._held: list[av.Packet] | None = []  # packets until the header is written

        self._file = OutFile(target)
        self._name = self._file.name
        self._container = self._open_container(container)
        try:
            self._stream = self._add_video(codec, options or {})
            self._remuxer = Remuxer(
                self._container, info if copy_streams else None, self.notes, self._put
            )
            self._add_metadata()

            # Open the encoder at once: a wrong option then fails before any frame is computed.
            self._stream.codec_context.open()

            # Wait with the header where streams are copied: it needs their first packets.
            if not self._remuxer.silent:
                self._begin()
        except _FAILURES as error:
            failure = self._failure(error)
            self.abort()
            raise failure from error
        except BaseException:
            self.abort()
            raise

    def write(
        self,
        image: Yuv420 | YuvAlpha | np.ndarray,
        pts: int,
        packets: Sequence[Packet] = (),
        duration: int | None = None,
    ) -> None:
        """Encode one picture, and copy the packets that came with it.

        Args:
            image: in the form of `pixel_format`, of size `size_hw`.
            pts: in `info.time_base`; larger than the one before.
            packets: of `info.copied`, to be muxed with it.
            duration: how long it is shown if it is the last, in `info.time_base`.

        Raises:
            OutputError: disk full, device gone. ClosedPipe: nobody reads any more.
        """
        # Start the clock with the first frame, so that copied streams keep their distance to it.
        if self._first_pts is None:
            self._first_pts = pts
            self._remuxer.origin = self._origin(pts, packets)

        frame = self._frame(image)
        if self._container.format.name in _NO_CLOCK:
            frame.pts, frame.time_base = self._count, self._stream.time_base
        else:
            shift = self._remuxer.origin / self._info.time_base
            frame.pts, frame.time_base = pts - int(shift), self._info.time_base
            frame.duration = duration or 0

        self._count += 1
        self._lasts = duration
        self._mux(frame, packets)
        if self._held is not None:
            self._begin_in_time(pts)

    def finish(self, packets: Sequence[Packet] = ()) -> None:
        """Write what the encoder still holds, the last copied packets and the end of the file.

        Raises:
            OutputError: as for `write`; the file is then not complete.
        """
        try:
            self._mux(None, packets)
            self._end_picture()
            self._remuxer.finish()

            # Begin at last, if need be: with silent streams no header is written yet.
            self._begin()
            self._container.close()
            self._file.check()
            self._file.close()
        except _FAILURES as error:
            failure = self._failure(error)
            self.abort()
            raise failure from error
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Let go of the target without completing it. Idempotent; also fine after `finish`."""
        self._file.drop()  # PyAV leaves the trailer out when the file is closed already
        try:
            self._container.close()
        except _FAILURES as error:
            log.debug("%s: %s", self._name, error)

    def _origin(self, pts: int, packets: Sequence[Packet]) -> Fraction:
        """Seconds of the input that are 0 in the output; whole units of the video's time base."""
        if self._container.format.name not in _BEGIN_AT_ZERO:
            return Fraction(0)
        base = self._info.time_base

        # Begin with whatever is first: sound before the picture would have times below 0.
        starts = [pts * base, *self._remuxer.times(packets)]
        return max(0, math.floor(min(starts) / base)) * base

    def _open_container(self, container: str) -> OutputContainer:
        """Raises: OutputError: FFmpeg has no such container."""
        # Flush what is muxed, and wait a second at most for silent streams: a kill loses little.
        options = {"flush_packets": "1", "max_interleave_delta": str(_FRAGMENT_US)}

        # Let the same frames make the same bytes: Matroska's numbers of tracks are random else.
        if container in ("matroska", "webm"):
            options["fflags"] = "bitexact"
        try:
            return av.open(
                self._file,
                mode="w",
                format=container,
                container_options=options,
                buffer_size=_BUFFER_BYTES,
            )
        except _FAILURES as error:
            self._file.drop()
            raise OutputError(f"{self._name}: {error}; {advice(error)}") from error

    def _begin(self) -> None:
        """Write the header and what was held back for it."""
        if self._held is None:
            return
        if self._container.format.name in _QUICKTIME:
            # Choose only now: fragments need streams that have spoken.
            self._container.container_options.update(self._mp4_options())
        self._container.start_encoding()
        self._remuxer.begin()
        held, self._held = self._held, None
        for packet in held:
            put = self._put if packet.stream_index == self._stream.index else self._remuxer.put
            put(packet)
        self._file.check()

    def _begin_in_time(self, pts: int) -> None:
        """Begin when every copied stream has shown itself, or when that takes too long."""
        assert self._first_pts is not None
        try:
            first_s = self._first_pts * self._info.time_base - self._remuxer.origin
            self._remuxer.fill((round(first_s / self._info.time_base), self._info.time_base))
            waited_s = (pts - self._first_pts) * self._info.time_base
            if not self._remuxer.silent or waited_s > _MAX_WAIT_S:
                self._begin()
        except _FAILURES as error:
            raise self._failure(error) from error

    def _mp4_options(self) -> dict[str, str]:
        """Fragments, and clocks fine enough for every time in the file.

        FFmpeg begins a fragmented file only when all its streams have a packet and keeps all in
        memory until then; so with a stream that stays silent it has to be a plain file.
        """
        base = self._info.time_base
        scales = [math.lcm(base.denominator, *self._remuxer.rates), base.denominator]
        options = {
            "video_track_timescale": str(base.denominator),
            # Counts the time before the first frame; FFmpeg's 1/1000 s would round it.
            "movie_timescale": str(next((s for s in scales if s <= _MAX_SCALE), 1000)),
        }
        if not self._file.seekable():
            options["movflags"] = "frag_keyframe+delay_moov"
        elif not self._remuxer.silent:
            # delay_moov: only so does a fragmented file start at another time than 0.
            options["movflags"] = "hybrid_fragmented+delay_moov"
        if "movflags" in options:
            options["frag_duration"] = str(_FRAGMENT_US)
        return options

    def _add_video(self, codec: str, options: dict[str, str]) -> av.VideoStream:
        info = self._info
        rate = info.nominal_rate
        if info.rate is None and self._container.format.name in _NO_CLOCK:
            self.notes.append(
                f"{self._container.format.name} has no times: the frames of this variable-rate "
                f"video are written at {float(rate):g} a second"
            )

        if codec not in av.codecs_available:
            raise OutputError(f"codec '{codec}': not known to this FFmpeg; use libx264")
        if codec == "libx264":
            keyint = str(max(1, round(rate * _KEYFRAME_S)))
            defaults = {**_X264_DEFAULTS, "g": keyint}
            if "qp" in options:
                del defaults["crf"]  # x264 lets it win over qp
            options = {**defaults, **options}

        stream = self._container.add_stream(codec, rate=rate, options=options)
        if not isinstance(stream, av.VideoStream):
            raise OutputError(f"codec '{codec}': encodes no video; use libx264")

        # Round odd sizes up for encoders with halved chroma.
        height, width = self.size_hw
        if codec in _NEEDS_EVEN and self._pixel_format == "yuv420p":
            height, width = height + height % 2, width + width % 2
        self._coded_hw = height, width

        context = stream.codec_context
        context.width, context.height = width, height
        context.pix_fmt = self._pixel_format
        base = 1 / rate if self._container.format.name in _NO_CLOCK else info.time_base
        context.time_base = stream.time_base = base

        # Let the encoder pass durations on: no next frame shows how long the last one lasts.
        context.flags |= _FRAME_DURATION

        # Name the loss: PyAV cannot set the shape in the container itself, which WebM shows.
        if info.sample_aspect_ratio not in (0, 1):
            context.sample_aspect_ratio = info.sample_aspect_ratio
            kind = self._container.format.name
            if kind in _MATROSKA and codec not in _SHAPED:
                self.notes.append(
                    f"{codec} in {kind}: its pixels are square, those of the input "
                    f"{info.sample_aspect_ratio} as wide as high; stretch it by that where it plays"
                )
        self._tag(context)
        return stream

    def _tag(self, target: av.VideoCodecContext | av.VideoFrame) -> None:
        """Set the colours that the pixels are in; gray ones have no tags."""
        if self._pixel_format.startswith("yuv"):
            colour = self._info.colour
            target.colorspace, target.color_range = colour.matrix, colour.range
            target.color_primaries, target.color_trc = colour.primaries, colour.transfer

    def _add_metadata(self) -> None:
        if self._container.format.name not in ("yuv4mpegpipe", "rawvideo"):
            self._container.metadata.update(dict(self._info.metadata))

    def _frame(self, image: Yuv420 | YuvAlpha | np.ndarray) -> av.VideoFrame:
        """A new FFmpeg frame with the picture in it, its edge repeated to the coded size."""
        height, width = self._coded_hw
        frame = av.VideoFrame(width, height, self._pixel_format)

        self._tag(frame)  # the encoder of ProRes does not look at its own settings

        planes = (image,) if isinstance(image, np.ndarray) else image.planes
        for index, picture in enumerate(planes):
            rows = picture.reshape(picture.shape[0], -1).view(np.uint8)  # (h, bytes of a row)
            plane = frame.planes[index]
            lines = np.frombuffer(memoryview(plane), np.uint8).reshape(
                plane.height, plane.line_size
            )
            lines[: rows.shape[0], : rows.shape[1]] = rows
            if index == 0 and self._coded_hw != self.size_hw:
                lines[: rows.shape[0], rows.shape[1] : width] = rows[:, -1:]
                lines[rows.shape[0] :] = lines[rows.shape[0] - 1]  # chroma has no odd edge
        return frame

    def _mux(self, frame: av.VideoFrame | None, packets: Sequence[Packet]) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._put_picture(packet)
            self._remuxer.write(packets)
            self._file.check()
        except _FAILURES as error:
            raise self._failure(error) from error

    def _put_picture(self, packet: av.Packet) -> None:
        """Mux the picture before, which lasts until this one (in the order of decoding)."""
        if self._container.format.name not in _QUICKTIME:
            self._put(packet)
            return

        # Hold one picture back: only the next shows how long it lasts, and mp4 stores that.
        waiting, self._waiting = self._waiting, packet
        if waiting is not None:
            if packet.dts is not None and waiting.dts is not None:
                waiting.duration = packet.dts - waiting.dts
            self._put(waiting)

    def _end_picture(self) -> None:
        """Mux the last picture, with the duration that its frame had."""
        packet, self._waiting = self._waiting, None
        if packet is None:
            return

        # Set it without B-frames only: with them the last packet is not the last shown.
        if self._lasts and packet.pts == packet.dts:
            packet.duration = round(self._lasts * self._info.time_base / packet.time_base)
        self._put(packet)

    def _put(self, packet: av.Packet) -> None:
        if self._held is None:
            self._container.mux(packet)
        else:
            self._held.append(packet)

    def _failure(self, error: Exception) -> OutputError:
        """The error that the user sees; the file knows the real reason when it has one."""
        cause = self._file.error or error
        if isinstance(cause, OutputError):
            return cause
        if isinstance(cause, BrokenPipeError):
            return ClosedPipe(f"{self._name}: the reading program has gone; nothing more to write")
        if isinstance(cause, av.error.PermissionError) and self._file.error is None:
            return OutputError(  # FFmpeg's -1, its word for "no"; nobody's permission is missing
                f"{self._name}: {self._container.format.name} does not take one of the streams; "
                "use another container, as in -o x.mkv, or --no-audio"
            )
        reason = getattr(cause, "strerror", None) or str(cause)
        return OutputError(f"{self._name}: {reason}; {advice(cause)}")
