"""What a camera sees of a set of quads: which, in what order, where, and with which texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidparse.scenes.camera import NEAR_M, Camera
from vidparse.scenes.hiding import hidden_rows
from vidparse.scenes.quads import LAYER_SKYLINE, Quads
from vidparse.scenes.textures import (
    HAZE_LENGTH_M,
    HAZE_STEPS,
    LIGHT_STEPS,
    MAX_LEVEL,
    TextureBank,
)

_SMALLEST_PX2 = 0.3
_SMALLEST_SHADOW_PX2 = 80.0


@dataclass(frozen=True, slots=True)
class View:
    """The visible quads in painting order, (N,) rows each; `everything` is before culling."""

    camera: Camera
    everything: Quads
    quads: Quads
    homographies: np.ndarray  # float64 (N, 3, 3): quad coordinates (s, t, 1) to pixels
    rank: np.ndarray  # int64 (N,): place of the surface in painting order, from 1; shadows 0
    box: np.ndarray  # int64 (N, 4): x0, y0, x1, y1 of the pixels it may touch
    warp: np.ndarray  # float64 (N, 3, 3): texels of the variant to pixels of the box
    variant: np.ndarray  # int64 (N, 5): texture, level x, level y, haze, light
    outline: tuple[np.ndarray | None, ...]  # (K, 2) pixels where the texture's edge is not it


def see(quads: Quads, camera: Camera, bank: TextureBank) -> View:
    """Project, cull, sort; see `View`."""
    homographies = camera.homographies(quads.origin, quads.across, quads.down)
    rows, corners = _in_front(quads, homographies)
    visible = quads.take(rows)
    homographies, tiled = homographies[rows], _is_tiled(visible)
    bounds, outline = _bounds(corners, tiled | visible.opaque)
    height, width = camera.size_hw
    box = np.stack(
        [
            np.clip(np.floor(bounds[:, 0]) - 1, 0, width),
            np.clip(np.floor(bounds[:, 1]) - 1, 0, height),
            np.clip(np.ceil(bounds[:, 2]) + 2, 0, width),
            np.clip(np.ceil(bounds[:, 3]) + 2, 0, height),
        ],
        axis=1,
    ).astype(np.int64)
    size = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])
    seen = (
        (box[:, 2] > box[:, 0])
        & (box[:, 3] > box[:, 1])
        & (size > np.where(visible.shadow, _SMALLEST_SHADOW_PX2, _SMALLEST_PX2))
    )
    depth = camera.depth(visible.anchor)
    painting = np.lexsort((visible.order, -depth, visible.layer))
    painting = painting[seen[painting]]
    painting = painting[
        ~hidden_rows(visible.take(painting), homographies[painting], box[painting], camera.size_hw)
    ]

    visible = visible.take(painting)
    homographies, corners, box = homographies[painting], corners[painting], box[painting]
    levels = _levels(visible, corners, bank)
    middle = homographies[:, 2, 2] + (homographies[:, 2, 0] + homographies[:, 2, 1]) / 2
    haze = 1 - np.exp(-np.maximum(middle, 0) / HAZE_LENGTH_M)
    haze[(visible.layer <= LAYER_SKYLINE) | visible.shadow] = 0
    variant = np.stack(
        [
            visible.texture,
            levels[:, 0],
            levels[:, 1],
            np.rint(haze * HAZE_STEPS).astype(np.int64),
            np.rint(visible.light * LIGHT_STEPS).astype(np.int64),
        ],
        axis=1,
    )
    return View(
        camera=camera,
        everything=quads,
        quads=visible,
        homographies=homographies,
        rank=_ranks(visible),
        box=box,
        warp=_warps(visible, homographies, levels, box, bank),
        variant=variant,
        outline=tuple(outline[i] for i in painting),
    )


def _is_tiled(quads: Quads) -> np.ndarray:
    return (quads.tiling != (1.0, 0.0, 1.0, 0.0)).any(1)


def _in_front(quads: Quads, homographies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows with some part before the camera and the right side showing; their corners.

    Corners: homogeneous pixels (N, 4, 3), clockwise from the origin.
    """
    across, down, origin = (homographies[:, :, i] for i in range(3))
    corners = np.stack([origin, origin + across, origin + across + down, origin + down], axis=1)
    normal = np.cross(across, down)
    side = (normal * origin).sum(1)
    showing = (quads.facing == 0) | (np.sign(side) == quads.facing)
    rows = np.flatnonzero(showing & (corners[:, :, 2].max(1) > NEAR_M))
    return rows, corners[rows]


def _bounds(corners: np.ndarray, ruled: np.ndarray) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Pixel bounds (N, 4), and outlines (K, 2) of ruled quads and those partly behind us."""
    depth = corners[:, :, 2]
    pixels = corners[:, :, :2] / np.maximum(depth, 1e-9)[..., None]  # (N, 4, 2)
    bounds = np.concatenate([pixels.min(1), pixels.max(1)], axis=1)
    outline: list[np.ndarray | None] = [None] * len(corners)
    behind = depth.min(1) < NEAR_M
    for i in np.flatnonzero(behind | ruled):
        polygon = _clip_near(corners[i]) if behind[i] else pixels[i]
        outline[i] = polygon
        bounds[i] = [*polygon.min(0), *polygon.max(0)]
    return bounds, outline


def _clip_near(corners: np.ndarray) -> np.ndarray:
    """Pixels (K, 2) of the part of a quad, homogeneous (4, 3), that is NEAR_M or more away."""
    kept = []
    for here, there in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if here[2] >= NEAR_M:
            kept.append(here)
        if (here[2] >= NEAR_M) != (there[2] >= NEAR_M):
            share = (NEAR_M - here[2]) / (there[2] - here[2])
            kept.append(here + share * (there - here))
    polygon = np.array(kept)
    return polygon[:, :2] / polygon[:, 2:]


def _ranks(quads: Quads) -> np.ndarray:
    """Painting order of surfaces from 1; pieces of one surface that follow each other share it."""
    solid = np.flatnonzero(~quads.shadow)
    surface = quads.surface[solid]
    rank = np.zeros(len(quads), np.int64)
    if len(solid):
        rank[solid] = np.cumsum(np.concatenate([[True], surface[1:] != surface[:-1]]))
    return rank


def _levels(quads: Quads, corners: np.ndarray, bank: TextureBank) -> np.ndarray:
    """How often to halve each texture in x and y, int64 (N, 2), so that a texel is a pixel."""
    depth = corners[:, :, 2]
    pixels = corners[:, :, :2] / np.maximum(depth, NEAR_M)[..., None]
    side = np.hypot(*np.moveaxis(np.roll(pixels, -1, axis=1) - pixels, 2, 0))  # (N, 4)
    length = np.stack([side[:, 0] + side[:, 2], side[:, 1] + side[:, 3]], axis=1) / 2
    texels = bank.sizes[quads.texture] * np.abs(quads.tiling[:, ::2])
    level = np.floor(np.log2(np.maximum(texels / np.maximum(length, 0.5), 1)) + 0.3)
    level[depth.min(1) < NEAR_M] = 0
    return np.clip(level, 0, MAX_LEVEL).astype(np.int64)


def _warps(
    quads: Quads, homographies: np.ndarray, levels: np.ndarray, box: np.ndarray, bank: TextureBank
) -> np.ndarray:
    """Homographies (N, 3, 3) from texel indices of the variant to pixels of the box."""
    texels = np.maximum(bank.sizes[quads.texture].astype(np.int64) >> levels, 1)
    scale, offset = quads.tiling[:, ::2], quads.tiling[:, 1::2] % 1.0
    tiled = _is_tiled(quads)
    # Texel i of a variant with a border of one is centred on (i - 0.5) / texels.
    centre = np.where(tiled, 0.5, -0.5)[:, None]
    unit = 1.0 / (texels * scale)  # (N, 2)
    start = (centre / texels - np.where(tiled[:, None], offset, 0.0)) / scale
    warp = np.empty_like(homographies)
    warp[:, :, 0] = homographies[:, :, 0] * unit[:, None, 0]
    warp[:, :, 1] = homographies[:, :, 1] * unit[:, None, 1]
    warp[:, :, 2] = (
        homographies[:, :, 2]
        + homographies[:, :, 0] * start[:, None, 0]
        + homographies[:, :, 1] * start[:, None, 1]
    )
    warp[:, 0] -= box[:, 0, None] * warp[:, 2]
    warp[:, 1] -= box[:, 1, None] * warp[:, 2]
    return warp
