"""The meaning of the numbers that masks store, as classes and as segments of numbered objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vidparse.data.pictures import read_indices
from vidparse.errors import InputError
from vidparse.labels import Labels
from vidparse.maps import VOID, SegmentMap, count_codes, segments_of_ids

IGNORE = 255  # training id of pixels that count for nothing
_MOST = 65535  # greatest value that is told apart; no format has a class there
_CLASSES = 256


@dataclass(frozen=True, slots=True)
class MaskValues:
    """Stored value to training id.

    table: uint8 (256,) or (65536,), IGNORE for void and for values that should not occur.
    known: bool, as long: values that the format defines, void ones included.
    rule: in words, the values that are allowed, where one that is not known is an error; "" where
        it is taken as void.
    """

    table: np.ndarray
    known: np.ndarray
    rule: str = ""

    def read(self, path: Path) -> np.ndarray:
        """Training ids uint8 (H, W) of a mask.

        Raises:
            InputError: missing, damaged, or with a value that is not known where that is an error.
        """
        raw = read_indices(path)
        strays = self.strays(self.counts(raw)) if self.rule else None
        if strays:
            raise InputError(f"{path}: holds value {min(strays)}; {self.rule}")
        return self.decode(raw)

    def decode(self, raw: np.ndarray) -> np.ndarray:
        """Training ids uint8 (H, W) of stored values (H, W); unknown ones become IGNORE."""
        if raw.dtype == np.uint8 and len(self.table) == 256:
            return cv2.LUT(raw, self.table)
        if raw.dtype.itemsize <= 2 and len(self.table) == 65536:
            return np.take(self.table, raw)
        inside = (raw >= 0) & (raw < len(self.table))
        return np.where(inside, np.take(self.table, raw, mode="clip"), IGNORE).astype(np.uint8)

    def counts(self, raw: np.ndarray) -> np.ndarray:
        """Pixels of each stored value, int64 (N,), N at least as long as the table."""
        if raw.dtype.itemsize > 2:  # a 32-bit PNG may hold anything; what it holds is no class
            raw = np.where((raw < 0) | (raw > _MOST), _MOST, raw)
        return np.bincount(raw.ravel(), minlength=len(self.table))

    def strays(self, counts: np.ndarray) -> dict[int, int]:
        """Values that should not occur and their pixels.

        Args:
            counts: as :meth:`counts` gives.
        """
        known = np.pad(self.known, (0, len(counts) - len(self.known)))
        wrong = np.flatnonzero((counts > 0) & ~known)
        return {int(value): int(counts[value]) for value in wrong}

    def per_class(self, counts: np.ndarray) -> np.ndarray:
        """Pixels of each training id, int64 (256,).

        Args:
            counts: as :meth:`counts` gives.
        """
        ids = np.pad(self.table, (0, len(counts) - len(self.table)), constant_values=IGNORE)
        return np.bincount(ids, counts, 256).astype(np.int64)


def mask_values(
    training_ids: Mapping[int, int], *, void: Iterable[int] = (), rule: str = ""
) -> MaskValues:
    """Values of 8-bit masks: training id by stored value, and the values of void."""
    table, known = np.full(256, IGNORE, np.uint8), np.zeros(256, bool)
    table[list(training_ids)] = list(training_ids.values())
    known[[*training_ids, *void]] = True
    return MaskValues(table, known, rule)


def numbered_segments(classes: np.ndarray, numbers: np.ndarray, labels: Labels) -> SegmentMap:
    """One segment per object, per stuff class, and per crowd: things without a number.

    Args:
        classes: training ids uint8 (H, W), IGNORE where nothing is known.
        numbers: of objects, integers (H, W), 0 for none; one number has one class.

    Returns:
        A map whose ids are number * 256 + class + 1.
    """
    ids = numbers.astype(np.uint32) * _CLASSES + classes + 1
    ids[classes == IGNORE] = VOID
    class_of = {one: one % _CLASSES - 1 for one in count_codes(ids)[0].tolist() if one != VOID}
    listed = segments_of_ids(ids, class_of, things=labels.things)
    return SegmentMap(
        ids, tuple(replace(one, is_crowd=one.is_thing and one.id <= _CLASSES) for one in listed)
    )
