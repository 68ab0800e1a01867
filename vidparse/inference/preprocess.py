"""From pictures to network input: one resize, one table look-up per channel; samples of videos."""

from __future__ import annotations

import math
from contextlib import closing
from fractions import Fraction
from functools import lru_cache
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from vidparse.errors import InputError
from vidparse.image import Image
from vidparse.limits import LARGEST, SMALLEST
from vidparse.models.description import Preprocess
from vidparse.video import open_video

AREA = "area"  # the filter of vidparse's own networks
_MOST_READ = 6000  # frames


def network_size(
    size_hw: tuple[int, int], short_side: int, sample_aspect_ratio: Fraction = Fraction(1)
) -> tuple[int, int]:
    """Size (h, w) of the network's input: the shorter displayed side becomes `short_side`.

    Wide samples are widened here, so that the network sees the picture as people do.
    """
    # Stay exact up to the rounding: in floats a half may fall to either side.
    height, width = Fraction(size_hw[0]), size_hw[1] * sample_aspect_ratio
    scale = Fraction(short_side) / min(height, width)
    shape = (round(height * scale), round(width * scale))
    return _clamp(shape[0]), _clamp(shape[1])


def input_size(
    size_hw: tuple[int, int],
    facts: Preprocess,
    *,
    wanted: int | tuple[int, int] | None = None,
    sample_aspect_ratio: Fraction = Fraction(1),
) -> tuple[int, int]:
    """Size (h, w) of the network's input for pictures of `size_hw`.

    Args:
        facts: preprocessing that the network was trained with.
        wanted: short side or exact (h, w) to use instead; the divisor holds for short sides.
    """
    if isinstance(wanted, tuple):
        return wanted
    if wanted is not None:
        shape = network_size(size_hw, wanted, sample_aspect_ratio)
    elif facts.size_hw is not None:
        shape = facts.size_hw
    elif facts.short_side == 0:
        return _clamp(size_hw[0]), _clamp(size_hw[1])
    elif facts.resample == AREA:
        shape = network_size(size_hw, facts.short_side, sample_aspect_ratio)
    else:
        shape = _bounded_size(size_hw, facts.short_side, facts.long_side, sample_aspect_ratio)

    height, width = (-(-side // facts.divisor) * facts.divisor for side in shape)  # rounded up
    return _clamp(height), _clamp(width)


def scaled_size(size_hw: tuple[int, int], scale: float, divisor: int) -> tuple[int, int]:
    """An input (h, w) whose sides are `scale` times as long, and multiples of 8 at least."""
    if scale == 1:
        return size_hw
    unit = math.lcm(divisor, 8)
    height, width = (max(unit, round(side * scale / unit) * unit) for side in size_hw)
    return _clamp(height), _clamp(width)


def _bounded_size(
    size_hw: tuple[int, int], short: int, most: int | None, sample_aspect_ratio: Fraction
) -> tuple[int, int]:
    """The rule of Hugging Face's processors: the longer side is cut off, not rounded."""
    height, width = size_hw[0], float(size_hw[1] * sample_aspect_ratio)
    least, greatest = min(height, width), max(height, width)
    side = float(short)
    if most is not None and greatest / least * short > most:
        side = most * least / greatest
    if height <= width:
        return round(side), int(side * width / height)
    return int(side * height / width), round(side)


def _clamp(side: int) -> int:
    return min(max(side, SMALLEST), LARGEST)


def to_clip(image: Image, size_hw: tuple[int, int], preprocess: Preprocess) -> np.ndarray:
    """Network input float32 (1, 3, h, w): (RGB / 255 - mean) / std, C-contiguous."""
    rgb = _resized(image, size_hw, preprocess.resample)  # (h, w, 3)

    # Look values up: 8 bits have 256 results per channel, cheaper than three steps per pixel.
    clip = np.empty((1, 3, *size_hw), np.float32)
    for channel, table in enumerate(_tables(preprocess.mean, preprocess.std)):
        clip[0, channel] = cv2.LUT(np.ascontiguousarray(rgb[..., channel]), table)
    return clip


def _resized(image: Image, size_hw: tuple[int, int], resample: str) -> np.ndarray:
    """RGB uint8 (h, w, 3)."""
    if resample == AREA or image.size_hw == size_hw:
        return image.rgb(size_hw)
    from PIL import Image as Pillow

    # Pillow's filters grow with the picture when it shrinks, OpenCV's do not: other values.
    kernel = Pillow.Resampling[resample.upper()]
    return np.asarray(Pillow.fromarray(image.rgb()).resize(size_hw[::-1], kernel))


@lru_cache(maxsize=8)
def _tables(mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """float32 (3, 256): the normalised value of each 8-bit sample."""
    # Compute in float64, so that each value is rounded once.
    samples = np.arange(256, dtype=np.float64) / 255.0
    table: NDArray[np.float64] = (samples[None] - np.array(mean)[:, None]) / np.array(std)[:, None]
    return table.astype(np.float32)


def sample_clips(source: str, facts: Preprocess, count: int, *, row: int = 1) -> list[np.ndarray]:
    """Up to `count` network inputs, float32 (1, 3, h, w), spread evenly over a video.

    Photographs of a folder may each have their own size, and so have their inputs.

    The video is read once and its length need not be known: whenever twice as many are held as are
    wanted, every other one is dropped, and from then on half as many frames are taken.

    Args:
        source: as for `open_video`; the first 6000 frames count.
        row: so many are taken in a row, for networks that remember; a divisor of `count`.

    Raises:
        InputError: it cannot be read, or holds fewer than two frames.
    """
    clips: list[np.ndarray] = []
    step = 1
    with closing(open_video(source, copy_streams=False, any_size=True)) as video:
        ratio = video.info.sample_aspect_ratio

        # Thin out as the video goes on: its length is not known before its end.
        for index, frame in enumerate(islice(video, _MOST_READ)):
            if index // row % step:
                continue
            size_hw = input_size(frame.image.size_hw, facts, sample_aspect_ratio=ratio)
            clips.append(to_clip(frame.image, size_hw, facts))
            if len(clips) == 2 * count:
                clips, step = _thinned(clips, row), 2 * step

    if len(clips) < 2:
        raise InputError(f"{source}: {len(clips)} frame is too few; give a longer clip")
    if len(clips) <= count:
        return clips
    chosen = np.linspace(0, len(clips) // row - 1, count // row).round().astype(int)
    return [clip for i in chosen for clip in clips[i * row : (i + 1) * row]]


def _thinned(clips: list[np.ndarray], row: int) -> list[np.ndarray]:
    """Every other row of clips."""
    return [clip for i, clip in enumerate(clips) if i // row % 2 == 0]
