"""Trees, hedges and bare branches: crowns of many leaves in a few flat layers, and trunks."""

from __future__ import annotations

import numpy as np

from vidparse.scenes.quads import LAYER_THINGS, TREE, Quads, make_quads
from vidparse.scenes.textures import Sheet, TextureBank, soft_noise

_CROWN_M = 5.0
_LEAVES = 170  # in each clump of a crown
_GREENS = ((84, 96, 52), (70, 86, 48), (98, 102, 58), (60, 76, 46))


def add_crown(bank: TextureBank, kind: int, layer: int) -> int:
    """Leaves seen from the side, 5 m x 5 m; layer 0 is the back, darker one."""
    return bank.add(f"crown {kind} {layer}", lambda: _crown(kind, layer), (260, 260))


def _crown(kind: int, layer: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([kind, 31, layer]))
    sheet = Sheet(_CROWN_M, _CROWN_M, 52)
    green = np.array(_GREENS[kind % len(_GREENS)]) * (0.62 if layer == 0 else 1.0)
    count = 26 if layer == 0 else 20
    reach = 1.55 if layer == 0 else 1.4
    angle, distance = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count)) * reach
    clump = np.stack([2.5 + distance * np.cos(angle), 2.55 + 1.05 * distance * np.sin(angle)], 1)
    radius = rng.uniform(0.4, 0.72, count)[:, None]
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
    layer: int = LAYER_THINGS,
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
