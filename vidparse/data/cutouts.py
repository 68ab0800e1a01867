"""Cut-outs: objects of data sets that distinguish them, to be put into other pictures.

Sources are data sets that read objects, as photographs with polygons, and those with segments. A
mere part of an object is left out, as far as its shape shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.data.camvid_objects import hull_area
from vidparse.data.dataset import Dataset, FrameRecord, Video
from vidparse.data.pictures import check_fits
from vidparse.errors import InputError, UsageError
from vidparse.labels import Labels, regrouped

RIDER = "rider"  # a person on a bicycle or motorcycle, both cut out as one
_CYCLES = ("bicycle", "motorcycle")
_RIDING = ("person", RIDER)


@dataclass(frozen=True, slots=True)
class Whole:
    """The look of a whole object, in its own picture.

    height: least pixels. aspect: least and greatest width / height. filled: least share of its box;
    solid: of its convex hull; footed: of the lowest eighth of its box (a half-length portrait
    tapers off).
    """

    height: int
    aspect: tuple[float, float]
    filled: float
    solid: float
    footed: float = 0.0


_WHOLE = {
    "person": Whole(40, (0.2, 0.5), 0.4, 0.65, 0.18),
    RIDER: Whole(36, (0.3, 1.5), 0.35, 0.65),
    "car": Whole(28, (0.7, 2.9), 0.6, 0.89),
    "truck": Whole(40, (0.6, 2.9), 0.6, 0.85),
    "bus": Whole(40, (0.6, 3.5), 0.65, 0.88),
    "train": Whole(60, (0.6, 4.0), 0.65, 0.88),
}
_NAMES = frozenset((*_WHOLE, *_CYCLES))  # of all objects that are looked for
_LIKE = {"pedestrian": "person", "bicyclist": RIDER}  # names that other label sets have


@dataclass(frozen=True, slots=True)
class Cutout:
    """An object as it is seen in one frame, or in several that follow each other.

    source: the number of its data set. class_id: of the labels of the clip. frames: where
    it is seen. key: which object of the frame it is. height_px: the greatest. rate_hz: frames per
    second; 0 of a single picture.
    """

    source: int
    name: str
    class_id: int
    frames: tuple[FrameRecord, ...]
    key: int
    height_px: int
    rate_hz: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """An object of a frame: its name, the number that finds it again, and where it is.

    box: x, y, width, height in pixels. piece: bool (h, w), its mask within the box.
    size_hw: of the whole mask.
    """

    name: str
    key: int
    box: tuple[int, int, int, int]
    piece: np.ndarray
    size_hw: tuple[int, int]

    @property
    def inside(self) -> bool:
        """False where it touches the edge of the picture."""
        x, y, width, height = self.box
        return min(x, y, self.size_hw[1] - x - width, self.size_hw[0] - y - height) >= 2


def objects_in(dataset: Dataset, frame: FrameRecord) -> Iterator[Found]:
    """The objects of a labelled frame, by the names of classes as COCO and Cityscapes have them.

    Raises:
        InputError: a file cannot be used; it is named.
    """
    if dataset.read_objects is not None:
        yield from _with_riders(dataset.read_objects(frame, _NAMES))
    else:
        yield from _segments(dataset, frame)


def _segments(dataset: Dataset, frame: FrameRecord) -> Iterator[Found]:
    truth, names = dataset.load_truth(frame), dataset.labels.classes
    listed = [
        (_LIKE.get(names[one.class_id].casefold(), names[one.class_id].casefold()), one)
        for one in truth.segments or ()
        if one.is_thing and not one.is_crowd and one.box[2]
    ]

    # Join cyclist and cycle on whole masks: the two boxes differ.
    if any(name in _CYCLES for name, _ in listed):
        yield from _with_riders({one.id: (name, truth.ids == one.id) for name, one in listed})
        return
    for name, one in listed:
        x, y, width, height = one.box
        piece = truth.ids[y : y + height, x : x + width] == one.id
        yield Found(name, one.id, one.box, piece, truth.size_hw)


def _found(name: str, key: int, mask: np.ndarray) -> Found:
    """From a mask bool (H, W) that is not empty."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    box = (x, y, width, height)
    piece = mask[y : y + height, x : x + width]
    return Found(name, key, box, piece, (mask.shape[0], mask.shape[1]))


def is_source(dataset: Dataset) -> bool:
    """True for a data set that objects can be cut out of."""
    return dataset.is_panoptic or dataset.read_objects is not None


def list_cutouts(
    source: int, dataset: Dataset, videos: Sequence[Video], labels: Labels
) -> list[Cutout]:
    """The cut-outs of some videos that are whole and of a thing class of `labels`.

    Args:
        source: its number among the sources.

    Raises:
        InputError: a file cannot be used; it is named.
    """
    found: list[Cutout] = []
    for video in videos:
        runs: dict[tuple[str, int], list[FrameRecord]] = {}
        heights: dict[tuple[str, int], int] = {}
        for frame in video.frames:
            for one in objects_in(dataset, frame) if frame.labelled else ():
                if is_whole(one):
                    seen = one.name, one.key
                    runs.setdefault(seen, []).append(frame)
                    heights[seen] = max(heights.get(seen, 0), one.box[3])

        # Keep the longest run without a gap, so that a cut-out moves evenly.
        rate_hz = 1 / video.interval_s if video.interval_s else 0.0
        for (name, key), frames in runs.items():
            class_id = class_for(name, labels)
            if class_id is not None:
                kept = _longest_run(frames)
                height_px = heights[name, key]
                found.append(Cutout(source, name, class_id, kept, key, height_px, rate_hz))
    return found


def is_whole(one: Found) -> bool:
    """True where an object looks like all of it: of a usual shape, in one piece, off the edge."""
    whole = _WHOLE.get(one.name)
    _, _, width, height = one.box
    if whole is None or not one.inside or height < whole.height:
        return False
    if not whole.aspect[0] <= width / height <= whole.aspect[1]:
        return False

    # Refuse what looks cut: in pieces, with notches, or without feet.
    piece = one.piece.view(np.uint8)
    _, _, facts, _ = cv2.connectedComponentsWithStats(piece, connectivity=8)
    largest, area = int(facts[1:, cv2.CC_STAT_AREA].max()), int(np.count_nonzero(piece))
    if area < whole.filled * width * height or largest < 0.9 * area:
        return False
    if piece[-(-7 * height // 8) :].mean() < whole.footed:
        return False
    return area >= whole.solid * hull_area(one.piece)


def class_for(name: str, labels: Labels) -> int | None:
    """The thing class that an object of a COCO or Cityscapes class belongs to; None: to none."""
    ids = {one.casefold(): i for i, one in enumerate(labels.classes) if i in labels.things}
    if name in ids:
        return ids[name]
    try:
        other = regrouped("cityscapes", labels.name).get(name, "")
    except UsageError:
        return None
    return ids.get(other.casefold())


def cut(dataset: Dataset, cutout: Cutout, place: int) -> np.ndarray:
    """The object as it is in one of its frames: RGBA uint8 (h, w, 4) of its box.

    Raises:
        InputError: a file cannot be used, or no longer holds the object; it is named.
    """
    frame = cutout.frames[place]
    for one in objects_in(dataset, frame):
        if (one.name, one.key) == (cutout.name, cutout.key):
            x, y, width, height = one.box
            rgb = dataset.load_image(frame)
            check_fits(frame, one.size_hw, rgb)
            seen = rgb[y : y + height, x : x + width]
            return np.dstack([seen, one.piece.astype(np.uint8) * 255])
    raise InputError(f"{frame}: no longer holds object {cutout.key}; leave the data as it is")


def _longest_run(frames: list[FrameRecord]) -> tuple[FrameRecord, ...]:
    """The most frames that follow each other without a gap."""
    best: list[FrameRecord] = []
    run: list[FrameRecord] = []
    for frame in frames:
        run = [*run, frame] if run and frame.index == run[-1].index + 1 else [frame]
        best = run if len(run) > len(best) else best
    return tuple(best)


def _with_riders(objects: Mapping[int, tuple[str, np.ndarray]]) -> Iterator[Found]:
    """Objects with their masks bool (H, W), in which a cycle and the one who rides it are one.

    Cycles without a rider are left out, and those that several persons seem to ride.
    """
    cycles = {i: mask for i, (name, mask) in objects.items() if name in _CYCLES}
    ridden: dict[int, int] = {}  # person -> cycle
    for i, (name, mask) in objects.items():
        under = [j for j, cycle in cycles.items() if name in _RIDING and rides(mask, cycle)]
        if under:
            ridden[i] = under[-1]
    for i, (name, mask) in objects.items():
        if i in ridden:
            if list(ridden.values()).count(ridden[i]) == 1:
                yield _found(RIDER, i, mask | cycles[ridden[i]])
        elif name not in _CYCLES and mask.any():
            yield _found(name, i, mask)


def rides(person: np.ndarray, cycle: np.ndarray) -> bool:
    """True where a person, bool (H, W), is on a cycle: above it, and the two touch."""
    x, y, wide, high = cv2.boundingRect(person.view(np.uint8))
    left, top, width, height = cv2.boundingRect(cycle.view(np.uint8))
    if not left - 0.1 * width <= x + wide / 2 <= left + 1.1 * width:
        return False
    if not (y < top and top < y + high <= top + 1.1 * height):
        return False

    # Widen by two pixels: masks of things that touch may leave a gap between them.
    near = cv2.dilate(person.view(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return bool((near & cycle).any())
