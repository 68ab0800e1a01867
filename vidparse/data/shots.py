"""Made-up shots: a street picture under a moving camera, and cut-outs that move over its ground.

Everything is drawn in metres on a flat ground below a pinhole camera, so that far objects are
small, near ones hide them, and all of them enter and leave as their paths and the camera have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.data.cutouts import Cutout
from vidparse.data.pictures import IGNORE
from vidparse.labels import Labels, classes_like

_CAMERA_M = 1.4  # its height above the ground
_FOCAL_PER_WIDTH = 0.9
_HORIZON = 0.45  # of the height, where a picture shows no road
_FARTHEST_M, _NEAREST_M = 32.0, 3.2
_MOST_ENLARGED = 1.6
_HEIGHTS_M = {"person": 1.72, "rider": 1.75, "car": 1.5, "truck": 2.7, "bus": 3.0, "train": 3.4}
_WALKERS = ("person",)  # who may be on the pavement, too
_TRIES = 30
_MARGIN = 1.06  # of the picture beyond what is seen, so that the camera may turn
_SMALLEST_PX, _LARGEST = 6.0, 2.0  # height of what is drawn: in pixels, and in frames
_NEAREST_DRAWN_M = 1.6
_SHADOW = 0.45  # darkness under an object
_CUT_RATE_HZ = 10.0  # pictures per second of a cut-out whose own rate is not known


@dataclass(frozen=True, slots=True)
class Ground:
    """A flat ground in a picture. horizon: its row in pixels. focal_px, centre: of the camera."""

    horizon: float
    focal_px: float
    centre: float

    def place(self, x: float, z: float) -> tuple[float, float]:
        """Column and row in pixels of the point x metres to the right, z ahead."""
        return self.centre + self.focal_px * x / z, self.horizon + self.focal_px * _CAMERA_M / z


@dataclass(frozen=True, slots=True)
class Scenery:
    """A background. All arrays are (H, W, ...) and in the same pixels.

    classes: uint8, IGNORE where nothing is known. numbers: uint16, 0 no object. feet: uint16, the
    lowest row of the object or pole that is there, 0 of what hides nothing.
    """

    rgb: np.ndarray
    classes: np.ndarray
    numbers: np.ndarray
    feet: np.ndarray
    ground: Ground
    luma: float  # mean of the lower half, 0..255

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.classes.shape[0], self.classes.shape[1]


def scenery_of(
    rgb: np.ndarray, classes: np.ndarray, numbers: np.ndarray, labels: Labels
) -> Scenery:
    """See what hides what and where the ground is in a labelled picture."""
    height, width = classes.shape

    # Take the first row with some road for the horizon: a few pixels may be errors.
    roads = np.isin(classes, class_ids(labels, "road"))
    rows = np.flatnonzero(np.count_nonzero(roads, axis=1) > 0.02 * width)
    horizon = float(np.clip(rows[0] - 2 if len(rows) else _HORIZON * height, 0, 0.6 * height))

    feet = np.zeros(classes.shape, np.uint16)
    hiding = np.isin(classes, [*class_ids(labels, "pole"), *labels.things]).astype(np.int32)
    codes = hiding * (numbers.astype(np.int32) + 1)
    for code in np.unique(codes)[1:].tolist():
        mask = (codes == code).astype(np.uint8)
        _, parts, facts, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        lowest = facts[:, cv2.CC_STAT_TOP] + facts[:, cv2.CC_STAT_HEIGHT]
        lowest[0] = 0
        feet = np.maximum(feet, lowest.astype(np.uint16)[parts])

    ground = Ground(horizon, _FOCAL_PER_WIDTH * width, (width - 1) / 2)
    luma = float(cv2.cvtColor(rgb[height // 2 :], cv2.COLOR_RGB2GRAY).mean())
    return Scenery(rgb, classes, numbers, feet, ground, luma)


def class_ids(labels: Labels, *words: str) -> list[int]:
    """The classes that mean what one of the words does."""
    names = [name for word in words for name in classes_like(word, labels.classes)]
    return [labels.classes.index(name) for name in names]


@dataclass(frozen=True, slots=True)
class Actor:
    """An object and its path: metres and metres per second, from the first frame on.

    cutout: its number. mirrored: left and right exchanged. phase: of its gait and its pictures.
    """

    cutout: int
    height_m: float
    x: float
    z: float
    speed_x: float
    speed_z: float
    mirrored: bool
    phase: float


@dataclass(frozen=True, slots=True)
class CameraPath:
    """A camera that drives, turns and rolls a little, as a map of the picture.

    zoom: growth per second, below 0 backwards. turn_px: amplitude in x and y. pace: radians per
    second. roll: amplitude in degrees.
    """

    start: float
    zoom: float
    turn_px: tuple[float, float]
    pace: float
    phase: float
    roll: float

    def at(self, time_s: float, ground: Ground) -> np.ndarray:
        """(3, 3): pixels of the picture -> pixels of the frame, about the vanishing point."""
        scale = self.start * float(np.exp(self.zoom * time_s))
        swing = float(np.sin(self.pace * time_s + self.phase))
        centre = (ground.centre, ground.horizon)
        matrix = np.eye(3)
        matrix[:2] = cv2.getRotationMatrix2D(centre, self.roll * swing, scale)
        matrix[0, 2] += self.turn_px[0] * swing
        matrix[1, 2] += self.turn_px[1] * float(np.cos(self.pace * time_s))
        return matrix


@dataclass(frozen=True, slots=True)
class Shot:
    """One video: who moves over which background, and how the camera does."""

    scenery: int
    mirrored: bool
    camera: CameraPath
    actors: tuple[Actor, ...]


def draw_camera(
    size_hw: tuple[int, int], duration_s: float, rng: np.random.Generator
) -> CameraPath:
    """A camera whose frames show nothing but the picture, or nearly."""
    height, width = size_hw
    zoom = float(rng.uniform(-0.02, 0.07))
    start = _MARGIN * float(np.exp(max(0.0, -zoom * duration_s)))

    # Turn less than the margin has, or frames would show what lies beyond the picture.
    reach = (_MARGIN - 1) / 2 * 0.8
    turn = (float(rng.uniform(0, reach) * width), float(rng.uniform(0, reach / 3) * height))
    pace, phase = float(rng.uniform(0.5, 2.5)), float(rng.uniform(0, 2 * np.pi))
    return CameraPath(start, zoom, turn, pace, phase, float(rng.uniform(0, 0.5)))


def draw_actors(
    scenery: Scenery,
    cutouts: Mapping[int, Sequence[tuple[int, Cutout]]],
    labels: Labels,
    count: int,
    duration_s: float,
    rng: np.random.Generator,
) -> tuple[Actor, ...]:
    """Objects that are each on fit ground, in view, at one instant of the shot at least.

    Args:
        cutouts: by class, the number of each and itself.
        count: of objects at most; those that find no ground in time are left out.
    """
    paved = class_ids(labels, "pavement")
    roads = class_ids(labels, "road")
    actors = []
    kinds = sorted(cutouts)

    for _ in range(count):
        choice = cutouts[kinds[int(rng.integers(len(kinds)))]]
        number, cutout = choice[int(rng.integers(len(choice)))]
        fit = {*roads, *(paved if cutout.name in _WALKERS else ())}

        # Draw its way until one instant of it stands on ground that fits.
        for _ in range(_TRIES):
            actor, (column, row) = _draw_actor(number, cutout, scenery.ground, duration_s, rng)
            height, width = scenery.size_hw
            if (
                0 <= row < height
                and 0 <= column < width
                and (not roads or scenery.classes[int(row), int(column)] in fit)
            ):
                actors.append(actor)
                break
    return tuple(actors)


def _draw_actor(
    number: int, cutout: Cutout, ground: Ground, duration_s: float,
    rng: np.random.Generator,
) -> tuple[Actor, tuple[float, float]]:  # fmt: skip
    """An object, and the column and row of its foot at the instant that it is placed by."""
    height_m = _HEIGHTS_M[cutout.name] * float(rng.uniform(0.92, 1.08))

    # Keep far enough away that its pictures need not be enlarged much.
    nearest = max(_NEAREST_M, height_m * ground.focal_px / (_MOST_ENLARGED * cutout.height_px))
    farthest = max(_FARTHEST_M, nearest)

    # Draw depths by their logarithm: even ones would leave few objects near.
    z = float(np.exp(rng.uniform(np.log(nearest), np.log(farthest))))
    x = float(rng.uniform(-1, 1)) * ground.centre * z / ground.focal_px
    when = float(rng.uniform(0, duration_s))
    speed_x, speed_z = _draw_speed(cutout.name, rng)
    actor = Actor(
        number, height_m, x - speed_x * when, z - speed_z * when, speed_x, speed_z,
        bool(rng.random() < 0.5), float(rng.random()),
    )  # fmt: skip
    return actor, ground.place(x, z)


def _draw_speed(name: str, rng: np.random.Generator) -> tuple[float, float]:
    """Metres per second to the right and ahead; some stand still."""
    across, along = rng.choice([-1.0, 1.0], 2).tolist()
    if rng.random() < 0.15:
        return 0.0, 0.0
    if name in _WALKERS:
        speed, angle = rng.uniform(0.5, 1.8), rng.uniform(0, np.radians(50))
        return across * float(speed * np.cos(angle)), along * float(speed * np.sin(angle))
    fast = 1.0 if name == "rider" else 1.8
    if rng.random() < 0.4:  # crossing
        return across * fast * float(rng.uniform(1.0, 4.0)), along * float(rng.uniform(0, 0.4))
    return across * float(rng.uniform(0, 0.5)), along * fast * float(rng.uniform(0.5, 4.0))


@dataclass(frozen=True, slots=True)
class Sprite:
    """The pictures of a cut-out, one after the other.

    colours: uint8 (h, w, 3) each, black outside the object; alphas: uint8 (h, w).
    height: of the usual one, pixels. luma: mean of the object, 0..255. rate_hz: pictures per
    second; 0 of a single one.
    """

    colours: tuple[np.ndarray, ...]
    alphas: tuple[np.ndarray, ...]
    height: float
    luma: float
    rate_hz: float


def sprite_of(cuts: list[np.ndarray], rate_hz: float) -> Sprite:
    """From RGBA pictures uint8 (h, w, 4) of an object."""
    alphas = tuple(np.ascontiguousarray(one[..., 3]) for one in cuts)
    colours = tuple(
        np.where(alpha[..., None] > 0, one[..., :3], 0).astype(np.uint8)
        for one, alpha in zip(cuts, alphas, strict=True)
    )
    grey = cv2.cvtColor(colours[0], cv2.COLOR_RGB2GRAY)
    luma = float(grey[alphas[0] > 0].mean())
    return Sprite(colours, alphas, float(np.median([len(one) for one in cuts])), luma, rate_hz)


@dataclass(frozen=True, slots=True)
class Composed:
    """A frame and its truth: RGB uint8 (H, W, 3), classes uint8 (H, W), numbers uint16 (H, W)."""

    rgb: np.ndarray
    classes: np.ndarray
    numbers: np.ndarray


def compose(
    scenery: Scenery,
    camera: CameraPath,
    actors: tuple[tuple[Actor, Sprite, int], ...],
    time_s: float,
) -> Composed:
    """One frame.

    Args:
        actors: each with its pictures and its class; object number N + 1 + place, N being the
            objects of the scenery.
    """
    matrix = camera.at(time_s, scenery.ground)
    height, width = scenery.size_hw
    affine = matrix[:2]
    rgb = cv2.warpAffine(
        scenery.rgb, affine, (width, height), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    classes = _moved(scenery.classes, affine, IGNORE)
    numbers = _moved(scenery.numbers, affine, 0)
    feet = _moved(scenery.feet, affine, 0)

    first = int(scenery.numbers.max()) + 1

    # Draw the farthest first, so that nearer ones hide them.
    order = sorted(range(len(actors)), key=lambda i: -_depth(actors[i][0], time_s))
    for i in order:
        actor, sprite, class_id = actors[i]
        drawn = _drawn(actor, sprite, scenery, matrix, time_s)
        if drawn is not None:
            colour, alpha, (left, top), foot = drawn
            _shade(rgb, (left, top), alpha.shape, scenery.luma)
            _put(rgb, classes, numbers, feet, colour, alpha, (left, top), foot, class_id, first + i)
    return Composed(rgb, classes, numbers)


def _moved(ids: np.ndarray, affine: np.ndarray, outside: int) -> np.ndarray:
    height, width = ids.shape
    return cv2.warpAffine(
        ids, affine, (width, height), flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT, borderValue=outside,  # type: ignore[arg-type]
    )  # fmt: skip


def _depth(actor: Actor, time_s: float) -> float:
    return actor.z + actor.speed_z * time_s


def _drawn(
    actor: Actor, sprite: Sprite, scenery: Scenery, matrix: np.ndarray, time_s: float
) -> tuple[np.ndarray, np.ndarray, tuple[int, int], float] | None:
    """Colours (h, w, 3) and alpha (h, w), float32, their place in the frame, and the row of the
    foot in the picture; None where it is out of sight."""
    z = _depth(actor, time_s)
    if z < _NEAREST_DRAWN_M:
        return None
    ground = scenery.ground
    x = actor.x + actor.speed_x * time_s
    column, foot = ground.place(x, z)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    tall = actor.height_m * ground.focal_px / z * scale
    if not _SMALLEST_PX <= tall <= _LARGEST * scenery.size_hw[0]:
        return None

    # Walk through its pictures, to and fro where they end.
    count = len(sprite.alphas)
    step = int((time_s + actor.phase) * (sprite.rate_hz or _CUT_RATE_HZ))
    place = step % max(1, 2 * count - 2)
    place = place if place < count else 2 * count - 2 - place
    colour, alpha = sprite.colours[place], sprite.alphas[place]
    ratio = tall / sprite.height
    size = max(2, round(alpha.shape[1] * ratio)), max(3, round(alpha.shape[0] * ratio))
    kernel = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    small, opaque = (
        cv2.resize(colour, size, interpolation=kernel),
        cv2.resize(alpha, size, interpolation=kernel),
    )
    if actor.mirrored:
        small, opaque = small[:, ::-1], opaque[:, ::-1]

    # Set its foot down between pixels, and let what has a single picture sway with its steps.
    u, v = (matrix @ (column, foot, 1.0))[:2]
    moving = actor.speed_x != 0 or actor.speed_z != 0
    sway = 0.0 if count > 1 or not moving else 0.03 * np.sin(8 * (time_s + actor.phase * 6))
    pad = 2 + int(abs(sway) * size[1])
    left, top = u - size[0] / 2 - pad, v - size[1] - pad
    shift = np.array([
        [1.0, -sway, pad + left - np.floor(left) + sway * size[1]],
        [0.0, 1.0, pad + top - np.floor(top)],
    ])  # fmt: skip
    canvas = (size[0] + 2 * pad + 1, size[1] + 2 * pad + 1)
    warped = cv2.warpAffine(np.dstack([small, opaque]), shift, canvas, flags=cv2.INTER_LINEAR)
    packed = cv2.GaussianBlur(warped.astype(np.float32), (3, 3), 0.5)

    # Bring its light halfway to that of the picture, within bounds.
    gain = float(np.clip((scenery.luma / max(sprite.luma, 1.0)) ** 0.5, 0.6, 1.5))
    return (
        packed[..., :3] * gain,
        packed[..., 3] / 255,
        (int(np.floor(left)), int(np.floor(top))),
        foot,
    )


def _put(
    rgb: np.ndarray, classes: np.ndarray, numbers: np.ndarray, feet: np.ndarray,
    colour: np.ndarray, alpha: np.ndarray, corner: tuple[int, int], foot: float, class_id: int,
    number: int,
) -> None:  # fmt: skip
    """Paint an object, and write its mask, where nothing nearer is."""
    boxes = _overlap(corner, alpha.shape, classes.shape)
    if boxes is None:
        return
    there, here = boxes

    # Hide it behind what stands nearer, which is what has its foot lower in the picture.
    shown = np.where(feet[there] > foot + 1, 0, alpha[here])  # (h, w)
    premultiplied = colour[here] * (shown > 0)[..., None]
    rgb[there] = np.clip(rgb[there] * (1 - shown[..., None]) + premultiplied, 0, 255)
    solid = shown > 0.5
    classes[there][solid] = class_id
    numbers[there][solid] = number


def _shade(rgb: np.ndarray, corner: tuple[int, int], size_hw: tuple[int, ...], luma: float) -> None:
    """Darken the ground below an object; less where the light is dim."""
    height, width = size_hw
    wide, high = round(1.1 * width), max(3, round(0.22 * width))
    y, x = np.mgrid[:high, :wide].astype(np.float32)
    radius = np.hypot((x + 0.5) / wide * 2 - 1, (y + 0.5) / high * 2 - 1)
    dark = _SHADOW * min(1.0, luma / 90) * np.clip(1.2 - 1.2 * radius, 0, 1)
    place = (corner[0] - (wide - width) // 2, corner[1] + height - 3 - high // 2)
    boxes = _overlap(place, dark.shape, rgb.shape[:2])
    if boxes is not None:
        there, here = boxes
        rgb[there] = rgb[there] * (1 - dark[here][..., None])


def _overlap(
    corner: tuple[int, int], size_hw: tuple[int, ...], frame_hw: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """The part of a picture at a corner that is in the frame: there, and in the picture itself."""
    left, top = max(corner[0], 0), max(corner[1], 0)
    right = min(corner[0] + size_hw[1], frame_hw[1])
    bottom = min(corner[1] + size_hw[0], frame_hw[0])
    if left >= right or top >= bottom:
        return None
    there = (slice(top, bottom), slice(left, right))
    x, y = corner
    return there, (slice(top - y, bottom - y), slice(left - x, right - x))
