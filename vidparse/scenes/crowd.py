"""`sample://crowd`: a paved shopping street full of people and bicycles, seen on a slow walk."""

from __future__ import annotations

import numpy as np

from vidparse.scenes.ground import KERB_M, street_ground
from vidparse.scenes.outfits import OUTFITS, wardrobe
from vidparse.scenes.people import SURFACES, People, Places, pose_people
from vidparse.scenes.plots import CELL_M, Cell, add_plots
from vidparse.scenes.quads import Quads, join
from vidparse.scenes.roadside import bollards, lamp_post, sign_post, tree
from vidparse.scenes.sky import add_backdrop
from vidparse.scenes.spec import SceneSpec
from vidparse.scenes.textures import TextureBank
from vidparse.scenes.vehicles import FACES, car
from vidparse.scenes.view import Camera, focal_length_px, look

_HALF_ROAD_M, _WALK_M = 4.2, 3.2
_CELLS = range(-1, 11)
_WALKERS, _CYCLISTS = 30, 8
_PEOPLE_SURFACE = 1 << 20


class Crowd:
    """The crowd world: a bounded street, people on closed rounds in it."""

    def __init__(self, spec: SceneSpec) -> None:
        self.bank = TextureBank()
        self._spec = spec
        self._focal_px = focal_length_px(spec.size_hw)
        self._backdrop = add_backdrop(self.bank, spec.seed)
        self._ground = street_ground(self.bank, spec.seed, _HALF_ROAD_M, _WALK_M, lanes=False)
        self._static = join([self._cell(number) for number in _CELLS])
        rng = np.random.Generator(np.random.PCG64([spec.seed, 4]))
        self._sway = rng.uniform(0, 2 * np.pi, 5)
        self._gather(rng)

    def camera(self, time_s: float) -> Camera:
        """Strolling back and forth over 5 m in 48 s while looking about."""
        sway = self._sway
        yaw = np.radians(3.5) * np.sin(0.31 * time_s + sway[0])
        yaw += np.radians(0.3) * np.sin(2.1 * time_s + sway[1])
        pitch = np.radians(-1.6) + np.radians(0.3) * np.sin(1.7 * time_s + sway[2])
        roll = np.radians(0.4) * np.sin(1.1 * time_s + sway[3])
        stroll = 2.5 - 2.5 * np.cos(2 * np.pi * time_s / 48)
        x = 0.5 * np.sin(0.23 * time_s + sway[4])
        y = 1.55 + 0.02 * np.sin(9.0 * time_s)
        position = np.array([x, y, stroll])
        return Camera(position, look(yaw, pitch, roll), self._focal_px, self._spec.size_hw)

    def quads(self, time_s: float, camera: Camera) -> Quads:
        """Everything that may be in view."""
        places = self._places(time_s)
        people = pose_people(self.bank, self._people, places, camera)
        backdrop = self._backdrop.shifted(camera.position * (1, 0, 1))
        return join([backdrop, *self._ground(float(camera.position[2])), self._static, people])

    def _cell(self, number: int) -> Quads:
        rng = np.random.Generator(np.random.PCG64([self._spec.seed, 5, number - _CELLS[0]]))
        cell = Cell(self.bank, rng, (number - _CELLS[0] + 1) * 4096)
        z = number * CELL_M

        for side in (-1, 1):
            add_plots(cell, self._spec.seed, side, z, _HALF_ROAD_M + _WALK_M, open_share=0.12)
            kerb = side * (_HALF_ROAD_M + 0.4)

            # Alternate lamps with trees, so that no kerb looks planted by a ruler.
            if (number + (side > 0)) % 2 == 0:
                cell.parts.append(lamp_post(cell.bank, 1, kerb, z + 1, cell.surfaces(3)))
            elif rng.random() < 0.5:
                cell.parts.append(
                    tree(cell.bank, int(rng.integers(4)), side * (_HALF_ROAD_M + 0.9), z + 6,
                         surface=cell.surfaces(4), size=0.85)
                )  # fmt: skip

            if rng.random() < 0.12:
                cell.parts.append(sign_post(cell.bank, "info", kerb, z + 9, cell.surfaces(2)))
            cell.parts.append(
                bollards(cell.bank, kerb, z + np.array([3.0, 5.0, 7.0]), cell.surfaces(3))
            )

        # Park two cars, one on each side.
        if number in (3, 5):
            x = (_HALF_ROAD_M - 1.2) * (1 if number == 3 else -1)
            cell.parts.append(
                car(cell.bank, 3, 5 if number == 3 else 4, x, z + 6, back_to_us=number == 5,
                    sun=np.array([0.45, 0.75, -0.48]), surface=cell.surfaces(FACES + 1),
                    instance=1000 + number)
            )  # fmt: skip

        return join(cell.parts)

    def _gather(self, rng: np.random.Generator) -> None:
        """Choose who is there, and each one's round: an ellipse, mostly across or along."""
        count = _WALKERS + _CYCLISTS
        cycling = np.arange(count) >= _WALKERS

        index = np.arange(count)
        self._people = People(
            height=rng.uniform(1.56, 1.88, count), 
            outfit=wardrobe(self.bank)[rng.integers(0, OUTFITS, count)],
            phase=rng.uniform(0, 2 * np.pi, count), surface=_PEOPLE_SURFACE + SURFACES * index,
            instance=1 + index, cycling=cycling,
        )  # fmt: skip

        # Send most across the view: people who walk along it hide each other for long.
        half_width = _HALF_ROAD_M + _WALK_M - 0.8
        crossing = rng.random(count) < 0.55
        reach_x = np.where(crossing, rng.uniform(3.5, 6.2, count), rng.uniform(0.8, 1.6, count))
        reach_z = np.where(crossing, rng.uniform(0.9, 2.5, count), rng.uniform(6.0, 14.0, count))
        reach_x = np.where(cycling, rng.uniform(2.5, 5.0, count), reach_x)
        reach_z = np.where(cycling, rng.uniform(4.0, 14.0, count), reach_z)

        # Gather more of them near, where they are seen best.
        depth = np.sort(rng.uniform(0, 1, count)) ** 1.6
        nearest = 8.5 + reach_z
        self._centre_x = rng.uniform(-1, 1, count) * np.maximum(half_width - reach_x, 0)
        self._centre_z = nearest + rng.permutation(depth) * 30
        self._reach_x, self._reach_z = reach_x, reach_z

        self._speed = np.where(cycling, rng.uniform(2.6, 3.8, count), rng.uniform(0.9, 1.5, count))
        self._turn = rng.choice([-1.0, 1.0], count)
        self._start = rng.uniform(0, 2 * np.pi, count)

    def _places(self, time_s: float) -> Places:
        mean_reach = np.sqrt((self._reach_x**2 + self._reach_z**2) / 2)
        angle = self._start + self._turn * self._speed * time_s / mean_reach
        x = self._centre_x + self._reach_x * np.cos(angle)
        z = self._centre_z + self._reach_z * np.sin(angle)
        ahead_x = -self._turn * self._reach_x * np.sin(angle)
        ahead_z = self._turn * self._reach_z * np.cos(angle)
        pace = np.sqrt(ahead_x**2 + ahead_z**2) / mean_reach  # slower on the bends
        step = np.clip((np.abs(x) - _HALF_ROAD_M + 0.15) / 0.3, 0, 1)  # up the kerb
        feet = np.stack([x, KERB_M * step, z], 1)
        return Places(feet, np.arctan2(ahead_x, ahead_z), self._speed * pace, self._speed * time_s)
