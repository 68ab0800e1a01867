"""Codes of what a page shows: a number for each class, and for each object of a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vidparse.errors import InputError
from vidparse.labels import Labels
from vidparse.labels.colours import instance_colour
from vidparse.maps import find_runs
from vidparse.view.idfiles import IdFiles
from vidparse.view.records import FrameRecord

NOTHING = 0  # the code of pixels without a class
_MOST_CODES = 65535
_LONGEST_RUN = 65535


class Runs(NamedTuple):
    """A frame's map as runs of pixels along its rows: codes uint16 (R,) and lengths uint16 (R,)."""

    codes: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True, slots=True)
class Coded:
    """The meaning of a code: a class, the object's id (0: of none), and its colour."""

    class_id: int
    object_id: int
    colour: tuple[int, int, int]


class Codes:
    """Gives codes to the regions of a run, in the order in which they come.

    Args:
        labels: of the run.
        colours: RGB uint8 (C, 3) by class id.
        files: where the ids come from.
        size_hw: of the map in the page.
    """

    def __init__(
        self, labels: Labels, colours: np.ndarray, files: IdFiles, size_hw: tuple[int, int]
    ) -> None:
        self.listed: list[Coded] = []
        self._labels, self._colours, self._files = labels, colours, files
        self._size_hw = size_hw
        self._known: dict[tuple[int, int], int] = {}

    def runs_of(self, ids: np.ndarray, record: FrameRecord) -> Runs:
        """The map of a frame in the page's size: the pixel in the middle of each cell counts.

        Args:
            ids: (H, W) as `files` has them.

        Raises:
            InputError: an id that the records do not have.
        """
        small = _sampled(ids, self._size_hw)
        found = find_runs(small.reshape(1, -1))
        meant = self._meanings(record)
        values, place = np.unique(found.values, return_inverse=True)
        try:
            codes = np.array([meant[value] for value in values.tolist()], np.uint16)
        except KeyError as error:
            raise InputError(
                f"{self._files.path}: frame {record.number} has id {error}, which its records do "
                "not; are they of the same run? segment again with --save masks,jsonl"
            ) from None

        # Split what is longer than its 16 bits.
        parts = (found.lengths + _LONGEST_RUN - 1) // _LONGEST_RUN
        lengths = np.full(int(parts.sum()), _LONGEST_RUN, np.uint16)
        lengths[np.cumsum(parts) - 1] = found.lengths - (parts - 1) * _LONGEST_RUN
        return Runs(np.repeat(codes[place], parts), lengths)

    def _meanings(self, record: FrameRecord) -> dict[int, int]:
        """Stored value -> code, of one frame."""
        if self._files.kind == "classes":
            table = {i: self._code(i, 0) for i in {one.class_id for one in record.regions}}
            return {self._labels.void: NOTHING, **table}

        table = {0: NOTHING}
        shift = 0 if self._files.kind == "objects" and not _is_semantic(record) else 1
        for one in record.regions:
            is_object = one.is_thing and not _is_semantic(record)
            table[one.id + shift] = self._code(one.class_id, one.id if is_object else 0)
        return table

    def _code(self, class_id: int, object_id: int) -> int:
        key = (class_id, object_id)
        if key not in self._known:
            # Let objects share the code of their class when codes run out.
            if len(self.listed) >= _MOST_CODES:
                return self._known.get((class_id, 0), NOTHING)
            colour = tuple(self._colours[class_id].tolist())
            if object_id:
                colour = instance_colour(colour, object_id)
            self.listed.append(Coded(class_id, object_id, colour))
            self._known[key] = len(self.listed)
        return self._known[key]

    def classes(self, runs: Runs) -> np.ndarray:
        """Class of each pixel, int32 (h, w), -1 where there is none."""
        table = np.array([-1, *(one.class_id for one in self.listed)], np.int32)
        return np.repeat(table[runs.codes], runs.lengths).reshape(self._size_hw)


def is_semantic(record: FrameRecord) -> bool:
    """True if the segments of a frame are classes: the id of each is that of its class."""
    return all(one.id == one.class_id and not one.is_scored for one in record.regions)


_is_semantic = is_semantic


def small_size(size_hw: tuple[int, int], side: int, *, even: bool = False) -> tuple[int, int]:
    """The size with a longest side of `side`; that of the video where it is smaller."""
    share = min(1.0, side / max(size_hw))
    height, width = (max(round(one * share), 1) for one in size_hw)
    return (height + height % 2, width + width % 2) if even else (height, width)


def _sampled(ids: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """The pixel nearest to the middle of each cell, (h, w)."""
    places: Sequence[np.ndarray] = [
        ((np.arange(small) + 0.5) * large / small).astype(np.int64)
        for small, large in zip(size_hw, ids.shape, strict=True)
    ]
    return ids[places[0][:, None], places[1]]
