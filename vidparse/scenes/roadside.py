"""Everything that stands along a street: trees and hedges, lamp posts, signs, bollards, fences.

Crowns are many leaves in a few flat layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vidparse.scenes.quads import FENCE, POLE, SIGN, TREE, Layer, Quads, join, make_quads
from vidparse.scenes.textures import Sheet, TextureBank, soft_noise

_CROWN_M = 5.0
_LEAVES = 170  # in each clump of a crown
_GREENS = ((84, 96, 52), (70, 86, 48), (98, 102, 58), (60, 76, 46))
SIGN_KINDS = ("speed", "yield", "no-entry", "arrow", "info", "crossing")


def add_crown(bank: TextureBank, kind: int, layer: int) -> int:
    """Leaves seen from the side, 5 m x 5 m; layer 0 is the back, darker one."""
    return bank.add(f"crown {kind} {layer}", lambda: _crown(kind, layer), (260, 260))


def _crown(kind: int, layer: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([kind, 31, layer]))
    sheet = Sheet(_CROWN_M, _CROWN_M, 52)
    green = np.array(_GREENS[kind % len(_GREENS)]) * (0.62 if layer == 0 else 1.0)
    count = 26 if layer == 0 else 20
    reach = 1.55 if layer == 0 else 1.4

    # Take the root of the distance, or clumps would crowd in the middle.
    angle, distance = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count)) * reach
    clump = np.stack([2.5 + distance * np.cos(angle), 2.55 + 1.05 * distance * np.sin(angle)], 1)
    radius = rng.uniform(0.4, 0.72, count)[:, None]

    # Spread the leaves of each clump evenly over its disc.
    turn = rng.uniform(0, 2 * np.pi, (count, _LEAVES))
    out = np.sqrt(rng.random((count, _LEAVES))) * radius
    leaf = clump[:, None] + np.stack([out * np.cos(turn), out * np.sin(turn)], 2)  # (C, L, 2)

    offset = (leaf - clump[:, None]) / radius[..., None]
    lit = 0.84 - 0.46 * offset[..., 1] + 0.1 * offset[..., 0]  # lit from above
    lit += 0.14 * (2.5 - leaf[..., 1]) / 2.5 + rng.normal(0, 0.12, lit.shape)
    sizes = rng.uniform(0.05, 0.13, lit.size)
    colours = green * np.maximum(lit, 0.3).reshape(-1, 1)
    sheet.polygons(_leaves(rng, leaf.reshape(-1, 2), sizes), colours)
    return sheet.texture(1 + 0.06 * soft_noise(rng, sheet.texels_hw, (80, 80)))


def _leaves(rng: np.random.Generator, centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Ragged pentagons (N, 5, 2) about centres (N, 2)."""
    turn = rng.uniform(0, np.pi, (len(centres), 1)) + np.arange(5) * (2 * np.pi / 5)
    reach = sizes[:, None] * np.array([1.2, 0.8, 1.0, 0.7, 0.9])
    return centres[:, None] + np.stack([reach * np.cos(turn), reach * np.sin(turn)], 2)


def add_branches(bank: TextureBank, kind: int) -> int:
    """A tree in winter without its trunk, 5 m x 5 m."""
    return bank.add(f"branches {kind}", lambda: _branches(kind), (260, 260))


def _branches(kind: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([kind, 32]))
    sheet = Sheet(_CROWN_M, _CROWN_M, 52)
    todo = [(2.5, 5.0, -np.pi / 2, 1.15, 0.16)]
    while todo:
        x, y, angle, length, width = todo.pop()
        end = x + length * np.cos(angle), y + length * np.sin(angle)
        bark = np.array((88, 76, 66)) * rng.uniform(0.75, 1.1)
        sheet.line([(x, y), end], width, bark)
        if length < 0.16:
            continue
        for side in (-1, 1) if width < 0.1 else (-1, 0, 1):
            lean = side * rng.uniform(0.25, 0.75) + rng.normal(0, 0.12)
            grown = length * rng.uniform(0.68, 0.86)
            todo.append((*end, angle + lean, grown, max(width * 0.66, 0.022)))
    return sheet.texture()


def add_trunk(bank: TextureBank, kind: int) -> int:
    """0.5 m x 3 m, tapering."""
    return bank.add(f"trunk {kind}", lambda: _trunk(kind), (20, 120))


def _trunk(kind: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([kind, 33]))
    sheet = Sheet(0.5, 3.0, 40)
    sheet.polygon([(0.12, 0), (0.38, 0), (0.41, 2.8), (0.5, 3), (0, 3), (0.09, 2.8)], (94, 80, 66))
    x, _ = sheet.grid()
    shade = 0.65 + 0.5 * np.sin(np.pi * np.clip(x * 0.9, 0, 1))
    return sheet.texture(shade + 0.14 * soft_noise(rng, sheet.texels_hw, (30, 8)))


def add_hedge(bank: TextureBank, kind: int) -> int:
    """Clipped bushes, 4 m x 1.6 m, opaque but for a ragged top."""
    return bank.add(f"hedge {kind}", lambda: _hedge(kind), (200, 80))


def _hedge(kind: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([kind, 34]))
    sheet = Sheet(4.0, 1.6, 50)
    green = np.array(_GREENS[(kind + 1) % len(_GREENS)]) * 0.85
    sheet.rect(0, 0.2, 4, 1.4, green * 0.55)
    at = rng.uniform((0, 0.12), (4, 1.6), (1500, 2))
    lit = 1.15 - 0.45 * at[:, 1] + rng.normal(0, 0.18, len(at))
    colours = green * np.maximum(lit, 0.3)[:, None]
    sheet.polygons(_leaves(rng, at, rng.uniform(0.04, 0.1, len(at))), colours)
    return sheet.texture()


def tree(
    bank: TextureBank,
    kind: int,
    x: float,
    z: float,
    *,
    surface: int,
    size: float = 1.0,
    layer: int = Layer.THINGS,
    bare: bool = False,
) -> Quads:
    """A tree on the pavement; `size` 1 is about 6.5 m high. Takes four surface numbers."""
    trunk_h, crown = 2.6 * size, 4.6 * size
    height = trunk_h + crown * 0.78
    trunk_top = trunk_h + 0.5 * size

    rows = [(0.0, 0.42 * size, trunk_top, trunk_top, add_trunk(bank, kind))]
    if bare:
        rows.append((0.0, crown * 1.1, crown * 1.1, height + 0.5 * size, add_branches(bank, kind)))
    else:
        for layer_number, offset in enumerate((0.9, -0.7)):
            texture = add_crown(bank, kind, layer_number)
            rows.append((offset * size, crown, crown * 0.95, height, texture))

    # Paint the first crown behind the trunk and the second before it.
    count = len(rows)
    ahead, width, tall, top, textures = (np.array(column) for column in zip(*rows, strict=True))
    zero = np.zeros(count)
    order = np.where(np.arange(count) == 1, -1.0, np.arange(count) * 1.0)

    return make_quads(
        np.stack([x - width / 2, top + 0.1, z + ahead], 1),
        np.stack([width, zero, zero], 1),
        np.stack([zero, -tall, zero], 1),
        texture=textures.astype(np.int64),
        surface=surface + np.arange(count),
        class_id=TREE,
        layer=layer,
        anchor=np.array([x, 0.0, z]),
        order=order,
    )


def add_post(bank: TextureBank, kind: int) -> int:
    """A round metal post that fills its quad, 0.1 m x 2 m."""
    return bank.add(f"post {kind}", lambda: _post(kind), (12, 80))


def _post(kind: int) -> np.ndarray:
    colour = ((104, 108, 110), (56, 60, 60), (40, 62, 52), (132, 134, 134))[kind % 4]
    sheet = Sheet(0.1, 2.0, 120)
    sheet.texels_hw = (80, 12)
    sheet.rect(0, 0, 0.1, 2.0, colour)
    x, _ = sheet.grid()
    return sheet.texture(np.broadcast_to(0.6 + 0.62 * np.sin(np.pi * (0.1 + 0.8 * x)), (80, 12)))


def add_lamp_head(bank: TextureBank) -> int:
    """The arm and lantern of a street lamp, 1.6 m x 0.5 m, post at the left."""
    return bank.add("lamp head", _lamp_head, (96, 30))


def _lamp_head() -> np.ndarray:
    sheet = Sheet(1.6, 0.5, 60)
    sheet.line([(0.04, 0.5), (0.12, 0.2), (0.4, 0.1), (1.0, 0.1)], 0.07, (98, 102, 104))
    sheet.polygon([(0.95, 0.04), (1.5, 0.08), (1.56, 0.2), (0.95, 0.22)], (88, 92, 94))
    sheet.polygon([(1.0, 0.2), (1.52, 0.19), (1.4, 0.3), (1.06, 0.3)], (214, 212, 196))
    return sheet.texture()


def add_sign(bank: TextureBank, kind: str) -> int:
    """A traffic sign's plate, 0.8 m x 0.8 m."""
    return bank.add(f"sign {kind}", lambda: _sign(kind), (80, 80))


def _sign(kind: str) -> np.ndarray:
    sheet = Sheet(0.8, 0.8, 100)
    red, white, blue = (188, 28, 34), (232, 232, 228), (28, 72, 158)

    if kind == "speed":
        sheet.ellipse(0.4, 0.4, 0.39, 0.39, red)
        sheet.ellipse(0.4, 0.4, 0.3, 0.3, white)
        sheet.line(
            [(0.22, 0.27), (0.35, 0.27), (0.35, 0.4), (0.24, 0.53), (0.36, 0.53)],
            0.05,
            (20, 20, 20),
        )
        sheet.ellipse(0.5, 0.4, 0.1, 0.15, (20, 20, 20))
        sheet.ellipse(0.5, 0.4, 0.05, 0.1, white)
    elif kind == "yield":
        sheet.polygon([(0.01, 0.05), (0.79, 0.05), (0.4, 0.75)], red)
        sheet.polygon([(0.16, 0.14), (0.64, 0.14), (0.4, 0.56)], white)
    elif kind == "crossing":
        sheet.polygon([(0.01, 0.75), (0.79, 0.75), (0.4, 0.05)], red)
        sheet.polygon([(0.15, 0.67), (0.65, 0.67), (0.4, 0.23)], white)
        sheet.ellipse(0.4, 0.38, 0.035, 0.035, (20, 20, 20))
        sheet.line([(0.4, 0.42), (0.4, 0.52), (0.34, 0.64)], 0.045, (20, 20, 20))
        sheet.line([(0.4, 0.52), (0.46, 0.64)], 0.045, (20, 20, 20))
    elif kind == "no-entry":
        sheet.ellipse(0.4, 0.4, 0.39, 0.39, red)
        sheet.rect(0.12, 0.33, 0.56, 0.14, white)
    elif kind == "arrow":
        sheet.ellipse(0.4, 0.4, 0.39, 0.39, blue)
        sheet.line([(0.58, 0.22), (0.3, 0.5)], 0.09, white)
        sheet.polygon([(0.2, 0.6), (0.24, 0.36), (0.44, 0.56)], white)
    else:
        sheet.rect(0.02, 0.02, 0.76, 0.76, (38, 92, 62))
        sheet.rect(0.05, 0.05, 0.7, 0.7, (46, 104, 72))
        for y in (0.15, 0.33, 0.51):
            sheet.rect(0.12, y, 0.4, 0.08, white)
    return sheet.texture()


def add_traffic_light(bank: TextureBank) -> int:
    """A signal head on its backing board, 0.5 m x 1.1 m."""
    return bank.add("traffic light", _traffic_light, (50, 110))


def _traffic_light() -> np.ndarray:
    sheet = Sheet(0.5, 1.1, 100)
    sheet.rect(0, 0, 0.5, 1.1, (206, 206, 200))
    sheet.rect(0.03, 0.03, 0.44, 1.04, (22, 22, 24))
    for y, colour in ((0.22, (62, 18, 18)), (0.55, (70, 52, 16)), (0.88, (60, 240, 170))):
        sheet.ellipse(0.25, y, 0.13, 0.13, colour)
    return sheet.texture()


def add_railing(bank: TextureBank, kind: int) -> int:
    """Pedestrian guard rail, 2 m x 1.1 m."""
    return bank.add(f"railing {kind}", lambda: _railing(kind), (160, 88))


def _railing(kind: int) -> np.ndarray:
    colour = ((142, 146, 146), (52, 56, 54))[kind % 2]
    sheet = Sheet(2.0, 1.1, 80)
    for y in (0.02, 0.9):
        sheet.rect(0, y, 2.0, 0.08, colour)
    for x in np.arange(0, 2.0, 0.1):
        sheet.rect(float(x) + 0.02, 0.05, 0.055, 0.9, np.array(colour) * 0.92)
    for x in (0.0, 1.92):
        sheet.rect(x, 0, 0.08, 1.1, colour)
    return sheet.texture()


def add_boards(bank: TextureBank, kind: int) -> int:
    """A wooden garden fence, 4 m x 1.7 m."""
    return bank.add(f"boards {kind}", lambda: _boards(kind), (200, 85))


def _boards(kind: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([kind, 41]))
    wood = np.array(((132, 104, 76), (108, 92, 78), (92, 108, 92))[kind % 3], np.float64)
    sheet = Sheet(4.0, 1.7, 50)
    for x in np.arange(0, 4, 0.13):
        top = 0.06 + 0.02 * rng.random()
        sheet.rect(float(x), top, 0.13, 1.7 - top, wood * rng.uniform(0.85, 1.1))
        sheet.rect(float(x), top, 0.015, 1.7 - top, wood * 0.55)
    for x in (0.0, 2.0, 3.88):
        sheet.rect(x, 0, 0.12, 1.7, wood * 0.8)
    return sheet.texture(1 + 0.05 * soft_noise(rng, sheet.texels_hw, (6, 100)))


def _upright(
    x: np.ndarray | float,
    top: np.ndarray | float,
    z: np.ndarray | float,
    width: np.ndarray | float,
    height: np.ndarray | float,
    **columns: Any,
) -> Quads:
    """Boards that face the camera's end of the street, centred on x."""
    x, top, z, width, height = np.broadcast_arrays(x, top, z, width, height)
    zero = np.zeros(x.size)
    return make_quads(
        np.stack([x.ravel() - width.ravel() / 2, top.ravel(), z.ravel()], 1),
        np.stack([width.ravel(), zero, zero], 1),
        np.stack([zero, -height.ravel(), zero], 1),
        layer=Layer.THINGS,
        **columns,
    )


def lamp_post(bank: TextureBank, kind: int, x: float, z: float, surface: int) -> Quads:
    """8 m high, the arm over the road. Takes three surface numbers."""
    at = np.array([x, 0.0, z])
    posts = _upright(
        x, np.array([1.5, 8.0]), z, np.array([0.2, 0.13]), np.array([1.4, 6.6]),
        texture=add_post(bank, kind), surface=surface + np.arange(2), class_id=POLE, anchor=at,
    )  # fmt: skip
    inward = -np.sign(x)
    head = make_quads(
        np.array([[x - inward * 0.05, 8.35, z]]),
        np.array([[inward * 1.6, 0.0, 0.0]]),
        np.array([[0.0, -0.5, 0.0]]),
        texture=add_lamp_head(bank), surface=surface + 2, class_id=POLE, layer=Layer.THINGS,
        anchor=at, order=1.0,
    )  # fmt: skip
    return join([posts, head])


def sign_post(bank: TextureBank, kind: str, x: float, z: float, surface: int) -> Quads:
    """A plate on a thin post. Takes two surface numbers."""
    at = np.array([x, 0.0, z])
    wide = 1.2 if kind == "info" else 0.75
    post = _upright(
        x, 3.0, z, 0.09, 2.9, texture=add_post(bank, 3), surface=surface, class_id=POLE, anchor=at
    )
    plate = _upright(
        x, 3.1, z - 0.05, wide, wide, texture=add_sign(bank, kind), surface=surface + 1,
        class_id=SIGN, anchor=at, order=1.0,
    )  # fmt: skip
    return join([post, plate])


def traffic_light(bank: TextureBank, x: float, z: float, surface: int) -> Quads:
    """A signal head on a post. Takes two surface numbers."""
    at = np.array([x, 0.0, z])
    post = _upright(
        x, 3.5, z, 0.13, 3.4, texture=add_post(bank, 1), surface=surface, class_id=POLE, anchor=at
    )
    head = _upright(
        x, 3.6, z - 0.08, 0.5, 1.1, texture=add_traffic_light(bank), surface=surface + 1,
        class_id=SIGN, anchor=at, order=1.0,
    )  # fmt: skip
    return join([post, head])


def bollards(bank: TextureBank, x: float, z: np.ndarray, surface: int) -> Quads:
    """Low posts along the kerb; one surface number each."""
    count = len(z)
    return _upright(
        np.full(count, x), 1.05, z, 0.16, 0.95, texture=add_post(bank, 1),
        surface=surface + np.arange(count), class_id=POLE,
        anchor=np.stack([np.full(count, x), np.zeros(count), z], 1),
    )  # fmt: skip


def fence_along(
    bank: TextureBank, texture: int, x: float, z: float, length: float, height: float,
    surface: int, layer: int = Layer.THINGS, class_id: int = FENCE, foot: float = 0.1,
    solid_top: float = 1.0,
) -> Quads:  # fmt: skip
    """A fence that runs along the street from z to z + length. One surface number.

    Nothing shows through it below `solid_top`, a share of its height counted from the top.
    """
    start, run = (z, length) if x < 0 else (z + length, -length)
    return make_quads(
        np.array([[x, foot + height, start]]),
        np.array([[0.0, 0.0, run]]),
        np.array([[0.0, -height, 0.0]]),
        texture=texture, surface=surface, class_id=class_id, layer=layer,
        anchor=np.array([x, 0.0, z]), light=1.0 if x < 0 else 0.82,
        solid=(0.0, solid_top, 1.0 if solid_top < 1 else 0.0, 1.0),
    )  # fmt: skip
