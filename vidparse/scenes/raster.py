"""Painting a view, back to front: which surface owns each pixel, and colours with soft edges."""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.scenes.textures import TextureBank
from vidparse.scenes.view import VisibleQuads

_SUBPIXEL_BITS = 4
_WORTH_TRIMMING_PX2 = 12000
_EDGE_PX = 2  # soft edges reach this far beyond the pixels that a surface owns
_HALF = 127  # a surface owns a pixel that it covers by more than half


def paint_ranks(view: VisibleQuads, bank: TextureBank) -> np.ndarray:
    """The rank of the surface in front at each pixel, uint16 (H, W), 0 = none."""
    ranks = np.zeros(view.camera.size_hw, np.uint16)
    rows = zip(
        view.variant.tolist(), view.box.tolist(), view.rank.tolist(), view.warp, view.outline,
        view.quads.opaque.tolist(), strict=True,
    )  # fmt: skip
    for (texture, level_x, level_y, _, _), (x0, y0, x1, y1), rank, warp, outline, opaque in rows:
        if not rank:
            continue
        size = x1 - x0, y1 - y0

        # Fill opaque quads by outline, which is cheaper than to warp their texture.
        if outline is not None and (bank.is_tiled(texture) or opaque):
            alpha = _mask(outline, x0, y0, (size[1], size[0]))
        else:
            coverage = bank.coverage(texture, level_x, level_y)
            alpha = cv2.warpPerspective(coverage, warp, size, flags=cv2.INTER_LINEAR)
            if outline is not None:
                alpha = cv2.min(alpha, _mask(outline, x0, y0, (size[1], size[0])))

        # Own a pixel wholly or not at all: labels cannot be mixed.
        _, mask = cv2.threshold(alpha, _HALF, 255, cv2.THRESH_BINARY)
        value = np.full((size[1], size[0]), rank, np.uint16)
        cv2.copyTo(value, mask, ranks[y0:y1, x0:x1])
    return ranks


def paint_colours(view: VisibleQuads, bank: TextureBank, ranks: np.ndarray) -> np.ndarray:
    """RGBA uint8 (H, W, 4) of what `ranks` of the same view shows to be in sight."""
    canvas = np.zeros((*view.camera.size_hw, 4), np.uint8)
    count = int(view.rank.max(initial=0)) + 1
    owned = cv2.calcHist([ranks], [0], None, [count], [0, count]).ravel()  # pixels of each rank

    # Skip surfaces that own no pixel; shadows own none and darken all the same.
    rows = np.flatnonzero((owned[view.rank] > 0) | view.quads.shadow)
    columns = zip(
        rows.tolist(), view.variant[rows].tolist(), view.box[rows].tolist(), view.warp[rows],
        strict=True,
    )  # fmt: skip

    for row, variant, box, warp in columns:
        x0, y0, x1, y1 = box
        if (x1 - x0) * (y1 - y0) > _WORTH_TRIMMING_PX2 and view.rank[row]:
            x0, y0, x1, y1 = _trimmed(ranks, box, view.rank[row])
            if x0 >= x1:
                continue  # another piece of this surface is in sight, this one is not
            warp = _moved(warp, x0 - box[0], y0 - box[1])

        pixels, border = bank.variant(*variant), cv2.BORDER_CONSTANT
        tiled = bank.is_tiled(variant[0])
        if tiled:
            pixels, warp = _unrolled(pixels, warp, view.quads.tiling[row])
            border = cv2.BORDER_REPLICATE
        layer = cv2.warpPerspective(
            pixels, warp, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR, borderMode=border
        )

        target = canvas[y0:y1, x0:x1]
        outline = view.outline[row]
        if outline is None:
            alpha = cv2.extractChannel(layer, 3)
        else:
            mask = _mask(outline, x0, y0, layer.shape[:2])
            layer = cv2.multiply(layer, cv2.merge((mask, mask, mask, mask)), scale=1 / 255)
            alpha = mask if tiled else cv2.extractChannel(layer, 3)

        # Blend over what lies behind; colours are multiplied by alpha already.
        clear = cv2.bitwise_not(alpha)
        cv2.multiply(target, cv2.merge((clear, clear, clear, clear)), target, scale=1 / 255)
        cv2.add(target, layer, target)
    return canvas


def _trimmed(ranks: np.ndarray, box: list[int], rank: int) -> tuple[int, int, int, int]:
    """The part of a box where a surface is in sight, with room for its soft edges."""
    x0, y0, x1, y1 = box
    owned = cv2.compare(ranks[y0:y1, x0:x1], float(rank), cv2.CMP_EQ)  # type: ignore[call-overload]
    x, y, width, height = cv2.boundingRect(owned)
    if not width:
        return x0, y0, x0, y0
    return (
        max(x0 + x - _EDGE_PX, x0), max(y0 + y - _EDGE_PX, y0),
        min(x0 + x + width + _EDGE_PX, x1), min(y0 + y + height + _EDGE_PX, y1),
    )  # fmt: skip


def _moved(warp: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """The same warp for a box whose corner lies (dx, dy) further."""
    moved = warp.copy()
    moved[0] -= dx * warp[2]
    moved[1] -= dy * warp[2]
    return moved


def _mask(outline: np.ndarray, x0: int, y0: int, size_hw: tuple[int, int]) -> np.ndarray:
    """The cover of each pixel of a box by a polygon in picture pixels, uint8 (h, w)."""
    mask = np.zeros(size_hw, np.uint8)
    points = np.clip((outline - (x0, y0)) * 2**_SUBPIXEL_BITS, -(2**26), 2**26)
    cv2.fillConvexPoly(mask, np.round(points).astype(np.int32), 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return mask


def _unrolled(
    pixels: np.ndarray, warp: np.ndarray, tiling: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The part of an endless texture that one quad shows, and the warp that fits it.

    Far cheaper than to let OpenCV wrap round at each pixel, and often no copy at all.
    """
    start = [0, 0]
    for axis in (0, 1):
        size = pixels.shape[1 - axis]
        scale, offset = float(tiling[2 * axis]), float(tiling[2 * axis + 1]) % 1.0

        if scale == 1.0 and offset == 0.0:
            continue  # as wide as the texture: its own border will do
        low = int(np.floor(min(offset, offset + scale) * size)) - 2
        high = int(np.ceil(max(offset, offset + scale) * size)) + 2
        start[axis], shift = low, low % size

        if shift + high - low <= size:
            part = slice(shift, shift + high - low)
            pixels = pixels[part] if axis else pixels[:, part]
        else:
            pixels = np.take(pixels, np.arange(low, high), axis=1 - axis, mode="wrap")

    # Shift the warp by what was cut off, so that texels stay in their place.
    shifted = warp.copy()
    shifted[:, 2] += warp[:, 0] * start[0] + warp[:, 1] * start[1]
    return pixels, shifted
