"""Connected areas of classes, as the objects of formats that hold nothing else."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from vidparse.labels import Labels
from vidparse.maps import SegmentMap, object_map, segments_of_ids

FIRST_AREA = 1 << 20  # above the ids that objects of models get
_REST = "background"  # readers' class of pixels in no shape


def with_all_things(labels: Labels) -> Labels:
    """The labels with every class a thing but `background`, which is where no shape is."""
    things = (i for i, name in enumerate(labels.classes) if name.casefold() != _REST)
    return replace(labels, things=frozenset(things))


def with_areas(found: SegmentMap, labels: Labels, *, first: int) -> SegmentMap:
    """The map with each connected area (8 neighbours) of a class as an object of its own.

    Objects of a panoptic map stay as they are, with their ids; its stuff is parted.

    Args:
        labels: of :func:`with_all_things`. first: the number of the first area.

    Raises:
        OutputError: an id of a semantic map is neither a class nor void.
    """
    is_semantic = found.segments is None
    whole = object_map(found, labels)
    ids = np.zeros(whole.size_hw, np.uint32)
    class_of: dict[int, int] = {}
    for one in whole.segments or ():
        if one.class_id not in labels.things:
            continue
        mask = whole.ids == one.id
        if one.is_thing and not is_semantic:
            ids[mask] = one.id
            class_of[one.id] = one.class_id
            continue

        # Number the areas on from those of classes before.
        count, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        ids[mask] = parts[mask] + (first - 1)
        class_of |= dict.fromkeys(range(first, first + count - 1), one.class_id)
        first += count - 1
    return SegmentMap(ids, segments_of_ids(ids, class_of, things=labels.things))
