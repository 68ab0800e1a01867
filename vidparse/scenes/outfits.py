"""Textures of bodies, clothes and bicycles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from vidparse.scenes.textures import Sheet, TextureBank

PARTS = ("torso", "head", "arm", "forearm", "thigh", "shin", "shoe")
OUTFITS = 14
_FRONT, _BACK, _RIGHT, _LEFT = range(4)
_JACKETS = (
    (34, 36, 44), (52, 62, 84), (96, 30, 34), (70, 74, 78), (120, 104, 80), (38, 66, 58),
    (158, 158, 154), (28, 28, 30), (64, 46, 84), (176, 60, 40), (30, 78, 128), (196, 184, 60),
    (84, 70, 60), (204, 200, 194),
)  # fmt: skip
_TROUSERS = ((42, 50, 72), (30, 30, 34), (84, 78, 70), (54, 62, 84), (112, 104, 88), (46, 44, 42))
_SKINS = ((214, 172, 146), (196, 150, 122), (150, 106, 80), (98, 68, 52), (224, 186, 162))
_HAIRS = ((48, 34, 26), (24, 20, 18), (112, 84, 52), (150, 146, 140), (84, 52, 34))


def add_outfit(bank: TextureBank, kind: int) -> tuple[int, ...]:
    """Texture numbers (len(PARTS) * 4): part by part, seen from front, back, right, left."""
    numbers = []
    sizes = {"torso": (0.48, 0.62), "head": (0.2, 0.3)}
    for part in PARTS:
        width, height = sizes.get(part, (0.16, 0.5))
        texels = round(width * 160), round(height * 160)
        for view in range(4):
            shared = view if part in sizes else _FRONT
            maker = partial(_MAKERS[part], kind)
            if part in sizes:
                maker = partial(_MAKERS[part], kind, view)
            numbers.append(bank.add(f"outfit {kind} {part} {shared}", maker, texels))
    return tuple(numbers)


def wardrobe(bank: TextureBank) -> np.ndarray:
    """Texture numbers of all outfits, int64 (OUTFITS, len(PARTS), 4 views)."""
    numbers = [add_outfit(bank, kind) for kind in range(OUTFITS)]
    return np.array(numbers).reshape(OUTFITS, len(PARTS), 4)


def _colours(kind: int) -> tuple[np.ndarray, ...]:
    """Jacket, trousers, skin, hair and shoes of an outfit."""
    pick = (kind % OUTFITS, kind * 5 % 6, kind * 3 % 5, kind * 7 % 5)
    tables = (_JACKETS, _TROUSERS, _SKINS, _HAIRS)
    jacket, trousers, skin, hair = (
        np.array(table[i], np.float64) for table, i in zip(tables, pick, strict=True)
    )
    return jacket, trousers, skin, hair, np.array((36, 32, 30)) if kind % 3 else hair * 1.4


def _rounded(sheet: Sheet) -> np.ndarray:
    """Brightness of a round limb lit from the upper left, (h, w)."""
    x, y = sheet.grid()
    return 0.62 + 0.62 * np.sin(np.pi * np.clip(0.12 + 0.85 * (1 - x), 0, 1)) - 0.08 * y


def _limb(colours: tuple[tuple[float, np.ndarray], ...], taper: float) -> np.ndarray:
    """A strip with round ends; colours: (from which height on, colour), top first."""
    sheet = Sheet(0.16, 0.5, 160)
    for start, colour in colours:
        top = start * 0.5
        if start == 0:
            sheet.ellipse(0.08, 0.075, 0.075, 0.07, colour)
            top = 0.07
        half = 0.078 - taper * 0.03 * (top / 0.5)
        end = 0.078 - taper * 0.03
        sheet.polygon(
            [(0.08 - half, top), (0.08 + half, top), (0.08 + end, 0.45), (0.08 - end, 0.45)], colour
        )
    sheet.ellipse(0.08, 0.44, 0.078 - taper * 0.03, 0.055, colours[-1][1])
    return sheet.texture(_rounded(sheet))


def _arm(kind: int) -> np.ndarray:
    return _limb(((0, _colours(kind)[0] * 0.94),), 0.3)


def _forearm(kind: int) -> np.ndarray:
    jacket, _, skin, _, _ = _colours(kind)
    return _limb(((0, jacket * 0.94), (0.74, skin)), 0.6)


def _thigh(kind: int) -> np.ndarray:
    return _limb(((0, _colours(kind)[1]),), 0.6)


def _shin(kind: int) -> np.ndarray:
    return _limb(((0, _colours(kind)[1] * 0.95),), 0.5)


def _shoe(kind: int) -> np.ndarray:
    return _limb(((0, _colours(kind)[4]),), 0.2)


def _torso(kind: int, view: int) -> np.ndarray:
    jacket, trousers, skin, _, _ = _colours(kind)
    sheet = Sheet(0.48, 0.62, 160)
    coat = 0.56 if kind % 3 else 0.61

    side = view in (_RIGHT, _LEFT)
    shoulder = 0.06 if not side else 0.1
    waist = 0.075 if not side else 0.09

    sheet.polygon([(0.08, 0.46), (0.40, 0.46), (0.41, 0.62), (0.07, 0.62)], trousers)
    outline = [
        (0.19, 0.03), (0.29, 0.03), (0.48 - shoulder, 0.075), (0.48 - shoulder + 0.03, 0.14),
        (0.48 - waist, 0.36), (0.48 - waist + 0.02, coat), (waist - 0.02, coat), (waist, 0.36),
        (shoulder - 0.03, 0.14), (shoulder, 0.075),
    ]  # fmt: skip
    sheet.polygon(outline, jacket)

    if view == _FRONT:
        sheet.polygon(
            [(0.19, 0.03), (0.29, 0.03), (0.24, 0.17)], skin if kind % 2 else trousers * 1.5
        )
        sheet.rect(0.232, 0.16, 0.016, coat - 0.16, jacket * 0.6)
        sheet.rect(0.11, 0.38, 0.08, 0.015, jacket * 0.65)
        sheet.rect(0.29, 0.38, 0.08, 0.015, jacket * 0.65)

    bag = np.array(_JACKETS[(kind * 3 + 5) % OUTFITS]) * 0.8
    if kind % 4 == 1 and view == _BACK:
        sheet.polygon([(0.12, 0.1), (0.36, 0.1), (0.38, 0.42), (0.1, 0.42)], bag)
        sheet.rect(0.14, 0.27, 0.2, 0.11, bag * 0.8)
    elif kind % 4 == 1 and side:
        x = 0.03 if view == _RIGHT else 0.33
        sheet.polygon([(x, 0.12), (x + 0.12, 0.12), (x + 0.12, 0.42), (x, 0.4)], bag)
    return sheet.texture(0.06 + _rounded(sheet))


def _head(kind: int, view: int) -> np.ndarray:
    _, _, skin, hair, _ = _colours(kind)
    long = kind % 3 == 2
    sheet = Sheet(0.2, 0.3, 160)

    sheet.rect(0.06, 0.2, 0.07, 0.1, skin * 0.8)
    if long:
        sheet.polygon([(0.02, 0.1), (0.18, 0.1), (0.19, 0.28), (0.01, 0.28)], hair * 0.9)
    sheet.ellipse(0.1, 0.125, 0.09, 0.122, skin)

    if view == _BACK:
        sheet.ellipse(0.1, 0.11, 0.094, 0.112, hair)
        if long:
            sheet.rect(0.02, 0.1, 0.16, 0.17, hair)
    elif view == _FRONT:
        sheet.polygon([(0.008, 0.12), (0.02, 0.05), (0.06, 0.005), (0.14, 0.005), (0.18, 0.05),
                       (0.192, 0.12), (0.17, 0.085), (0.1, 0.06), (0.03, 0.085)], hair)  # fmt: skip
        for x in (0.065, 0.135):
            sheet.ellipse(x, 0.125, 0.013, 0.009, (50, 40, 36))
        sheet.rect(0.075, 0.19, 0.05, 0.01, skin * 0.65)
        sheet.rect(0.093, 0.13, 0.014, 0.04, skin * 0.86)
    else:
        back = -1 if view == _RIGHT else 1
        sheet.ellipse(0.1 + 0.03 * back, 0.09, 0.075, 0.09, hair)
        sheet.ellipse(0.1 - 0.03 * back, 0.15, 0.05, 0.06, skin)
        sheet.rect(0.1 + (0.02 if back > 0 else -0.07), 0.1, 0.05, 0.1 if not long else 0.17, hair)
    return sheet.texture(0.04 + _rounded(sheet))


_MAKERS: dict[str, Callable[..., np.ndarray]] = {
    "torso": _torso, "head": _head, "arm": _arm, "forearm": _forearm, "thigh": _thigh,
    "shin": _shin, "shoe": _shoe,
}  # fmt: skip


def add_bicycle(bank: TextureBank) -> dict[str, int]:
    """Texture numbers: wheel and tyre (0.68 m), frame (1.2 x 0.9 m, front at the right), bars."""
    return {
        "wheel": bank.add("bicycle wheel", _wheel, (82, 82)),
        "tyre": bank.add("bicycle tyre", _tyre, (8, 40)),
        "frame": bank.add("bicycle frame", _frame, (144, 108)),
        "bars": bank.add("bicycle bars", _bars, (56, 6)),
    }


def _wheel() -> np.ndarray:
    sheet = Sheet(0.68, 0.68, 120)
    ring = np.linspace(0, 2 * np.pi, 49)
    circle = np.stack([np.cos(ring), np.sin(ring)], 1)
    for turn in np.arange(12) * np.pi / 6:
        direction = np.array([np.cos(turn), np.sin(turn)])
        sheet.line([(0.34, 0.34), 0.34 + 0.3 * direction], 0.008, (120, 120, 122))
    sheet.line(0.34 + 0.302 * circle, 0.022, (136, 138, 140))
    sheet.line(0.34 + 0.319 * circle, 0.042, (24, 24, 26))
    sheet.ellipse(0.34, 0.34, 0.035, 0.035, (60, 60, 62))
    return sheet.texture()


def _tyre() -> np.ndarray:
    sheet = Sheet(0.06, 0.68, 60)
    sheet.texels_hw = (40, 8)
    sheet.rect(0, 0, 0.06, 0.68, (28, 28, 30))
    return sheet.texture()


def _frame() -> np.ndarray:
    sheet = Sheet(1.2, 0.9, 120)
    colour = (46, 62, 92)
    rear, crank, seat = (0.08, 0.72), (0.54, 0.74), (0.42, 0.24)
    head, fork = (0.98, 0.2), (1.12, 0.72)
    for a, b in ((seat, crank), (crank, head), (seat, head), (rear, crank), (rear, seat)):
        sheet.line([a, b], 0.036, colour)
    sheet.line([(1.0, 0.1), head, fork], 0.034, (50, 54, 60))
    sheet.line([(0.4, 0.14), seat], 0.03, (90, 92, 96))
    sheet.polygon([(0.26, 0.1), (0.54, 0.1), (0.52, 0.14), (0.3, 0.16)], (26, 24, 24))
    sheet.line([(1.0, 0.1), (1.1, 0.06)], 0.03, (40, 40, 42))
    sheet.ellipse(crank[0], crank[1], 0.08, 0.08, (70, 72, 74))
    return sheet.texture()


def _bars() -> np.ndarray:
    sheet = Sheet(0.56, 0.06, 100)
    sheet.rect(0, 0, 0.56, 0.06, (44, 46, 50))
    return sheet.texture()
