"""Steadier scores without training: those of the past frame, moved along the flow and blended in.

The probabilities of the frame before, q, are brought to where things are now by optical flow, and
mixed with those of the present frame, p, as far as the two pictures agree there:

    V = exp(-|I_t - warp(I_{t-1})| / tolerance)
    blended = (1 - strength V) p + strength V q

V is the visibility weight of ETC's temporal loss (Liu et al., ECCV 2020): near one where the flow
found the same surface, near zero where something was covered or came into view; here it is zero
where the flow comes from outside the picture. A still scene is thus averaged over about
1 / (1 - strength) frames, and a change that pictures do not show takes as many to come through.
Pictures are compared at half the size of the network's input, in one channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidparse.inference.motion import (
    CHANNELS,
    carried,
    difference,
    flow_of,
    places,
    resized,
    small_picture,
)

DEFAULT_STRENGTH = 0.8
DEFAULT_TOLERANCE = 0.1
_LEAST = 1e-30  # probability; its logarithm stays finite


@dataclass(frozen=True, slots=True)
class StabilizerState:
    """All that is remembered of a video; the arrays are never written to again."""

    picture: np.ndarray  # uint8 (H', W'), the last one made small
    probabilities: np.ndarray  # float32 (K, h, w), the last ones returned


class Stabilizer:
    """Blends the scores of each frame with those of the frames before; one for each video.

    Args:
        strength: most that the past counts, 0 (nothing changes) to below 1.
        tolerance: difference of two pictures, in values 0..1, at which the past counts 1/e as much.

    Attributes:
        state: its memory, to be kept and set again; None before the first frame.
    """

    def __init__(
        self, *, strength: float = DEFAULT_STRENGTH, tolerance: float = DEFAULT_TOLERANCE
    ) -> None:
        if not 0 <= strength < 1 or not tolerance > 0:
            raise ValueError(
                f"strength {strength}, tolerance {tolerance}: need 0 <= strength < 1 and above 0"
            )

        # Tabulate the weights of all 256 differences: a look-up replaces an exp per pixel.
        differences = np.arange(256, dtype=np.float64) / 255
        self._trust = (strength * np.exp(-differences / tolerance)).astype(np.float32)  # (256,)
        self.state: StabilizerState | None = None

    def step(self, scores: np.ndarray, picture: np.ndarray) -> np.ndarray:
        """Scores of the next frame, made steadier.

        Args:
            scores: float32 (K, h, w), logits of one frame. Where one of them is NaN or +inf, or
                all are -inf, the frame counts as undecided.
            picture: float32 (H, W), values 0..1, one channel (as green) of the network's input.

        Returns:
            float32 (K, h, w), to be resized and compared like logits: logarithms of the blended
            probabilities, all finite. On the first frame, and where the size of scores or picture
            changed, `scores` themselves.
        """
        small = small_picture(picture)  # (H', W')
        now = _softmax(scores)

        # Begin anew where the size changed.
        last = self.state
        if (
            last is None
            or last.picture.shape != small.shape
            or last.probabilities.shape != scores.shape
        ):
            self.state = StabilizerState(small, now)
            return scores

        x, y, weight = self._along_flow(small, last.picture, scores.shape[1:])
        blended = _blended(last.probabilities, now, x, y, weight)
        self.state = StabilizerState(small, blended)

        steadier: NDArray[np.float32] = np.maximum(blended, np.float32(_LEAST))
        np.log(steadier, out=steadier)
        return steadier

    def reset(self) -> None:
        """A new video or shot: forget the past."""
        self.state = None

    def _along_flow(
        self, now: np.ndarray, before: np.ndarray, size_hw: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The place of each score in the frame before, and its weight: x, y, weight (h, w).

        now, before: uint8 (H', W').
        """
        flow = flow_of(now, before)  # (H', W', 2)

        # Trust the flow where it brings the past picture onto this one.
        weight = resized(cv2.LUT(difference(now, before, flow), self._trust), size_hw)  # (h, w)

        x, y, inside = places(flow, size_hw)
        weight *= inside
        return x, y, weight


def _softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities (K, h, w) of logits; even ones where the logits are undecided."""
    scores = np.ascontiguousarray(scores, np.float32)
    with np.errstate(invalid="ignore"):  # inf - inf
        shares: NDArray[np.float32] = scores - scores.max(axis=0)
    rows = shares.reshape(len(shares), -1)  # (K, h * w)
    cv2.exp(rows, dst=rows)
    total = shares.sum(axis=0)  # (h, w), 1..K

    # Spread undecided ones evenly: a NaN would be carried on to all later frames.
    undecided = ~np.isfinite(total)
    if undecided.any():
        shares[:, undecided] = 1
        total[undecided] = len(shares)
    shares /= total
    return shares


def _blended(
    past: np.ndarray, now: np.ndarray, x: np.ndarray, y: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """(1 - weight) now + weight past(x, y), float32 (K, h, w); past is read bilinearly.

    past, now: float32 (K, h, w). x, y, weight: float32 (h, w).
    """
    blended = np.empty_like(now)
    for first in range(0, len(now), CHANNELS):
        group = slice(first, first + CHANNELS)
        planes = carried(past[group], x, y)

        # Write the blend as now + weight * (past - now), in place: it needs no further planes.
        planes -= now[group]
        planes *= weight
        np.add(planes, now[group], out=blended[group])
    return blended
