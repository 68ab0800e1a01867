"""What a video is, and one frame of it: the records that cross module borders."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidparse.image import ColourTags, Image


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known before the first frame. Sizes are after rotation."""

    name: str  # for people and output names: "clip.mp4", "frames_dir", "sample://street"
    size_hw: tuple[int, int]
    time_base: Fraction  # seconds per pts unit
    rate: Fraction | None  # frames per second; None when variable or unknown
    frames: int | None  # what the header claims: a hint, never a fact
    duration_s: float | None
    sample_aspect_ratio: Fraction
    colour: ColourTags
    rotation: int = 0  # degrees clockwise already applied to the stored picture: 0, 90, 180, 270
    codec: str = ""  # "h264", "rawvideo", "png", ...
    pixel_format: str = ""  # of the stored stream
    metadata: tuple[tuple[str, str], ...] = ()
    copied: tuple[Any, ...] = ()  # audio and subtitle streams whose packets travel in frames


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture. `pts` is the input's own, in `VideoInfo.time_base` units."""

    index: int  # position among the input's frames, counted from --start
    pts: int
    image: Image
    name: str | None = None  # file stem when the input is a folder of images
    packets: tuple[Any, ...] = ()  # copied-stream packets that came before this frame
