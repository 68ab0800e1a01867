"""Cars as boxes with a cabin: ten faces, each a drawn texture; seen from all sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidparse.scenes.quads import CAR, Layer, Quads, join, make_quads
from vidparse.scenes.textures import Sheet, TextureBank

PAINTS = (
    (36, 40, 52), (120, 122, 126), (168, 172, 176), (122, 24, 28), (30, 52, 104), (214, 214, 210),
    (22, 24, 26), (64, 84, 72), (148, 118, 70), (84, 100, 124),
)  # fmt: skip
_TEXELS_PER_M = 64
_GLASS = (38, 46, 54)
_TYRE = (26, 26, 28)
FACES = 12  # a car takes FACES + 1 surface numbers, the last for its shadow
_FACING = (1, -1, 1, -1, 1, 1, 1, -1, 1, -1, 1, 1)  # as in _local_faces: which side of a face shows


@dataclass(frozen=True, slots=True)
class Body:
    """Measures in metres; z from the rear bumper (0) to the front (length)."""

    length: float
    width: float
    belt: float  # height of the lower edge of the windows
    roof: float
    cabin: tuple[float, float, float, float]  # z: rear window foot and top, windscreen top, foot
    nose: float  # height of the bonnet's front edge
    tail: float  # z where the boot lid meets the rear window: 0 for a hatchback
    side_windows: int


BODIES = (
    Body(3.95, 1.70, 0.92, 1.46, (0.05, 0.45, 2.25, 3.05), 0.78, 0.0, 2),  # hatchback
    Body(4.50, 1.76, 0.93, 1.43, (0.75, 1.35, 2.75, 3.45), 0.76, 0.75, 2),  # saloon
    Body(4.45, 1.76, 0.94, 1.52, (0.08, 0.42, 2.70, 3.40), 0.78, 0.0, 3),  # estate
    Body(5.00, 1.95, 1.10, 2.05, (0.02, 0.12, 3.55, 4.30), 1.02, 0.0, 1),  # van
)
_TUMBLE = 0.17  # how far the cabin leans in at the roof
_CABIN_OVERLAP_M = 0.05  # the cabin's sides reach below the belt, so that no gap shows


def _axles(body: Body) -> tuple[float, float]:
    return 0.18 * body.length + 0.05, 0.80 * body.length


def _lit(paint: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(paint * factor + 14 * (factor > 1), 0, 255)


def _bodyside(body: Body, paint: np.ndarray) -> np.ndarray:
    """Below the windows, wheels included; seen with the front at the right."""
    sheet = Sheet(body.length, body.belt, _TEXELS_PER_M)
    flip = body.belt
    sill, arch = 0.22, 0.33
    axles = _axles(body)
    front = body.length

    outline = [
        (0.02, flip - 0.4), (0.0, flip - 0.7), (0.03, 0.0), (body.cabin[3], 0.0),
        (front - 0.12, flip - body.nose), (front - 0.01, flip - 0.55), (front - 0.04, flip - sill),
        (0.06, flip - sill),
    ]  # fmt: skip
    sheet.polygon(outline, paint)
    low = np.array(outline) * (1, 0.45) + (0, flip * 0.55 - sill * 0.55 + 0.1)
    sheet.polygon(np.clip(low, 0, (front - 0.03, flip - sill)), _lit(paint, 0.72))

    # Catch light on the shoulder, and darken the sill.
    sheet.rect(0.08, flip - body.belt * 0.93, front * 0.7, 0.035, _lit(paint, 1.35))
    sheet.rect(0.06, flip - 0.5, front - 0.12, 0.05, _lit(paint, 0.45))

    for z in (
        body.cabin[3] - 0.15,
        (body.cabin[3] + body.cabin[0]) / 2 + 0.05,
        body.cabin[0] + 0.35,
    ):
        sheet.rect(z, 0.02, 0.02, flip - sill - 0.06, _lit(paint, 0.5))
        sheet.rect(z - 0.26, 0.14, 0.16, 0.04, _lit(paint, 0.4))

    sheet.polygon([(front - 0.34, flip - body.nose + 0.03), (front - 0.06, flip - body.nose + 0.05),
                   (front - 0.03, flip - body.nose + 0.2), (front - 0.3, flip - body.nose + 0.16)],
                  (222, 224, 226))  # fmt: skip
    sheet.rect(0.03, flip - body.belt * 0.9, 0.16, 0.24, (170, 26, 24))

    for z in axles:
        sheet.ellipse(z, flip - arch, 0.37, 0.36, (18, 18, 20))
        sheet.ellipse(z, flip - 0.315, 0.315, 0.31, _TYRE)
        sheet.ellipse(z, flip - 0.315, 0.2, 0.2, (150, 152, 156))
        for turn in np.arange(5) * (2 * np.pi / 5):
            sheet.ellipse(
                z + 0.125 * np.cos(turn),
                flip - 0.315 + 0.125 * np.sin(turn),
                0.035,
                0.035,
                (50, 50, 54),
            )
        sheet.ellipse(z, flip - 0.315, 0.05, 0.05, (92, 94, 98))

    _, y = sheet.grid()
    return sheet.texture(np.broadcast_to(1.1 - 0.28 * y, sheet.texels_hw))


def _cabin_side(body: Body, paint: np.ndarray) -> np.ndarray:
    """Windows and pillars between belt and roof; front at the right; spans the cabin's z."""
    start, length = body.cabin[0], body.cabin[3] - body.cabin[0]
    tall = body.roof - body.belt

    sheet = Sheet(length, tall + _CABIN_OVERLAP_M, _TEXELS_PER_M)
    rear_top, screen_top = body.cabin[1] - start, body.cabin[2] - start
    sheet.polygon([(0, tall), (rear_top, 0), (screen_top, 0), (length, tall)], paint)
    sheet.rect(0, tall, length, _CABIN_OVERLAP_M, paint)

    # Leave the rear half of a van closed.
    van = body.side_windows == 1
    inner_rear = length * 0.62 if van else 0.16
    top = 0.07
    count = body.side_windows
    lean_r, lean_f = rear_top / tall, (length - screen_top) / tall
    low, high = tall - 0.02, top
    left = [inner_rear + (0 if van else lean_r * (tall - y)) for y in (low, high)]
    right = [length - 0.2 - lean_f * (tall - y) for y in (low, high)]

    for i in range(count):
        a, b = i / count, (i + 1) / count
        gap = 0.05
        x = [left[0] + a * (right[0] - left[0]), left[0] + b * (right[0] - left[0]) - gap]
        u = [left[1] + a * (right[1] - left[1]), left[1] + b * (right[1] - left[1]) - gap]
        sheet.polygon([(x[0], low), (u[0], high), (u[1], high), (x[1], low)], _GLASS)
        mid = (low + high) / 2.4
        sheet.polygon([(u[0], high), (u[1], high), (u[1], mid * 0.8), (u[0], mid)], (108, 122, 136))
    return sheet.texture()


def _under(body: Body) -> np.ndarray:
    """The two tyres of an axle and the dark below the floor, seen from the end; 0.45 m high."""
    sheet = Sheet(body.width, 0.45, _TEXELS_PER_M)
    for x in (0.04, body.width - 0.25):
        sheet.rect(x, 0, 0.21, 0.44, _TYRE)
        sheet.rect(x + 0.02, 0.38, 0.17, 0.07, _TYRE)
    sheet.rect(0.2, 0, body.width - 0.4, 0.3, (14, 14, 15))
    return sheet.texture()


def _rear(body: Body, paint: np.ndarray) -> np.ndarray:
    width, tall = body.width, body.belt
    sheet = Sheet(width, tall, _TEXELS_PER_M)
    sheet.polygon([(0.0, 0.0), (width, 0.0), (width, tall - 0.45), (width - 0.06, tall - 0.24),
                   (0.06, tall - 0.24), (0.0, tall - 0.45)], paint)  # fmt: skip

    sheet.rect(0.02, tall - 0.5, width - 0.04, 0.24, _lit(paint, 0.72))  # bumper
    sheet.rect(0.1, tall - 0.27, width - 0.2, 0.06, (32, 32, 34))
    sheet.rect(0.05, 0.03, width - 0.1, 0.03, _lit(paint, 1.3))

    lamp = 0.3 if body.roof < 1.8 else 0.5
    for x in (0.03, width - 0.25):
        sheet.rect(x, 0.06, 0.22, lamp, (176, 22, 24))
        sheet.rect(x + 0.03, 0.06 + lamp * 0.55, 0.16, lamp * 0.2, (226, 150, 60))
        sheet.rect(x + 0.03, 0.06 + lamp * 0.78, 0.16, lamp * 0.16, (222, 214, 206))

    sheet.rect(width / 2 - 0.26, tall * 0.36, 0.52, 0.115, (222, 196, 60))
    for i in range(7):
        sheet.rect(
            width / 2 - 0.22 + 0.063 * i + (0.02 if i > 3 else 0),
            tall * 0.36 + 0.02,
            0.04,
            0.075,
            (24, 24, 22),
        )
    _, y = sheet.grid()
    return sheet.texture(np.broadcast_to(1.12 - 0.3 * y, sheet.texels_hw))


def _front(body: Body, paint: np.ndarray) -> np.ndarray:
    width, tall = body.width, body.nose
    sheet = Sheet(width, tall, _TEXELS_PER_M)
    sheet.polygon([(0.06, 0.0), (width - 0.06, 0.0), (width, 0.1), (width, tall - 0.4),
                   (width - 0.06, tall - 0.2), (0.06, tall - 0.2), (0.0, tall - 0.4), (0.0, 0.1)],
                  paint)  # fmt: skip
    sheet.rect(0.02, tall - 0.46, width - 0.04, 0.25, _lit(paint, 0.78))
    sheet.rect(0.3, tall - 0.34, width - 0.6, 0.12, (22, 22, 24))
    sheet.rect(0.46, 0.07, width - 0.92, 0.15, (30, 30, 32))
    for x in (0.05, width - 0.41):
        sheet.rect(x, 0.05, 0.36, 0.19, (228, 230, 230))
        sheet.ellipse(x + 0.16, 0.145, 0.08, 0.08, (250, 250, 246))
        sheet.ellipse(x + 0.16, 0.145, 0.04, 0.04, (150, 156, 160))
    sheet.rect(width / 2 - 0.26, tall - 0.42, 0.52, 0.115, (226, 226, 222))
    for i in range(7):
        sheet.rect(width / 2 - 0.22 + 0.063 * i, tall - 0.4, 0.04, 0.075, (24, 24, 22))
    _, y = sheet.grid()
    return sheet.texture(np.broadcast_to(1.12 - 0.3 * y, sheet.texels_hw))


def _screen(body: Body, paint: np.ndarray, rear: bool) -> np.ndarray:
    """Rear window or windscreen: a trapezium of glass in a painted frame."""
    width = body.width

    sheet = Sheet(width, 0.7, _TEXELS_PER_M)
    sheet.polygon([(_TUMBLE, 0), (width - _TUMBLE, 0), (width, 0.7), (0, 0.7)], paint)
    if rear and body.side_windows == 1:  # the van's doors
        sheet.rect(width / 2 - 0.01, 0, 0.02, 0.7, _lit(paint, 0.4))
        for x in (_TUMBLE + 0.12, width / 2 + 0.08):
            sheet.rect(x, 0.1, 0.52, 0.34, _GLASS)
        return sheet.texture()

    glass = [
        (_TUMBLE + 0.08, 0.07),
        (width - _TUMBLE - 0.08, 0.07),
        (width - 0.12, 0.64),
        (0.12, 0.64),
    ]
    sheet.polygon(glass, _GLASS)
    sheet.polygon([glass[0], glass[1], (width - _TUMBLE, 0.26), (_TUMBLE, 0.36)], (98, 112, 126))

    for x in (width * 0.24, width * 0.64):  # head rests
        sheet.rect(x, 0.46, 0.22, 0.2, (31, 37, 44))
    return sheet.texture()


def _plain(paint: np.ndarray) -> np.ndarray:
    sheet = Sheet(1.0, 1.0, 32)
    sheet.rect(0, 0, 1, 1, paint)
    x, y = sheet.grid()
    return sheet.texture(1.15 - 0.12 * y + 0.06 * np.cos(6 * x))


def add_car(bank: TextureBank, kind: int, paint: int) -> dict[str, int]:
    """Texture numbers of a car's faces, by face name."""
    body, colour = BODIES[kind], np.array(PAINTS[paint], np.float64)
    tex = _TEXELS_PER_M
    cabin_m = body.cabin[3] - body.cabin[0], body.roof - body.belt + _CABIN_OVERLAP_M

    sizes = {
        "side": (body.length, body.belt), "cabin": cabin_m, "rear": (body.width, body.belt),
        "front": (body.width, body.nose), "glass": (body.width, 0.7), "screen": (body.width, 0.7),
        "plain": (0.5, 0.5), "under": (body.width, 0.45),
    }  # fmt: skip
    makers = {
        "side": lambda: _bodyside(body, colour),
        "cabin": lambda: _cabin_side(body, colour),
        "rear": lambda: _rear(body, colour),
        "front": lambda: _front(body, colour),
        "glass": lambda: _screen(body, colour, True),
        "screen": lambda: _screen(body, colour, False),
        "plain": lambda: _plain(colour),
        "under": lambda: _under(body),
    }

    numbers = {}
    for face, (width, height) in sizes.items():
        texels = round(width * tex), round(height * tex)
        numbers[face] = bank.add(f"car {kind} {paint} {face}", makers[face], texels)
    return numbers


def add_soft_shadow(bank: TextureBank) -> int:
    """Darkness fading outwards; black with an alpha up to 0.84."""
    return bank.add("soft shadow", _soft_shadow, (64, 64))


def _soft_shadow() -> np.ndarray:
    x = (np.arange(64) + 0.5) / 32 - 1
    radius = (np.abs(x)[None] ** 3 + np.abs(x)[:, None] ** 3) ** (1 / 3)
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 3] = np.round(215 * np.clip((1.0 - radius) / 0.45, 0, 1) ** 1.2)
    return pixels


# The part of a face that surely hides what is behind it.
_SOLID = {
    "rear": (0.04, 0.04, 0.96, 0.55), "front": (0.06, 0.1, 0.94, 0.5), "side": (0.1, 0.1, 0.9, 0.5),
    "glass": (0.12, 0.02, 0.88, 0.98), "screen": (0.12, 0.02, 0.88, 0.98),
}  # fmt: skip


def _local_faces(body: Body) -> list[tuple[str, tuple, tuple, tuple, float]]:
    """(texture, origin, across, down, order) in car axes: x right, y up, z ahead, centred."""
    half, length = body.width / 2, body.length
    rear_foot, rear_top, screen_top, screen_foot = body.cabin
    tall = body.roof - body.belt
    cabin_len = screen_foot - rear_foot
    boot = max(rear_foot, 0.06)
    axles, lower = _axles(body), 1 + _CABIN_OVERLAP_M / tall

    return [
        ("under", (-half, 0.45, axles[0] + 0.28), (2 * half, 0, 0), (0, -0.45, 0), 0.0),
        ("under", (-half, 0.45, axles[1] - 0.28), (2 * half, 0, 0), (0, -0.45, 0), 0.0),
        ("plain", (-half, body.belt, boot), (2 * half, 0, 0), (0, -0.03, -boot), 1.0),  # boot lid
        ("plain", (half, body.nose, length - 0.12), (-2 * half, 0, 0),
         (0, body.belt - body.nose, screen_foot - length + 0.12), 1.0),  # bonnet, from the front
        ("rear", (-half, body.belt, 0.02), (2 * half, 0, 0), (0, -body.belt, 0), 2.0),
        ("front", (half, body.nose, length - 0.06), (-2 * half, 0, 0), (0, -body.nose, 0), 2.0),
        ("side", (half, body.belt, 0), (0, 0, length), (0, -body.belt, 0), 3.0),
        ("side", (-half, body.belt, 0), (0, 0, length), (0, -body.belt, 0), 3.0),
        ("cabin", (half - _TUMBLE, body.roof, rear_foot), (0, 0, cabin_len),
         (_TUMBLE * lower, -tall * lower, 0), 4.0),
        ("cabin", (-half + _TUMBLE, body.roof, rear_foot), (0, 0, cabin_len),
         (-_TUMBLE * lower, -tall * lower, 0), 4.0),
        ("glass", (-half, body.roof, rear_top), (2 * half, 0, 0),
         (0, -tall, rear_foot - rear_top), 5.0),
        ("screen", (half, body.roof, screen_top), (-2 * half, 0, 0),
         (0, -tall, screen_foot - screen_top), 5.0),
    ]  # fmt: skip


def car(
    bank: TextureBank, kind: int, paint: int, x: float, z: float, *, back_to_us: bool,
    surface: int, instance: int, sun: np.ndarray, moving: bool = False,
) -> Quads:  # fmt: skip
    """A car with its middle at (x, z) on the road, heading along the street.

    Takes FACES + 1 surface numbers.
    """
    body = BODIES[kind]
    textures = add_car(bank, kind, paint)
    names, origin, across, down, order = zip(*_local_faces(body), strict=True)

    # Turn by half a circle and not by a mirror, or writing would be reversed.
    turn = np.array([1.0, 1.0, 1.0]) if back_to_us else np.array([-1.0, 1.0, -1.0])
    origin = (np.array(origin) - (0, 0, body.length / 2)) * turn + (x, 0.0, z)
    across, down = np.array(across) * turn, np.array(down) * turn

    # Light faces by the side that they turn to the sun.
    normal = np.cross(across, down)
    normal *= (np.array(_FACING) / np.linalg.norm(normal, axis=1))[:, None]
    light = 0.72 + 0.42 * np.clip((normal * sun).sum(1), 0, 1)

    faces = make_quads(
        origin, across, down, texture=[textures[name] for name in names],
        surface=surface + np.arange(FACES), class_id=CAR, instance=instance, layer=Layer.THINGS,
        anchor=np.array([x, 0.0, z - body.length / 2]), order=np.array(order), light=light,
        facing=_FACING, moving=moving, solid=[_SOLID.get(name, (0, 0, 0, 0)) for name in names],
    )  # fmt: skip

    shadow = make_quads(
        np.array([[x - body.width * 0.68 + 0.15, 0.01, z + body.length * 0.56]]),
        np.array([[body.width * 1.36, 0, 0]]), np.array([[0, 0, -body.length * 1.12]]),
        texture=add_soft_shadow(bank), surface=surface + FACES, class_id=0, layer=Layer.SHADOW,
        shadow=True, moving=moving,
    )  # fmt: skip
    return join([faces, shadow])
