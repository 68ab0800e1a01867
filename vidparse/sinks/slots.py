"""Ids of any width folded to one byte for drawing, with what each slot stands for."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.labels import Labels
from vidparse.maps import Prediction, check_ids
from vidparse.sinks.palette import instance_colour, uncoloured

VOID_SLOT = 255


@dataclass(frozen=True, slots=True)
class Slots:
    """One byte a pixel: the slot of its region, VOID_SLOT where nothing is drawn.

    map: uint8 (H, W); colours: RGB uint8 (256, 3) by slot; class_ids: int64 (256,) by slot, -1 for
    slots not in use.
    """

    map: np.ndarray
    colours: np.ndarray
    class_ids: np.ndarray


class SlotMaker:
    """Turns predictions into slots; the tables of byte-wide semantic maps are made once.

    More than 255 regions in one frame share slots, so some share a colour: pictures only.
    """

    def __init__(self, labels: Labels, colours: np.ndarray) -> None:
        self._labels = labels
        self._class_colours = colours
        self._uncoloured = uncoloured(labels)
        self._shown = self._hiding(np.arange(256, dtype=np.uint8))
        self._byte_table = self._table(np.arange(min(len(labels), VOID_SLOT)))

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
        table = np.full(self._labels.void + 1, VOID_SLOT, np.uint8)
        table[present] = np.arange(len(present)) % VOID_SLOT
        return Slots(self._hiding(table).take(ids), *self._table(present))

    def _hiding(self, table: np.ndarray) -> np.ndarray:
        """Slots by class id, with classes that are not coloured as void."""
        table[sorted(self._uncoloured)] = VOID_SLOT
        return table

    def _panoptic(self, prediction: Prediction) -> Slots:
        segments = prediction.segments or ()
        highest = max((segment.id for segment in segments), default=0)
        table = np.full(highest + 2, VOID_SLOT, np.uint8)
        colours = np.zeros((256, 3), np.uint8)
        class_ids = np.full(256, -1, np.int64)
        for i, segment in enumerate(segments):
            if segment.class_id in self._uncoloured:
                continue
            slot = i % VOID_SLOT
            table[segment.id] = slot
            colour = tuple(self._class_colours[segment.class_id].tolist())
            colours[slot] = instance_colour(colour, segment.id) if segment.is_thing else colour
            class_ids[slot] = segment.class_id
        return Slots(table.take(prediction.ids, mode="clip"), colours, class_ids)

    def _table(self, class_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        colours = np.zeros((256, 3), np.uint8)
        classes = np.full(256, -1, np.int64)
        slots = np.arange(len(class_ids)) % VOID_SLOT
        colours[slots] = self._class_colours[class_ids]
        classes[slots] = class_ids
        return colours, classes
