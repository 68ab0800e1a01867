"""Predictions as small numbers with a colour each: what painters look up pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.labels import Labels
from vidparse.maps import Prediction, check_ids, recode
from vidparse.sinks.palette import instance_colour, uncoloured

VOID_SLOT = 255  # of maps of bytes
_LONGEST_TABLE = 1 << 16  # ids up to here are looked up pixel by pixel, greater ones by runs


@dataclass(frozen=True, slots=True)
class Slots:
    """One small number per pixel: the slot of its region, `void` where nothing is drawn.

    map: uint8 (H, W), or int32 where more than 255 regions are in view. colours: RGB uint8 (S, 3)
    by slot. class_ids: int64 (S,) by slot, -1 for slots not in use.
    """

    map: np.ndarray
    colours: np.ndarray
    class_ids: np.ndarray
    void: int = VOID_SLOT


def looked_up(ids: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Values uint8 (H, W) of a table (S,) by slot."""
    return cv2.LUT(ids, table) if ids.dtype == np.uint8 else table.take(ids)


class SlotMaker:
    """Turns predictions into slots; the tables of byte-wide semantic maps are made once.

    A thing keeps the colour that it has first, also when it is taken for another class later: one
    number is held per id.
    """

    def __init__(self, labels: Labels, colours: np.ndarray) -> None:
        self._labels = labels
        self._class_colours = colours
        self._uncoloured = uncoloured(labels)
        self._shown = self._hiding(np.arange(256, dtype=np.uint8), VOID_SLOT)
        self._byte_table = self._table(np.arange(min(len(labels), VOID_SLOT)))
        self._first_class: dict[int, int] = {}  # of each thing, by id

    def __call__(self, prediction: Prediction) -> Slots:
        """Raises OutputError when a semantic id is neither a class nor void."""
        ids = prediction.ids
        if prediction.segments is not None:
            return self._panoptic(prediction)
        check_ids(ids, self._labels)
        if self._labels.void == VOID_SLOT:
            slots = ids.astype(np.uint8, copy=False)
            if self._uncoloured:
                return Slots(cv2.LUT(slots, self._shown), *self._byte_table)
            return Slots(slots, *self._byte_table)

        # Wide label sets: the classes in this frame, in order, get slots 0, 1, 2, ...
        counts = np.bincount(ids.ravel(), minlength=self._labels.void + 1)
        present = np.flatnonzero(counts[: len(self._labels)])
        void, dtype = _width(len(present))
        table = np.full(self._labels.void + 1, void, dtype)
        table[present] = np.arange(len(present))
        return Slots(self._hiding(table, void).take(ids), *self._table(present), void)

    def _hiding(self, table: np.ndarray, void: int) -> np.ndarray:
        """Slots by class id, with classes that are not coloured as void."""
        table[sorted(self._uncoloured)] = void
        return table

    def _panoptic(self, prediction: Prediction) -> Slots:
        segments = [
            segment
            for segment in prediction.segments or ()
            if segment.class_id not in self._uncoloured
        ]
        void, dtype = _width(len(segments))
        slots = np.arange(len(segments), dtype=dtype)
        colours = np.zeros((void + 1, 3), np.uint8)
        class_ids = np.full(void + 1, -1, np.int64)
        for slot, segment in enumerate(segments):
            class_ids[slot] = segment.class_id
            if segment.is_thing:
                kind = self._first_class.setdefault(segment.id, segment.class_id)
                colour = tuple(self._class_colours[kind].tolist())
                colours[slot] = instance_colour(colour, segment.id)
            else:
                colours[slot] = self._class_colours[segment.class_id]

        numbers = np.array([segment.id for segment in segments], np.int64)
        if numbers.max(initial=0) >= _LONGEST_TABLE:
            order = np.argsort(numbers)
            found = recode(prediction.ids, numbers[order], slots[order], otherwise=void)
            return Slots(found, colours, class_ids, void)
        table = np.full(int(numbers.max(initial=0)) + 2, void, dtype)
        table[numbers] = slots
        return Slots(table.take(prediction.ids, mode="clip"), colours, class_ids, void)

    def _table(self, class_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        void, _ = _width(len(class_ids))
        colours = np.zeros((void + 1, 3), np.uint8)
        classes = np.full(void + 1, -1, np.int64)
        colours[: len(class_ids)] = self._class_colours[class_ids]
        classes[: len(class_ids)] = class_ids
        return colours, classes


def _width(count: int) -> tuple[int, type[np.generic]]:
    """The slot of nothing and the type of maps of so many slots."""
    return (VOID_SLOT, np.uint8) if count <= VOID_SLOT else (count, np.int32)
