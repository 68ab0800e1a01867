"""Maps of segments from classes and the numbers of objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vidparse.data.values import IGNORE
from vidparse.labels import Labels
from vidparse.maps import VOID, SegmentMap, count_codes, segments_of_ids

_CLASSES = 256


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
