"""The plots beside the street, CELL_M metres at a time: houses, gardens, a strip of park.

Fronts, gables, roofs and chimneys of the houses are textures, drawn below.
"""

from __future__ import annotations

import numpy as np

from vidparse.scenes.ground import KERB_M
from vidparse.scenes.quads import BUILDING, TREE, Layer, Quads, make_quads
from vidparse.scenes.roadside import add_boards, add_hedge, add_railing, fence_along, tree
from vidparse.scenes.textures import Sheet, TextureBank, soft_noise

CELL_M = 12.0
_WIDTHS_M = ((6.0, 6.0), (5.0, 7.0), (7.0, 5.0), (12.0,), (4.0, 8.0))
_HOUSE_DEPTH_M, _ROOF_RISE_M = 9.0, 2.8
_SETBACK_M = 4.0
_FACADE_KINDS = 12  # fronts a scene has of each width
_STOREYS = (3, 2, 3, 4, 2, 3, 4, 3, 3, 2, 3, 3)
STOREY_M = 3.0
GROUND_FLOOR_M = 3.5
_TEXELS_PER_M = 36
_WALLS = (
    ((163, 142, 108), True),  # yellow stock brick
    ((136, 84, 66), True),  # red brick
    ((150, 108, 82), True),
    ((214, 209, 196), False),  # render
    ((226, 216, 190), False),
    ((186, 172, 150), False),  # stone
    ((172, 176, 178), False),
    ((205, 178, 150), False),
)
_FASCIAS = (
    (24, 52, 96),
    (112, 24, 28),
    (20, 78, 56),
    (38, 38, 42),
    (190, 150, 40),
    (196, 196, 190),
)
_DOORS = ((28, 60, 44), (96, 22, 26), (24, 40, 82), (40, 36, 34), (190, 186, 178))


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
    height, rise = facade_height_m(storeys), _ROOF_RISE_M
    back = side * _HOUSE_DEPTH_M
    near = np.array([x, 0.0, z])
    rows: list[tuple] = []  # origin, across, down, texture, light, facing, solid

    if rng.random() < 0.7:
        rows.append(((x + back / 2 - 0.6, height + rise + 1.2, z + 0.6), (1.2, 0, 0), (0, -2.2, 0),
                     add_chimney(bank, front % 3), 0.95, 0, (0, 0, 0, 0)))  # fmt: skip
    start, run = (z, width + 0.04) if side < 0 else (z + width + 0.04, -width - 0.04)
    rows.append(((x + back / 2, height + rise, start), (0, 0, run), (-back / 2, -rise, 0),
                 add_roof(bank, front % 3), 1.05 if side < 0 else 0.85, 1,
                 (0, 0, 1, 1)))  # fmt: skip

    if gable_shows:
        left = min(x, x + back)
        wall = add_gable(bank, front, _HOUSE_DEPTH_M, height, rise)
        rows.append(((left, height + rise, z), (_HOUSE_DEPTH_M, 0, 0), (0, -height - rise, 0),
                     wall, 0.92, 1, (0, rise / (height + rise), 1, 1)))  # fmt: skip

    facade = add_facade(bank, front, width, storeys, shop)
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
            surface=cell.surfaces(count) + np.arange(count), class_id=BUILDING, layer=Layer.PLOTS,
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
            surface=cell.surfaces(1), class_id=0, layer=Layer.SHADOW, shadow=True, facing=1,
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
                        cell.surfaces(1), Layer.PLOTS, TREE, solid_top=0.3)
        )  # fmt: skip
    else:
        boards = add_boards(bank, int(rng.integers(3)))
        cell.parts.append(
            fence_along(
                bank, boards, x, z, width, 1.5, cell.surfaces(1), Layer.PLOTS, solid_top=0.1
            )
        )

    if rng.random() < 0.6:
        cell.parts.append(
            tree(bank, int(rng.integers(4)), x + side * 2.0, z + width / 2,
                 surface=cell.surfaces(4), size=rng.uniform(0.7, 0.95), layer=Layer.PLOTS)
        )  # fmt: skip


def _park(cell: Cell, side: int, z: float, outer_m: float) -> None:
    bank, rng = cell.bank, cell.rng
    x = side * outer_m
    for depth, ahead in ((9.0, 8.0), (6.0, 3.0), (2.5, 6.0)):
        cell.parts.append(
            tree(bank, int(rng.integers(4)), x + side * (depth + rng.uniform(-1, 1)), z + ahead,
                 surface=cell.surfaces(4), size=rng.uniform(0.9, 1.3), layer=Layer.PLOTS,
                 bare=bool(rng.random() < 0.3))
        )  # fmt: skip

    far = add_hedge(bank, int(rng.integers(3)))
    for i in range(2):
        cell.parts.append(
            fence_along(bank, far, x + side * 12, z + 6 * i, 6.2, 2.6, cell.surfaces(1),
                        Layer.PLOTS, TREE, solid_top=0.3)
        )  # fmt: skip
    railing = add_railing(bank, 1)
    for i in range(4):
        cell.parts.append(
            fence_along(bank, railing, x, z + 3 * i, 3.0, 1.2, cell.surfaces(1), Layer.PLOTS)
        )


def facade_height_m(storeys: int) -> float:
    return GROUND_FLOOR_M + STOREY_M * (storeys - 1) + 0.7


def add_facade(bank: TextureBank, kind: int, width_m: float, storeys: int, shop: bool) -> int:
    """A street front; `kind` seeds all its details. Size: width_m x facade_height_m."""
    height_m = facade_height_m(storeys)
    texels = round(width_m * _TEXELS_PER_M), round(height_m * _TEXELS_PER_M)
    name = f"facade {kind} {width_m} {storeys} {shop}"
    return bank.add(name, lambda: _facade(kind, width_m, storeys, shop), texels)


def _facade(kind: int, width_m: float, storeys: int, shop: bool) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([kind, 11]))
    colour, brick = _WALLS[int(rng.integers(len(_WALLS)))]
    wall = np.array(colour) * rng.uniform(0.9, 1.05)
    height_m = facade_height_m(storeys)

    sheet = Sheet(width_m, height_m, _TEXELS_PER_M)
    sheet.rect(0, 0, width_m, height_m, wall)
    trim = np.array((225.0, 222.0, 212.0)) if rng.random() < 0.7 else wall * 0.72

    # Space windows evenly over the width, whatever it is.
    bays = max(2, round(width_m / rng.uniform(1.9, 2.6)))
    pitch = width_m / bays
    style = int(rng.integers(3))
    for floor in range(1, storeys):
        top = 0.7 + STOREY_M * (storeys - 1 - floor)
        for bay in range(bays):
            _window(sheet, rng, pitch * (bay + 0.5), top + 0.65, style, trim)

    sheet.rect(0, 0.12, width_m, 0.22, trim * 0.95)  # cornice
    sheet.rect(0, 0.34, width_m, 0.07, wall * 0.55)
    if rng.random() < 0.5:
        sheet.rect(0, height_m - GROUND_FLOOR_M - 0.08, width_m, 0.14, trim * 0.9)

    ground = height_m - GROUND_FLOOR_M
    (_shop_front if shop else _house_front)(sheet, rng, ground, width_m, trim, wall)
    sheet.rect(width_m - 0.12, 0.4, 0.09, height_m - 0.5, (58, 56, 54))  # drainpipe
    return sheet.texture(_weathering(sheet, rng, brick))


def _weathering(sheet: Sheet, rng: np.random.Generator, brick: bool) -> np.ndarray:
    """Brightness of a wall: courses of brick, stains, and less sky light low down."""
    texels_hw = sheet.texels_hw
    _, y = sheet.grid()
    shade = 1 + 0.035 * soft_noise(rng, texels_hw, (6, 5))
    shade += 0.025 * soft_noise(rng, texels_hw, (texels_hw[0] // 3, texels_hw[1] // 6))
    if brick:
        shade += 0.05 * soft_noise(rng, texels_hw, (texels_hw[0] // 2, texels_hw[1] // 8))
    return shade * (0.84 + 0.2 * np.clip((1 - y) * 4, 0, 1) - 0.05 * y)


def _glass(sheet: Sheet, rng: np.random.Generator, x: float, y: float, w: float, h: float) -> None:
    """A pane that mirrors some sky at its top and shows a dark room, perhaps a curtain."""
    room = np.array((44, 50, 58)) * rng.uniform(0.7, 1.5)
    sheet.rect(x, y, w, h, room)
    sky = room * 0.45 + np.array((150, 168, 188)) * rng.uniform(0.3, 0.6)
    slant = rng.uniform(0.1, 0.5) * h
    sheet.polygon([(x, y), (x + w, y), (x + w, y + slant * 0.4), (x, y + slant)], sky)
    if rng.random() < 0.35:
        curtain = np.array((196, 190, 178)) * rng.uniform(0.6, 0.95)
        sheet.rect(x, y, w * 0.22, h, curtain)
        sheet.rect(x + w * 0.78, y, w * 0.22, h, curtain)


def _window(
    sheet: Sheet, rng: np.random.Generator, centre: float, top: float, style: int, trim: np.ndarray
) -> None:
    width, height = (0.95, 1.65) if style < 2 else (1.5, 1.35)
    x = centre - width / 2
    sheet.rect(x - 0.1, top - 0.2, width + 0.2, 0.2, trim * 0.88)  # lintel
    sheet.rect(x - 0.12, top + height, width + 0.24, 0.12, trim * 0.98)  # sill
    sheet.rect(x - 0.12, top + height + 0.12, width + 0.24, 0.07, trim * 0.45)
    sheet.rect(x, top, width, height, (92, 90, 86))  # the reveal's shadow
    frame = (228, 228, 224) if style != 1 else (206, 200, 190)
    sheet.rect(x + 0.05, top + 0.1, width - 0.07, height - 0.1, frame)
    columns, rows = (1, 2) if style == 0 else (2, 2) if style == 1 else (2, 1)
    w, h = (width - 0.14) / columns, (height - 0.17) / rows
    for column in range(columns):
        for row in range(rows):
            _glass(sheet, rng, x + 0.1 + column * w, top + 0.14 + row * h, w - 0.06, h - 0.06)


def _shop_front(
    sheet: Sheet,
    rng: np.random.Generator,
    top: float,
    width: float,
    trim: np.ndarray,
    wall: np.ndarray,
) -> None:
    fascia = np.array(_FASCIAS[int(rng.integers(len(_FASCIAS)))], np.float64)
    bottom = top + GROUND_FLOOR_M
    sheet.rect(0.1, top, width - 0.2, GROUND_FLOOR_M, fascia * 0.8)
    sheet.rect(0.1, top + 0.15, width - 0.2, 0.62, fascia)
    sheet.rect(0.1, top + 0.77, width - 0.2, 0.06, fascia * 0.4)

    # Write a name on the fascia.
    letters = (235, 232, 220) if fascia.mean() < 150 else (40, 40, 44)
    x = width * rng.uniform(0.15, 0.3)
    while x < width * rng.uniform(0.6, 0.85):  # a name nobody can read
        wide = rng.uniform(0.1, 0.24)
        sheet.rect(x, top + 0.3, wide, 0.32, letters)
        sheet.rect(x + 0.05, top + rng.uniform(0.36, 0.46), wide - 0.08, 0.09, fascia)
        x += wide + rng.uniform(0.05, 0.12)

    # Leave the door's place free of glass.
    door = width * rng.uniform(0.3, 0.6)
    for left, right in ((0.25, door - 0.1), (door + 1.15, width - 0.25)):
        if right - left < 0.4:
            continue
        _glass(sheet, rng, left, top + 0.95, right - left, 1.95)
        for _ in range(int((right - left) * 4)):  # goods and posters
            goods = rng.uniform(40, 210, 3)
            sheet.rect(
                rng.uniform(left, right - 0.3), top + rng.uniform(1.8, 2.5),
                rng.uniform(0.1, 0.3), rng.uniform(0.15, 0.4), goods,
            )  # fmt: skip
        sheet.rect(left, bottom - 0.55, right - left, 0.55, fascia * 0.65)

    sheet.rect(door, top + 0.95, 1.05, bottom - top - 0.95, (30, 32, 36))
    _glass(sheet, rng, door + 0.1, top + 1.1, 0.85, 1.6)


def _house_front(
    sheet: Sheet,
    rng: np.random.Generator,
    top: float,
    width: float,
    trim: np.ndarray,
    wall: np.ndarray,
) -> None:
    bottom = top + GROUND_FLOOR_M
    door_x = width * (0.12 if rng.random() < 0.5 else 0.72)
    door = np.array(_DOORS[int(rng.integers(len(_DOORS)))])

    sheet.rect(0, bottom - 0.45, width, 0.45, wall * 0.62)  # plinth
    sheet.rect(door_x - 0.18, bottom - 3.0, 1.36, 3.0, trim * 0.95)
    sheet.rect(door_x, bottom - 2.85, 1.0, 0.5, (70, 80, 92))
    sheet.rect(door_x, bottom - 2.3, 1.0, 2.2, door)

    for row in range(2):
        for column in range(2):
            x, y = door_x + 0.12 + 0.42 * column, bottom - 2.15 + 1.05 * row
            sheet.rect(x, y, 0.34, 0.85, door * 0.75)
    sheet.rect(door_x - 0.1, bottom - 0.12, 1.2, 0.12, (150, 146, 138))

    # Fill the rest of the width with windows.
    count = max(1, round((width - 2.2) / 2.3))
    start = 0.4 if door_x > width / 2 else door_x + 1.5
    room = width - 2.0
    for i in range(count):
        _window(sheet, rng, start + room * (i + 0.5) / count, bottom - 2.6, 0, trim)


def add_gable(bank: TextureBank, kind: int, depth_m: float, height_m: float, rise_m: float) -> int:
    """The side wall of a house, pointed by `rise_m`. Size: depth_m x (height_m + rise_m)."""
    texels = round(depth_m * 16), round((height_m + rise_m) * 16)
    return bank.add(
        f"gable {kind} {depth_m} {height_m} {rise_m}",
        lambda: _gable(kind, depth_m, height_m, rise_m),
        texels,
    )


def _gable(kind: int, depth_m: float, height_m: float, rise_m: float) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([kind, 11]))
    colour, brick = _WALLS[int(rng.integers(len(_WALLS)))]
    wall = np.array(colour) * rng.uniform(0.85, 0.95)
    total = height_m + rise_m
    sheet = Sheet(depth_m, total, 16)
    outline = [(0, total), (0, rise_m), (depth_m / 2, 0), (depth_m, rise_m), (depth_m, total)]
    sheet.polygon(outline, wall)
    sheet.line([(0, rise_m), (depth_m / 2, 0.05), (depth_m, rise_m)], 0.22, (104, 96, 90))
    if rng.random() < 0.6:
        for top in np.arange(rise_m + 1.2, total - 2.5, STOREY_M):
            _window(sheet, rng, depth_m * 0.3, float(top), 0, np.array((215, 212, 204)))
    return sheet.texture(_weathering(sheet, rng, brick))


def add_roof(bank: TextureBank, kind: int) -> int:
    """Tiles or slates, 6 m x 4 m."""
    return bank.add(f"roof {kind}", lambda: _roof(kind), (144, 96))


def _roof(kind: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([kind, 12]))
    colour = ((104, 102, 106), (132, 88, 70), (118, 104, 94))[kind % 3]
    sheet = Sheet(6, 4, 24)
    sheet.rect(0, 0, 6, 4, colour)
    for y in np.arange(0.1, 4, 0.22):
        sheet.rect(0, float(y), 6, 0.05, np.array(colour) * 0.8)
    shade = 1 + 0.07 * soft_noise(rng, sheet.texels_hw, (20, 30))
    return sheet.texture(shade + 0.05 * soft_noise(rng, sheet.texels_hw, (3, 4)))


def add_chimney(bank: TextureBank, kind: int) -> int:
    """A stack with pots, 1.2 m x 2.2 m."""
    return bank.add(f"chimney {kind}", lambda: _chimney(kind), (36, 66))


def _chimney(kind: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([kind, 13]))
    sheet = Sheet(1.2, 2.2, 30)
    brick = np.array((138, 98, 78)) * rng.uniform(0.8, 1.1)
    sheet.rect(0.05, 0.6, 1.1, 1.6, brick)
    sheet.rect(0, 0.55, 1.2, 0.14, brick * 0.8)
    for x in (0.15, 0.5, 0.85):
        sheet.rect(x, 0.1, 0.2, 0.48, (170, 112, 82))
    return sheet.texture(1 + 0.06 * soft_noise(rng, sheet.texels_hw, (22, 10)))
