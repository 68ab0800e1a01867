"""People who walk and people who cycle: limbs as flat strips that turn towards the camera.

All people of a scene are posed together: arrays have one row a person.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from vidparse.scenes.outfits import PARTS, add_bicycle
from vidparse.scenes.quads import BICYCLIST, PEDESTRIAN, Layer, Quads, join, make_quads
from vidparse.scenes.textures import TextureBank
from vidparse.scenes.vehicles import add_soft_shadow
from vidparse.scenes.view import Camera

SURFACES = 24  # surface numbers a person takes
_DETAIL_PX = 40  # people who look smaller have stiff legs and arms
# What a stiff limb of somebody far away replaces, and what is left of the body then.
_CONTINUED = {
    "thigh left": "shin left", "thigh right": "shin right",
    "arm left": "forearm left", "arm right": "forearm right",
}  # fmt: skip
_ALWAYS = ("torso", "head", "thigh", "arm")
_UP = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True, slots=True)
class People:
    """Everybody in a scene, one row each; columns (P,)."""

    height: np.ndarray  # metres
    outfit: np.ndarray  # int64 (P, parts, views): textures, see `wardrobe`
    phase: np.ndarray  # radians of the gait at time 0
    surface: np.ndarray  # int64: first surface number
    instance: np.ndarray
    cycling: np.ndarray  # bool

    def __len__(self) -> int:
        return len(self.height)

    def take(self, rows: np.ndarray) -> People:
        return People(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Places:
    """The places of people at one instant."""

    feet: np.ndarray  # (P, 3) on the ground
    heading: np.ndarray  # (P,) radians, 0 = along +z, pi / 2 = along +x
    speed: np.ndarray  # (P,) metres per second
    travelled: np.ndarray  # (P,) metres since time 0


def pose_people(bank: TextureBank, people: People, places: Places, camera: Camera) -> Quads:
    """Quads of everybody, walkers before cyclists."""
    parts = []
    for cycling in (False, True):
        rows = np.flatnonzero(people.cycling == cycling)
        if len(rows):
            who = people.take(rows)
            where = Places(*(getattr(places, f.name)[rows] for f in fields(Places)))
            pose = _cyclist_joints if cycling else _walker_joints
            limbs = pose(who, where)
            parts.append(_strips(bank, who, where, limbs, camera, cycling))
            if cycling:
                parts.append(_bicycles(bank, who, where, camera.position))
            parts.append(_shadows(bank, who, where, cycling))
    return join(parts)


def _axes(heading: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors ahead and to the right, (P, 3) each."""
    sine, cosine, zero = np.sin(heading), np.cos(heading), np.zeros_like(heading)
    return np.stack([sine, zero, cosine], 1), np.stack([cosine, zero, -sine], 1)


def _swing(ahead: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Direction of a limb hanging down, swung ahead by an angle; (P, 3)."""
    return np.sin(angle)[:, None] * ahead - np.cos(angle)[:, None] * _UP


def _walker_joints(people: People, places: Places) -> dict[str, tuple[np.ndarray, ...]]:
    """Part -> (start (P, 3), end (P, 3), width (P,)) of a walking body."""
    ahead, right = _axes(places.heading)
    tall = people.height[:, None]

    # Step by the distance travelled, so that feet do not slide.
    stride_m = 0.83 * people.height
    cycle = people.phase + 2 * np.pi * places.travelled / stride_m
    reach = np.clip(0.2 + 0.2 * places.speed, 0.0, 0.5) * np.clip(places.speed * 4, 0, 1)
    bob = 0.018 * np.cos(2 * cycle)

    pelvis = places.feet + (0.515 * people.height + bob - 0.02)[:, None] * _UP
    neck = pelvis + 0.315 * tall * _UP + 0.02 * ahead
    limbs: dict[str, tuple[np.ndarray, ...]] = {}
    h = people.height

    for side, sign in (("left", -1.0), ("right", 1.0)):
        turn = cycle + (np.pi if side == "left" else 0.0)
        thigh = reach * np.sin(turn)
        knee_bend = 0.1 + reach * 1.5 * np.clip(np.cos(turn + 0.35), 0, 1) ** 2
        hip = pelvis + sign * 0.052 * tall * right
        knee = hip + 0.245 * tall * _swing(ahead, thigh)
        ankle = knee + 0.235 * tall * _swing(ahead, thigh - knee_bend)
        toe = ankle + 0.115 * tall * ahead - 0.022 * tall * _UP
        limbs[f"thigh {side}"] = hip, knee, 0.098 * h
        limbs[f"shin {side}"] = knee, ankle, 0.07 * h
        limbs[f"shoe {side}"] = ankle - 0.04 * tall * ahead - 0.012 * tall * _UP, toe, 0.055 * h

        # Swing arms against the legs.
        arm = -reach * 0.85 * np.sin(turn)
        shoulder = neck + sign * 0.112 * tall * right - 0.012 * tall * _UP
        outward = sign * 0.018 * tall * right
        elbow = shoulder + 0.175 * tall * _swing(ahead, arm) + outward
        hand = elbow + 0.205 * tall * _swing(ahead, arm + 0.35)
        limbs[f"arm {side}"] = shoulder, elbow, 0.066 * h
        limbs[f"forearm {side}"] = elbow, hand, 0.055 * h

    limbs["torso"] = neck + 0.03 * tall * _UP, pelvis - 0.045 * tall * _UP, 0.0 * h
    limbs["head"] = neck + 0.165 * tall * _UP + 0.012 * ahead, neck - 0.004 * tall * _UP, 0.0 * h
    return limbs


def _cyclist_joints(people: People, places: Places) -> dict[str, tuple[np.ndarray, ...]]:
    """Part -> (start, end, width) of a body on a bicycle, knees found from hip and pedal."""
    ahead, right = _axes(places.heading)
    scale = (people.height / 1.75)[:, None]

    crank = people.phase + places.travelled / 0.75
    hip_mid = places.feet + 0.98 * _UP * scale - 0.2 * ahead
    neck = hip_mid + 0.47 * _UP * scale + 0.3 * ahead
    limbs: dict[str, tuple[np.ndarray, ...]] = {}
    h = people.height

    for side, sign in (("left", -1.0), ("right", 1.0)):
        turn = crank + (np.pi if side == "left" else 0.0)
        hip = hip_mid + sign * 0.09 * right
        pedal = places.feet + 0.3 * _UP + 0.05 * ahead + sign * 0.11 * right
        ankle = pedal + 0.165 * (np.sin(turn)[:, None] * ahead + np.cos(turn)[:, None] * _UP)
        ankle = ankle + 0.07 * _UP

        # Find the knee from both ends: the foot is held by the pedal.
        knee = _knee(hip, ankle, ahead, 0.43 * scale, 0.43 * scale)
        limbs[f"thigh {side}"] = hip, knee, 0.098 * h
        limbs[f"shin {side}"] = knee, ankle, 0.07 * h
        limbs[f"shoe {side}"] = (
            ankle - 0.05 * ahead - 0.02 * _UP,
            ankle + 0.19 * ahead - 0.05 * _UP,
            0.055 * h,
        )

        shoulder = neck + sign * 0.19 * right * scale - 0.03 * _UP
        hand = places.feet + 1.03 * _UP + 0.46 * ahead + sign * 0.24 * right
        elbow = (shoulder + hand) / 2 + sign * 0.06 * right - 0.05 * _UP
        limbs[f"arm {side}"] = shoulder, elbow, 0.062 * h
        limbs[f"forearm {side}"] = elbow, hand, 0.052 * h

    limbs["torso"] = neck + 0.04 * _UP, hip_mid - 0.08 * _UP, 0.0 * h
    limbs["head"] = neck + 0.3 * _UP * scale + 0.06 * ahead, neck - 0.0 * _UP, 0.0 * h
    return limbs


def _knee(
    hip: np.ndarray, ankle: np.ndarray, ahead: np.ndarray, thigh: np.ndarray, shin: np.ndarray
) -> np.ndarray:
    """The joint of two bones of given lengths (P, 1) that bends forwards."""
    # Bend by the law of cosines, and keep short of straight, where the knee has no side.
    line = ankle - hip
    distance = np.clip(np.linalg.norm(line, axis=1, keepdims=True), 0.2, thigh + shin - 0.01)
    line = line / distance
    along = (thigh**2 - shin**2 + distance**2) / (2 * distance)
    out = np.sqrt(np.maximum(thigh**2 - along**2, 0))
    bend = ahead - (ahead * line).sum(1, keepdims=True) * line
    bend /= np.linalg.norm(bend, axis=1, keepdims=True)
    return hip + along * line + out * bend


def _strips(
    bank: TextureBank,
    people: People,
    places: Places,
    limbs: dict[str, tuple[np.ndarray, ...]],
    camera: Camera,
    cycling: bool,
) -> Quads:
    ahead, right = _axes(places.heading)
    sight = places.feet - camera.position
    distance = np.linalg.norm(sight, axis=1, keepdims=True)
    sight = sight / distance
    small = distance > 1.75 * camera.focal_px / _DETAIL_PX  # (P, 1)

    # Choose the drawing by the side that the camera sees.
    facing = (ahead * sight).sum(1)  # 1: seen from behind, -1: from the front
    side_on = np.sqrt(np.clip(1 - facing**2, 0, 1))
    to_right = (right * sight).sum(1) < 0  # we see the right side of the body
    view = np.where(facing > 0.6, 1, np.where(facing < -0.6, 0, np.where(to_right, 2, 3)))

    broad = {
        "torso": (0.275 - 0.09 * side_on) * people.height * (0.92 if cycling else 1.0),
        "head": (0.108 + 0.012 * side_on) * people.height,
    }
    rows: list[tuple[np.ndarray, ...]] = []

    for number, (part, (start, end, width)) in enumerate(limbs.items()):
        if part in _CONTINUED:
            end = np.where(small, limbs[_CONTINUED[part]][1], end)
        wide = broad.get(part, width)

        # Turn each strip about its own axis to face the camera.
        axis = end - start
        cross = np.cross(axis, start - camera.position)
        cross /= np.linalg.norm(cross, axis=1, keepdims=True)
        overlap = 0.0 if part in broad else 0.12
        origin = start - overlap * axis - cross * wide[:, None] / 2
        texture = people.outfit[np.arange(len(people)), PARTS.index(part.split()[0]), view]

        # Paint limbs of one body from far to near, the head over the torso.
        depth = ((start + end) / 2 * sight).sum(1)
        if part == "head":
            depth = depth - 0.06
        rows.append(
            (origin, cross * wide[:, None], axis * (1 + 2 * overlap), texture,
             people.surface + number, -depth)
        )  # fmt: skip

    columns = [np.stack(column) for column in zip(*rows, strict=True)]  # (parts, P, ...)
    count = len(rows)

    # Leave out details of far people, whose limbs are drawn in one piece.
    kept = np.array([part.split()[0] in _ALWAYS for part in limbs])[:, None] | ~small[:, 0]
    origin, across, down = (column.reshape(-1, 3) for column in columns[:3])
    quads = make_quads(
        origin, across, down, texture=columns[3].ravel(), surface=columns[4].ravel(),
        class_id=BICYCLIST if cycling else PEDESTRIAN, instance=np.tile(people.instance, count),
        layer=Layer.THINGS, anchor=np.tile(places.feet, (count, 1)), order=columns[5].ravel(),
        moving=True,
    )  # fmt: skip
    return quads.take(np.flatnonzero(kept.ravel()))


def _bicycles(
    bank: TextureBank, people: People, places: Places, camera_position: np.ndarray
) -> Quads:
    """Two spoked wheels, a frame, and the tyres and bars seen from the ends."""
    textures = add_bicycle(bank)
    ahead, right = _axes(places.heading)
    turn = (places.travelled / 0.34)[:, None]
    sight = places.feet - camera_position
    sight = sight / np.linalg.norm(sight, axis=1, keepdims=True)
    rows: list[tuple[np.ndarray, ...]] = []
    depth = (places.feet * sight).sum(1)

    def add(texture: str, origin: np.ndarray, across: np.ndarray, down: np.ndarray) -> None:
        order = -(((origin + (across + down) / 2) * sight).sum(1)) if texture == "bars" else -depth
        number = 12 + len(rows)
        rows.append((origin, across, down, np.full(len(people), textures[texture]),
                     people.surface + number, order))  # fmt: skip

    for offset in (-0.52, 0.52):
        hub = places.feet + 0.34 * _UP + offset * ahead
        u = np.cos(turn) * ahead + np.sin(turn) * _UP
        v = np.sin(turn) * ahead - np.cos(turn) * _UP
        add("wheel", hub - 0.34 * u - 0.34 * v, 0.68 * u, 0.68 * v)

        # Turn tyres to the camera: a wheel seen from its end would be a line.
        edge = np.cross(sight, _UP)
        edge /= np.linalg.norm(edge, axis=1, keepdims=True)
        edge = edge * 0.045
        add("tyre", hub + 0.34 * _UP - edge / 2, edge, np.broadcast_to(-0.68 * _UP, edge.shape))
    frame_top = places.feet + 1.06 * _UP - 0.6 * ahead
    add("frame", frame_top, 1.2 * ahead, np.broadcast_to(-0.9 * _UP, ahead.shape))
    bars = places.feet + 1.06 * _UP + 0.46 * ahead - 0.28 * right
    add("bars", bars, 0.56 * right, np.broadcast_to(-0.05 * _UP, right.shape))
    columns = [np.stack(column) for column in zip(*rows, strict=True)]
    origin, across, down = (column.reshape(-1, 3) for column in columns[:3])
    return make_quads(
        origin, across, down, texture=columns[3].ravel(), surface=columns[4].ravel(),
        class_id=BICYCLIST, instance=np.tile(people.instance, len(rows)), layer=Layer.THINGS,
        anchor=np.tile(places.feet, (len(rows), 1)), order=columns[5].ravel(), moving=True,
    )  # fmt: skip


def _shadows(bank: TextureBank, people: People, places: Places, cycling: bool) -> Quads:
    ahead, right = _axes(places.heading)
    long, wide = (1.9, 0.6) if cycling else (0.75, 0.75)
    centre = places.feet + 0.012 * _UP + np.array([0.12, 0.0, 0.1])
    return make_quads(
        centre - ahead * long / 2 - right * wide / 2, right * wide, ahead * long,
        texture=add_soft_shadow(bank), surface=people.surface + SURFACES - 1, class_id=0,
        layer=Layer.SHADOW, shadow=True, moving=True,
    )  # fmt: skip
