"""Building textures: terraced houses, shop fronts, gables, roofs and chimneys."""

from __future__ import annotations

import numpy as np

from vidparse.scenes.textures import Sheet, TextureBank, soft_noise

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
    (_shop if shop else _house)(sheet, rng, ground, width_m, trim, wall)
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


def _shop(
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


def _house(
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
