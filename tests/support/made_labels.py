"""A data set of objects with ids, small and exact: what every format is to carry."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vidparse.data.dataset import ALL, Dataset, FrameRecord, Video
from vidparse.labels import Labels
from vidparse.maps import SegmentMap, segments_of_ids

LABELS = Labels(
    "made",
    ("road", "car", "dog & <cat>"),
    ((90, 90, 90), (0, 0, 200), (200, 80, 0)),
    frozenset({1, 2}),
)
SIZE_HW = (40, 64)
ROAD, CAR, DOG = 1000, 7, 9  # ids of segments


def truth_of(video: int, index: int) -> SegmentMap:
    """A road with a hole, a car in two parts, a dog that comes later, and void at the top."""
    ids = np.zeros(SIZE_HW, np.uint16)
    ids[10:, :] = ROAD
    ids[30:34, 50:60] = 0
    ids[12:20, 4 + index : 20 + index] = CAR + video
    ids[15:17, 9 + index : 12 + index] = ROAD  # through its window
    ids[24:28, 4:9] = CAR + video
    class_of = {ROAD: 0, CAR + video: 1}
    if index:
        cv2.circle(view := ids.astype(np.int32), (44, 20), 6, DOG, -1)
        ids, class_of = view.astype(np.uint16), {**class_of, DOG: 2}
    return SegmentMap(ids, segments_of_ids(ids, class_of, things=LABELS.things))


def read_truth(frame: FrameRecord) -> SegmentMap:
    return truth_of(int(frame.video[-1]), frame.index)


def read_classes(frame: FrameRecord) -> np.ndarray:
    return read_truth(frame).classes()


def made_dataset(root: Path, *, panoptic: bool = True, videos: int = 2, frames: int = 3) -> Dataset:
    """Its pictures lie in `root`; its maps are made when they are read."""
    rng = np.random.default_rng(0)
    found = []
    for v in range(videos):
        folder = root / f"v{v}"
        folder.mkdir(parents=True)
        records = []
        for i in range(frames):
            path = folder / f"p{i:02d}.png"
            cv2.imwrite(str(path), rng.integers(0, 255, (*SIZE_HW, 3), np.uint8))
            records.append(FrameRecord(f"v{v}", path.stem, i, path, path))
        found.append(Video(f"v{v}", tuple(records), 0.04))
    if panoptic:
        return Dataset("made", ALL, LABELS, tuple(found), read_segments=read_truth)
    return Dataset("made", ALL, LABELS, tuple(found), read_mask=read_classes)
