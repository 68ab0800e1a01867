"""`sample://street`: a drive along a street that never ends, built cell by cell as it comes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from vidparse.scenes.ground import KERB_M, street_ground
from vidparse.scenes.outfits import OUTFITS, wardrobe
from vidparse.scenes.people import SURFACES, People, Places, pose_people
from vidparse.scenes.plots import CELL_M, Cell, add_plots
from vidparse.scenes.quads import Layer, Quads, join, make_quads
from vidparse.scenes.roadside import (
    SIGN_KINDS,
    add_railing,
    bollards,
    fence_along,
    lamp_post,
    sign_post,
    traffic_light,
    tree,
)
from vidparse.scenes.sky import add_backdrop
from vidparse.scenes.spec import SceneSpec
from vidparse.scenes.textures import TextureBank
from vidparse.scenes.vehicles import BODIES, FACES, PAINTS, add_soft_shadow, car
from vidparse.scenes.view import Camera, focal_length_px, look

SUN = np.array([0.45, 0.75, -0.48])  # towards the sun: right, high, behind us
HALF_ROAD_M, WALK_M = 5.2, 3.0
SPEED_M_S = 8.0
LANE_M = 1.6
_VIEW_M, _PEOPLE_VIEW_M = 150.0, 90.0
_ONCOMING_M_S, _CYCLIST_M_S = 8.5, 4.8
_CELLS_KEPT = 64

# Numbers of one cell: things get instance ids, every surface its own number.
_THINGS_PER_CELL = 18
_PARKED, _WALKERS, _CYCLISTS, _ONCOMING = 0, 4, 14, 16
_SURFACES_PER_CELL = 4096
_STATIC_SURFACE, _PEOPLE_SURFACE, _ONCOMING_SURFACE = 0, 3000, 4000
_LEADER_INSTANCE, _LEADER_SURFACE = 1, 32
_FIRST_CELL = -2


@dataclass(frozen=True, slots=True)
class _Movers:
    """Those whom the camera meets in one cell; z is where it passes them."""

    people: People
    x: np.ndarray
    z: np.ndarray
    heading: np.ndarray
    speed: np.ndarray
    cars: tuple[tuple[float, Quads], ...]  # the z where the camera passes it; the car at z = 0


class Street:
    """The street world: what is where at a time."""

    def __init__(self, spec: SceneSpec) -> None:
        self.bank = TextureBank()
        self._spec = spec
        self._seed = spec.seed
        self._focal_px = focal_length_px(spec.size_hw)
        self._backdrop = add_backdrop(self.bank, spec.seed)
        self._ground = street_ground(self.bank, spec.seed, HALF_ROAD_M, WALK_M, lanes=True)
        self._wardrobe = wardrobe(self.bank)
        self._cells: OrderedDict[int, tuple[Quads, _Movers]] = OrderedDict()
        rng = np.random.Generator(np.random.PCG64([spec.seed, 1]))
        self._sway = rng.uniform(0, 2 * np.pi, 6)
        kind, paint = int(rng.integers(len(BODIES) - 1)), int(rng.integers(len(PAINTS)))
        self._leader = car(
            self.bank, kind, paint, -LANE_M, 0.0, back_to_us=True, sun=SUN,
            surface=_LEADER_SURFACE, instance=_LEADER_INSTANCE, moving=True,
        )  # fmt: skip

    def camera(self, time_s: float) -> Camera:
        """The camera on its way: 8 m/s, swaying a little."""
        sway = self._sway
        yaw = np.radians(1.3) * np.sin(0.45 * time_s + sway[0])
        yaw += np.radians(0.25) * np.sin(1.9 * time_s + sway[1])
        pitch = np.radians(-0.6) + np.radians(0.25) * np.sin(2.3 * time_s + sway[2])
        pitch += np.radians(0.08) * np.sin(7.1 * time_s + sway[3])
        roll = np.radians(0.35) * np.sin(1.3 * time_s + sway[4])
        x = -LANE_M + 0.15 * np.sin(0.4 * time_s + sway[5])
        y = 1.4 + 0.012 * np.sin(7.1 * time_s + sway[3])
        position = np.array([x, y, SPEED_M_S * time_s])
        return Camera(position, look(yaw, pitch, roll), self._focal_px, self._spec.size_hw)

    def quads(self, time_s: float, camera: Camera) -> Quads:
        """Everything that may be in view."""
        z = float(camera.position[2])

        parts = [self._backdrop.shifted(camera.position * (1, 0, 1)), *self._ground(z)]
        here = int(np.floor(z / CELL_M))
        last_static = int(np.floor((z + _VIEW_M) / CELL_M))
        last_mover = int(np.floor((z + _PEOPLE_VIEW_M / (1 - _CYCLIST_M_S / SPEED_M_S)) / CELL_M))

        # Look through farther cells for movers: they may have come from beyond the view.
        movers = []
        for number in range(max(here - 1, _FIRST_CELL), last_mover + 1):
            static, mover = self._cell(number)
            movers.append(mover)
            if number <= last_static:
                parts.append(static)
            for meet_z, oncoming in mover.cars:
                car_z = meet_z - _ONCOMING_M_S * (time_s - meet_z / SPEED_M_S)
                if -8 < car_z - z < _VIEW_M:
                    parts.append(oncoming.shifted(np.array([0.0, 0.0, car_z])))

        ahead = 19.0 + 5.0 * np.sin(0.23 * time_s + self._sway[1])
        parts.append(self._leader.shifted(np.array([0.0, 0.0, z + ahead])))

        # Pose all people together: arrays of many cost little more than one.
        people = self._people(movers, time_s, camera)
        return join([*parts, people] if people is not None else parts)

    def _people(self, movers: list[_Movers], time_s: float, camera: Camera) -> Quads | None:
        columns = {
            name: np.concatenate([getattr(mover, name) for mover in movers])
            for name in ("x", "z", "heading", "speed")
        }
        people = People(
            *(
                np.concatenate([getattr(mover.people, name) for mover in movers])
                for name in ("height", "outfit", "phase", "surface", "instance", "cycling")
            )
        )

        travelled = columns["speed"] * (time_s - columns["z"] / SPEED_M_S)

        # Place people by the time alone, so that any frame can be made first.
        z = columns["z"] + np.cos(columns["heading"]) * travelled
        distance = z - camera.position[2]
        rows = np.flatnonzero((distance > -3) & (distance < _PEOPLE_VIEW_M))
        if not len(rows):
            return None

        x = columns["x"][rows]
        feet = np.stack([x, np.where(np.abs(x) > HALF_ROAD_M, KERB_M, 0.0), z[rows]], 1)
        places = Places(feet, columns["heading"][rows], columns["speed"][rows], travelled[rows])
        return pose_people(self.bank, people.take(rows), places, camera)

    def _cell(self, number: int) -> tuple[Quads, _Movers]:
        if number in self._cells:
            self._cells.move_to_end(number)
            return self._cells[number]
        made = self._static(number), self._movers(number)
        self._cells[number] = made
        if len(self._cells) > _CELLS_KEPT:
            self._cells.popitem(last=False)
        return made

    def _static(self, number: int) -> Quads:
        rng = np.random.Generator(np.random.PCG64([self._seed, 2, number - _FIRST_CELL]))
        cell = Cell(self.bank, rng, _surface(number) + _STATIC_SURFACE)
        z = number * CELL_M
        for side in (-1, 1):
            add_plots(cell, self._seed, side, z, HALF_ROAD_M + WALK_M, open_share=0.38)
            _furnish(cell, side, z, number, HALF_ROAD_M)
            self._park(cell, side, z, number)
        return join(cell.parts)

    def _park(self, cell: Cell, side: int, z: float, number: int) -> None:
        rng = cell.rng
        for slot in range(2):
            kind = int(rng.choice(len(BODIES), p=[0.45, 0.25, 0.2, 0.1]))
            paint, taken, shift = (
                int(rng.integers(len(PAINTS))),
                rng.random(),
                rng.uniform(-0.4, 0.4),
            )
            if taken > 0.62:
                continue
            cell.parts.append(
                car(cell.bank, kind, paint, side * (HALF_ROAD_M - 1.05), z + 3 + 6 * slot + shift,
                    back_to_us=side < 0, sun=SUN, surface=cell.surfaces(FACES + 1),
                    instance=_instance(number) + _PARKED + 2 * (side > 0) + slot)
            )  # fmt: skip

    def _movers(self, number: int) -> _Movers:
        rng = np.random.Generator(np.random.PCG64([self._seed, 3, number - _FIRST_CELL]))
        walkers, cyclists = int(rng.integers(1, 5)), int(rng.random() < 0.3)
        count = walkers + cyclists
        cycling = np.arange(count) >= walkers

        side = rng.choice([-1.0, 1.0], count)
        away = rng.random(count) < 0.5
        x = np.where(cycling, side * 3.0, side * (HALF_ROAD_M + rng.uniform(0.9, 2.4, count)))
        away = np.where(cycling, side < 0, away)

        index = np.arange(count)
        people = People(
            height=rng.uniform(1.58, 1.86, count),
            outfit=self._wardrobe[rng.integers(0, OUTFITS, count)],
            phase=rng.uniform(0, 2 * np.pi, count),
            surface=_surface(number) + _PEOPLE_SURFACE + SURFACES * index,
            instance=_instance(number) + np.where(cycling, _CYCLISTS, _WALKERS) + index % 10,
            cycling=cycling,
        )

        speed = np.where(cycling, _CYCLIST_M_S, rng.uniform(1.0, 1.6, count))
        z = number * CELL_M + rng.uniform(0, CELL_M, count)
        cars: tuple[tuple[float, Quads], ...] = ()
        if number % 6 == 0:
            oncoming = car(
                self.bank, int(rng.integers(3)), int(rng.integers(len(PAINTS))), LANE_M, 0.0,
                back_to_us=False, sun=SUN, surface=_surface(number) + _ONCOMING_SURFACE,
                instance=_instance(number) + _ONCOMING, moving=True,
            )  # fmt: skip
            cars = ((number * CELL_M, oncoming),)

        return _Movers(people, x, z, np.where(away, 0.0, np.pi), speed, cars)


def _surface(number: int) -> int:
    return (number - _FIRST_CELL + 1) * _SURFACES_PER_CELL


def _instance(number: int) -> int:
    return 2 + (number - _FIRST_CELL) * _THINGS_PER_CELL


def _furnish(cell: Cell, side: int, z: float, number: int, half_road_m: float) -> None:
    """Trees, lamps, signs, railings and bollards along one kerb."""
    bank, rng = cell.bank, cell.rng
    kerb = side * (half_road_m + 0.45)
    chance = rng.random(5)

    if (number + (side > 0)) % 3 == 0:
        cell.parts.append(lamp_post(bank, number % 2, kerb, z + 0.5, cell.surfaces(3)))

    if chance[0] < 0.3:
        at = z + rng.uniform(3, 10)
        x = side * (half_road_m + 0.75)
        bare = bool(rng.random() < 0.25)
        cell.parts.append(
            tree(bank, int(rng.integers(4)), x, at, surface=cell.surfaces(4),
                 size=rng.uniform(0.85, 1.1), bare=bare)
        )  # fmt: skip
        cell.parts.append(
            make_quads(
                np.array([[x - 2.6, 0.02, at + 3.4]]), np.array([[4.4, 0.0, 0.0]]),
                np.array([[0.0, 0.0, -4.4]]), texture=add_soft_shadow(bank),
                surface=cell.surfaces(1), class_id=0, layer=Layer.SHADOW, shadow=True, facing=1,
            )
        )  # fmt: skip

    if chance[1] < 0.4:
        kind = SIGN_KINDS[int(rng.integers(len(SIGN_KINDS)))]
        cell.parts.append(sign_post(bank, kind, kerb, z + rng.uniform(1, 11), cell.surfaces(2)))
    if chance[2] < 0.08:
        cell.parts.append(traffic_light(bank, kerb, z + 6, cell.surfaces(2)))

    if chance[3] < 0.2:
        railing = add_railing(bank, 0)
        for i in range(3):
            cell.parts.append(
                fence_along(bank, railing, side * (half_road_m + 0.25), z + 4 + 2 * i, 2.0, 1.05,
                            cell.surfaces(1))
            )  # fmt: skip
    elif chance[4] < 0.2:
        cell.parts.append(bollards(bank, kerb, z + np.arange(4) * 1.6, cell.surfaces(4)))
