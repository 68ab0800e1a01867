"""One record for "every pixel belongs to a segment, and a segment is a class".

It is what a network predicts, what a data set holds as the truth, what an output writes and what a
metric compares.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vidparse.errors import OutputError
from vidparse.labels import Labels
from vidparse.maps.matte import Matte
from vidparse.maps.runs import PixelRuns, find_runs, recode, regions_of

VOID = 0  # the segment id of pixels that belong to nothing
NOWHERE: tuple[int, tuple[int, int, int, int]] = (0, (0, 0, 0, 0))  # area and box of no pixel
_LONGEST_TABLE = 1 << 16  # ids up to here are looked up pixel by pixel, greater ones by runs


@dataclass(frozen=True, slots=True)
class Segment:
    """One class region (semantic) or object (panoptic) of one frame.

    area: pixels, as counted, or as a ground truth claims them.
    box: x, y, width, height in pixels.
    """

    id: int
    class_id: int
    is_thing: bool
    score: float | None
    area: int
    box: tuple[int, int, int, int]
    is_crowd: bool = False  # of a ground truth: several objects in one segment


@dataclass(frozen=True, slots=True)
class SegmentMap:
    """The segment of every pixel of a frame, and what the segments are.

    ids: unsigned integers (H, W), as narrow as they fit. Of a semantic map they are class ids, and
        the labels' void id where there is no class; of a panoptic map segment ids, VOID where there
        is none, and an id is one object through the whole video.
    segments: None of a semantic map, else one entry per object or stuff class, in the order of
        their list. Ids that have no entry are void.
    margins: for mattes, float16 (G, h, w) at the size of the network's scores. Of a semantic map,
        by how much the best of each wanted group of classes beats all others. Of a panoptic map,
        for each of its segments, how far its own scores are above those from which on a pixel is
        its, as a logit; others may have the pixel all the same.
    """

    ids: np.ndarray
    segments: tuple[Segment, ...] | None = None
    margins: np.ndarray | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.ids.shape[0], self.ids.shape[1]

    def classes(self, void: int = 255) -> np.ndarray:
        """Class ids (H, W) of every pixel, `void` where there is none.

        A semantic map's own ids are returned as they are; those of a panoptic map are uint8, or
        uint16 where void needs it.
        """
        if self.segments is None:
            return self.ids
        dtype = np.uint8 if void <= 255 else np.uint16
        known = max((segment.id for segment in self.segments), default=0)
        if known < _LONGEST_TABLE:
            table = np.full(known + 2, void, dtype)  # the last entry is for ids without a segment
            for segment in self.segments:
                table[segment.id] = segment.class_id
            return table.take(self.ids, mode="clip")

        # Look large ids up by runs: a table up to 24 bits would be larger than the map.
        listed = sorted(self.segments, key=lambda segment: segment.id)
        keys = np.array([segment.id for segment in listed], np.int64)
        values = np.array([segment.class_id for segment in listed], dtype)
        return recode(self.ids, keys, values, otherwise=void)

    def class_map(self, labels: Labels) -> np.ndarray:
        """As :meth:`classes` in `labels.dtype`, with every id checked.

        Raises:
            OutputError: an id of a semantic map is neither a class nor void.
        """
        if self.segments is None:
            check_ids(self.ids, labels)
        return self.classes(labels.void).astype(labels.dtype, copy=False)

    def class_areas(self, labels: Labels) -> np.ndarray:
        """Pixels of each class, int64 (C + 1,); the last entry is void.

        Raises:
            OutputError: an id of a semantic map is neither a class nor void.
        """
        areas = np.zeros(len(labels) + 1, np.int64)
        if self.segments is not None:
            for segment in self.segments:
                areas[segment.class_id] += segment.area
            areas[-1] = self.ids.size - areas.sum()
            return areas
        runs = find_runs(self.ids)
        check_ids(runs.values, labels)
        values = np.where(runs.values == labels.void, len(labels), runs.values)
        counts = np.bincount(values, weights=runs.lengths, minlength=len(areas))
        return counts.astype(np.int64)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The segments of one frame, as a model or a file of predictions has them.

    Args:
        index: of the frame in its video, counted from the first one read.
        map: its segments.
        labels: the classes of the ids.
        mattes: soft masks, where the session makes some.
    """

    index: int
    map: SegmentMap
    labels: Labels
    mattes: tuple[Matte, ...] = ()

    @property
    def ids(self) -> np.ndarray:
        """Ids (H, W) of the map; see :class:`SegmentMap`."""
        return self.map.ids

    @property
    def segments(self) -> tuple[Segment, ...] | None:
        """Segments of a panoptic map, None of a semantic one."""
        return self.map.segments

    def mask(self, name: str | int) -> NDArray[np.bool_]:
        """Pixels of a class, bool (H, W); of a panoptic map those of all its objects.

        Args:
            name: of the class, in letters of either case, or its id.

        Raises:
            UsageError: no class has this name; the message has the nearest names.
        """
        (class_id,) = self.labels.select([str(name)])
        pixels: NDArray[np.bool_] = self.map.classes(self.labels.void) == class_id
        return pixels

    def share(self, name: str | int) -> float:
        """Fraction of all pixels that :meth:`mask` covers; 0 for a picture without pixels.

        Raises:
            UsageError: no class has this name; the message has the nearest names.
        """
        return np.count_nonzero(self.mask(name)) / max(self.ids.size, 1)


def segments_of_ids(
    ids: np.ndarray, class_of: Mapping[int, int], *, things: Collection[int]
) -> tuple[Segment, ...]:
    """Segments with their areas and boxes, in the order of `class_of`.

    Args:
        ids: segment ids (H, W).
        class_of: segment id -> class id; an id may have no pixel.
        things: class ids that are things.
    """
    found = regions_of(ids)
    return tuple(
        Segment(number, class_id, class_id in things, None, *found.get(number, NOWHERE))
        for number, class_id in class_of.items()
    )


def object_map(found: SegmentMap, labels: Labels) -> SegmentMap:
    """The panoptic map that files of objects hold: every id in it is listed, and has pixels.

    Of a semantic map each class is one segment, of id class + 1. Areas and boxes are counted.

    Raises:
        OutputError: an id of a semantic map is neither a class nor void.
    """
    ids, segments = found.ids, found.segments
    if segments is None:
        check_ids(ids, labels)
        table = np.zeros(labels.void + 1, np.uint16)
        table[: len(labels)] = np.arange(1, len(labels) + 1)
        ids = table.take(ids)
        segments = tuple(
            Segment(i + 1, i, i in labels.things, None, *NOWHERE) for i in range(len(labels))
        )

    # Count anew: areas may be claims, and segments may have lost all pixels since.
    regions = regions_of(ids)
    segments = tuple(
        replace(one, area=regions[one.id][0], box=regions[one.id][1])
        for one in segments
        if one.id != VOID and one.id in regions
    )
    known = np.array(sorted(one.id for one in segments), np.int64)
    if regions.keys() - {VOID, *known.tolist()}:
        ids = recode(ids, known, known.astype(ids.dtype), otherwise=VOID)
    return SegmentMap(ids, segments)


def class_segments(runs: PixelRuns, labels: Labels) -> tuple[Segment, ...]:
    """One segment per class that a semantic map holds, by class id; void is none.

    Raises:
        OutputError: an id that is neither a class nor void.
    """
    check_ids(runs.values, labels)
    return tuple(
        Segment(number, number, number in labels.things, None, area, box)
        for number, area, box in runs.regions()
        if number != labels.void
    )


def check_ids(ids: np.ndarray, labels: Labels) -> None:
    """Raise OutputError unless every id is a class or void: nothing may wrap on the way out."""
    if ids.size == 0:
        return
    if int(ids.min()) >= 0:
        if int(ids.max()) < len(labels):
            return
        wrong = ids >= len(labels)  # (H, W)
        wrong &= ids != labels.void
    else:
        wrong = ids < 0
    if wrong.any():
        raise OutputError(
            f"id {int(ids[wrong][0])}: neither one of the {len(labels)} classes of "
            f"'{labels.name}' nor void ({labels.void}); use the model's own label set"
        )
