"""Stable segment ids that are colours, as COCO's panoptic tools and VIPSeg choose them."""

from __future__ import annotations

import zlib

import numpy as np

from vidparse.labels import Labels
from vidparse.maps.rgb_ids import MAX_ID
from vidparse.maps.segment_map import VOID

_SPREAD = 30  # how far the colour of a second object may lie from its category's, each channel
_TRIES = 1000


class SegmentIds:
    """Deterministic segment ids of one video: an object has the same id at every call.

    Stuff has exactly its category's colour, so one id a category. The first object of a thing
    category has the category's colour unless stuff owns it; further ones a free colour within 30
    of it in each channel, or farther off once a crowd has filled that neighbourhood.

    Every colour belongs to one thing category, the one with the nearest colour, and objects take
    colours of their own category. So an id depends on the video's name and on how many objects of
    the same category got one before, and on nothing that happens in other categories;
    only a category that has used up its own colours takes any that is free.

    Args:
        labels: categories and their colours.
        video: name of the video, the seed.
    """

    def __init__(self, labels: Labels, video: str) -> None:
        self._labels = labels
        self._seed = zlib.crc32(video.encode("utf-8", "surrogateescape"))
        self._random: dict[int, np.random.Generator] = {}
        self._things = sorted(labels.things)
        self._thing_colours = np.array([labels.colours[c] for c in self._things], np.int64)
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
        random = self._random.get(category)
        if random is None:
            random = self._random[category] = np.random.default_rng((self._seed, category))
        colour = np.array(self._labels.colours[category], np.int64)
        is_thing = category in self._labels.things
        for own in (True, False) if is_thing else (False,):
            spread, wanted = _SPREAD, colour
            for tries in range(1, _TRIES * 8 + 1):
                found = int(wanted[0] + (wanted[1] << 8) + (wanted[2] << 16))
                if found not in self._taken and not (own and self._owner(wanted) != category):
                    self._taken.add(found)
                    return found
                wanted = np.clip(colour + random.integers(-spread, spread + 1, 3), 0, 255)
                if tries % _TRIES == 0:
                    spread = min(2 * spread, 255)  # a crowd fills the neighbourhood of its colour
        raise ValueError(f"more than {len(self._taken)} objects; ids end at {MAX_ID}")

    def _owner(self, colour: np.ndarray) -> int:
        """The thing category with the nearest colour; equally near ones take turns."""
        distance = ((self._thing_colours - colour) ** 2).sum(axis=1)  # (things,)
        nearest = np.flatnonzero(distance == distance.min())
        return self._things[int(nearest[int(colour.sum()) % len(nearest)])]
