"""Colours as people see them: with all cones, or without green or red ones; how far they differ."""

from __future__ import annotations

import numpy as np

VIEWS = ("all cones", "deuteranopia", "protanopia")  # the first axis of `as_seen`
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
_CHROMA_7 = 25.0**7


def as_seen(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab (3, N, 3) of RGB (N, 3), 0 to 255, in the order of VIEWS."""
    encoded = rgb / 255.0

    # Undo sRGB's curve first: cones add up light and not encoded values.
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    views = [linear, *(linear @ np.array(m).T for m in (_DEUTERANOPIA, _PROTANOPIA))]
    xyz = np.clip(np.stack(views), 0, 1) @ _TO_XYZ.T  # (3, N, 3)
    ratio = xyz / _TO_XYZ.sum(1)
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """CIEDE2000 of CIE Lab colours (..., 3): 1 can just be seen, from 10 on they look unlike.

    Sharma, Wu and Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes,
    Supplementary Test Data, and Mathematical Observations", 2005; equations 2 to 22.

    Args:
        one, other: of shapes that broadcast, in the same float type.

    Returns:
        (...) of that type.
    """
    lightness, a, b = np.moveaxis(one, -1, 0)
    other_lightness, other_a, other_b = np.moveaxis(other, -1, 0)

    # Stretch the red-green axis near grey, where eyes are keener than Lab has it.
    chroma_7 = ((np.hypot(a, b) + np.hypot(other_a, other_b)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(chroma_7 / (chroma_7 + _CHROMA_7))
    chroma, hue = np.hypot(a * stretch, b), _hue(a * stretch, b)
    other_chroma, other_hue = np.hypot(other_a * stretch, other_b), _hue(other_a * stretch, other_b)

    # Turn hues the short way round; a grey has none, so that of the other colour counts alone.
    grey = chroma * other_chroma == 0
    turn = other_hue - hue
    turn = np.where(turn > 180, turn - 360, np.where(turn < -180, turn + 360, turn))
    mean = np.where(grey, hue + other_hue, (hue + turn / 2) % 360)
    turn = np.where(grey, 0, turn)

    lighter, stronger = other_lightness - lightness, other_chroma - chroma
    turned = 2 * np.sqrt(chroma * other_chroma) * np.sin(np.radians(turn / 2))
    mean_chroma = (chroma + other_chroma) / 2
    from_middle = ((lightness + other_lightness) / 2 - 50) ** 2
    lighter = lighter / (1 + 0.015 * from_middle / np.sqrt(20 + from_middle))
    stronger = stronger / (1 + 0.045 * mean_chroma)
    turned = turned / (1 + 0.015 * mean_chroma * _hue_weight(mean))

    # Bring blues nearer, along the ellipses that eyes have there.
    mean_7 = mean_chroma**7
    spread = np.sin(np.radians(60 * np.exp(-(((mean - 275) / 25) ** 2))))
    rotation = -2 * np.sqrt(mean_7 / (mean_7 + _CHROMA_7)) * spread
    squares = lighter**2 + stronger**2 + turned**2 + rotation * stronger * turned
    found: np.ndarray = np.sqrt(np.maximum(squares, 0))
    return found


def _hue(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees, 0 to 360; 0 of a grey."""
    return np.degrees(np.arctan2(b, a)) % 360


def _hue_weight(hue: np.ndarray) -> np.ndarray:
    """T of the formula."""
    return np.asarray(
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )


def least_differences(rgb: np.ndarray) -> tuple[float, float, float]:
    """The CIEDE2000 of the two colours that are most alike, for each of VIEWS; inf without two.

    Args:
        rgb: (N, 3), 0 to 255.
    """
    found = []
    for lab in as_seen(rgb):
        apart = difference(lab[:, None], lab[None])  # (N, N)
        np.fill_diagonal(apart, np.inf)
        found.append(float(apart.min(initial=np.inf)))
    return found[0], found[1], found[2]
