"""The legend of an overlay: names and swatches of the classes seen of late."""

from __future__ import annotations

import numpy as np

from vidparse.image import Yuv420
from vidparse.sinks.text import (
    INK,
    PANEL,
    PANEL_ALPHA,
    Tile,
    put,
    rounded,
    text_mask,
    text_width,
    tile_of,
)

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
        self._key: tuple | None = None
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
        self._last_seen = {
            class_id: frame
            for class_id, frame in self._last_seen.items()
            if self._frame - frame < _FRAMES_KEPT
        }
        self._frame += 1
        return tuple(sorted(self._last_seen))


def _tile(entries: list[tuple[str, np.ndarray]], image: Yuv420, pixel_aspect: float) -> Tile | None:
    """Render at the picture's size, or None when there is nothing to say or no room to."""
    height, width = image.size_hw
    text_px = min(max(round(height / 42), _SMALLEST_TEXT_PX), 48)
    room = round(width * pixel_aspect) - 2 * (text_px // 2)  # as players show it
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
