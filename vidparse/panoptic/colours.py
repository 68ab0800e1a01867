"""Ids that are colours, as COCO's panoptic tools and VIPSeg choose them, but always the same."""

from __future__ import annotations

import zlib

import numpy as np

from vidparse.labels import Labels
from vidparse.panoptic.ids import MAX_ID, VOID

_SPREAD = 30  # how far the colour of a second object may lie from its category's, each channel
_TRIES = 1000


class SegmentIds:
    """Segment ids of one video: asked twice for an object, the same answer.

    Stuff has exactly its category's colour, so one id a category. The first object of a thing
    category has the category's colour unless stuff owns it; further ones a free colour near it.
    The choice depends on the video's name and the order of asking alone.

    Args:
        labels: categories and their colours.
        video: name of the video, the seed.
    """

    def __init__(self, labels: Labels, video: str) -> None:
        self._labels = labels
        self._rng = np.random.default_rng(zlib.crc32(video.encode()))
        self._known: dict[tuple[int, int], int] = {}
        self._taken = {VOID}
        for category in range(len(labels)):
            if category not in labels.things:
                self._known[category, 0] = self._free(category)

    def __call__(self, category: int, instance: int = 0) -> int:
        """The id of an object of `category`; for stuff the instance does not matter.

        Raises:
            ValueError: every colour is taken.
        """
        key = (category, instance if category in self._labels.things else 0)
        if key not in self._known:
            self._known[key] = self._free(category)
        return self._known[key]

    def _free(self, category: int) -> int:
        """The category's colour, or a free one near it."""
        colour = np.array(self._labels.colours[category], np.int64)
        spread, wanted = _SPREAD, colour
        for tries in range(1, _TRIES * 8 + 1):
            found = int(wanted[0] + (wanted[1] << 8) + (wanted[2] << 16))
            if found not in self._taken:
                self._taken.add(found)
                return found
            wanted = np.clip(colour + self._rng.integers(-spread, spread + 1, 3), 0, 255)
            if tries % _TRIES == 0:
                spread = min(2 * spread, 255)  # a crowd fills the neighbourhood of its colour
        raise ValueError(f"more than {len(self._taken)} objects; ids end at {MAX_ID}")
