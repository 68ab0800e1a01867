"""Everything in a scene is a quad: a textured parallelogram in space. Columns, one row a quad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum

import numpy as np

# CamVid-11 ids (vidparse.labels "camvid").
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)


class Layer(IntEnum):
    """Painting order, back to front.

    A ground surface has a layer to itself (left and right count as two), so that its pieces follow
    each other and count as one surface.
    """

    SKY = 0
    SKYLINE = 1
    VERGE = 2
    ROAD = 4
    KERB = 5
    PAVEMENT = 7
    SHADOW = 9
    PLOTS = 10
    THINGS = 11


@dataclass(frozen=True, slots=True)
class Quads:
    """N parallelograms: origin + s * across + t * down, s and t in 0..1 (texture x and y)."""

    origin: np.ndarray  # float64 (N, 3), metres
    across: np.ndarray  # float64 (N, 3)
    down: np.ndarray  # float64 (N, 3)
    texture: np.ndarray  # int64 (N,), index in the texture bank
    surface: np.ndarray  # int64 (N,), the same for the same surface in every frame
    class_id: np.ndarray  # uint8 (N,)
    instance: np.ndarray  # uint16 (N,), 0 = no thing
    layer: np.ndarray  # int64 (N,)
    anchor: np.ndarray  # float64 (N, 3): what decides the order within a layer
    order: np.ndarray  # float64 (N,): order within one object, low first
    light: np.ndarray  # float64 (N,): brightness of the surface, 1 = as drawn
    facing: (
        np.ndarray
    )  # int8 (N,): 1 seen where across x down reads like print, -1 mirrored, 0 both
    moving: np.ndarray  # bool (N,): placed anew in every frame
    shadow: np.ndarray  # bool (N,): darkens what is there, has no class of its own
    solid: np.ndarray  # float64 (N, 4): s0, t0, s1, t1 of the part that hides what is behind it
    tiling: np.ndarray  # float64 (N, 4): texture x = s * [0] + [1], y = t * [2] + [3]; 1 0 1 0

    def __len__(self) -> int:
        return len(self.texture)

    @property
    def opaque(self) -> np.ndarray:
        """True where the texture has no see-through part, bool (N,)."""
        return (self.solid == (0.0, 0.0, 1.0, 1.0)).all(1)

    def take(self, rows: np.ndarray) -> Quads:
        """The rows of an index or bool array, in its order."""
        return Quads(*(getattr(self, field.name)[rows] for field in fields(self)))

    def shifted(self, offset: np.ndarray) -> Quads:
        """Moved by an offset (3,) in metres."""
        return replace(self, origin=self.origin + offset, anchor=self.anchor + offset)


def make_quads(
    origin: np.ndarray,
    across: np.ndarray,
    down: np.ndarray,
    *,
    texture: np.ndarray | Sequence[int] | int,
    surface: np.ndarray | int,
    class_id: np.ndarray | int,
    layer: int,
    anchor: np.ndarray | None = None,
    instance: np.ndarray | int = 0,
    order: np.ndarray | float = 0.0,
    light: np.ndarray | float = 1.0,
    facing: np.ndarray | Sequence[int] | int = 0,
    moving: bool = False,
    shadow: np.ndarray | bool = False,
    solid: np.ndarray | Sequence[Sequence[float]] | tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
    tiling: np.ndarray | tuple[float, ...] = (1.0, 0.0, 1.0, 0.0),
) -> Quads:
    """Quads from arrays (N, 3) and from columns (N,) or one value for all."""
    origin = np.asarray(origin, np.float64).reshape(-1, 3)
    count = len(origin)

    def column(value: object, dtype: type, *tail: int) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, dtype), (count, *tail))

    return Quads(
        origin=origin,
        across=column(across, np.float64, 3),
        down=column(down, np.float64, 3),
        texture=column(texture, np.int64),
        surface=column(surface, np.int64),
        class_id=column(class_id, np.uint8),
        instance=column(instance, np.uint16),
        layer=column(layer, np.int64),
        anchor=column(origin if anchor is None else anchor, np.float64, 3),
        order=column(order, np.float64),
        light=column(light, np.float64),
        facing=column(facing, np.int8),
        moving=column(moving, np.bool_),
        shadow=column(shadow, np.bool_),
        solid=column(solid, np.float64, 4),
        tiling=column(tiling, np.float64, 4),
    )


def join(parts: Sequence[Quads]) -> Quads:
    """All rows of all parts."""
    return Quads(
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Quads))
    )
