"""Panoptic maps: segment ids of a frame, their colours, and the files they are kept in."""

from vidparse.panoptic.colours import SegmentIds
from vidparse.panoptic.files import (
    FrameSegments,
    SegmentRow,
    read_image_segments,
    read_panoptic_png,
    read_video_segments,
)
from vidparse.panoptic.ids import MAX_ID, VOID, PanopticMap, ids_to_rgb, rgb_to_ids
from vidparse.panoptic.record import (
    PanopticRecord,
    VideoLines,
    annotation_line,
    categories_of,
    image_line,
    read_record,
    segment_row,
    write_record,
)
from vidparse.panoptic.runs import count_codes, recode

__all__ = [
    "MAX_ID",
    "VOID",
    "FrameSegments",
    "PanopticMap",
    "PanopticRecord",
    "SegmentIds",
    "SegmentRow",
    "VideoLines",
    "annotation_line",
    "categories_of",
    "count_codes",
    "ids_to_rgb",
    "image_line",
    "read_image_segments",
    "read_panoptic_png",
    "read_record",
    "read_video_segments",
    "recode",
    "rgb_to_ids",
    "segment_row",
    "write_record",
]
