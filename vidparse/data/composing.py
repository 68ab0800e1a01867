"""Puts cut-outs into a picture: scaled, shaded, behind what is nearer, with exact masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.data.shots import Actor, Camera, Scenery
from vidparse.data.values import IGNORE

_SMALLEST_PX, _LARGEST = 6.0, 2.0  # height of what is drawn: in pixels, and in frames
_NEAREST_M = 1.6
_SHADOW = 0.45  # darkness under an object
_CUT_RATE_HZ = 10.0  # pictures per second of a cut-out whose own rate is not known


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
    camera: Camera,
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
    if z < _NEAREST_M:
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
