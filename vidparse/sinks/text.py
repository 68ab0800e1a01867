"""Text for overlays: rendered on dark panels, and laid over planes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from vidparse.image import Rgb, Yuv420

PANEL = (18, 20, 24)  # dark, so that text shows on any picture
PANEL_ALPHA = 0.72
INK = np.array([245, 245, 245])


@dataclass(frozen=True, slots=True)
class Tile:
    """A rendered panel, ready to lay over planes at (top, left), which are even."""

    planes: tuple[np.ndarray, ...]  # y, u, v, times alpha
    keep: tuple[np.ndarray, ...]  # 255 * (1 - alpha), full and half size
    top: int = 0
    left: int = 0

    @property
    def size_hw(self) -> tuple[int, int]:
        height, width = self.planes[0].shape
        return height, width

    def at(self, top: int, left: int) -> Tile:
        """The same at another place."""
        return replace(self, top=top, left=left)

    def meets(self, other: Tile) -> bool:
        """True if they cover a pixel in common."""
        (high, wide), (other_high, other_wide) = self.size_hw, other.size_hw
        across = self.left < other.left + other_wide and other.left < self.left + wide
        return across and self.top < other.top + other_high and other.top < self.top + high

    def lay(self, image: Yuv420) -> None:
        """Draw it on planes, in place."""
        for plane, colour, keep, step in zip(
            (image.y, image.u, image.v), self.planes, self.keep, (1, 2, 2), strict=True
        ):
            top, left = self.top // step, self.left // step
            part = plane[top : top + colour.shape[0], left : left + colour.shape[1]]
            cv2.multiply(part, keep, dst=part, scale=1 / 255)
            cv2.add(part, colour, dst=part)


def tile_of(
    rgb: np.ndarray,
    alpha: np.ndarray,
    *,
    matrix: int,
    full_range: bool,
    pixel_aspect: float,
) -> Tile:
    """A panel for planes.

    Args:
        rgb: uint8 (h, w, 3), of even sizes. alpha: opacity uint8 (h, w).
        matrix, full_range: of the planes.
        pixel_aspect: width of a pixel by its height, as players show the picture.
    """
    if pixel_aspect != 1:
        flat = max(2, round(rgb.shape[1] / pixel_aspect / 2) * 2), rgb.shape[0]
        rgb = cv2.resize(rgb, flat, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(alpha, flat, interpolation=cv2.INTER_AREA)
    yuv = Rgb(rgb).yuv420(matrix, full_range)
    small = cv2.resize(alpha, yuv.u.shape[::-1], interpolation=cv2.INTER_AREA)
    planes = tuple(
        cv2.multiply(plane, opaque, scale=1 / 255)
        for plane, opaque in ((yuv.y, alpha), (yuv.u, small), (yuv.v, small))
    )
    return Tile(planes, (255 - alpha, 255 - small, 255 - small))


def put(
    rgb: np.ndarray, alpha: np.ndarray, mask: np.ndarray, colour: np.ndarray, top: int, left: int
) -> None:
    """Lay a colour through a mask (0..1) onto the panel; what it covers becomes opaque."""
    part = (slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1]))
    rgb[part] = np.rint(rgb[part] * (1 - mask[..., None]) + colour * mask[..., None])
    alpha[part] = np.maximum(alpha[part], np.rint(mask * 255))


def rounded(size_hw: tuple[int, int], radius: int) -> np.ndarray:
    """A rectangle with rounded corners, float 0..1, smooth at the edges."""
    height, width = size_hw
    y = np.abs(np.arange(height) + 0.5 - height / 2)[:, None] - (height / 2 - radius)
    x = np.abs(np.arange(width) + 0.5 - width / 2)[None, :] - (width / 2 - radius)
    outside = np.hypot(np.maximum(x, 0), np.maximum(y, 0)) - radius
    return np.clip(0.5 - outside, 0.0, 1.0)


_OVERSAMPLE = 4  # stroke fonts are drawn this many times too large and averaged down


def text_width(text: str, text_px: int) -> int:
    """Pixels of one line of text, whose em is `text_px` high."""
    if hasattr(cv2, "FontFace"):
        face = cv2.FontFace("sans")
        return cv2.getTextSize((9999, 9999), text, (0, 0), face, text_px, 500)[2] + 2
    scale = _stroke_scale(text_px)
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, _OVERSAMPLE)
    return width // _OVERSAMPLE + 2


def text_mask(text: str, text_px: int, row_px: int, width_px: int) -> np.ndarray:
    """Ink of one line of text, float 0..1 (row_px, width_px); too long a text is cut."""
    baseline = round(row_px / 2 + text_px * 0.34)
    width_px = max(width_px, 0)
    if width_px == 0:
        return np.zeros((row_px, 0))
    if hasattr(cv2, "FontFace"):  # OpenCV 5: TrueType
        canvas = np.zeros((row_px, width_px, 3), np.uint8)
        cv2.putText(
            canvas, text, (0, baseline), (255, 255, 255), cv2.FontFace("sans"), text_px, 500
        )
        return canvas[..., 0] / 255.0
    large = np.zeros((row_px * _OVERSAMPLE, width_px * _OVERSAMPLE), np.uint8)
    origin = (0, baseline * _OVERSAMPLE)
    scale = _stroke_scale(text_px)
    cv2.putText(large, text, origin, cv2.FONT_HERSHEY_DUPLEX, scale, 255, _OVERSAMPLE, cv2.LINE_AA)
    return cv2.resize(large, (width_px, row_px), interpolation=cv2.INTER_AREA) / 255.0


def _stroke_scale(text_px: int) -> float:
    """Size factor at which a stroke font's capitals are as tall as the TrueType font's."""
    return text_px * _OVERSAMPLE * 0.7 / 21
