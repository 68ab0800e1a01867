"""A matte: how much of each pixel belongs to an object, between the colours of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Matte:
    """The alpha of some classes or of one object in one frame.

    name: "person", "person+dog", or of an object "car-7".
    alpha: uint8 (H, W), 0 outside, 255 inside.
    inside: the probability by which its edge was looked for, uint8 (h, w), smaller than the frame.
    """

    name: str
    alpha: np.ndarray
    inside: np.ndarray
