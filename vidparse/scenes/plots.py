"""The plots beside the street, CELL_M metres at a time: houses, gardens, a strip of park."""

from __future__ import annotations

import numpy as np

from vidparse.scenes import facades
from vidparse.scenes.foliage import add_hedge, tree
from vidparse.scenes.furniture import add_boards, add_railing, fence_along
from vidparse.scenes.ground import KERB_M
from vidparse.scenes.quads import BUILDING, LAYER_PLOTS, LAYER_SHADOW, TREE, Quads, make_quads
from vidparse.scenes.textures import TextureBank

CELL_M = 12.0
_WIDTHS_M = ((6.0, 6.0), (5.0, 7.0), (7.0, 5.0), (12.0,), (4.0, 8.0))
_HOUSE_DEPTH_M, _ROOF_RISE_M = 9.0, 2.8
_SETBACK_M = 4.0
_FACADE_KINDS = 12  # fronts a scene has of each width
_STOREYS = (3, 2, 3, 4, 2, 3, 4, 3, 3, 2, 3, 3)


class Cell:
    """Gathers the quads of one cell and numbers their surfaces."""

    def __init__(self, bank: TextureBank, rng: np.random.Generator, first_surface: int) -> None:
        self.bank, self.rng = bank, rng
        self.parts: list[Quads] = []
        self._next = first_surface

    def surfaces(self, count: int) -> int:
        """The first of `count` fresh surface numbers."""
        self._next += count
        return self._next - count


def add_plots(
    cell: Cell, seed: int, side: int, z: float, outer_m: float, open_share: float
) -> None:
    """Fill one side of a cell that begins at z; side -1 is left. Walls stand at side * outer_m."""
    rng = cell.rng
    use = rng.random()
    if use < open_share * 0.5:
        _park(cell, side, z, outer_m)
        return
    setback = _SETBACK_M if use < open_share else 0.0
    widths = _WIDTHS_M[int(rng.integers(len(_WIDTHS_M)))]
    previous_storeys = 0
    for width in widths:
        kind = int(rng.integers(_FACADE_KINDS))
        front = seed * 100 + kind
        # Both follow from the kind, so that the textures of a long drive are few.
        storeys, shop = (_STOREYS[kind], kind % 2 == 0) if setback == 0 else (2, False)
        x = side * (outer_m + setback)
        _house(cell, front, side, x, z, width, storeys, shop, previous_storeys < storeys)
        if setback:
            _garden(cell, side, z, width, outer_m)
        previous_storeys = storeys
        z += width


def _house(
    cell: Cell, front: int, side: int, x: float, z: float, width: float, storeys: int, shop: bool,
    gable_shows: bool,
) -> None:  # fmt: skip

    bank, rng = cell.bank, cell.rng
    height, rise = facades.facade_height_m(storeys), _ROOF_RISE_M
    back = side * _HOUSE_DEPTH_M
    near = np.array([x, 0.0, z])
    rows: list[tuple] = []  # origin, across, down, texture, light, facing, solid

    if rng.random() < 0.7:
        rows.append(((x + back / 2 - 0.6, height + rise + 1.2, z + 0.6), (1.2, 0, 0), (0, -2.2, 0),
                     facades.add_chimney(bank, front % 3), 0.95, 0, (0, 0, 0, 0)))  # fmt: skip
    start, run = (z, width + 0.04) if side < 0 else (z + width + 0.04, -width - 0.04)
    rows.append(((x + back / 2, height + rise, start), (0, 0, run), (-back / 2, -rise, 0),
                 facades.add_roof(bank, front % 3), 1.05 if side < 0 else 0.85, 1,
                 (0, 0, 1, 1)))  # fmt: skip

    if gable_shows:
        left = min(x, x + back)
        wall = facades.add_gable(bank, front, _HOUSE_DEPTH_M, height, rise)
        rows.append(((left, height + rise, z), (_HOUSE_DEPTH_M, 0, 0), (0, -height - rise, 0),
                     wall, 0.92, 1, (0, rise / (height + rise), 1, 1)))  # fmt: skip

    facade = facades.add_facade(bank, front, width, storeys, shop)
    rows.append(((x, height + KERB_M, start), (0, 0, run), (0, -height, 0), facade,
                 1.06 if side < 0 else 0.74, 1, (0, 0, 1, 1)))  # fmt: skip
    _add_rows(cell, rows, near)
    if side > 0:
        _cast_shadow(cell, x, z, width, height)


def _add_rows(cell: Cell, rows: list[tuple], anchor: np.ndarray) -> None:
    origin, across, down, texture, light, facing, solid = zip(*rows, strict=True)
    count = len(rows)
    cell.parts.append(
        make_quads(
            np.array(origin), np.array(across), np.array(down), texture=texture,
            surface=cell.surfaces(count) + np.arange(count), class_id=BUILDING, layer=LAYER_PLOTS,
            anchor=anchor, order=np.arange(count) * 1.0, light=np.array(light), facing=facing,
            solid=np.array(solid, np.float64),
        )
    )  # fmt: skip


def _cast_shadow(cell: Cell, x: float, z: float, width: float, height: float) -> None:
    """The shade of a house on the sunny side, falling over pavement and road."""
    reach = 0.6 * height
    texture = cell.bank.add("shade", _shade, (48, 16))
    cell.parts.append(
        make_quads(
            np.array([[x - reach, KERB_M * 0.6, z + width + 0.35 * height]]),
            np.array([[reach, 0.0, 0.0]]), np.array([[0.0, 0.0, -width]]), texture=texture,
            surface=cell.surfaces(1), class_id=0, layer=LAYER_SHADOW, shadow=True, facing=1,
        )
    )  # fmt: skip


def _shade() -> np.ndarray:
    pixels = np.zeros((16, 48, 4), np.uint8)
    x = (np.arange(48) + 0.5) / 48
    pixels[..., 3] = np.round(105 * np.clip(x / 0.12, 0, 1))
    return pixels


def _garden(cell: Cell, side: int, z: float, width: float, outer_m: float) -> None:
    bank, rng = cell.bank, cell.rng
    x = side * outer_m

    if rng.random() < 0.5:
        hedge = add_hedge(bank, int(rng.integers(3)))
        cell.parts.append(
            fence_along(bank, hedge, x, z + 0.2, width - 0.6, rng.uniform(1.1, 1.7),
                        cell.surfaces(1), LAYER_PLOTS, TREE, solid_top=0.3)
        )  # fmt: skip
    else:
        boards = add_boards(bank, int(rng.integers(3)))
        cell.parts.append(
            fence_along(
                bank, boards, x, z, width, 1.5, cell.surfaces(1), LAYER_PLOTS, solid_top=0.1
            )
        )

    if rng.random() < 0.6:
        cell.parts.append(
            tree(bank, int(rng.integers(4)), x + side * 2.0, z + width / 2,
                 surface=cell.surfaces(4), size=rng.uniform(0.7, 0.95), layer=LAYER_PLOTS)
        )  # fmt: skip


def _park(cell: Cell, side: int, z: float, outer_m: float) -> None:
    bank, rng = cell.bank, cell.rng
    x = side * outer_m
    for depth, ahead in ((9.0, 8.0), (6.0, 3.0), (2.5, 6.0)):
        cell.parts.append(
            tree(bank, int(rng.integers(4)), x + side * (depth + rng.uniform(-1, 1)), z + ahead,
                 surface=cell.surfaces(4), size=rng.uniform(0.9, 1.3), layer=LAYER_PLOTS,
                 bare=bool(rng.random() < 0.3))
        )  # fmt: skip
    far = add_hedge(bank, int(rng.integers(3)))
    for i in range(2):
        cell.parts.append(
            fence_along(bank, far, x + side * 12, z + 6 * i, 6.2, 2.6, cell.surfaces(1),
                        LAYER_PLOTS, TREE, solid_top=0.3)
        )  # fmt: skip
    railing = add_railing(bank, 1)
    for i in range(4):
        cell.parts.append(
            fence_along(bank, railing, x, z + 3 * i, 3.0, 1.2, cell.surfaces(1), LAYER_PLOTS)
        )
