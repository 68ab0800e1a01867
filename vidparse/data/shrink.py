"""Smaller pictures and their labels: the published 480p form of a data set, or pixels to spare."""

from __future__ import annotations

import numpy as np

from vidparse.errors import UsageError
from vidparse.image import Rgb
from vidparse.labels import Labels
from vidparse.limits import SMALLEST
from vidparse.maps import SegmentMap, object_map


def check_shorter_side(side: int | None) -> None:
    """Raises: UsageError: a shorter side that no network takes."""
    if side is not None and side < SMALLEST:
        raise UsageError(f"--shrink {side}: must be {SMALLEST} or more")


def shrunk_size(size_hw: tuple[int, int], side: int | None) -> tuple[int, int]:
    """A size brought to a shorter side, in proportion; smaller ones, and with None all, stay."""
    shorter = min(size_hw)
    if side is None or shorter <= side:
        return size_hw
    height, width = (round(length * side / shorter) for length in size_hw)
    return height, width


def shrunk_picture(rgb: np.ndarray, side: int | None) -> np.ndarray:
    """uint8 (H, W, 3) brought to a shorter side by averages of areas."""
    picture = Rgb(rgb)
    return picture.rgb(shrunk_size(picture.size_hw, side))


def shrunk_map(found: SegmentMap, labels: Labels, side: int | None) -> SegmentMap:
    """A map brought to a shorter side: each pixel is the one that lies below its centre.

    Segments that lose all their pixels are left out; areas and boxes are counted anew.
    """
    size_hw = shrunk_size(found.size_hw, side)
    if size_hw == found.size_hw:
        return found

    # Find the pixels in whole numbers: OpenCV's nearest neighbour is half a pixel off.
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size_hw, found.size_hw, strict=True)
    )
    small = SegmentMap(found.ids[rows[:, None], columns], found.segments)
    return small if small.segments is None else object_map(small, labels)
