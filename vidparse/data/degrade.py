"""Frames as worse cameras give them: noise, blur, JPEG, night, other light. Labels stay.

Each frame is degraded by itself, by numbers that follow from the seed and its name alone: the same
bytes in any order and on any machine. For that, all arithmetic on pixels is of whole numbers, or of
float numbers that are whole; JPEG is libjpeg-turbo's, whose pictures are the same everywhere.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image as Pillow

from vidparse.data.dataset import Dataset, FrameRecord
from vidparse.requests.degradation import DEGRADATIONS, Degradation

Key = Sequence[int]  # whole numbers from 0 to 2^32 - 1, which all draws follow from

_FOUR_BYTES_MEAN = 510
_FOUR_BYTES_DEVIATION = (4 * (256**2 - 1) / 12) ** 0.5
_FINE = 1 << 16  # parts of one that noise is scaled in
_MIXED = tuple(kind for kind in DEGRADATIONS if kind != "mixed")
_COARSE = 256  # parts of one that weights of a blur are rounded to


class Draws:
    """Numbers that follow from a key, the same with every version of NumPy.

    Raw bits of a generator never change; what NumPy's own distributions make of them may.
    """

    def __init__(self, key: Key) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(list(key)))

    def within(self, low: float, high: float) -> float:
        """A number from `low` to `high`, all alike."""
        return low + (high - low) * (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def bytes(self, count: int) -> np.ndarray:
        """uint8 (count,)."""
        words = np.asarray(self._bits.random_raw(-(-count // 8)))

        # Lay the words out alike on machines of either byte order.
        return words.astype("<u8", copy=False).view(np.uint8)[:count]


def degraded(dataset: Dataset, degradation: Degradation) -> Dataset:
    """A data set whose frames are degraded; `read_clean` still reads them as they are."""
    return replace(
        dataset,
        read_image=_DegradedImages(dataset.read_image, degradation),
        read_clean=dataset.read_clean or dataset.read_image,
        recipe=f"{dataset.recipe} degraded by {degradation}".strip(),
        notes=(*dataset.notes, f"Pictures are degraded ({degradation}), labels and flow are not"),
    )


@dataclass(frozen=True, slots=True)
class _DegradedImages:
    """The reader of a data set with something done to each picture."""

    read: Callable[[FrameRecord], np.ndarray]
    degradation: Degradation

    def __call__(self, frame: FrameRecord) -> np.ndarray:
        kind, seed = self.degradation.kind, self.degradation.seed
        keys = (
            key_of(kind, str(seed), frame.video),
            key_of(kind, str(seed), frame.video, frame.stem),
        )
        return degrade(self.read(frame), kind, *keys)[0]


def key_of(*words: str) -> Key:
    """A key that follows from words."""
    digest = hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).digest()
    return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]


def degrade(rgb: np.ndarray, kind: str, clip: Key, frame: Key) -> tuple[np.ndarray, bool]:
    """A picture as a worse camera gives it, and True if it differs from `rgb`.

    burst: half of the frames get noise (sigma 25 to 60), blur (1.2 to 3) or JPEG (quality 3 to 10).
    noise: sigma 5 to 30. jpeg: quality 5 to 30. light: brightness, contrast and a cast of colours.
    night: a clip is dark and bluish, and its frames are noisy (sigma 6 to 14).
    mixed: half of the frames are as one of the others has them.

    Args:
        rgb: uint8 (H, W, 3); it is left as it is.
        kind: one of DEGRADATIONS.
        clip: the key of what all frames of a clip share. frame: of this frame.
    """
    draws = Draws(frame)
    if kind == "mixed":
        chosen = int(draws.within(0, 2 * len(_MIXED)))
        if chosen >= len(_MIXED):
            return rgb, False
        kind = _MIXED[chosen]

    if kind == "burst":
        return _burst(rgb, draws)
    if kind == "noise":
        return noisy(rgb, draws.within(5, 30), draws), True
    if kind == "jpeg":
        return compressed(rgb, 5 + int(draws.within(0, 26))), True

    if kind == "light":
        gain, contrast = draws.within(0.5, 1.5), draws.within(0.7, 1.3)
        casts = [draws.within(0.8, 1.2) for _ in range(3)]
        return toned(rgb, [gain * cast for cast in casts], contrast), True

    # Draw the dark once per clip: a night stays as dark as it is.
    assert kind == "night", kind
    dark = Draws(clip).within(0.18, 0.4)
    dimmed = toned(rgb, [0.85 * dark, 0.95 * dark, 1.1 * dark])
    return noisy(dimmed, draws.within(6, 14), draws), True


def _burst(rgb: np.ndarray, draws: Draws) -> tuple[np.ndarray, bool]:
    chosen, strength = int(draws.within(0, 6)), draws.within(0, 1)
    if chosen == 0:
        return noisy(rgb, 25 + 35 * strength, draws), True
    if chosen == 1:
        return blurred(rgb, 1.2 + 1.8 * strength), True
    if chosen == 2:
        return compressed(rgb, 3 + int(8 * strength)), True
    return rgb, False


def noisy(rgb: np.ndarray, sigma: float, draws: Draws) -> np.ndarray:
    """uint8 (H, W, 3) with noise of a standard deviation, in each channel by itself."""
    # Add four bytes up, which is nearly normal, and exact.
    noise = draws.bytes(4 * rgb.size).reshape(4, *rgb.shape).sum(axis=0, dtype=np.int32)
    factor = round(sigma / _FOUR_BYTES_DEVIATION * _FINE)
    noise = ((noise - _FOUR_BYTES_MEAN) * factor + _FINE // 2) // _FINE
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def blurred(rgb: np.ndarray, sigma: float) -> np.ndarray:
    """uint8 (H, W, 3) blurred by a Gaussian; beyond its border the picture is mirrored."""
    reach = int(3 * sigma + 0.5)
    bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights = np.rint(bell / bell.sum() * _COARSE)
    weights[reach] += _COARSE - weights.sum()

    # Filter whole numbers below 2^24 as floats: their sums are exact, in whatever order.
    sums = cv2.sepFilter2D(
        rgb.astype(np.float32), cv2.CV_32F, weights, weights, borderType=cv2.BORDER_REFLECT_101
    )
    return ((sums.astype(np.int32) + _COARSE**2 // 2) // _COARSE**2).astype(np.uint8)


def compressed(rgb: np.ndarray, quality: int) -> np.ndarray:
    """uint8 (H, W, 3) after JPEG, with colours at half resolution."""
    data = io.BytesIO()
    Pillow.fromarray(rgb).save(data, "JPEG", quality=quality, subsampling="4:2:0")
    return np.array(Pillow.open(data).convert("RGB"))


def toned(rgb: np.ndarray, gains: Sequence[float], contrast: float = 1.0) -> np.ndarray:
    """uint8 (H, W, 3) with each channel times its gain, and spread about 128 by `contrast`."""
    levels = np.arange(256)[:, None] * np.array(gains)  # (256, 3)
    table = np.clip(np.rint((levels - 128) * contrast + 128), 0, 255).astype(np.uint8)
    return cv2.LUT(rgb, table[None])
