"""Audio and subtitle packets from the input, copied as they are into the output.

Some sound changes on its way: AAC loses its ADTS heads, PCM becomes ALAC if players need it, and
WebM gets Opus.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from fractions import Fraction

import av
import numpy as np
from av.container import OutputContainer
from av.stream import Stream

from vidparse.frame import Packet, VideoInfo
from vidparse.video.demux import CopiedStream, copied_streams

log = logging.getLogger(__name__)

# Containers in which sound is made ALAC that cannot be copied, and the reason.
_ALAC = {
    "mp4": "mp4 players do not read PCM, -o x.mov keeps it",
    "matroska": "matroska cannot hold it",
}
_RARE_IN_MP4 = ("vorbis", "dts")
_OWN_KEYS = ("encoder", "duration", "handler_name", "vendor_id", "number_of", "_statistics")
_SHORT = ("pcm_s16", "pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw")  # 16 bits hold all of it
# What ALAC knows, by number of channels.
_LAYOUTS = dict(
    enumerate(("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1(back)", "7.1(wide)"), 1)
)
_OPUS_RATE = 48_000
_TOLERANCE_S = Fraction(1, 20)  # between the time of a packet and the number of samples before it


class Remuxer:
    """The copied streams of one output container."""

    def __init__(
        self,
        container: OutputContainer,
        info: VideoInfo | None,
        notes: list[str],
        mux: Callable[[av.Packet], None],
    ) -> None:
        """Add a stream for each of `info.copied` that the container can hold; a note for others.

        Args:
            mux: takes the packets for the container.
        """
        self._notes, self._mux = notes, mux
        self.silent: set[int] = set()  # input streams of which no packet has come yet
        self._outputs: dict[int, Stream] = {}  # input stream index -> output stream
        self._last_dts: dict[int, int] = {}
        self.origin = Fraction(0)  # seconds of the input that are 0 in the output
        self._dropped = 0
        self._changes: dict[int, AacHeads | Reencoded] = {}  # input stream index -> what it needs

        for stream in copied_streams(info) if info is not None else ():
            output = self._added(container, stream)
            if output is None:
                continue

            # Leave out what describes the old file: lengths and counts would be wrong here.
            output.metadata.update(
                (key, value)
                for key, value in stream.metadata
                if not key.lower().startswith(_OWN_KEYS)
            )
            output.disposition = stream.disposition
            self._outputs[stream.index] = output
            self.silent.add(stream.index)

    def _added(self, container: OutputContainer, stream: CopiedStream) -> Stream | None:
        """The new stream of the container; None, and a note, when there is no way to hold it."""
        name = container.format.name
        problem = _problem(name, stream)
        called = f"{stream.kind} stream {stream.index} ({stream.codec})"

        # Write sound anew where players do not read it, or the container takes nothing else.
        template = stream.template
        unread = name in _ALAC and (problem is not None or name == "mp4")
        form: type[Reencoded] | None = None
        why = ""
        if isinstance(template, av.AudioStream):
            if unread and _is_pcm(stream.codec):
                form, why = Alac, _ALAC[name]
            elif problem and name == "webm":
                form, why = Opus, "WebM holds no other"
        if form is not None and isinstance(template, av.AudioStream):
            try:
                anew = form(container, template)
            except (av.error.FFmpegError, ValueError, LookupError) as error:
                log.debug("%s as %s: %s", called, form.codec, error)
                problem = f"{name} players do not read it, and it does not fit in {form.__name__}"
            else:
                self._notes.append(f"{called} is written as {anew.called}: {why}")
                self._changes[stream.index] = anew
                return anew.output

        if problem:
            self._notes.append(f"{called} left out: {problem}")
            return None
        if name == "mp4" and stream.codec in _RARE_IN_MP4:
            self._notes.append(
                f"{called} is copied, but few mp4 players read it; -o x.mkv suits it"
            )

        output = container.add_stream_from_template(stream.template)

        # Expect ADTS heads where AAC has no description: it is of a transport stream.
        if stream.codec == "aac" and not stream.template.codec_context.extradata:
            self._changes[stream.index] = AacHeads(stream.template, output)
        return output

    @property
    def rates(self) -> list[int]:
        """Sample rates of the copied audio: their times count in these."""
        outputs = self._outputs.values()
        return [one.codec_context.sample_rate for one in outputs if isinstance(one, av.AudioStream)]

    def begin(self) -> None:
        """Call when the header of the container is written."""
        for change in self._changes.values():
            change.header_is_written = True

    def times(self, packets: Sequence[Packet]) -> list[Fraction]:
        """When those packets that will be written begin, in seconds of the input."""
        return [
            packet.pts * packet.time_base
            for packet in _of_pyav(packets)
            if packet.stream_index in self._outputs and packet.pts is not None
        ]

    def fill(self, start: tuple[int, Fraction]) -> None:
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

    def write(self, packets: Sequence[Packet]) -> None:
        """Mux packets of the copied streams; others are passed over.

        The packets stay as they are, so that several outputs can copy the same ones.
        """
        for packet in _of_pyav(packets):
            output = self._outputs.get(packet.stream_index)
            if output is None:
                continue
            change = self._changes.get(packet.stream_index)
            try:
                # Copy before muxing, which changes a packet: other outputs copy the same ones.
                copies = change.change(_copied(packet)) if change else [_copied(packet)]
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

    def _write(self, index: int, packet: av.Packet) -> None:
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

    def put(self, packet: av.Packet) -> None:
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
    """The reason that this container cannot hold the stream, by a trial header; None if it can."""
    if container_name in ("yuv4mpegpipe", "rawvideo"):
        return f"{container_name} holds video only"

    # Try a header: muxers refuse a stream only then, and no output can take one back.
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


def _of_pyav(packets: Sequence[Packet]) -> list[av.Packet]:
    """The packets that frames carry, as what they are."""
    return [packet for packet in packets if isinstance(packet, av.Packet)]


def _is_pcm(codec: str) -> bool:
    """Samples one by one, also with a companding curve."""
    return codec.startswith("pcm_")


def _copied(packet: av.Packet, *, without: str | None = None) -> av.Packet:
    """The same bytes (shared) and times, in a packet of our own; `without` one side data."""
    copy = av.Packet(packet)  # type: ignore[arg-type]  # any buffer will do, and is shared
    copy.time_base = packet.time_base
    copy.pts, copy.dts = packet.pts, packet.dts if packet.dts is not None else packet.pts
    copy.duration = packet.duration
    copy.is_keyframe = packet.is_keyframe
    for data in packet.iter_sidedata():
        if data.data_type != without:
            copy.set_sidedata(data)
    return copy


class AacHeads:
    """AAC of transport streams has an ADTS head on every packet, which mp4 does not take.

    It wants one description ahead of all packets ("extradata").
    """

    def __init__(self, template: Stream, output: Stream) -> None:
        self._filter = av.bitstream.BitStreamFilterContext("aac_adtstoasc", template)
        self._output = output
        self._described = False
        self.header_is_written = False  # too late for a description; the packet carries it then

    def change(self, packet: av.Packet) -> list[av.Packet]:
        """The packet without its head. Raises: FFmpegError: there is none, it is damaged."""
        packets = self._filter.filter(packet)
        if self._described or not packets:
            return packets
        self._described = True
        for data in packets[0].iter_sidedata():
            if data.data_type == "new_extradata" and not self.header_is_written:
                self._output.codec_context.extradata = bytes(data)
                packets[0] = _copied(packets[0], without="new_extradata")
                break
        return packets

    def flush(self) -> list[av.Packet]:
        return []


class Reencoded:
    """Decodes sound and encodes it anew, as an encoder has it that `_choose` describes.

    Attributes:
        called: the new form for people: "ALAC, without loss".
        output: the new stream of the container.
    """

    codec: str

    def __init__(self, container: OutputContainer, template: av.AudioStream) -> None:
        """Adds `output` to the container.

        Raises:
            FFmpegError, LookupError: the encoder does not know this number of channels or rate.
        """
        # A decoder of its own: several outputs may read the same packets.
        holder = av.open(io.BytesIO(), mode="w", format="null")
        self._decoder = holder.add_stream_from_template(template).codec_context
        self._rate, self._layout, self._form, self.called = self._choose(self._decoder)
        self._tick = Fraction(1, self._rate)

        # Try it on an encoder of its own: a stream cannot be taken back.
        self._fresh_encoder()
        output = container.add_stream(self.codec, rate=self._rate)
        assert isinstance(output, av.AudioStream)  # the codec is one of sound
        self.output = output
        self._encoder = self._prepared(output.codec_context)
        self._resampler: av.AudioResampler | None = None  # of the sound since the last gap

        self._held: list[np.ndarray] = []  # (channels, samples) not encoded yet
        self._next = 0  # pts of the first of these
        self._begun = False
        self.header_is_written = False

    def _choose(self, decoder: av.AudioCodecContext) -> tuple[int, str, str, str]:
        """Rate, layout and sample form for the encoder, and what it is called."""
        raise NotImplementedError

    def _fresh_encoder(self) -> av.AudioCodecContext:
        encoder = av.CodecContext.create(self.codec, "w")
        assert isinstance(encoder, av.AudioCodecContext)
        return self._prepared(encoder)

    def _prepared(self, encoder: av.AudioCodecContext) -> av.AudioCodecContext:
        encoder.layout, encoder.format, encoder.sample_rate = self._layout, self._form, self._rate
        encoder.time_base = self._tick
        encoder.open()
        return encoder

    def change(self, packet: av.Packet) -> list[av.Packet]:
        """Encoded packets that are complete now. Raises: FFmpegError: damaged."""
        done: list[av.Packet] = []
        for frame in self._decoder.decode(packet):
            if frame.pts is None or frame.time_base is None:
                begins = self._next + sum(part.shape[1] for part in self._held)
            else:
                begins = round(frame.pts * frame.time_base / self._tick)

            # Begin anew behind a gap: samples are counted, so all sound after it would come early.
            held = sum(part.shape[1] for part in self._held)
            if abs(begins - self._next - held) > _TOLERANCE_S * self._rate:
                done += self._restart(begins)  # silence, or a piece that is missing
            self._hold(frame)
            done += self._encode(last=False)
        return done

    def flush(self) -> list[av.Packet]:
        """Encoded packets of all that is held. Raises: as `change`."""
        # Take what the filter of another rate holds back, too.
        if self._resampler is not None:
            self._hold(None)
        self._resampler = None
        return self._encode(last=True)

    def _hold(self, frame: av.AudioFrame | None) -> None:
        """Keep the samples of a frame in the encoder's form; None: the last ones."""
        if self._resampler is None:
            planar = self._form if self._form.endswith("p") else f"{self._form}p"
            self._resampler = av.AudioResampler(planar, self._layout, self._rate)
        parts = self._resampler.resample(frame)
        self._held += [part.to_ndarray() for part in parts if part is not None]

    def _restart(self, begins: int) -> list[av.Packet]:
        done = self.flush()
        if self._begun:
            # Take a new encoder: one that was flushed accepts nothing more.
            self._encoder = self._fresh_encoder()
        self._next, self._begun = begins, False
        return done

    def _encode(self, *, last: bool) -> list[av.Packet]:
        """Frames of the encoder's size; what is left over too at the end."""
        samples = np.concatenate(self._held, axis=1) if self._held else None
        size = self._encoder.frame_size
        done: list[av.Packet] = []
        while samples is not None and samples.shape[1] >= (1 if last else size):
            part, samples = samples[:, :size], samples[:, size:]
            # Put the channels of a sample side by side for encoders that want it so.
            lines = part if self._form.endswith("p") else part.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(lines), format=self._form, layout=self._layout
            )
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._next, self._tick
            self._next += part.shape[1]
            self._begun = True
            done += self._encoder.encode(frame)

        self._held = [] if samples is None or not samples.shape[1] else [samples]
        if last and self._begun:
            done += self._encoder.encode(None)
        for packet in done:
            packet.stream = self.output
        return done


class Alac(Reencoded):
    """PCM without loss: 16 bits, or 24 from more bits and from floats."""

    codec = "alac"

    def _choose(self, decoder: av.AudioCodecContext) -> tuple[int, str, str, str]:
        layout = _LAYOUTS[decoder.layout.nb_channels]
        short = decoder.name.startswith(_SHORT)
        exact = short or decoder.name.startswith("pcm_s24")
        called = "ALAC, without loss" if exact else "ALAC of 24 bits"
        return decoder.sample_rate, layout, "s16p" if short else "s32p", called


class Opus(Reencoded):
    """Sound of all kinds as Opus, for WebM, at its one rate; more than two channels are mixed."""

    codec = "libopus"

    def _choose(self, decoder: av.AudioCodecContext) -> tuple[int, str, str, str]:
        channels = decoder.layout.nb_channels
        called = "Opus" if channels <= 2 else f"Opus, its {channels} channels mixed to 2"
        return _OPUS_RATE, "mono" if channels == 1 else "stereo", "flt", called
