"""Events over time: the area of each class over time, where it is first, longest and most, tracks.

Memory does not grow with the frames: areas are means over stretches that grow longer instead.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import numpy as np

from vidparse.maps import Segment
from vidparse.sinks.records import TrackRecord
from vidparse.view.codes import is_semantic
from vidparse.view.records import FrameRecord

_MOST_STRETCHES = 1024
_FULL = 65535  # of a share, in 16 bits


@dataclass(slots=True)
class Jumps:
    """Places of a class, counted in frames of the page.

    first: where it is seen first. longest, length: where it is seen for the most frames in a row,
    and for how many. most, area: where it has the most pixels.
    """

    first: int
    longest: int
    length: int = 0
    most: int = 0
    area: int = 0
    since: int = 0
    last: int = -2

    def see(self, place: int, area: int) -> None:
        if place != self.last + 1:
            self.since = place
        self.last = place
        if place - self.since + 1 > self.length:
            self.longest, self.length = self.since, place - self.since + 1
        if area > self.area:
            self.most, self.area = place, area


class Areas:
    """Mean shares of the picture, by class, over stretches of equally many frames.

    Args:
        classes: how many there are.
        pixels: of the picture.
    """

    def __init__(self, classes: int, pixels: int) -> None:
        self._pixels = pixels
        self._sums = np.zeros((_MOST_STRETCHES, classes))  # float64: exact up to 2**53 pixels
        self._length, self._frames = 1, 0

    def add(self, areas: dict[int, int]) -> None:
        """The next frame: class id -> pixels."""
        if self._frames == self._length * _MOST_STRETCHES:
            # Join neighbours when all stretches are full.
            self._sums[: _MOST_STRETCHES // 2] = self._sums[0::2] + self._sums[1::2]
            self._sums[_MOST_STRETCHES // 2 :] = 0
            self._length *= 2
        for class_id, area in areas.items():
            self._sums[self._frames // self._length, class_id] += area
        self._frames += 1

    @property
    def length(self) -> int:
        """Frames in each stretch but the last."""
        return self._length

    def shares(self) -> np.ndarray:
        """Float (S, C), 0 to 1."""
        count = -(-self._frames // self._length)
        frames = np.full(count, self._length)
        frames[-1:] = self._frames - (count - 1) * self._length
        return np.clip(self._sums[:count] / frames[:, None] / self._pixels, 0, 1)

    def packed(self, class_id: int) -> str:
        """The shares of a class as base64 of uint16, 65535 for the whole picture."""
        values = np.rint(self.shares()[:, class_id] * _FULL).astype("<u2")
        return base64.b64encode(values.tobytes()).decode("ascii")


@dataclass(slots=True)
class Timeline:
    """The record of each class and each thing, frame by frame.

    size_hw: of the video. areas: over time. jumps: by class id. tracks: by id of the thing.
    """

    size_hw: tuple[int, int]
    areas: Areas
    jumps: dict[int, Jumps] = field(default_factory=dict)
    tracks: dict[int, TrackRecord] = field(default_factory=dict)

    @classmethod
    def of(cls, classes: int, size_hw: tuple[int, int]) -> Timeline:
        return cls(size_hw, Areas(classes, size_hw[0] * size_hw[1]))

    def add(self, place: int, record: FrameRecord) -> None:
        """The next frame of the page, and what was seen in it."""
        areas: dict[int, int] = {}
        for one in record.regions:
            areas[one.class_id] = areas.get(one.class_id, 0) + one.area
        self.areas.add(areas)
        for class_id, area in areas.items():
            if area > 0:
                self.jumps.setdefault(class_id, Jumps(place, place)).see(place, area)

        # Follow things only: ids of semantic models are classes.
        if is_semantic(record):
            return
        at = place, float(place)
        for one in record.regions:
            if one.is_thing and one.area > 0:
                track = self.tracks.setdefault(one.id, TrackRecord(at, at))
                segment = Segment(one.id, one.class_id, True, None, one.area, one.box)
                track.see(segment, at, self.size_hw)
