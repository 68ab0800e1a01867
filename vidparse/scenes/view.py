"""The view of a camera on a set of quads: which are seen, in what order, where, at what detail.

World metres (x right, y up, z ahead) go to pixels (x right, y down) by a pinhole camera; pixel
centres lie on whole numbers, as in OpenCV. Objects that nearer ones hide altogether are left out,
which saves painting them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.scenes.quads import Layer, Quads
from vidparse.scenes.textures import HAZE_LENGTH_M, HAZE_STEPS, LIGHT_STEPS, MAX_LEVEL, TextureBank

NEAR_M = 1.0  # nothing closer than this is drawn


@dataclass(frozen=True, slots=True)
class Camera:
    """The camera's place at one instant. rotation: world to camera axes, float64 (3, 3)."""

    position: np.ndarray  # float64 (3,), metres
    rotation: np.ndarray
    focal_px: float
    size_hw: tuple[int, int]

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Metres along the optical axis of world points (..., 3)."""
        offset = points - self.position
        axis = self.rotation[2]
        return offset[..., 0] * axis[0] + offset[..., 1] * axis[1] + offset[..., 2] * axis[2]

    def homographies(self, origin: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
        """Maps of planes onto the picture.

        The point origin + s * across + t * down, each (N, 3), lands on the pixel H (s, t, 1),
        whose third coordinate is its depth in metres. Returns float64 (N, 3, 3).
        """
        height, width = self.size_hw
        columns = np.stack([across, down, origin - self.position], axis=2)  # (N, xyz, 3)
        # Written out, because a matrix product may round differently from machine to machine.
        turned = (
            self.rotation[None, :, 0, None] * columns[:, None, 0, :]
            + self.rotation[None, :, 1, None] * columns[:, None, 1, :]
            + self.rotation[None, :, 2, None] * columns[:, None, 2, :]
        )  # (N, camera xyz, 3)
        turned[:, 0] = self.focal_px * turned[:, 0] + (width - 1) / 2 * turned[:, 2]
        turned[:, 1] = self.focal_px * turned[:, 1] + (height - 1) / 2 * turned[:, 2]
        return turned


def focal_length_px(size_hw: tuple[int, int], per_width: float = 0.8) -> float:
    """Focal length that sees about 64 degrees across a wide picture, as dashboard cameras do."""
    height, width = size_hw
    return per_width * max(width, height * 4 / 3)


def look(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """World-to-camera rotation (3, 3) from radians: yaw to the right, pitch up, roll clockwise."""
    cy, sy = np.cos(yaw), np.sin(yaw)
    cp, sp = np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    ahead = np.array([sy * cp, sp, cy * cp])
    right = np.array([cy, 0.0, -sy])
    down = np.array([sy * sp, -cp, cy * sp])
    return np.stack([cr * right + sr * down, cr * down - sr * right, ahead])


_SMALLEST_PX2 = 0.3
_SMALLEST_SHADOW_PX2 = 80.0


@dataclass(frozen=True, slots=True)
class VisibleQuads:
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


def see(quads: Quads, camera: Camera, bank: TextureBank) -> VisibleQuads:
    """Project, cull, sort; see `VisibleQuads`."""
    homographies = camera.homographies(quads.origin, quads.across, quads.down)
    rows, corners = _in_front(quads, homographies)
    visible = quads.take(rows)
    homographies, tiled = homographies[rows], _is_tiled(visible)
    bounds, outline = _bounds(corners, tiled | visible.opaque)
    height, width = camera.size_hw

    # Widen boxes by a pixel or two, which soft edges reach.
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

    # Paint layer by layer, the farthest first; order decides within one object.
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
    haze[(visible.layer <= Layer.SKYLINE) | visible.shadow] = 0
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
    return VisibleQuads(
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

    # Drop faces that look away: the inside of a car would show.
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
        # Cut what is behind the camera, whose projection would be turned over.
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
    """Halvings of each texture in x and y, int64 (N, 2), that bring a texel to a pixel."""
    depth = corners[:, :, 2]
    pixels = corners[:, :, :2] / np.maximum(depth, NEAR_M)[..., None]
    side = np.hypot(*np.moveaxis(np.roll(pixels, -1, axis=1) - pixels, 2, 0))  # (N, 4)
    length = np.stack([side[:, 0] + side[:, 2], side[:, 1] + side[:, 3]], axis=1) / 2

    # Halve each axis by itself, since slanted surfaces shrink along one only.
    texels = bank.sizes[quads.texture] * np.abs(quads.tiling[:, ::2])
    level = np.floor(np.log2(np.maximum(texels / np.maximum(length, 0.5), 1)) + 0.3)

    # Keep full detail of what reaches behind the camera: its size in pixels is not known.
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


_CELL_PX = 4  # hiding is decided on a coarse grid, always in favour of painting
_SMALLEST_PX = 20  # lesser hiders are not worth the time
_LARGE_PX2 = 4000  # quads above this are looked at one by one
_CORE = np.ones((3, 3), np.uint8)


def hidden_rows(
    quads: Quads, homographies: np.ndarray, box: np.ndarray, size_hw: tuple[int, int]
) -> np.ndarray:
    """True for quads, given in painting order, that are hidden or belong to a hidden object; (N,).

    An object is a run of quads with one anchor. box: pixel bounds x0, y0, x1, y1, (N, 4).
    """
    hidden = np.zeros(len(quads), np.bool_)
    first = int(np.searchsorted(quads.layer, Layer.PLOTS))
    if first == len(quads):
        return hidden

    # Group the quads of one thing, which share an anchor.
    anchor = quads.anchor[first:]
    changes = np.flatnonzero((anchor[1:] != anchor[:-1]).any(1)) + 1
    starts = np.concatenate([[0], changes]) + first

    grid = np.concatenate([box[:, :2] // _CELL_PX, -(-box[:, 2:] // _CELL_PX)], axis=1)
    low = np.minimum.reduceat(grid[:, :2], starts, axis=0)
    high = np.maximum.reduceat(grid[:, 2:], starts, axis=0)
    large = (box[:, 2:] - box[:, :2]).prod(1) > _LARGE_PX2
    cells = grid.tolist()

    outlines, hides = _hiders(quads, homographies, box)
    shape = tuple(-(-n // _CELL_PX) for n in size_hw)
    covered = np.zeros(shape, np.bool_)

    # Go from the nearest to the farthest, so that all hiders of a thing are in place before it.
    ends = np.append(starts[1:], len(quads)).tolist()
    spans = zip(starts.tolist(), ends, low.tolist(), high.tolist(), strict=True)
    for start, end, (x0, y0), (x1, y1) in reversed(list(spans)):
        if covered[y0:y1, x0:x1].all():
            hidden[start:end] = True
            continue

        for row in reversed(range(start, end)):
            x0, y0, x1, y1 = cells[row]
            if large[row] and covered[y0:y1, x0:x1].all():
                hidden[row] = True
            elif hides[row]:
                _cover(covered, outlines[row], (x0, y0, x1, y1))
    return hidden


def _hiders(
    quads: Quads, homographies: np.ndarray, box: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Corners (N, 4, 2) in grid cells of the solid part of each quad, and which are of use (N,)."""
    s, t = quads.solid[:, [0, 2, 2, 0]], quads.solid[:, [1, 1, 3, 3]]  # (N, 4)
    across, down, origin = (homographies[:, None, :, i] for i in range(3))
    corners = origin + s[..., None] * across + t[..., None] * down  # (N, 4, 3)
    depth = corners[..., 2]
    outlines = (corners[..., :2] / np.maximum(depth, NEAR_M)[..., None] + 0.5) / _CELL_PX - 0.5
    size = box[:, 2:] - box[:, :2]
    solid = (quads.solid[:, 2] > quads.solid[:, 0]) & (quads.solid[:, 3] > quads.solid[:, 1])
    return outlines, solid & (depth.min(1) >= NEAR_M) & (size.min(1) >= _SMALLEST_PX)


def _cover(covered: np.ndarray, outline: np.ndarray, cells: tuple[int, int, int, int]) -> None:
    """Mark the cells that lie wholly inside a convex outline."""
    x0, y0, x1, y1 = cells
    part = covered[y0:y1, x0:x1]
    mask = np.zeros(part.shape, np.uint8)
    points = np.round(np.clip((outline - (x0, y0)) * 16, -(2**24), 2**24)).astype(np.int32)
    cv2.fillConvexPoly(mask, points, 1, cv2.LINE_8, 4)

    # Shrink by a cell: a cell on the outline is covered in part only.
    part |= cv2.erode(mask, _CORE).view(np.bool_)
