"""Panoptic maps: segment ids of a frame, their colours, and the files they are kept in."""

from vidparse.panoptic.colours import SegmentIds
from vidparse.panoptic.files import (
    FrameSegments,
    SegmentRow,
    read_json,
    read_panoptic_png,
    read_video_segments,
)
from vidparse.panoptic.ids import MAX_ID, VOID, PanopticMap, ids_to_rgb, rgb_to_ids

__all__ = [
    "MAX_ID",
    "VOID",
    "FrameSegments",
    "PanopticMap",
    "SegmentIds",
    "SegmentRow",
    "ids_to_rgb",
    "read_json",
    "read_panoptic_png",
    "read_video_segments",
    "rgb_to_ids",
]
