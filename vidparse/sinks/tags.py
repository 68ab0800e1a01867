"""Tags of an overlay: class and id, written on every thing that has room for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from vidparse.image import Yuv420
from vidparse.maps import Prediction, Segment
from vidparse.sinks.legend import (
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

_LINES_PER_EM = 45  # of the picture: 16 pixels at 720 lines
_TEXT_PX = (11, 40)  # least and greatest height of an em, where there is room
_SMALLER = 0.75  # of that, on things that are small; then the id alone
_LEAST_TEXT_PX = 9  # legible
_MOST = 0.65  # of a tag that must lie on a thing which is narrower than its id
_DRIFT = 0.1  # of the way to the best place that a tag goes in a frame
_SLACK = 1.25  # more room than a larger form needs, before it takes the place of a smaller one
_MOST_PLACES = 1 << 16  # that are compared
_TILES_KEPT = 1024
_NARROWEST = 0.2  # pixels that are odder than this, or its inverse, are not believed


@dataclass(frozen=True, slots=True)
class _Form:
    """Lines of text, the height of their em in pixels, and how much must lie on the thing, 0..1."""

    lines: tuple[str, ...]
    text_px: int
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class _Placed:
    """The tag of a thing in the last frame: number of its form, and its centre from the box's."""

    form: int
    offset: tuple[float, float]


class Tags:
    """Writes "Car 12" on car 12, inside of it, so that no tag covers another.

    A thing without room for that is tagged on two lines, in smaller letters, with its id alone
    (most of which lies on the thing), or not at all. Tags move as little as their things let them.

    Args:
        names: of the classes, by class id.
        pixel_aspect: width of a pixel by its height, as players show the video.
    """

    def __init__(self, names: tuple[str, ...], *, pixel_aspect: float = 1.0) -> None:
        self._names = names
        self._pixel_aspect = min(max(pixel_aspect, _NARROWEST), 1 / _NARROWEST)
        self._placed: dict[int, _Placed] = {}  # of the things in the last frame
        self._tile = lru_cache(_TILES_KEPT)(self._new_tile)

    def draw(self, image: Yuv420, prediction: Prediction) -> None:
        """Draw on planes, in place; nothing on a semantic prediction."""
        placed: dict[int, _Placed] = {}
        taken: list[Tile] = []
        things = [one for one in prediction.segments or () if one.is_thing and one.area]

        # Begin with the largest: where two tags meet, the smaller thing goes without.
        for segment in sorted(things, key=lambda one: (-one.area, one.id)):
            found = self._place(image, prediction.ids, segment)
            if found is not None and not any(found[0].meets(other) for other in taken):
                tile, placed[segment.id] = found
                taken.append(tile)
                tile.lay(image)
        self._placed = placed

    def _place(
        self, image: Yuv420, ids: np.ndarray, segment: Segment
    ) -> tuple[Tile, _Placed] | None:
        """The tag of a thing at its place; None where it has no room."""
        x, y, width, height = segment.box

        mask = (ids[y : y + height, x : x + width] == segment.id).view(np.uint8)
        before = self._placed.get(segment.id)
        offset = None if before is None else before.offset

        # Try the fullest form first; a smaller one stays until there is room to spare.
        for number, form in enumerate(self._forms(image.size_hw, segment)):
            tile = self._tile(form, image.matrix, image.full_range)
            high, wide = tile.size_hw
            grows = before is not None and number < before.form
            slack = _SLACK if grows else 1.0
            needed_hw = round(high * slack) + 2, round(wide * slack) + 2  # places become even

            centre = _centre_of(needed_hw, mask, offset, share=form.share)
            if centre is None:
                continue
            left = _even(x + centre[0] - wide // 2, image.size_hw[1] - wide)
            top = _even(y + centre[1] - high // 2, image.size_hw[0] - high)
            if min(left, top) >= 0:
                found = centre[0] - width / 2, centre[1] - height / 2
                return tile.at(top, left), _Placed(number, found)
        return None

    def _forms(self, size_hw: tuple[int, int], segment: Segment) -> Iterator[_Form]:
        """The best one first."""
        low, high = _TEXT_PX
        large = min(max(round(size_hw[0] / _LINES_PER_EM), low), high)
        small = max(round(large * _SMALLER), _LEAST_TEXT_PX)
        name, number = self._names[segment.class_id], str(segment.id)
        for text_px in (large, small):
            yield _Form((f"{name} {number}",), text_px)
            yield _Form((name, number), text_px)
        for text_px in (large, small):
            yield _Form((number,), text_px)
        yield _Form((number,), small, share=_MOST)

    def _new_tile(self, form: _Form, matrix: int, full_range: bool) -> Tile:
        """A dark panel with bright text, which shows on any picture."""
        lines, text_px = form.lines, form.text_px
        pad = round(text_px * (0.4 if form.share == 1 else 0.2))
        edge, row = round(text_px * (0.15 if form.share == 1 else 0)), round(text_px * 1.25)

        widths = [text_width(line, text_px) for line in lines]
        width, height = max(widths) + 2 * pad, row * len(lines) + 2 * edge
        width, height = width + width % 2, height + height % 2

        rgb = np.empty((height, width, 3), np.uint8)
        rgb[:] = PANEL
        alpha = np.rint(rounded((height, width), round(text_px * 0.35)) * PANEL_ALPHA * 255)
        for i, (line, wide) in enumerate(zip(lines, widths, strict=True)):
            left = (width - wide) // 2
            put(rgb, alpha, text_mask(line, text_px, row, width - left), INK, edge + i * row, left)

        return tile_of(
            rgb,
            alpha.astype(np.uint8),
            matrix=matrix,
            full_range=full_range,
            pixel_aspect=self._pixel_aspect,
        )


def _centre_of(
    size_hw: tuple[int, int],
    mask: np.ndarray,
    before: tuple[float, float] | None,
    *,
    share: float,
) -> tuple[int, int] | None:
    """The centre (x, y) of a tag of this size that lies on a mask, in pixels of the mask.

    Args:
        size_hw: of the tag.
        mask: uint8 (h, w), 1 inside.
        before: where it was in the last frame, from the middle of the mask; None: it was not there.
        share: of the tag that must lie on the mask; its centre always does.
    """
    high, wide = size_hw
    height, width = mask.shape

    # Leave before the filters where the thing is too small: counting is far cheaper.
    if share * high * wide > np.count_nonzero(mask):
        return None

    # Shrink the mask by the tag: what is left are centres at which all of it fits.
    if share == 1:
        kernel = np.ones((high, wide), np.uint8)
        fits = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    else:
        part = cv2.boxFilter(mask * 255, -1, (wide, high), borderType=cv2.BORDER_CONSTANT)
        fits = ((part >= share * 255) & (mask > 0)).view(np.uint8)
    if not fits.any():
        return None

    # Prefer the place with most room round it.
    padded = cv2.copyMakeBorder(fits, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,))
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = divmod(int(depth.argmax()), width)
    if before is None:
        return x, y

    # Go there a little in each frame: a tag that jumps cannot be read.
    old_x, old_y = before[0] + width / 2, before[1] + height / 2
    new_x, new_y = old_x + _DRIFT * (x - old_x), old_y + _DRIFT * (y - old_y)
    step = 1 + int(np.sqrt(mask.size / _MOST_PLACES))
    rows, columns = np.nonzero(fits[::step, ::step])
    if not len(rows):
        return x, y
    nearest = int(((columns * step - new_x) ** 2 + (rows * step - new_y) ** 2).argmin())
    return int(columns[nearest]) * step, int(rows[nearest]) * step


def _even(place: int, most: int) -> int:
    """The nearest even place before one, at most the last that is inside of the picture."""
    return min(place, most) // 2 * 2 if place >= 0 else min(0, most)
