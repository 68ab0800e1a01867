"""Panoptic ground truth: an id picture held against what its json says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidparse.errors import InputError
from vidparse.panoptic import (
    VOID,
    FrameSegments,
    PanopticMap,
    count_codes,
    read_panoptic_png,
)


def load_segments(path: Path, listed: FrameSegments, *, classes: int, record: Path) -> PanopticMap:
    """The segments of one frame; areas are those that the json claims, if it does for all.

    A listed segment may have no pixel. Rows are in the order of the json: published scores
    depend on which segment is listed first.

    Args:
        path: RGB picture of ids. listed: what the json `record` says of it.

    Raises:
        InputError: the picture is damaged, not of the size that the json says, or holds an id that
            is not listed; a category is none of the classes; an id is listed twice.
    """
    ids = read_panoptic_png(path)
    if listed.size_hw is not None and ids.shape != listed.size_hw:
        height, width = listed.size_hw
        raise InputError(
            f"{path}: is {ids.shape[1]}x{ids.shape[0]}, {record.name} says {width}x{height}; "
            "fetch or make both again"
        )
    for row in listed.segments:
        if not 0 <= row.category_id < classes:
            raise InputError(
                f"{path}: segment {row.id} has category {row.category_id} in {record.name}; "
                f"the classes are 0..{classes - 1}"
            )
    rows = listed.segments
    known = {VOID, *(row.id for row in rows)}
    if len(known) != len(rows) + 1:
        raise InputError(f"{path}: {record.name} lists an id twice, or id {VOID}; make it again")
    missing = set(count_codes(ids)[0].tolist()) - known
    if missing:
        raise InputError(
            f"{path}: id {min(missing)} is not listed in {record.name}; fetch or make both again"
        )
    return PanopticMap(
        ids,
        np.array([(row.id, row.category_id, row.iscrowd) for row in rows], np.int64).reshape(-1, 3),
        None
        if any(row.area is None for row in rows)
        else np.array([row.area for row in rows], np.int64),
    )
