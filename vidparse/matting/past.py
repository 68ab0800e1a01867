"""The memory of mattes from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Past:
    """All that is remembered of a video; the arrays are never written to again.

    picture: the last one, RGB uint8 (h, w, 3). masks: the last ones, float32 (h, w), by name.
    """

    picture: np.ndarray
    masks: Mapping[str, np.ndarray]
