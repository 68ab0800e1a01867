"""Lines of YOLO's label files: a class number, and a polygon in shares of width and height."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidparse.errors import InputError
from vidparse.textfiles import read_text

_SLACK = 1e-3  # how far outside 0..1 a coordinate may be by rounding


def read_polygons(path: Path, classes: int) -> list[tuple[int, np.ndarray]]:
    """The class number of each polygon of a label file and its points, float64 (N, 2) in 0..1.

    Args:
        classes: how many there are.

    Raises:
        InputError: the file cannot be read, or a line is no polygon; file and line are named.
    """
    lines = read_text(path).splitlines()
    polygons = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            polygons.append(_polygon(line.split(), classes))
        except ValueError as error:
            raise InputError(f"{path}: line {number}: {error}; correct or remove it") from error
    return polygons


def _polygon(words: list[str], classes: int) -> tuple[int, np.ndarray]:
    """Class number and points of a line. Raises: ValueError: it is none, and why."""
    if not words[0].isdecimal() or int(words[0]) >= classes:
        raise ValueError(f"class {words[0][:20]} is not one of 0..{classes - 1}")
    values = np.array([float(word) for word in words[1:]])
    if len(values) % 2:
        raise ValueError(f"{len(values)} coordinates are not pairs of x and y")
    if len(values) < 6:
        raise ValueError(f"{len(values) // 2} points are no polygon, which has 3 or more")
    outside = ~((values >= -_SLACK) & (values <= 1 + _SLACK))  # NaN is outside, too
    if outside.any():
        raise ValueError(f"coordinate {values[outside][0]:g} is outside 0..1")
    return int(words[0]), np.clip(values, 0, 1).reshape(-1, 2)
