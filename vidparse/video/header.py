"""The header of a container: the rate, size and length that it claims for its video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from vidparse.frame import VideoInfo
from vidparse.video.demux import copied_stream
from vidparse.video.picture import Converter

# Keys that describe the old file and would lie about a new one.
_FILE_KEYS = {
    *("encoder", "encoded_by", "encoding_tool", "software", "isft", "vendor_id", "handler_name"),
    *("major_brand", "minor_version", "compatible_brands", "duration", "rotate"),
}
_SILENT_END_S = 0.5  # a header may well count the last frame or some padding too much
_INDEXED = {"mov", "matroska"}  # formats whose duration is that of their contents
_FROM_ZERO = {"matroska", "nut", "asf"}  # whose duration counts from 0, wherever they begin


@dataclass(frozen=True, slots=True)
class Header:
    """The claims about a video, and how far they are believed.

    ends: pts at which all streams are over; None: not known.
    is_indexed: the format's length is that of its contents.
    claimed_s: length of the video by itself, in seconds; None where longer sound may count in it.
    """

    info: VideoInfo
    ends: int | None
    is_indexed: bool
    claimed_s: float | None

    @classmethod
    def read(
        cls,
        name: str,
        container: InputContainer,
        stream: VideoStream,
        copied: Sequence[Stream],
        *,
        first: av.VideoFrame,
        converter: Converter,
        codec: str,
    ) -> Header:
        """The header of an open container.

        Args:
            name: the whole path.
            stream: the video. copied: the streams that go into outputs as they are.
            first: the first picture, with its converter, and the codec that made it.
        """
        assert stream.time_base is not None  # of a stream that is read
        base = fraction(stream.time_base)
        formats = set(container.format.name.split(","))
        begins_s = Fraction(container.start_time or 0, av.time_base)
        length_s = Fraction(container.duration or 0, av.time_base)
        own_s = stream.duration * base if stream.duration else length_s

        # Count from the start where the format counts from 0; one that is less does so already.
        if formats & _FROM_ZERO:
            length_s, own_s = (
                one if one <= begins_s else one - begins_s for one in (length_s, own_s)
            )
        duration_s = float(own_s) if own_s else None
        ends = math.floor((begins_s + length_s) / base) if length_s else None

        # Turn the shape of the pixels with the picture: it is inverted in one that lies.
        aspect = fraction(stream.sample_aspect_ratio or Fraction(1))
        info = VideoInfo(
            name=Path(name).name or name,
            size_hw=converter.size_hw,
            time_base=base,
            rate=even_rate(stream),
            frames=stream.frames or None,
            duration_s=duration_s,
            sample_aspect_ratio=1 / aspect if converter.transposed else aspect,
            colour=converter.tags,
            rotation=converter.degrees,
            codec=codec,
            pixel_format=first.format.name,
            metadata=tuple(
                (key, text)
                for key, text in container.metadata.items()
                if key.lower() not in _FILE_KEYS
            ),
            copied=tuple(copied_stream(one) for one in copied),
        )

        # Take the container's length for video alone: longer sound would count in it, too.
        is_alone = len(container.streams) == 1
        return cls(
            info,
            ends,
            is_indexed=bool(formats & _INDEXED),
            claimed_s=duration_s if stream.duration or is_alone else None,
        )

    def duration(self, frame: av.VideoFrame, before: int) -> int:
        """Duration of a frame in ticks: its own, else by the rate, else that of the one before."""
        if frame.duration or not self.info.rate:
            return frame.duration or before
        return max(1, round(1 / (self.info.rate * self.info.time_base)))

    def shown(self, pts: int, lasts: int, until: int | None, stride: int) -> int:
        """Ticks that a frame is shown: those of its stride, or fewer when all ends before.

        Args:
            lasts: of the frame by itself. until: pts at which the range ends; None: open.
        """
        over = pts + lasts * stride
        if until is not None:
            over = min(over, until)

        # Believe the header's end where it has an index, or where a stride would run past it.
        ends = self.ends if self.is_indexed or stride > 1 else None
        if ends is None or not pts < ends < over:
            return over - pts
        millisecond = math.ceil(Fraction(1, 1000) / self.info.time_base)
        return (ends if ends < over - millisecond else over) - pts

    def loss_note(self, time_s: float, lasts_s: float) -> str | None:
        """A note where it promises more: damaged Matroska can end without an error.

        The last frame begins at `time_s` and lasts about `lasts_s`.
        """
        claimed_s = self.claimed_s
        if not claimed_s:
            return None
        if time_s + max(_SILENT_END_S, 0.02 * claimed_s, 1.5 * lasts_s) >= claimed_s:
            return None
        return (
            f"frames end at {time_s:.2f} s though the header has {claimed_s:.2f} s: "
            "a part of the file may be damaged"
        )


def even_rate(stream: VideoStream) -> Fraction | None:
    """The constant frame rate, None when frames do not come evenly."""
    rates = (stream.average_rate, stream.base_rate)
    average, base = (fraction(rate) if rate else None for rate in rates)
    if not average or not base:
        return average or base

    # Allow half a percent: short files round their average, interlaced ones count fields.
    even = abs(average / base - 1) < Fraction(1, 200) or base == 2 * average  # fields
    return (base if base != 2 * average else average) if even else None


class _Ratio(Protocol):
    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


def fraction(ratio: _Ratio) -> Fraction:
    """From PyAV 19 on its ratios are of a type of its own."""
    return Fraction(ratio.numerator, ratio.denominator)
