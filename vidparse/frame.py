"""A video's facts, and one frame of it: the records that cross module borders."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vidparse.arrival import Arrival
    from vidparse.image import ColourTags, Image


_MOST_PACKETS = 2000  # of sound, that frames which are dropped hand on
NOMINAL_RATE = Fraction(25)  # frames per second where none is known
# Of a copied stream, as PyAV has it: frames and outputs carry it, only `vidparse.video` opens it.
Packet: TypeAlias = object


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Facts of a video, known before its first frame. Sizes are after rotation."""

    name: str  # for people and output names: "clip.mp4", "frames_dir", "sample://street"
    size_hw: tuple[int, int]
    time_base: Fraction  # seconds per pts unit
    rate: Fraction | None  # frames per second; None when variable or unknown
    frames: int | None  # by the header: a hint, never a fact
    duration_s: float | None
    sample_aspect_ratio: Fraction
    colour: ColourTags
    rotation: int = 0  # degrees clockwise already applied to the stored picture: 0, 90, 180, 270
    codec: str = ""  # "h264", "rawvideo", "png", ...
    pixel_format: str = ""  # of the stored stream
    metadata: tuple[tuple[str, str], ...] = ()
    copied: tuple[object, ...] = ()  # audio and subtitle streams whose packets travel in frames

    @property
    def nominal_rate(self) -> Fraction:
        """Frames per second for encoders and formats that want a number; no time comes from it.

        The known rate, else 25.
        """
        return self.known_rate or NOMINAL_RATE

    @property
    def known_rate(self) -> Fraction | None:
        """Frames per second: the rate, else the mean by the header's claims; None without both."""
        if self.rate is not None:
            return self.rate
        if self.frames and self.duration_s:
            # Allow no denominator above that of 30000/1001: a finer one would come of rounding.
            return Fraction(self.frames / self.duration_s).limit_denominator(1001) or None
        return None

    def frames_between(
        self, start_s: float | None, end_s: float | None, stride: int = 1
    ) -> int | None:
        """Number of frames that a range should have, by the header's claims; None if it has none.

        Args:
            start_s: first moment wanted, in seconds from the first frame; None: the beginning.
            end_s: first moment not wanted; None: the end.
            stride: every n-th frame counts.
        """
        rate, start, end = self.known_rate, start_s or 0, end_s or math.inf
        by_count = self.frames / rate if self.frames and rate else math.inf
        duration_s = self.duration_s or by_count
        if self.frames and not start and end >= duration_s:  # all of it, as the header counts
            return math.ceil(self.frames / stride)

        range_s = min(end, duration_s) - start
        if not rate or not 0 < range_s < math.inf:
            return self.frames
        return max(1, math.ceil(round(range_s * rate) / stride))


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture and its place in time. `pts` is the input's own, in units of `time_base`."""

    index: int  # position among all frames of the input, from 0 wherever --start is
    pts: int
    image: Image
    name: str | None = None  # file stem when the input is a folder of images
    packets: tuple[Packet, ...] = ()  # of copied streams, up to the end of this frame
    duration: int | None = None  # how long it is shown, in the units of `pts`; None: unknown
    time_base: Fraction = 1 / NOMINAL_RATE  # seconds per pts unit
    file: Path | None = None  # the same picture as it lies on disk, to be copied as it is
    arrival: Arrival | None = None  # of live inputs
    is_timed: bool = True  # False: its time is not known, and `pts` counts at a usual rate

    @property
    def time_s(self) -> float:
        """Seconds on the input's clock, which need not begin at 0."""
        return float(self.pts * self.time_base)

    @property
    def known_time_s(self) -> float | None:
        """As `time_s`; None where the time is not known."""
        return self.time_s if self.is_timed else None

    @property
    def follows_gap(self) -> bool:
        """True where a live input was away before it, so that nothing leads up to it."""
        return self.arrival is not None and self.arrival.gap_s > 0

    def following(self, dropped: Frame) -> Frame:
        """This frame in place of the one before it as well, with its sound and its gap."""
        arrival = self.arrival
        if arrival is not None and dropped.arrival is not None and dropped.arrival.gap_s:
            arrival = replace(arrival, gap_s=arrival.gap_s + dropped.arrival.gap_s)
        packets = (*dropped.packets, *self.packets)[-_MOST_PACKETS:]
        return replace(self, packets=packets, arrival=arrival)

    @classmethod
    def from_rgb(
        cls, pixels: NDArray[np.uint8], *, index: int = 0, time_s: float | None = None
    ) -> Frame:
        """A frame of a picture in memory, as a `Session` takes it.

        Args:
            pixels: RGB, uint8 (H, W, 3); OpenCV's pictures are BGR: give `bgr[..., ::-1]`.
            index: its number in the video, from 0.
            time_s: kept to the microsecond; without it frames are 1/25 s apart.

        Raises:
            ValueError: another shape or type, no pixel at all, or a time that is no number.
        """
        from vidparse.image import rgb_picture

        image = rgb_picture(pixels)
        if time_s is None:
            return cls(index, index, image, is_timed=False)
        if not math.isfinite(time_s):
            raise ValueError(f"time_s {time_s}: give finite seconds")
        unit = Fraction(1, 1_000_000)
        return cls(index, round(Fraction(time_s) / unit), image, time_base=unit)
