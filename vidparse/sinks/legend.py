"""The legend of an overlay: names and swatches of the classes seen in the last frames.

Tiles of text are rendered once, on dark panels, and laid over the planes of each frame. Letters are
those of OpenCV 5, of any script; before it, those of Pillow, whose font has English ones alone and
draws a box for every other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from vidparse.image import Rgb, Yuv420

if TYPE_CHECKING:
    from PIL import ImageFont

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
    # Squeeze the panel by the shape of the pixels, or players would stretch its letters.
    if pixel_aspect != 1:
        flat = max(2, round(rgb.shape[1] / pixel_aspect / 2) * 2), rgb.shape[0]
        rgb = cv2.resize(rgb, flat, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(alpha, flat, interpolation=cv2.INTER_AREA)

    # Mix the opacity into the planes once, so that a picture takes one product and one sum.
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


def rounded(size_hw: tuple[int, int], radius: int) -> NDArray[np.float64]:
    """A rectangle with rounded corners, float 0..1, smooth at the edges."""
    height, width = size_hw
    y = np.abs(np.arange(height) + 0.5 - height / 2)[:, None] - (height / 2 - radius)
    x = np.abs(np.arange(width) + 0.5 - width / 2)[None, :] - (width / 2 - radius)
    outside: NDArray[np.float64] = np.hypot(np.maximum(x, 0), np.maximum(y, 0)) - radius
    return np.clip(0.5 - outside, 0.0, 1.0)


@cache
def _font(text_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, whose em is `text_px` high."""
    from PIL import ImageFont

    return ImageFont.load_default(text_px)


def text_width(text: str, text_px: int) -> int:
    """Pixels of one line of text, whose em is `text_px` high."""
    # Prefer the letters of OpenCV 5, which are of any script; Pillow's are English ones.
    if hasattr(cv2, "FontFace"):
        face = cv2.FontFace("sans")
        return cv2.getTextSize((9999, 9999), text, (0, 0), face, text_px, 500)[2] + 2
    return round(_font(text_px).getlength(text)) + 2


def text_mask(text: str, text_px: int, row_px: int, width_px: int) -> np.ndarray:
    """Ink of one line of text, float 0..1 (row_px, width_px); too long a text is cut."""
    left_bottom = 0, round(row_px / 2 + text_px * 0.34)  # of the letters, on their baseline
    width_px = max(width_px, 0)
    if width_px == 0:
        return np.zeros((row_px, 0))
    if hasattr(cv2, "FontFace"):
        canvas = np.zeros((row_px, width_px, 3), np.uint8)
        face = cv2.FontFace("sans")
        cv2.putText(canvas, text, left_bottom, (255, 255, 255), face, text_px, 500)
        return canvas[..., 0] / 255.0
    from PIL import Image, ImageDraw

    image = Image.new("L", (width_px, row_px))
    ImageDraw.Draw(image).text(left_bottom, text, 255, _font(text_px), anchor="ls")
    return np.asarray(image) / 255.0


_SMALLEST_TEXT_PX = 11  # pleasant to read
_LEAST_TEXT_PX = 7  # legible, where the picture is too narrow for more
_NARROWEST = 0.2  # pixels that are odder than this, or its inverse, are not believed
_FRAMES_KEPT = 60  # a class stays listed this long after it was last seen: no flicker
_SMALLEST_SHARE = 0.0008  # of the picture, to be listed
_SAMPLE_STEP = 4  # of the half-size map: enough to see what is there
_SWATCH_EDGE = np.array([170, 170, 170])  # dark colours stand out from the dark panel


class Legend:
    """Keeps track of the classes in view and draws their names on planes.

    Args:
        names: by class id.
        colours: RGB uint8 (C, 3) by class id.
        only: class ids that may be listed, or None for all.
        pixel_aspect: width of a pixel by its height, as players show the video.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        colours: np.ndarray,
        only: tuple[int, ...] | None = None,
        *,
        pixel_aspect: float = 1.0,
    ) -> None:
        self._names = names
        self._colours = colours
        self._only = None if only is None else frozenset(only)
        self._pixel_aspect = min(max(pixel_aspect, _NARROWEST), 1 / _NARROWEST)
        self._last_seen: dict[int, int] = {}  # class id -> frame count
        self._frame = 0
        self._key: tuple[tuple[int, ...], tuple[int, int], int, bool] | None = None
        self._tile: Tile | None = None

    def draw(self, image: Yuv420, slots: np.ndarray, class_ids: np.ndarray) -> None:
        """Draw in place.

        Args:
            image: planes to draw on.
            slots: (h, w) of any size, what is in view.
            class_ids: int (S,) by slot, -1 for none.
        """
        listed = self._listed(slots, class_ids)
        key = (listed, image.size_hw, image.matrix, image.full_range)

        # Keep the panel while the same classes are in view: rendering text takes far longer.
        if key != self._key:
            self._key = key
            entries = [(self._names[i], self._colours[i]) for i in listed]
            self._tile = _tile(entries, image, self._pixel_aspect)
        if self._tile is not None:
            self._tile.lay(image)

    def _listed(self, slots: np.ndarray, class_ids: np.ndarray) -> tuple[int, ...]:
        sample = np.ascontiguousarray(slots[::_SAMPLE_STEP, ::2])
        counts = np.bincount(sample.ravel(), minlength=len(class_ids))
        seen = np.flatnonzero((counts > _SMALLEST_SHARE * sample.size) & (class_ids >= 0))
        for class_id in class_ids[seen].tolist():
            if self._only is None or class_id in self._only:
                self._last_seen[class_id] = self._frame

        # Let a class stay listed for a while: names that come and go would flicker.
        self._last_seen = {
            class_id: frame
            for class_id, frame in self._last_seen.items()
            if self._frame - frame < _FRAMES_KEPT
        }
        self._frame += 1
        return tuple(sorted(self._last_seen))


def _tile(entries: list[tuple[str, np.ndarray]], image: Yuv420, pixel_aspect: float) -> Tile | None:
    """Render at the picture's size, or None when there is no entry or no room."""
    height, width = image.size_hw
    text_px = min(max(round(height / 42), _SMALLEST_TEXT_PX), 48)
    room = round(width * pixel_aspect) - 2 * (text_px // 2)  # as players show it

    # Shrink the letters before any name is cut.
    while text_px > _LEAST_TEXT_PX and _panel_width([n for n, _ in entries], text_px) > room:
        text_px -= 1

    rgb, alpha = render_legend(entries, text_px, max_height=height - text_px, max_width=room)
    if rgb.size == 0:
        return None
    margin = text_px // 2 // 2 * 2  # even, so that chroma lines up
    tile = tile_of(
        rgb,
        alpha,
        matrix=image.matrix,
        full_range=image.full_range,
        pixel_aspect=pixel_aspect,
    )
    return tile.at(margin, margin)


def render_legend(
    entries: list[tuple[str, np.ndarray]], text_px: int, *, max_height: int, max_width: int
) -> tuple[np.ndarray, np.ndarray]:
    """A rounded panel with a swatch and a name a row, as many rows as fit.

    Args:
        entries: names with their RGB colour.
        text_px: height of the letters' em in pixels.
        max_height, max_width: room there is, pixels.

    Returns:
        RGB uint8 (h, w, 3) and opacity uint8 (h, w); even sizes, (0, 0) when nothing fits.
    """
    nothing = np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.uint8)
    pad, row = round(text_px * 0.6), round(text_px * 1.45)
    rows = (max_height - 2 * pad) // row
    if not entries or rows < 1:
        return nothing

    names = [name for name, _ in entries[:rows]]
    if len(entries) > rows:
        names[-1] = f"+{len(entries) - rows + 1} more"

    swatch = round(text_px * 0.85)
    gap = round(text_px * 0.55)
    width = min(_panel_width(names, text_px), max_width)
    if width < 2 * pad + swatch:
        return nothing
    height = 2 * pad + row * len(names)

    # Make the sides even, so that chroma lines up with luma.
    width, height = width + width % 2, height + height % 2

    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:] = PANEL
    shape = rounded((height, width), round(text_px * 0.45))
    alpha = np.rint(shape * PANEL_ALPHA * 255)

    for i, name in enumerate(names):
        top = pad + i * row + (row - swatch) // 2
        listed = len(entries) <= rows or i < len(names) - 1
        if listed:
            corner, edge = max(round(text_px * 0.2), 1), max(round(text_px / 16), 1)
            put(rgb, alpha, rounded((swatch, swatch), corner), _SWATCH_EDGE, top, pad)
            inner = rounded((swatch - 2 * edge, swatch - 2 * edge), corner)
            put(rgb, alpha, inner, entries[i][1], top + edge, pad + edge)
        ink = text_mask(name, text_px, row, width - pad // 2 - (pad + swatch + gap))
        put(rgb, alpha, ink, INK, pad + i * row, pad + swatch + gap)
    return rgb, alpha.astype(np.uint8)


def _panel_width(names: list[str], text_px: int) -> int:
    """Pixels of a panel that shows all of these names."""
    widest = max((text_width(name, text_px) for name in names), default=0)
    return 2 * round(text_px * 0.6) + round(text_px * 0.85) + round(text_px * 0.55) + widest
