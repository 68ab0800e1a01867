"""Audio and subtitle packets from the input, copied as they are into the output."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import av

from vidparse.frame import VideoInfo
from vidparse.video.copied import CopiedStream
from vidparse.video.sound import AacHeads, Alac, copied, is_pcm

log = logging.getLogger(__name__)

# Containers in which sound is made ALAC that cannot be copied, and the reason.
_ALAC = {
    "mp4": "mp4 players do not read PCM, -o x.mov keeps it",
    "matroska": "matroska cannot hold it",
}
_RARE_IN_MP4 = ("vorbis", "dts")
_OWN_KEYS = ("encoder", "duration", "handler_name", "vendor_id", "number_of", "_statistics")


class Remuxer:
    """The copied streams of one output container."""

    def __init__(
        self, container: Any, info: VideoInfo | None, notes: list[str], mux: Callable[[Any], None]
    ) -> None:
        """Add a stream for each of `info.copied` that the container can hold; a note for others.

        Args:
            mux: takes the packets for the container.
        """
        self._notes, self._mux = notes, mux
        self.silent: set[int] = set()  # input streams of which no packet has come yet
        self._outputs: dict[int, Any] = {}  # input stream index -> output stream
        self._last_dts: dict[int, int] = {}
        self.origin = Fraction(0)  # seconds of the input that are 0 in the output
        self._dropped = 0
        self._changes: dict[int, AacHeads | Alac] = {}  # input stream index -> what it needs
        for stream in info.copied if info is not None else ():
            output = self._added(container, stream)
            if output is None:
                continue
            output.metadata.update(
                (key, value)
                for key, value in stream.metadata
                if not key.lower().startswith(_OWN_KEYS)
            )
            output.disposition = stream.disposition
            self._outputs[stream.index] = output
            self.silent.add(stream.index)

    def _added(self, container: Any, stream: CopiedStream) -> Any:
        """The new stream of the container; None, and a note, when there is no way to hold it."""
        name = container.format.name
        problem = _problem(name, stream)
        called = f"{stream.kind} stream {stream.index} ({stream.codec})"
        if is_pcm(stream.codec) and name in _ALAC and (problem or name == "mp4"):
            try:
                alac = Alac(container, stream.template)
            except (av.error.FFmpegError, ValueError, LookupError) as error:
                log.debug("%s as ALAC: %s", called, error)
                problem = f"{name} players do not read it, and it does not fit in ALAC"
            else:
                self._notes.append(f"{called} is written as {alac.called}: {_ALAC[name]}")
                self._changes[stream.index] = alac
                return alac.output
        if problem:
            self._notes.append(f"{called} left out: {problem}")
            return None
        if name == "mp4" and stream.codec in _RARE_IN_MP4:
            self._notes.append(
                f"{called} is copied, but few mp4 players read it; -o x.mkv suits it"
            )
        output = container.add_stream_from_template(stream.template)
        if stream.codec == "aac" and not stream.template.codec_context.extradata:
            self._changes[stream.index] = AacHeads(stream.template, output)
        return output

    @property
    def rates(self) -> list[int]:
        """Sample rates of the copied audio: their times count in these."""
        audio = [output for output in self._outputs.values() if output.type == "audio"]
        return [output.codec_context.sample_rate for output in audio]

    def begin(self) -> None:
        """Call when the header of the container is written."""
        for change in self._changes.values():
            change.header_is_written = True

    def times(self, packets: Sequence[Any]) -> list[Fraction]:
        """When those packets that will be written begin, in seconds of the input."""
        known = [p for p in packets if p.stream_index in self._outputs and p.pts is not None]
        return [packet.pts * packet.time_base for packet in known]

    def fill(self, start: Any) -> None:
        """Put an empty text at `start` (pts, time base) into mp4 subtitles that begin later.

        Subtitles may begin minutes into the film, and an mp4 in fragments cannot begin before each
        of its streams has. Players show nothing for an empty text, as mp4 wants it between texts.
        """
        for index in sorted(self.silent):
            output = self._outputs[index]
            if output.codec_context.codec.canonical_name == "mov_text":
                packet = av.Packet(b"\0\0")  # length of the text: none
                packet.pts, packet.time_base = start
                packet.dts, packet.is_keyframe, packet.stream = packet.pts, True, output
                self._mux(packet)
                self.silent.discard(index)

    def write(self, packets: Sequence[Any]) -> None:
        """Mux packets of the copied streams; others are passed over.

        The packets stay as they are, so that several outputs can copy the same ones.
        """
        for packet in packets:
            output = self._outputs.get(packet.stream_index)
            if output is None:
                continue
            change = self._changes.get(packet.stream_index)
            try:
                copies = change.change(copied(packet)) if change else [copied(packet)]
            except (av.error.FFmpegError, ValueError) as error:
                log.debug("copied packet not readable: %s", error)
                self._drop()
                continue
            for copy in copies:
                self._write(packet.stream_index, copy)

    def finish(self) -> None:
        """Mux what is still held of sound that is encoded anew."""
        for index, change in self._changes.items():
            for packet in change.flush():
                self._write(index, packet)

    def _write(self, index: int, packet: Any) -> None:
        """A packet of our own, for the stream that takes the place of input stream `index`."""
        if self.origin:
            shift = round(self.origin / packet.time_base)
            packet.dts = packet.dts - shift if packet.dts is not None else None
            packet.pts = packet.pts - shift if packet.pts is not None else None
        stamp, last = packet.dts, self._last_dts.get(index)
        if stamp is None or (last is not None and stamp < last):
            self._drop()  # damaged input; no container takes time that runs backwards
            return
        self._last_dts[index] = stamp
        packet.stream = self._outputs[index]
        self.silent.discard(index)
        self.put(packet)

    def put(self, packet: Any) -> None:
        """Mux a packet of a copied stream; one that FFmpeg refuses is damaged and left out."""
        try:
            self._mux(packet)
        except (av.error.InvalidDataError, av.error.ArgumentError) as error:
            log.debug("copied packet refused: %s", error)
            self._drop()

    def _drop(self) -> None:
        if not self._dropped:
            self._notes.append("some damaged audio or subtitle packets were left out")
        self._dropped += 1


def _problem(container_name: str, stream: CopiedStream) -> str | None:
    """Why this container cannot hold the stream, found out by writing a header; None if it can."""
    if container_name in ("yuv4mpegpipe", "rawvideo"):
        return f"{container_name} holds video only"
    trial = av.open(io.BytesIO(), mode="w", format=container_name)
    try:
        trial.add_stream_from_template(stream.template)
        trial.start_encoding()
    except (av.error.FFmpegError, ValueError, LookupError) as error:
        log.debug("%s in %s: %s", stream, container_name, error)
        return f"{container_name} cannot hold it"
    finally:
        try:
            trial.close()
        except av.error.FFmpegError as error:
            log.debug("trial of %s: %s", container_name, error)
    return None
