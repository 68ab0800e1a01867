"""Colours for label sets that bring none: easy to tell apart, the same for an id in every run."""

from __future__ import annotations

import colorsys

import numpy as np

GOLDEN_RATIO = 0.6180339887498949  # successive multiples spread evenly round the hue circle


def distinct_colours(count: int) -> np.ndarray:
    """`count` colours that are easy to tell apart, the first ones most; RGB uint8 (count, 3)."""
    rows = []
    for i in range(count):
        hue = (0.02 + i * GOLDEN_RATIO) % 1.0
        value = (1.0, 0.78, 0.6)[i % 3]
        saturation = (0.85, 0.6)[i // 3 % 2]
        rows.append(colorsys.hsv_to_rgb(hue, saturation, value))
    return np.rint(np.array(rows).reshape(-1, 3) * 255).astype(np.uint8)
