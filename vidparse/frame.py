"""The records that cross module borders: what a video is, one frame of it, what was seen in it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

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


@dataclass(frozen=True, slots=True)
class Segment:
    """One class region (semantic) or object (panoptic) in one frame."""

    id: int
    class_id: int
    is_thing: bool
    score: float | None
    area: int  # pixels
    box: tuple[int, int, int, int]  # x, y, width, height in pixels


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was seen in one frame.

    ids: unsigned integers (H, W), as narrow as they fit: class ids (semantic; `Labels.void` where
    nothing is said) or segment ids (panoptic).
    segments: None for a semantic map (the ids say it all), else one entry an object.
    """

    index: int
    ids: np.ndarray
    segments: tuple[Segment, ...] | None = None
