"""Objects that a model loses for one to three frames between hits, where privacy leaks.

Frames are looked at once those after them are known. In a frame an object is lost where a region of
a class is there before and after it, at most three frames apart, and hardly in it. Masks are small.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

LONGEST = 3  # frames of a gap
_LINES = 180  # of the small masks, about
_LEAST_SHARE = 0.1  # of a region that is still there, for it to count as found
_SMALLEST_PX = 12  # of a region in the small masks: less is noise on an edge


@dataclass(frozen=True, slots=True)
class Gap:
    """An object that was lost in one frame.

    number: of the frame among those added. name: of the class.
    box: x, y, width, height of the region, pixels of the frame.
    """

    number: int
    name: str
    box: tuple[int, int, int, int]


class GapFinder:
    """Finds gaps in masks that come frame after frame; a few small masks are remembered."""

    def __init__(self) -> None:
        self._past: deque[dict[str, np.ndarray]] = deque(maxlen=2 * LONGEST + 1)
        self._count = 0
        self._scale = (1.0, 1.0)

    def add(self, masks: Mapping[str, np.ndarray]) -> Iterator[Gap]:
        """Take the masks of the next frame, 0 or 255 (H, W) by class, and give gaps before it."""
        small = {}
        for name, mask in masks.items():
            height, width = mask.shape
            part = max(1, height // _LINES)
            size = max(1, width // part), max(1, height // part)
            self._scale = width / size[0], height / size[1]
            small[name] = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 63
        self._past.append(small)
        self._count += 1

        # Look at the frame that has all it needs after it.
        if len(self._past) > LONGEST:
            yield from self._gaps(len(self._past) - 1 - LONGEST)

    def finish(self) -> Iterator[Gap]:
        """Gaps in the last frames."""
        for place in range(max(0, len(self._past) - LONGEST), len(self._past)):
            yield from self._gaps(place)

    def _gaps(self, place: int) -> Iterator[Gap]:
        frames = list(self._past)
        number = self._count - len(frames) + place
        for name, here in frames[place].items():
            around = np.zeros_like(here)
            for back in range(1, LONGEST + 1):
                for ahead in range(1, LONGEST + 2 - back):
                    if place >= back and place + ahead < len(frames):
                        before = frames[place - back].get(name)
                        after = frames[place + ahead].get(name)
                        if before is not None and after is not None and before.shape == here.shape:
                            around |= before & after if after.shape == here.shape else False

            # Let a region count as found where part of it is near what is here.
            near = cv2.dilate(here.view(np.uint8), np.ones((3, 3), np.uint8))
            count, regions, stats, _ = cv2.connectedComponentsWithStats(around.view(np.uint8))
            for region in range(1, count):
                x, y, width, height, area = stats[region].tolist()
                found = near[regions == region].mean()
                if area >= _SMALLEST_PX and found < _LEAST_SHARE:
                    across, down = self._scale
                    box = x * across, y * down, width * across, height * down
                    yield Gap(number, name, tuple(round(side) for side in box))  # type: ignore[arg-type]
