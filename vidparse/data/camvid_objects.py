"""CamVid with made objects: connected parts of its thing classes, where those are clearly apart.

CamVid has no instance ids. A connected part of Car, Pedestrian or Bicyclist is taken for one
object if it has the shape of one and no other part of its class is near; all else of the class is
one crowd, which counts for nothing. Such labels are made ones; scores on them must be called that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vidparse.data.camvid import FORMAT as CAMVID
from vidparse.data.camvid import open_camvid
from vidparse.data.dataset import Dataset, FrameRecord, OnMissing, Video, refuse
from vidparse.data.pictures import numbered_segments
from vidparse.flow import DisFlow
from vidparse.labels import Labels
from vidparse.maps import SegmentMap, count_codes

LEAST_AREA = 32  # pixels at a height of 360; smaller parts belong to the crowd
_HEIGHT = 360  # of the pictures that the bounds are meant for
_NEAR_PX = 3  # parts of a class this close count as touching
_VIDEO_RATE_HZ = 5  # recordings with fewer labels per second are single pictures
_LINKED_IOU = 0.3  # least overlap with the object of the frame before, brought along the flow


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of one object of a class, seen from a car.

    aspect: least and greatest width / height of the box. solidity: least share of the convex hull
    that it fills; two that overlap leave a notch between them. slant: most that the foot of one
    side is above that of the other, of the height; a row of parked cars climbs to the horizon.
    """

    aspect: tuple[float, float]
    solidity: float
    slant: float = 1.0


# By eye on CamVid's train split about one in twenty of the parts that pass is several objects.
SHAPES = {
    "Car": Shape((0.6, 2.9), 0.87, 0.3),
    "Pedestrian": Shape((0.15, 0.42), 0.7),
    "Bicyclist": Shape((0.25, 1.25), 0.62),
}


def open_camvid_objects(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """As `open_camvid`, with objects.

    Recordings with labels at 5 Hz or more (val) stay videos, and an object keeps its id from frame
    to frame: that of the object which it overlaps most, IoU 0.3 or more, once the frame before is
    brought along the optical flow. Of others, each picture is a video of one frame.

    Raises:
        InputError: as of `open_camvid`.
    """
    plain = open_camvid(root, split, on_missing=on_missing)
    videos = tuple(one for video in plain.videos for one in _in_pieces(video))
    return replace(
        plain, name="camvid-objects", videos=videos, read_segments=_Objects(plain, videos)
    )


def _in_pieces(video: Video) -> list[Video]:
    """The video itself, or its frames one by one where they are too far apart to be linked."""
    if video.interval_s is not None and video.interval_s <= 1 / _VIDEO_RATE_HZ:
        return [video]
    return [
        Video(frame.stem, (replace(frame, video=frame.stem, index=0),), math.inf)
        for frame in video.frames
    ]


def separate(classes: np.ndarray, labels: Labels) -> np.ndarray:
    """Number the parts of a class map that are single objects.

    Args:
        classes: class ids (H, W).

    Returns:
        int32 (H, W): 1..N of single objects, from top to bottom by their lowest pixel; 0 elsewhere.
    """
    scale = classes.shape[0] / _HEIGHT
    reach = 2 * round(_NEAR_PX * scale / 2) + 1
    found: list[tuple[np.ndarray, tuple[int, int, int, int]]] = []
    for class_id in sorted(labels.things):
        shape = SHAPES.get(labels.classes[class_id])
        mask = (classes == class_id).view(np.uint8)
        left, top, wide, high = cv2.boundingRect(mask)
        if shape is None or not wide:
            continue

        # Parts near each other fall together: two that touch, or perhaps one behind a pole.
        mask = mask[top : top + high, left : left + wide]
        near = cv2.dilate(mask, np.ones((reach, reach), np.uint8))
        _, groups = cv2.connectedComponents(near, connectivity=8)
        count, parts, facts, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        pieces = [
            _piece(parts, facts, part)
            for part in range(1, count)
            if facts[part, cv2.CC_STAT_AREA] >= LEAST_AREA * scale**2
        ]
        group_of = [int(groups[y : y + h, x : x + w][piece][0]) for piece, (x, y, w, h) in pieces]
        found += [
            (piece, (x + left, y + top, w, h))
            for (piece, (x, y, w, h)), group in zip(pieces, group_of, strict=True)
            if group_of.count(group) == 1 and _is_one(piece, shape)
        ]

    # Number from top to bottom, so that the same parts have the same numbers.
    numbers = np.zeros(classes.shape, np.int32)
    for number, (piece, (x, y, width, height)) in enumerate(sorted(found, key=_foot), 1):
        numbers[y : y + height, x : x + width][piece] = number
    return numbers


def _piece(
    parts: np.ndarray, facts: np.ndarray, part: int
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A part as bool (h, w) of its box, and the box: x, y, width, height."""
    x, y, width, height, _ = facts[part].tolist()
    return parts[y : y + height, x : x + width] == part, (x, y, width, height)


def _foot(entry: tuple[np.ndarray, tuple[int, int, int, int]]) -> tuple[int, int]:
    x, y, _, height = entry[1]
    return y + height, x


def _is_one(piece: np.ndarray, shape: Shape) -> bool:
    """True for a part, bool (h, w) of its box, that has the shape of one object."""
    height, width = piece.shape
    low, high = shape.aspect
    if not low <= width / height <= high:
        return False
    if np.count_nonzero(piece) < shape.solidity * hull_area(piece):
        return False
    return _slant(piece) <= shape.slant


def _slant(piece: np.ndarray) -> float:
    """Difference in height of the feet of the two sides of a part, as a share of its own."""
    height, width = piece.shape
    below = np.argmax(piece[::-1], axis=0)  # (w,), rows between the box's lowest and the foot
    first, last = int(0.04 * width), max(int(0.16 * width), int(0.04 * width) + 1)
    sides = np.median(below[first:last]), np.median(below[width - last : width - first])
    return float(abs(sides[0] - sides[1])) / height


def hull_area(piece: np.ndarray) -> int:
    """Pixels of the convex hull of a mask, bool (h, w), that is not empty."""
    outlines, _ = cv2.findContours(piece.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = np.zeros(piece.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.concatenate(outlines)), 1)
    return int(np.count_nonzero(hull))


class _Objects:
    """Segments of the frames; the ids of a video are worked out when its first one is wanted."""

    def __init__(self, plain: Dataset, videos: tuple[Video, ...]) -> None:
        self._plain = plain
        self._videos = {video.name: video for video in videos}
        self._ids: dict[str, tuple[np.ndarray, ...]] = {}  # by video: id of each number, by frame

    def __call__(self, frame: FrameRecord) -> SegmentMap:
        """Things without a number are the crowd of their class."""
        classes = self._plain.load_mask(frame)
        numbers = separate(classes, self._plain.labels)
        return numbered_segments(classes, self._ids_of(frame)[numbers], self._plain.labels)

    def _ids_of(self, frame: FrameRecord) -> np.ndarray:
        """The number through the video of each object of a frame, int64 (N + 1,), [0] = 0."""
        video = self._videos[frame.video]
        if len(video.frames) == 1:
            return np.arange(1 << 16)
        if video.name not in self._ids:
            self._ids[video.name] = tuple(_link(self._plain, video))
        return self._ids[video.name][frame.index]


def _link(plain: Dataset, video: Video) -> list[np.ndarray]:
    """Of each frame, the number through the video of each of its objects."""
    estimator, given = DisFlow("fast"), 0
    known: list[np.ndarray] = []
    before: np.ndarray | None = None  # picture of the frame before
    carried = np.zeros((0, 0), np.int32)  # (H, W): numbers through the video, in that frame
    for frame in video.frames:
        picture = plain.load_image(frame)
        if not frame.labelled:
            known.append(np.zeros(1, np.int64))
            continue
        classes = plain.load_mask(frame)
        numbers = separate(classes, plain.labels)

        # Follow from the last labelled frame, over those without labels between.
        if before is not None and before.shape == picture.shape:
            carried = _along(carried, estimator.between(picture, before))
        else:
            carried = np.zeros(numbers.shape, np.int32)
        table = _matched(numbers, carried)
        fresh = np.flatnonzero(table[1:] == 0) + 1
        table[fresh] = given + 1 + np.arange(len(fresh))
        given += len(fresh)
        known.append(table)

        # Keep a thing that went into a crowd there, for the frame in which it comes out again.
        things = np.isin(classes, sorted(plain.labels.things))
        carried = np.where(numbers > 0, table[numbers], carried * things).astype(np.int32)
        before = picture
    return known


def _along(carried: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """A map (H, W) of the frame before, seen where the flow from this frame leads to it."""
    height, width = carried.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    moved = cv2.remap(
        carried.astype(np.float32), x + flow[0], y + flow[1], cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT, borderValue=0,
    )  # fmt: skip
    return moved.astype(np.int32)


def _matched(numbers: np.ndarray, carried: np.ndarray) -> np.ndarray:
    """For each object of a frame the number carried to it, int64 (N + 1,); 0: none. One to one."""
    count = int(numbers.max())
    table = np.zeros(count + 1, np.int64)
    codes, shared = count_codes(numbers.astype(np.int64) << 32 | carried)
    here, there = codes >> 32, codes & 0xFFFFFFFF
    areas = np.bincount(numbers.ravel(), minlength=count + 1)
    olds = dict(zip(*(one.tolist() for one in count_codes(carried)), strict=True))

    # Take pairs in falling order of IoU, ties by number, so that the result is always one.
    pairs: list[tuple[float, int, int]] = []
    for one, other, pixels in zip(here.tolist(), there.tolist(), shared.tolist(), strict=True):
        if one and other:
            pairs.append((pixels / (areas[one] + olds[other] - pixels), one, other))
    taken: set[int] = set()
    for iou, one, other in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        if iou >= _LINKED_IOU and table[one] == 0 and other not in taken:
            table[one] = other
            taken.add(other)
    return table


def _named_only(root: Path) -> bool:
    return False


FORMAT = replace(
    CAMVID,
    open=open_camvid_objects,
    sign="CamVid's folders, by name alone",
    matches=_named_only,
)
