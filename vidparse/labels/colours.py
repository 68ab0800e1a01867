"""Colours of classes that everybody can tell apart, people who confuse red and green included."""

from __future__ import annotations

import colorsys
from functools import lru_cache

import numpy as np

GOLDEN_RATIO = 0.6180339887498949  # successive multiples spread evenly round the hue circle
_FAR = 20.0  # distance in Lab beyond which colours need not move further from what was wished
_WIDE = 45.0  # distance in Lab of which more makes no difference
_MANY = 300  # classes from which on no choice of colours helps
_ROUNDS = 6  # of halving, to find how much of that many classes can have
_GRID = np.arange(0, 256, 17)
_DARKEST, _BRIGHTEST = 30.0, 93.0  # lightness that shows on pictures of any kind
# What is seen without green or red cones, in linear RGB: Machado, Oliveira and Fernandes, "A
# Physiologically-based Model for Simulation of Color Vision Deficiency", TVCG 2009, severity 1.
_DEUTERANOPIA = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)
_PROTANOPIA = (
    (0.152286, 1.052583, -0.204868),
    (0.114503, 0.786281, 0.099216),
    (-0.003882, -0.048116, 1.051998),
)
_TO_XYZ = np.array(  # linear sRGB to CIE XYZ, white D65
    [
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    ]
)


def hue_wheel(count: int) -> np.ndarray:
    """`count` colours round the hue circle, the same for an id in every run; uint8 (count, 3)."""
    rows = []
    for i in range(count):
        hue = (0.02 + i * GOLDEN_RATIO) % 1.0
        value = (1.0, 0.78, 0.6)[i % 3]
        saturation = (0.85, 0.6)[i // 3 % 2]
        rows.append(colorsys.hsv_to_rgb(hue, saturation, value))
    return np.rint(np.array(rows).reshape(-1, 3) * 255).astype(np.uint8)


def distinct_colours(count: int) -> np.ndarray:
    """Such colours as far apart as `far_apart` makes them, uint8 (count, 3)."""
    return far_apart(hue_wheel(count))


def far_apart(wished: np.ndarray) -> np.ndarray:
    """Colours near the wished ones that keep a distance from each other in everybody's eyes.

    The classes choose in turn: each takes the colour nearest to its wish among those that lie far
    enough from all colours taken, as seen with all cones, without green and without red ones. How
    far that can be is found by halving. With few classes nothing moves further than it must, and no
    two come nearer, for eyes with all cones, than they were wished. With some hundred classes the
    wishes stay as they are.

    Args:
        wished: RGB uint8 (N, 3).

    Returns:
        RGB uint8 (N, 3).
    """
    if len(wished) > _MANY:
        return wished
    return np.array(_far_apart(tuple(map(tuple, wished.tolist()))), np.uint8).reshape(-1, 3)


@lru_cache(maxsize=8)
def _far_apart(wished: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
    grid = np.stack(np.meshgrid(_GRID, _GRID, _GRID, indexing="ij"), -1).reshape(-1, 3)
    colours = np.concatenate([np.array(wished, np.int64).reshape(-1, 3), grid])  # (M, 3)
    seen = as_seen(colours).astype(np.float32)  # (3, M, 3)
    usable = (seen[0, :, 0] >= _DARKEST) & (seen[0, :, 0] <= _BRIGHTEST)

    lab = seen[0, : len(wished)]
    apart = np.clip(np.sqrt(((lab[:, None] - lab[None]) ** 2).sum(-1)), _FAR, _WIDE)  # (N, N)
    chosen = _choose(seen, usable, apart, 1.0)
    low, high = 0.0, 1.0
    for _ in range(_ROUNDS if chosen is None else 0):
        middle = (low + high) / 2
        found = _choose(seen, usable, apart, middle)
        if found is None:
            high = middle
        else:
            low, chosen = middle, found
    if chosen is None:  # more classes than there are colours: ids repeat them
        return wished
    return tuple((int(r), int(g), int(b)) for r, g, b in colours[chosen])


def _choose(
    seen: np.ndarray, usable: np.ndarray, apart: np.ndarray, share: float
) -> list[int] | None:
    """Row of `seen` (3, M, 3) for each of its first N; None when the colours run out.

    Each two are at least `share` of the distance `apart` (N, N) from each other for eyes with all
    cones, and `share` of _FAR for others.
    """
    free = usable.copy()
    to_chosen = np.empty((len(apart), seen.shape[1]), np.float32)  # distances with all cones
    chosen: list[int] = []

    # Take for each class the free colour nearest its wish, far enough from all chosen before.
    for i in range(len(apart)):
        mine = free & (to_chosen[:i] >= share * apart[i, :i, None]).all(0)
        if not mine.any():
            return None
        to_wish = ((seen[0] - seen[0, i]) ** 2).sum(-1)  # (M,)
        best = int(np.where(mine, to_wish, np.inf).argmin())
        chosen.append(best)

        # Rule out what a colour-blind eye could not tell from it.
        distances = np.sqrt(((seen - seen[:, best, None]) ** 2).sum(-1))  # (3, M)
        to_chosen[i] = distances[0]
        free &= (distances[1:] >= share * _FAR).all(0)
    return chosen


def as_seen(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab (3, N, 3) of RGB (N, 3): with all cones, without green ones, without red ones."""
    encoded = rgb / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    views = [linear, *(linear @ np.array(m).T for m in (_DEUTERANOPIA, _PROTANOPIA))]
    xyz = np.clip(np.stack(views), 0, 1) @ _TO_XYZ.T  # (3, N, 3)
    ratio = xyz / _TO_XYZ.sum(1)
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
