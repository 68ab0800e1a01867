"""Segment ids as colours of RGB pictures: COCO panoptic and VIPSeg keep and choose them so."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np

from vidparse.errors import InputError
from vidparse.image import decoded
from vidparse.labels import Labels
from vidparse.limits import check_png
from vidparse.maps.segment_map import VOID

MAX_ID = (1 << 24) - 1


def ids_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Segment ids (H, W) to RGB uint8 (H, W, 3): id = R + 256 G + 65536 B.

    Raises:
        ValueError: an id does not fit 24 bits.
    """
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        raise ValueError(f"segment ids must lie in 0..{MAX_ID}, found {ids.min()}..{ids.max()}")
    if ids.size == 0:
        return np.zeros((*ids.shape, 3), np.uint8)

    # Read the bytes of the numbers as channels: R is the lowest, whatever the machine.
    little_endian = np.ascontiguousarray(ids, "<u4").view(np.uint8).reshape(*ids.shape, 4)
    return cv2.cvtColor(little_endian, cv2.COLOR_RGBA2RGB)  # the fourth byte goes


def rgb_to_ids(rgb: np.ndarray) -> np.ndarray:
    """The inverse of :func:`ids_to_rgb`; uint32 (H, W)."""
    if rgb.size == 0:
        return np.zeros(rgb.shape[:2], np.uint32)
    wide = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2RGBA)  # (H, W, 4)
    return (wide.view("<u4")[..., 0] & MAX_ID).astype(np.uint32, copy=False)


def read_panoptic_png(path: Path) -> np.ndarray:
    """Segment ids uint32 (H, W) of a panoptic PNG.

    Raises:
        InputError: missing, damaged, too large, or not a colour picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the folder") from error
    check_png(str(path), data)
    pixels = decoded(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise InputError(f"{path}: damaged picture; fetch or make it again")
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise InputError(f"{path}: one channel; panoptic ids need a colour (RGB) PNG")
    if pixels.dtype != np.uint8:
        raise InputError(f"{path}: 16 bits a channel; panoptic ids need 8")
    back = cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return rgb_to_ids(cv2.cvtColor(pixels, back))


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
        # Draw by category, so that objects of others change nothing.
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
