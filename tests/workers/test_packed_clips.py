"""Clips go between processes whole: what linkers and mattes need of them, too."""

from __future__ import annotations

import numpy as np

from vidparse.frame import Frame
from vidparse.inference.clip_segments import ClipSegments
from vidparse.inference.clips import Segmented
from vidparse.maps import Segment, SegmentMap
from vidparse.workers.job import PackedClip


def test_a_clip_arrives_as_it_was_sent() -> None:
    ids = np.array([[1, 2, 2]], np.uint16)
    segments = tuple(Segment(i, 8, True, 0.5, i, (i - 1, 0, i, 1)) for i in (1, 2))
    sent = ClipSegments(
        (SegmentMap(ids, segments, np.ones((2, 1, 2), np.float16)),),
        {1: np.array([4, 5]), 3: np.array([6, 7])},
        "centres",
        {3: 9},  # an object without a pixel, by which the next clip knows it
    )
    frame = Frame.from_rgb(np.zeros((1, 3, 3), np.uint8))
    packed = PackedClip.of(Segmented((frame,), sent, begins_shot=True, repeated=1))
    assert (packed.begins_shot, packed.repeated) == (True, 1)

    got = packed.clip()
    assert (got.key_kind, got.hidden, got.keys.keys()) == ("centres", {3: 9}, {1, 3})
    assert got.maps[0].segments == segments
    np.testing.assert_array_equal(got.maps[0].ids, ids)
    np.testing.assert_array_equal(got.maps[0].margins, np.ones((2, 1, 2)))
