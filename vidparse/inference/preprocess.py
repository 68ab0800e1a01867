"""From a picture to network input: one resize, one table look-up a channel."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np

from vidparse.errors import UsageError
from vidparse.image import Image
from vidparse.models.checkpoint import Preprocess

SMALLEST, LARGEST = 32, 8192  # sides of a network input, pixels


def network_size(
    size_hw: tuple[int, int], short_side: int, sample_aspect_ratio: Fraction = Fraction(1)
) -> tuple[int, int]:
    """Size (h, w) of the network's input: the shorter displayed side becomes `short_side`.

    Wide samples are widened here, so that the network sees the picture as people do.
    """
    height, width = Fraction(size_hw[0]), size_hw[1] * sample_aspect_ratio
    scale = Fraction(short_side) / min(height, width)
    shape = (round(height * scale), round(width * scale))
    return _clamp(shape[0]), _clamp(shape[1])


def _clamp(side: int) -> int:
    return min(max(side, SMALLEST), LARGEST)


def parse_size(text: str) -> int | tuple[int, int]:
    """`360` (short side) or `640x360` (width x height, returned as (h, w)).

    Raises:
        UsageError: neither, or a side outside 32..8192.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise UsageError(f"size '{text}': not a size; write 360 (short side) or 640x360")
    sides = [int(part) for part in parts]
    if not all(SMALLEST <= side <= LARGEST for side in sides):
        raise UsageError(f"size '{text}': sides must lie in {SMALLEST}..{LARGEST} pixels")
    return sides[0] if len(sides) == 1 else (sides[1], sides[0])


def to_clip(image: Image, size_hw: tuple[int, int], preprocess: Preprocess) -> np.ndarray:
    """Network input float32 (1, 3, h, w): (RGB / 255 - mean) / std, C-contiguous."""
    rgb = image.rgb(size_hw)  # (h, w, 3)
    clip = np.empty((1, 3, *size_hw), np.float32)
    for channel, table in enumerate(_tables(preprocess.mean, preprocess.std)):
        clip[0, channel] = cv2.LUT(np.ascontiguousarray(rgb[..., channel]), table)
    return clip


@lru_cache(maxsize=8)
def _tables(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """float32 (3, 256): the normalised value of each 8-bit sample."""
    samples = np.arange(256, dtype=np.float64) / 255.0
    table = (samples[None] - np.array(mean)[:, None]) / np.array(std)[:, None]
    return table.astype(np.float32)
