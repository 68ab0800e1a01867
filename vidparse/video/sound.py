"""What copied sound needs on its way: AAC without ADTS heads, ALAC where players read no PCM."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np

_SHORT = ("pcm_s16", "pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw")  # 16 bits hold all of it
# What ALAC knows, by number of channels.
_LAYOUTS = dict(
    enumerate(("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1(back)", "7.1(wide)"), 1)
)
_TOLERANCE_S = Fraction(1, 20)  # between the time of a packet and the number of samples before it


def is_pcm(codec: str) -> bool:
    """Samples one by one, also with a companding curve."""
    return codec.startswith("pcm_")


def copied(packet: Any, *, without: str | None = None) -> Any:
    """The same bytes (shared) and times, in a packet of our own; `without` one side data."""
    copy = av.Packet(packet)
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

    def __init__(self, template: Any, output: Any) -> None:
        self._filter = av.bitstream.BitStreamFilterContext("aac_adtstoasc", template)
        self._output = output
        self._described = False
        self.header_is_written = False  # too late for a description; the packet carries it then

    def change(self, packet: Any) -> list[Any]:
        """The packet without its head. Raises: FFmpegError: there is none, it is damaged."""
        packets = self._filter.filter(packet)
        if self._described or not packets:
            return packets
        self._described = True
        for data in packets[0].iter_sidedata():
            if data.data_type == "new_extradata" and not self.header_is_written:
                self._output.codec_context.extradata = bytes(data)
                packets[0] = copied(packets[0], without="new_extradata")
                break
        return packets

    def flush(self) -> list[Any]:
        return []


class Alac:
    """Decodes PCM and encodes it without loss: 16 bits, or 24 from more bits and from floats."""

    def __init__(self, container: Any, template: Any) -> None:
        """Adds `output` to the container.

        Raises:
            FFmpegError, LookupError: ALAC does not know this number of channels or rate.
        """
        # A decoder of its own: several outputs may read the same packets.
        holder = av.open(io.BytesIO(), mode="w", format="null")
        self._decoder = holder.add_stream_from_template(template).codec_context
        self._rate = self._decoder.sample_rate
        self._layout = _LAYOUTS[self._decoder.layout.nb_channels]
        short = self._decoder.name.startswith(_SHORT)
        self._form = "s16p" if short else "s32p"
        exact = short or self._decoder.name.startswith("pcm_s24")
        self.called = "ALAC, without loss" if exact else "ALAC of 24 bits"
        self._tick = Fraction(1, self._rate)
        self._prepare(av.CodecContext.create("alac", "w"))  # a stream cannot be taken back
        self.output = container.add_stream("alac", rate=self._rate)
        self._prepare(self.output.codec_context)
        self._encoder: Any = self.output.codec_context
        self._resampler = av.AudioResampler(self._form, self._layout, self._rate)
        self._held: list[np.ndarray] = []  # (channels, samples) not encoded yet
        self._next = 0  # pts of the first of these
        self._begun = False
        self.header_is_written = False

    def _prepare(self, encoder: Any) -> None:
        encoder.layout, encoder.format, encoder.sample_rate = self._layout, self._form, self._rate
        encoder.time_base = self._tick
        encoder.open()

    def change(self, packet: Any) -> list[Any]:
        """Encoded packets that are complete now. Raises: FFmpegError: damaged."""
        done = []
        for frame in self._decoder.decode(packet):
            begins = round(frame.pts * frame.time_base / self._tick)
            held = sum(part.shape[1] for part in self._held)
            if abs(begins - self._next - held) > _TOLERANCE_S * self._rate:
                done += self._restart(begins)  # silence, or a piece that is missing
            for part in self._resampler.resample(frame):
                self._held.append(part.to_ndarray())
            done += self._encode(last=False)
        return done

    def flush(self) -> list[Any]:
        return self._encode(last=True)

    def _restart(self, begins: int) -> list[Any]:
        done = self._encode(last=True)
        if self._begun:
            self._encoder = av.CodecContext.create("alac", "w")
            self._prepare(self._encoder)
        self._next, self._begun = begins, False
        return done

    def _encode(self, *, last: bool) -> list[Any]:
        """Frames of the encoder's size; what is left over too at the end."""
        samples = np.concatenate(self._held, axis=1) if self._held else None
        size, done = self._encoder.frame_size, []
        while samples is not None and samples.shape[1] >= (1 if last else size):
            part, samples = samples[:, :size], samples[:, size:]
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(part), format=self._form, layout=self._layout
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
