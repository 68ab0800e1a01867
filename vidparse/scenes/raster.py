"""Painting a view, back to front: colours with soft edges, and which surface owns each pixel."""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.scenes.textures import TextureBank
from vidparse.scenes.view import View

_SUBPIXEL_BITS = 4
_HALF = 127  # a surface owns a pixel that it covers by more than half


def paint(view: View, bank: TextureBank) -> tuple[np.ndarray, np.ndarray]:
    """RGBA uint8 (H, W, 4), and the rank of the frontmost surface, uint16 (H, W), 0 = none."""
    canvas = np.zeros((*view.camera.size_hw, 4), np.uint8)
    ranks = np.zeros(view.camera.size_hw, np.uint16)
    rows = zip(
        view.variant.tolist(), view.box.tolist(), view.rank.tolist(), view.warp, view.outline,
        strict=True,
    )  # fmt: skip
    for variant, (x0, y0, x1, y1), rank, warp, outline in rows:
        tiled = bank[variant[0]].tiled
        layer = cv2.warpPerspective(
            bank.variant(*variant), warp, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP if tiled else cv2.BORDER_CONSTANT,
        )  # fmt: skip
        if outline is not None:
            mask = _mask(outline, x0, y0, layer.shape[:2])
            layer = cv2.multiply(layer, cv2.merge((mask, mask, mask, mask)), scale=1 / 255)
        alpha = cv2.extractChannel(layer, 3)
        clear = cv2.bitwise_not(alpha)
        target = canvas[y0:y1, x0:x1]
        cv2.multiply(target, cv2.merge((clear, clear, clear, clear)), target, scale=1 / 255)
        cv2.add(target, layer, target)
        if rank:
            np.putmask(ranks[y0:y1, x0:x1], alpha > _HALF, rank)
    return canvas, ranks


def paint_ranks(view: View, bank: TextureBank) -> np.ndarray:
    """The second result of `paint` alone, without the cost of colours."""
    ranks = np.zeros(view.camera.size_hw, np.uint16)
    rows = zip(
        view.variant.tolist(), view.box.tolist(), view.rank.tolist(), view.warp, view.outline,
        strict=True,
    )  # fmt: skip
    for variant, (x0, y0, x1, y1), rank, warp, outline in rows:
        if not rank:
            continue
        size = x1 - x0, y1 - y0
        if bank[variant[0]].tiled and outline is not None:
            alpha = _mask(outline, x0, y0, (size[1], size[0]))
        else:
            coverage = bank.coverage(*variant[:3])
            alpha = cv2.warpPerspective(coverage, warp, size, flags=cv2.INTER_LINEAR)
            if outline is not None:
                alpha = cv2.min(alpha, _mask(outline, x0, y0, alpha.shape))
        np.putmask(ranks[y0:y1, x0:x1], alpha > _HALF, rank)
    return ranks


def _mask(outline: np.ndarray, x0: int, y0: int, size_hw: tuple[int, int]) -> np.ndarray:
    """How far a polygon in picture pixels covers each pixel of a box, uint8 (h, w)."""
    mask = np.zeros(size_hw, np.uint8)
    points = np.clip((outline - (x0, y0)) * 2**_SUBPIXEL_BITS, -(2**26), 2**26)
    cv2.fillConvexPoly(mask, np.int32(np.round(points)), 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return mask
