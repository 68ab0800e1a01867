"""Asphalt with lane markings, pavement slabs, kerbs and grass; and the strips they are laid in.

The world's ground repeats every PERIOD_M metres along the street.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from vidparse.scenes.quads import PAVEMENT, ROAD, TREE, Layer, Quads, make_quads
from vidparse.scenes.textures import Sheet, TextureBank, soft_noise
from vidparse.scenes.view import NEAR_M

PERIOD_M = 36.0
KERB_M = 0.12
_VERGE_M = 24.0  # width of the grass behind the building line
_TEXELS_PER_M = 56
# Depths at which the ground is cut into strips, so that each has a texture of the right size and
# a haze of its own: fine ones for the road, which is seen best, coarse ones for the rest.
_ROAD_CUTS_M = np.concatenate([[NEAR_M, 4.0, 8.0], 16 * 2 ** np.arange(0, 3.4, 0.3), [420.0]])
_SIDE_CUTS_M = np.concatenate([[NEAR_M, 4.0, 8.0], 16 * 2 ** np.arange(0, 3.3, 0.6), [420.0]])
_LENGTHEN = 1.02  # strips overlap by this much, so that no seam shows


def add_road(bank: TextureBank, seed: int, width_m: float, lanes: bool) -> int:
    texels = round(width_m * _TEXELS_PER_M), round(PERIOD_M * _TEXELS_PER_M)
    maker = _asphalt if lanes else _setts
    return bank.add(f"road {seed} {width_m} {lanes}", lambda: maker(seed, width_m), texels, True)


def _flat_noise(rng: np.random.Generator, texels_hw: tuple[int, int]) -> np.ndarray:
    """Grain from one texel up to metres, float64 (h, w), deviation about 0.1."""
    height, width = texels_hw
    fine = rng.standard_normal((height, width), np.float32)
    noise = 0.075 * fine + 0.1 * cv2.GaussianBlur(fine, (0, 0), 1.2)
    noise = noise + 0.02 * soft_noise(rng, texels_hw, (height // 24, width // 24))
    return noise + 0.04 * soft_noise(rng, texels_hw, (height // 160, width // 160))


def _asphalt(seed: int, width_m: float) -> np.ndarray:
    """Two lanes and parking strips; x from left to right, y from far to near."""
    rng = np.random.Generator(np.random.PCG64([seed, 21]))
    sheet = Sheet(width_m, PERIOD_M, _TEXELS_PER_M)
    sheet.rect(0, 0, width_m, PERIOD_M, (97, 97, 101))
    middle = width_m / 2

    # Break up the even grey: nobody could find the flow of a flat colour.
    for _ in range(7):  # repaired trenches
        x, y = rng.uniform(0.3, width_m - 2), rng.uniform(0, PERIOD_M - 7)
        tone = np.array((97, 97, 101)) * rng.uniform(0.8, 1.08)
        sheet.rect(x, y, rng.uniform(0.5, 1.4), rng.uniform(1, 6), tone)
    for _ in range(3):  # cracks
        start = np.array([[rng.uniform(1, width_m - 1), rng.uniform(0, 30)]])
        steps = rng.normal((0, 0.12), 0.14, (30, 2))
        sheet.line(start + np.cumsum(steps, axis=0), 0.018, (74, 74, 76))
    for x in (middle - 1.7, middle + 1.9):  # manholes
        y = rng.uniform(2, PERIOD_M - 2)
        sheet.ellipse(x, y, 0.36, 0.36, (70, 70, 70))
        sheet.ellipse(x, y, 0.29, 0.29, (84, 82, 80))

    white = (222, 222, 216)
    for y in np.arange(1.0, PERIOD_M, 6.0):
        sheet.rect(middle - 0.06, float(y), 0.12, 3.0, white)
    for side in (-1, 1):
        for y in np.arange(0.5, PERIOD_M, 1.5):
            sheet.rect(middle + side * 3.2 - 0.05, float(y), 0.1, 0.8, (206, 206, 200))
        edge = middle + side * (middle - 0.3)
        sheet.rect(edge - 0.04, 0, 0.08, PERIOD_M, (196, 172, 84))
        gutter = middle + side * (middle - 0.1)
        sheet.rect(gutter - 0.1, 0, 0.2, PERIOD_M, (80, 79, 78))

    # Polish four tracks, where wheels go.
    across, _ = sheet.grid()
    metres = across * width_m - middle
    wheels = sum(np.exp(-(((metres - track) / 0.3) ** 2)) for track in (-2.4, -0.9, 0.9, 2.4))
    shade = 1 + _flat_noise(rng, sheet.texels_hw) + 0.07 * wheels
    return sheet.texture(shade)


def _setts(seed: int, width_m: float) -> np.ndarray:
    """Small paving stones of a square closed to most traffic."""
    rng = np.random.Generator(np.random.PCG64([seed, 22]))
    sheet = Sheet(width_m, PERIOD_M, _TEXELS_PER_M)
    sheet.rect(0, 0, width_m, PERIOD_M, (138, 132, 124))
    for row in range(round(PERIOD_M / 0.24)):
        for x in np.arange(-0.4 * rng.random(), width_m, 0.42):
            tone = np.array((138, 132, 124)) * rng.uniform(0.88, 1.1)
            sheet.rect(float(x), 0.24 * row, 0.4, 0.225, tone)
    for x in np.arange(0, width_m, 3.0):
        sheet.rect(float(x), 0, 0.22, PERIOD_M, (164, 158, 148))
    shade = 1 + 0.7 * _flat_noise(rng, sheet.texels_hw)
    return sheet.texture(shade)


def add_pavement(bank: TextureBank, seed: int, width_m: float) -> int:
    texels = round(width_m * _TEXELS_PER_M), round(PERIOD_M * _TEXELS_PER_M / 3)
    return bank.add(f"pavement {seed} {width_m}", lambda: _slabs(seed, width_m), texels, True)


def _slabs(seed: int, width_m: float) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([seed, 23]))
    sheet = Sheet(width_m, PERIOD_M / 3, _TEXELS_PER_M)
    sheet.rect(0, 0, width_m, PERIOD_M / 3, (152, 146, 138))
    for row, y in enumerate(np.arange(0, PERIOD_M / 3 - 0.1, 0.6)):
        for x in np.arange(-0.45 * (row % 2), width_m, 0.9):
            tone = np.array((152, 146, 138)) * rng.uniform(0.9, 1.07)
            sheet.rect(float(x), float(y), 0.88, 0.575, tone)
            sheet.rect(float(x) + 0.88, float(y), 0.02, 0.6, (112, 108, 102))
        sheet.rect(0, float(y) + 0.575, width_m, 0.025, (112, 108, 102))
    for _ in range(60):  # chewing gum and stains
        x, y = rng.uniform(0, width_m), rng.uniform(0, PERIOD_M / 3)
        sheet.ellipse(x, y, 0.03, 0.03, (96, 94, 92))
    return sheet.texture(1 + 0.8 * _flat_noise(rng, sheet.texels_hw))


def add_kerb(bank: TextureBank) -> int:
    return bank.add("kerb", _kerb, (round(PERIOD_M * 12 / 3), 8), True)


def _kerb() -> np.ndarray:
    """Upright kerb stones, PERIOD_M / 3 metres of them."""
    sheet = Sheet(PERIOD_M / 3, KERB_M, 12)
    sheet.texels_hw = (8, sheet.texels_hw[1])
    sheet.rect(0, 0, PERIOD_M / 3, KERB_M, (128, 124, 118))
    for x in np.arange(0, PERIOD_M / 3, 1.0):
        sheet.rect(float(x), 0, 0.05, KERB_M, (92, 90, 86))
    _, y = sheet.grid()
    return sheet.texture(np.broadcast_to(1.12 - 0.35 * y, sheet.texels_hw))


def add_grass(bank: TextureBank, seed: int) -> int:
    return bank.add(f"grass {seed}", lambda: _grass(seed), (480, 480), True)


def _grass(seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([seed, 24]))
    sheet = Sheet(12, 12, 40)
    sheet.rect(0, 0, 12, 12, (92, 104, 60))
    shade = 1 + 2 * _flat_noise(rng, sheet.texels_hw)
    tint = np.stack([shade, shade, shade * 0.95], axis=2)
    return sheet.texture(tint)


def lay_strip(
    camera_z: float,
    x_left: float,
    x_right: float,
    y: float,
    *,
    texture: int,
    texture_m: tuple[float, float],
    surface: int,
    class_id: int,
    layer: int,
    cuts_m: np.ndarray = _SIDE_CUTS_M,
) -> Quads:
    """Level ground between two lines along the street, in pieces from far to near.

    texture_m: (width, length) in metres after which the texture repeats; its left edge lies on
    x_left.
    """
    # Begin with the far pieces, for quads are painted back to front.
    near = camera_z + cuts_m[-2::-1]
    far = camera_z + cuts_m[:0:-1] * _LENGTHEN
    zero, length = np.zeros_like(near), far - near
    width = x_right - x_left
    origin = np.stack([zero + x_left, zero + y, far], 1)

    return make_quads(
        origin,
        np.stack([zero + width, zero, zero], 1),
        np.stack([zero, zero, -length], 1),
        texture=texture,
        surface=surface,
        class_id=class_id,
        layer=layer,
        anchor=np.stack([zero, zero, near], 1),
        tiling=np.stack(
            [zero + width / texture_m[0], zero, length / texture_m[1], -far / texture_m[1]], 1
        ),
        facing=1,
    )


def lay_kerb(camera_z: float, x: float, *, texture: int, surface: int, layer: int) -> Quads:
    """The upright face of a kerb at `x`, looking at the middle of the street (x = 0)."""
    near = camera_z + _SIDE_CUTS_M[-2::-1]
    far = camera_z + _SIDE_CUTS_M[:0:-1] * _LENGTHEN
    start, end = (near, far) if x < 0 else (far, near)  # seen from the road, left to right
    zero, period = np.zeros_like(near), PERIOD_M / 3
    return make_quads(
        np.stack([zero + x, zero + KERB_M, start], 1),
        np.stack([zero, zero, end - start], 1),
        np.stack([zero, zero - KERB_M, zero], 1),
        texture=texture,
        surface=surface,
        class_id=PAVEMENT,
        layer=layer,
        anchor=np.stack([zero, zero, near], 1),
        tiling=np.stack([(end - start) / period, start / period, zero + 1, zero], 1),
        facing=1,
    )


def street_ground(
    bank: TextureBank, seed: int, half_road_m: float, walk_m: float, lanes: bool
) -> Callable[[float], list[Quads]]:
    """A function that lays road, kerbs, pavements and the land behind, about a camera at z."""
    road = add_road(bank, seed, 2 * half_road_m, lanes)
    walk = add_pavement(bank, seed, walk_m)
    kerb, grass = add_kerb(bank), add_grass(bank, seed)
    outer = half_road_m + walk_m

    def lay(camera_z: float) -> list[Quads]:
        parts = [
            lay_strip(
                camera_z, -half_road_m, half_road_m, 0.0, texture=road, layer=Layer.ROAD,
                texture_m=(2 * half_road_m, PERIOD_M), surface=10, class_id=ROAD,
                cuts_m=_ROAD_CUTS_M,
            )
        ]  # fmt: skip

        for i, side in enumerate((-1, 1)):
            parts.append(
                lay_kerb(
                    camera_z, side * half_road_m, texture=kerb, surface=12 + i,
                    layer=Layer.KERB + i,
                )
            )  # fmt: skip

            inner_x, outer_x = sorted((side * half_road_m, side * outer))
            parts.append(
                lay_strip(
                    camera_z, inner_x, outer_x, KERB_M, texture=walk, layer=Layer.PAVEMENT + i,
                    texture_m=(walk_m, PERIOD_M / 3), surface=14 + i, class_id=PAVEMENT,
                )
            )  # fmt: skip

            inner_x, outer_x = sorted((side * outer, side * (outer + _VERGE_M)))
            parts.append(
                lay_strip(
                    camera_z, inner_x, outer_x, KERB_M, texture=grass, texture_m=(12.0, 12.0),
                    surface=16 + i, class_id=TREE, layer=Layer.VERGE + i,
                )
            )  # fmt: skip
        return parts

    return lay
