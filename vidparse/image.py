"""Pictures in memory: packed RGB, or the planar YUV 4:2:0 that video codecs speak.

A frame stays in the form it was decoded to. The network needs a small RGB picture, the overlay
draws on the planes, and nobody converts a full-size frame unless a sink really needs it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch

# Raised by Pillow at damaged files.
PILLOW_FAULTS = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error)

# ITU-T H.273 code points, as FFmpeg numbers them.
BT709, UNSPECIFIED, BT601_625, BT601_525, BT2020 = 1, 2, 5, 6, 9
LIMITED_RANGE, FULL_RANGE = 1, 2

# Luma weights (Kr, Kb) by matrix code point.
_LUMA_WEIGHTS = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),  # FCC
    BT601_625: (0.299, 0.114),
    BT601_525: (0.299, 0.114),
    7: (0.212, 0.087),  # SMPTE 240M
    BT2020: (0.2627, 0.0593),
    10: (0.2627, 0.0593),  # BT.2020 constant luminance, treated as non-constant
}


@dataclass(frozen=True, slots=True)
class ColourTags:
    """The meaning of YUV samples; H.273 code points (2 = unspecified), copied to outputs as is."""

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    range: int = 0  # 0 unspecified, 1 limited, 2 full


def decoded(data: bytes, form: int) -> np.ndarray | None:
    """A picture file as OpenCV decodes it; None if it is damaged, or not of a kind that it knows.

    Args:
        form: one of OpenCV's IMREAD flags.
    """
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), form) if data else None
    except cv2.error:  # its own limits
        return None


def effective_matrix(tags: ColourTags, height: int) -> int:
    """The matrix to compute with: the tagged one, else what players assume (BT.709 for HD)."""
    if tags.matrix in _LUMA_WEIGHTS:
        return tags.matrix
    return BT709 if height > 576 else BT601_525


@lru_cache(maxsize=32)
def rgb_to_yuv_matrix(matrix: int, full_range: bool) -> np.ndarray:
    """3x4 float64 affine map from RGB 0..255 to YUV 0..255 (BT.601/709/2020 equations)."""
    kr, kb = _LUMA_WEIGHTS[matrix]
    kg = 1.0 - kr - kb
    rows = np.array(
        [
            [kr, kg, kb],
            [-kr / (2 * (1 - kb)), -kg / (2 * (1 - kb)), 0.5],
            [0.5, -kg / (2 * (1 - kr)), -kb / (2 * (1 - kr))],
        ]
    )
    if full_range:
        scale, offset = np.ones(3), np.array([0.0, 128.0, 128.0])
    else:
        scale, offset = np.array([219.0, 224.0, 224.0]) / 255.0, np.array([16.0, 128.0, 128.0])
    return np.hstack([rows * scale[:, None], offset[:, None]])


@lru_cache(maxsize=32)
def yuv_to_rgb_matrix(matrix: int, full_range: bool) -> np.ndarray:
    """3x4 float64 inverse of :func:`rgb_to_yuv_matrix`."""
    forward = rgb_to_yuv_matrix(matrix, full_range)
    inverse = np.linalg.inv(forward[:, :3])
    return np.hstack([inverse, -(inverse @ forward[:, 3])[:, None]])


@dataclass(frozen=True, slots=True)
class Rgb:
    """Packed 8-bit RGB, uint8 (H, W, 3)."""

    pixels: np.ndarray

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def planes(self) -> tuple[np.ndarray, ...]:
        """The arrays that hold its samples, each with rows first."""
        return (self.pixels,)

    def rgb(self, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """RGB uint8 (h, w, 3), resized to `size_hw` when given."""
        return self.pixels if size_hw is None else _resize(self.pixels, size_hw)

    def yuv420(self, matrix: int, full_range: bool) -> Yuv420:
        """Convert; chroma is the mean of each 2x2 block (edges repeat on odd sizes)."""
        yuv = cv2.transform(self.pixels, rgb_to_yuv_matrix(matrix, full_range))  # (H, W, 3)
        height, width = self.size_hw
        if height % 2 or width % 2:
            yuv = cv2.copyMakeBorder(yuv, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        small = cv2.resize(
            yuv[..., 1:], (yuv.shape[1] // 2, yuv.shape[0] // 2), interpolation=cv2.INTER_AREA
        )  # (ceil(H/2), ceil(W/2), 2)
        luma = np.ascontiguousarray(yuv[:height, :width, 0])
        u, v = cv2.split(small)
        return Yuv420(luma, u, v, matrix, full_range)


def rgb_picture(pixels: np.ndarray) -> Rgb:
    """An array of the user's as a picture.

    Args:
        pixels: uint8 (H, W, 3).

    Raises:
        ValueError: another shape or type, or no pixel at all.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(
            f"picture of {pixels.dtype} {pixels.shape}: give RGB as uint8 (height, width, 3)"
        )
    return Rgb(np.ascontiguousarray(pixels))


@dataclass(frozen=True, slots=True)
class Yuv420:
    """Planar 8-bit 4:2:0. y: uint8 (H, W); u, v: uint8 (ceil(H/2), ceil(W/2)).

    `matrix` is an H.273 code point with known weights (see :func:`effective_matrix`).
    """

    y: np.ndarray
    u: np.ndarray
    v: np.ndarray
    matrix: int
    full_range: bool

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.y.shape[0], self.y.shape[1]

    @property
    def planes(self) -> tuple[np.ndarray, ...]:
        """The arrays that hold its samples, each with rows first."""
        return self.y, self.u, self.v

    def rgb(self, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """RGB uint8 (h, w, 3); planes are brought to `size_hw` first, which is far cheaper."""
        size_hw = size_hw or self.size_hw
        planes = [_resize(plane, size_hw) for plane in (self.y, self.u, self.v)]
        yuv = cv2.merge(planes)  # (h, w, 3)
        return cv2.transform(yuv, yuv_to_rgb_matrix(self.matrix, self.full_range))

    def yuv420(self, matrix: int, full_range: bool) -> Yuv420:
        """Itself when already in that colour space, else converted through RGB."""
        if (matrix, full_range) == (self.matrix, self.full_range):
            return self
        return Rgb(self.rgb()).yuv420(matrix, full_range)


class Nv12:
    """8-bit 4:2:0 in the memory of a CUDA device, as its decoder leaves it.

    The samples come to the host when they are first read, and once.

    Args:
        y: uint8 (H, W) on the device. uv: uint8 (H/2, W/2, 2); H and W are even.
        matrix, full_range: as of :class:`Yuv420`.
    """

    def __init__(self, y: torch.Tensor, uv: torch.Tensor, matrix: int, full_range: bool) -> None:
        self.y, self.uv = y, uv
        self.matrix, self.full_range = matrix, full_range
        self._host: Yuv420 | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.y.shape[0], self.y.shape[1]

    @property
    def host(self) -> Yuv420:
        """The same picture in the memory of the host."""
        if self._host is None:
            u, v = cv2.split(self.uv.cpu().numpy())
            self._host = Yuv420(self.y.cpu().numpy(), u, v, self.matrix, self.full_range)
        return self._host

    @property
    def colours(self) -> tuple[int, bool]:
        """The matrix and the range."""
        return self.matrix, self.full_range

    def mixed(self, slots: np.ndarray, tables: np.ndarray, opacity: float, void: int) -> Yuv420:
        """A new picture on the host, with a colour mixed into every pixel but those of no slot.

        Args:
            slots: numbers (H, W). tables: uint8 (3, S), samples of each plane by slot.
            opacity: of the colours, 0..1. void: the slot that leaves the picture as it is.
        """
        import torch

        place = self.y.device
        numbers = torch.from_numpy(slots).to(place, torch.int32)  # (H, W)
        colours = torch.from_numpy(tables).to(place)

        # Round halves to even, as OpenCV's addWeighted does on the host.
        def blend(plane: torch.Tensor, numbers: torch.Tensor, colour: torch.Tensor) -> np.ndarray:
            kept = plane.float() * (1.0 - opacity)
            mixture = (kept + colour[numbers].float() * opacity).round().to(torch.uint8)
            shown = torch.where(numbers == void, plane, mixture)
            host = torch.empty(shown.shape, dtype=torch.uint8, pin_memory=place.type == "cuda")
            return host.copy_(shown).numpy()

        small = numbers[::2, ::2]  # chroma sits on even columns (H.273)
        return Yuv420(
            blend(self.y, numbers, colours[0]),
            blend(self.uv[..., 0], small, colours[1]),
            blend(self.uv[..., 1], small, colours[2]),
            self.matrix,
            self.full_range,
        )

    @property
    def planes(self) -> tuple[np.ndarray, ...]:
        """The arrays that hold its samples on the host, each with rows first."""
        return self.host.planes

    def rgb(self, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """As :meth:`Yuv420.rgb`."""
        return self.host.rgb(size_hw)

    def yuv420(self, matrix: int, full_range: bool) -> Yuv420:
        """As :meth:`Yuv420.yuv420`."""
        return self.host.yuv420(matrix, full_range)


@dataclass(frozen=True, slots=True)
class YuvAlpha:
    """Planar YUV with a plane of alpha, as encoders take it; alpha is of full range.

    y, alpha: (H, W); u, v: the same, or (ceil(H/2), ceil(W/2)). uint8, or uint16 of 10 bits.
    """

    y: np.ndarray
    u: np.ndarray
    v: np.ndarray
    alpha: np.ndarray

    @classmethod
    def halved(cls, rgb: np.ndarray, alpha: np.ndarray, matrix: int, full_range: bool) -> YuvAlpha:
        """8 bits with halved chroma, of RGB uint8 (H, W, 3) and alpha uint8 (H, W)."""
        image = Rgb(rgb).yuv420(matrix, full_range)
        return cls(image.y, image.u, image.v, alpha)

    @classmethod
    def of_10_bits(
        cls, rgb: np.ndarray, alpha: np.ndarray, matrix: int, full_range: bool
    ) -> YuvAlpha:
        """10 bits with chroma at every pixel, of RGB uint8 (H, W, 3) and alpha uint8 (H, W)."""
        affine = rgb_to_yuv_matrix(matrix, full_range) * 4
        if full_range:
            affine = affine * (1023 / 1020)
        yuv = cv2.transform(rgb.astype(np.float32), affine)
        y, u, v = cv2.split(np.clip(np.rint(yuv), 0, 1023).astype(np.uint16))
        levels = np.rint(np.arange(256) * (1023 / 255)).astype(np.uint16)
        return cls(y, u, v, levels[alpha])

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.y.shape[0], self.y.shape[1]

    @property
    def planes(self) -> tuple[np.ndarray, ...]:
        """The arrays that hold its samples, each with rows first."""
        return self.y, self.u, self.v, self.alpha


Image = Rgb | Yuv420 | Nv12


def _resize(array: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Area average when shrinking, bilinear otherwise; no copy when the size fits."""
    height, width = size_hw
    if array.shape[:2] == (height, width):
        return array

    # Average areas when shrinking: bilinear reads four pixels, and skips those between.
    shrinking = height <= array.shape[0] and width <= array.shape[1]
    return cv2.resize(
        array, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )
