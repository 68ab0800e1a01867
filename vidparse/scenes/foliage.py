"""Trees, hedges and bare branches: crowns of many leaves in a few flat layers, and trunks."""

from __future__ import annotations

import numpy as np

from vidparse.scenes.quads import LAYER_THINGS, TREE, Quads, make_quads
from vidparse.scenes.textures import Sheet, Texture, TextureBank, soft_noise

_CROWN_M = 5.0
_LAYERS = 2
_GREENS = ((84, 96, 52), (70, 86, 48), (98, 102, 58), (60, 76, 46))


def add_crown(bank: TextureBank, kind: int, layer: int) -> int:
    """Leaves seen from the side, 5 m x 5 m; layer 0 is the back, darker one."""
    return bank.add(f"crown {kind} {layer}", lambda: _crown(kind, layer), (260, 260))


def _crown(kind: int, layer: int) -> Texture:
    rng = np.random.Generator(np.random.PCG64([kind, 31, layer]))
    sheet = Sheet(_CROWN_M, _CROWN_M, 52)
    green = np.array(_GREENS[kind % len(_GREENS)]) * (0.62 if layer == 0 else 1.0)
    count = 26 if layer == 0 else 20
    reach = 1.55 if layer == 0 else 1.4
    for _ in range(count):  # clumps from low to high, lit from above
        angle, distance = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * reach
        x, y = 2.5 + distance * np.cos(angle), 2.55 + 1.05 * distance * np.sin(angle)
        radius = rng.uniform(0.4, 0.72)
        for _ in range(170):
            turn, out = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * radius
            leaf_x, leaf_y = x + out * np.cos(turn), y + out * np.sin(turn)
            lit = 0.84 - 0.46 * (leaf_y - y) / radius + 0.14 * (2.5 - leaf_y) / 2.5
            lit += 0.1 * (leaf_x - x) / radius + rng.normal(0, 0.12)
            size = rng.uniform(0.05, 0.13)
            _leaf(sheet, rng, leaf_x, leaf_y, size, green * max(lit, 0.3))
    return sheet.texture(1 + 0.06 * soft_noise(rng, sheet.texels_hw, (80, 80)))


def _leaf(
    sheet: Sheet, rng: np.random.Generator, x: float, y: float, size: float, colour: np.ndarray
) -> None:
    turn = rng.uniform(0, np.pi) + np.arange(5) * (2 * np.pi / 5)
    reach = size * np.array([1.2, 0.8, 1.0, 0.7, 0.9])
    sheet.polygon(np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], 1), colour)


def add_branches(bank: TextureBank, kind: int) -> int:
    """A tree in winter without its trunk, 5 m x 5 m."""
    return bank.add(f"branches {kind}", lambda: _branches(kind), (260, 260))


def _branches(kind: int) -> Texture:
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


def _trunk(kind: int) -> Texture:
    rng = np.random.Generator(np.random.PCG64([kind, 33]))
    sheet = Sheet(0.5, 3.0, 40)
    sheet.polygon([(0.12, 0), (0.38, 0), (0.41, 2.8), (0.5, 3), (0, 3), (0.09, 2.8)], (94, 80, 66))
    x, _ = sheet.grid()
    shade = 0.65 + 0.5 * np.sin(np.pi * np.clip(x * 0.9, 0, 1))
    return sheet.texture(shade + 0.14 * soft_noise(rng, sheet.texels_hw, (30, 8)))


def add_hedge(bank: TextureBank, kind: int) -> int:
    """Clipped bushes, 4 m x 1.6 m, opaque but for a ragged top."""
    return bank.add(f"hedge {kind}", lambda: _hedge(kind), (200, 80))


def _hedge(kind: int) -> Texture:
    rng = np.random.Generator(np.random.PCG64([kind, 34]))
    sheet = Sheet(4.0, 1.6, 50)
    green = np.array(_GREENS[(kind + 1) % len(_GREENS)]) * 0.85
    sheet.rect(0, 0.2, 4, 1.4, green * 0.55)
    for _ in range(1500):
        x, y = rng.uniform(0, 4), rng.uniform(0.12, 1.6)
        lit = 1.15 - 0.45 * y + rng.normal(0, 0.18)
        _leaf(sheet, rng, x, y, rng.uniform(0.04, 0.1), green * max(lit, 0.3))
    return sheet.texture()


def tree(
    bank: TextureBank,
    kind: int,
    x: float,
    z: float,
    *,
    surface: int,
    size: float = 1.0,
    layer: int = LAYER_THINGS,
    bare: bool = False,
) -> Quads:
    """A tree on the pavement; `size` 1 is about 6.5 m high. Takes four surface numbers."""
    trunk_h, crown = 2.6 * size, 4.6 * size
    height = trunk_h + crown * 0.78
    rows = [(0.0, 0.42 * size, trunk_h + 0.5 * size, trunk_h + 0.5 * size, add_trunk(bank, kind))]
    if bare:
        rows.append((0.0, crown * 1.1, crown * 1.1, height + 0.5 * size, add_branches(bank, kind)))
    else:
        for depth in range(_LAYERS):
            ahead = (0.9, -0.7)[depth] * size
            rows.append((ahead, crown, crown * 0.95, height, add_crown(bank, kind, depth)))
    count = len(rows)
    ahead, width, tall, top, texture = (np.array(column) for column in zip(*rows, strict=True))
    zero = np.zeros(count)
    order = np.where(np.arange(count) == 1, -1.0, np.arange(count) * 1.0)
    return make_quads(
        np.stack([x - width / 2, top + 0.1, z + ahead], 1),
        np.stack([width, zero, zero], 1),
        np.stack([zero, -tall, zero], 1),
        texture=texture.astype(np.int64),
        surface=surface + np.arange(count),
        class_id=TREE,
        layer=layer,
        anchor=np.array([x, 0.0, z]),
        order=order,
    )
