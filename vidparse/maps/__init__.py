"""Maps: the segment of every pixel, runs of equal pixels, and the files that maps are kept in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidparse.maps.ids import MAX_ID, SegmentIds, ids_to_rgb, read_panoptic_png, rgb_to_ids
from vidparse.maps.matte import Matte
from vidparse.maps.runs import (
    PixelRuns,
    RunLengths,
    bands,
    count_codes,
    find_runs,
    recode,
    regions_of,
)
from vidparse.maps.segment_map import (
    VOID,
    Prediction,
    Segment,
    SegmentMap,
    check_ids,
    class_segments,
    object_map,
    segments_of_ids,
)
from vidparse.tables import public_member

if TYPE_CHECKING:
    from vidparse.maps.panoptic_json import (
        ListedPicture,
        PanopticJson,
        read_panoptic_json,
        read_segment_map,
    )
    from vidparse.maps.panoptic_record import (
        PanopticRecord,
        VideoLines,
        annotation_line,
        categories_of,
        image_line,
        read_record,
        write_record,
    )

# Public name -> module; loaded on first use, as most maps go into no such file.
_PUBLIC = dict.fromkeys(
    (
        "ListedPicture",
        "PanopticJson",
        "read_panoptic_json",
        "read_segment_map",
    ),
    "vidparse.maps.panoptic_json",
) | dict.fromkeys(
    (
        "PanopticRecord",
        "VideoLines",
        "annotation_line",
        "categories_of",
        "image_line",
        "read_record",
        "write_record",
    ),
    "vidparse.maps.panoptic_record",
)
__all__ = [
    "MAX_ID",
    "VOID",
    "ListedPicture",
    "Matte",
    "PanopticJson",
    "PanopticRecord",
    "PixelRuns",
    "Prediction",
    "RunLengths",
    "Segment",
    "SegmentIds",
    "SegmentMap",
    "VideoLines",
    "annotation_line",
    "bands",
    "categories_of",
    "check_ids",
    "class_segments",
    "count_codes",
    "find_runs",
    "ids_to_rgb",
    "image_line",
    "object_map",
    "read_panoptic_json",
    "read_panoptic_png",
    "read_record",
    "read_segment_map",
    "recode",
    "regions_of",
    "rgb_to_ids",
    "segments_of_ids",
    "write_record",
]


def __getattr__(name: str) -> object:
    return public_member(_PUBLIC, __name__, name)
