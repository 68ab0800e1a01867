"""Shapes that annotation tools list of a picture, and the maps that they are drawn to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from pycocotools import mask as coco

from vidparse.data.dataset import Dataset, FrameRecord, Video
from vidparse.data.pictures import IGNORE
from vidparse.errors import InputError
from vidparse.labels import Labels
from vidparse.labels.colours import hue_wheel
from vidparse.maps import MAX_ID, SegmentMap, segments_of_ids
from vidparse.maps.brushes import from_packed_brush, from_row_counts
from vidparse.maps.polygons import filled

BACKGROUND = "background"
_CORNERS_OF_ELLIPSE = 64
_Place = tuple[int, int, np.ndarray]  # top, left, bool (h, w)


class Shape(Protocol):
    """Something that covers pixels."""

    def drawn(self, size_hw: tuple[int, int]) -> _Place:
        """Top and left of a mask, bool (h, w), inside a picture of that size.

        Raises:
            ValueError: it cannot be drawn there; the message has the reason.
        """
        ...


@dataclass(frozen=True, slots=True)
class BoxedCounts:
    """CVAT's mask: runs along the rows of a box, as text. box: left, top, width, height."""

    counts: str
    box: tuple[int, int, int, int]

    def drawn(self, size_hw: tuple[int, int]) -> _Place:
        left, top, width, height = self.box
        inside = 0 <= left < left + width <= size_hw[1] and 0 <= top < top + height <= size_hw[0]
        if not inside:
            raise ValueError(f"its box {width}x{height}+{left}+{top} is not inside the picture")
        counts = [int(word) for word in self.counts.split(",")]
        return top, left, from_row_counts(counts, (height, width))


@dataclass(frozen=True, slots=True)
class Brush:
    """Label Studio's packed runs. size_hw: of the picture that it was painted on."""

    data: bytes
    size_hw: tuple[int, int]

    def drawn(self, size_hw: tuple[int, int]) -> _Place:
        if self.size_hw != size_hw:
            raise ValueError("it was painted on a picture of another size than others of its task")
        return 0, 0, from_packed_brush(self.data, size_hw)


@dataclass(frozen=True, slots=True)
class Polygons:
    """Points, floats (N, 2) of x and y each; pixels inside an odd number of turns of them.

    unite: pixels inside any of them, as COCO has the parts of an object.
    """

    points: tuple[np.ndarray, ...]
    unite: bool = False

    def drawn(self, size_hw: tuple[int, int]) -> _Place:
        # Fill no more than the box round them: most shapes are small.
        low = np.min([one.min(axis=0) for one in self.points], axis=0)
        high = np.max([one.max(axis=0) for one in self.points], axis=0)
        limit = np.array(size_hw[::-1])
        left, top = np.clip(np.floor(low), 0, limit).astype(int).tolist()
        right, bottom = np.clip(np.ceil(high), 0, limit).astype(int).tolist()

        moved = [one - (left, top) for one in self.points]
        box_hw = bottom - top, right - left
        if self.unite:
            mask = np.zeros(box_hw, bool)
            for one in moved:
                mask |= filled([one], box_hw)
            return top, left, mask
        return top, left, filled(moved, box_hw)


@dataclass(frozen=True, slots=True)
class TurnedBox:
    """Label Studio's rectangle: in percent of the sides, turned clockwise round its first corner.

    rotation: degrees.
    """

    x: float
    y: float
    width: float
    height: float
    rotation: float = 0.0

    def drawn(self, size_hw: tuple[int, int]) -> _Place:
        # Turn in pixels: percents of the two sides are of different lengths.
        scale = np.array(size_hw[::-1]) / 100
        across, down = np.array([self.width, self.height]) * scale
        sides = turned(np.array([[0, 0], [across, 0], [across, down], [0, down]]), self.rotation)
        return Polygons((sides + np.array([self.x, self.y]) * scale,)).drawn(size_hw)


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """Points (N, 2) of x and y turned clockwise, as pictures show it, round (0, 0)."""
    if not degrees % 360:
        return points
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def ellipse(across: float, down: float) -> np.ndarray:
    """Corners (64, 2) of x and y of an ellipse round (0, 0); across, down: its half axes."""
    turn = np.arange(_CORNERS_OF_ELLIPSE) * (2 * np.pi / _CORNERS_OF_ELLIPSE)
    return np.stack([across * np.cos(turn), down * np.sin(turn)], axis=1)


@dataclass(frozen=True, slots=True)
class CocoRuns:
    """COCO's run lengths down the columns, packed as text, or as a list of counts."""

    counts: bytes | tuple[int, ...]
    size_hw: tuple[int, int]

    def drawn(self, size_hw: tuple[int, int]) -> _Place:
        if self.size_hw != size_hw:
            height, width = self.size_hw
            raise ValueError(f"its mask is {width}x{height}, its picture {size_hw[1]}x{size_hw[0]}")
        if isinstance(self.counts, tuple):
            mask = from_row_counts(self.counts, size_hw[::-1]).T
            return 0, 0, mask

        # Count the pixels first: pycocotools trusts the runs and would write past its memory.
        if sum(_unpacked(self.counts)) != size_hw[0] * size_hw[1]:
            raise ValueError("its runs do not have as many pixels as its mask")
        packed = {"size": list(size_hw), "counts": self.counts}
        return 0, 0, coco.decode(packed).astype(bool)


def _unpacked(text: bytes) -> list[int]:
    """Counts of COCO's packed runs: 5 bits a letter, each count after the third less one before.

    Raises:
        ValueError: a letter that no such text has, a run below 0, or an end within a count.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("its runs are not COCO's packed counts")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue

        # Take the sign of the last letter, and the difference to the count before last.
        if bits & 16:
            value -= 1 << shift  # the sign
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        if counts[-1] < 0:
            raise ValueError("its runs are not COCO's packed counts")
        value = shift = 0
    if shift:
        raise ValueError("its runs end too early")
    return counts


@dataclass(frozen=True, slots=True)
class Region:
    """A shape of a class. number: of its object in the video; 0: of none."""

    class_id: int
    shape: Shape
    number: int = 0
    is_crowd: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """The regions of a picture. place: the file, and where in it, for messages."""

    place: str
    size_hw: tuple[int, int]
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class DrawnRegions:
    """The `read_segments` and `read_mask` of pictures whose regions are listed.

    pictures: by video and index of frame.
    small_on_top: a pixel in several regions is of the smallest; else of the last that is listed.

    Attributes:
        first_free: above the numbers of all objects.
        end: above all ids.
    """

    labels: Labels
    pictures: Mapping[tuple[str, int], Listed]
    small_on_top: bool = False
    first_free: int = field(default=0)
    end: int = field(default=0)
    # Of classes that share a number in a video: the object's own, by video, number and class.
    _apart: Mapping[tuple[str, int, int], int] = field(default_factory=dict)
    _before: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = (one.number for listed in self.pictures.values() for one in listed.regions)
        free = max(numbers, default=0) + 1

        # Let the first class keep the number: people give one to a person and what is carried.
        owners: dict[tuple[str, int], int] = {}
        apart: dict[tuple[str, int, int], int] = {}

        # Count the objects without a number, so that each frame has ids of its own for them.
        seen: dict[str, int] = {}
        before: dict[tuple[str, int], int] = {}
        for (video, index), listed in self.pictures.items():
            before[video, index] = seen.setdefault(video, 0)
            for one in listed.regions:
                if one.class_id not in self.labels.things:
                    continue
                if not one.number:
                    seen[video] += 1
                    continue
                owner = owners.setdefault((video, one.number), one.class_id)
                key = (video, one.number, one.class_id)
                if owner != one.class_id and key not in apart:
                    apart[key], free = free, free + 1
        object.__setattr__(self, "first_free", free)
        object.__setattr__(self, "end", free + len(self.labels) + max(seen.values(), default=0))
        object.__setattr__(self, "_apart", apart)
        object.__setattr__(self, "_before", before)

    def segments(self, frame: FrameRecord) -> SegmentMap:
        """As `Dataset.read_segments`: things by their numbers, one segment per class of stuff.

        Raises:
            InputError: a region cannot be drawn; its place is named.
        """
        listed = self.pictures[frame.video, frame.index]
        ids = np.zeros(listed.size_hw, np.uint32)
        class_of: dict[int, int] = {}
        crowds: set[int] = set()

        # Number what has no number behind all objects: classes first, then things one by one.
        next_free = self.first_free + len(self.labels) + self._before[frame.video, frame.index]
        rest = self._rest(listed)
        if rest is not None:
            ids[:] = self.first_free + rest
            class_of[self.first_free + rest] = rest
        for region, (top, left, mask) in self._drawn(listed):
            key = (frame.video, region.number, region.class_id)
            number = self._apart.get(key, region.number)
            if region.class_id not in self.labels.things:
                number = self.first_free + region.class_id
            elif not number:
                number, next_free = next_free, next_free + 1
            class_of[number] = region.class_id
            crowds |= {number} if region.is_crowd else set()
            view = ids[top : top + mask.shape[0], left : left + mask.shape[1]]
            view[mask] = number

        # Leave out regions that others cover: every segment of a truth has pixels.
        segments = segments_of_ids(ids, class_of, things=self.labels.things)
        seen = (replace(one, is_crowd=one.id in crowds) for one in segments if one.area)
        narrow = np.uint16 if next_free <= 65535 else np.uint32
        return SegmentMap(ids.astype(narrow), tuple(seen))

    def classes(self, frame: FrameRecord) -> np.ndarray:
        """As `Dataset.read_mask`.

        Raises:
            InputError: a region cannot be drawn; its place is named.
        """
        listed = self.pictures[frame.video, frame.index]
        rest = self._rest(listed)
        ids = np.full(listed.size_hw, IGNORE if rest is None else rest, np.uint8)
        for region, (top, left, mask) in self._drawn(listed):
            ids[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = region.class_id
        return ids

    def _rest(self, listed: Listed) -> int | None:
        """The class of pixels in no region; None: they are void.

        It is `background`, where there is such a class and no region is of it: where people draw
        background, too, they leave out what they are not sure of.
        """
        names = [name.casefold() for name in self.labels.classes]
        if BACKGROUND not in names:
            return None
        rest = names.index(BACKGROUND)
        return None if any(one.class_id == rest for one in listed.regions) else rest

    def _drawn(self, listed: Listed) -> list[tuple[Region, _Place]]:
        found = []
        for place, region in enumerate(listed.regions):
            try:
                found.append((region, region.shape.drawn(listed.size_hw)))
            except ValueError as error:
                name = self.labels.classes[region.class_id]
                raise InputError(
                    f"{listed.place}: region {place + 1} ({name}): {error}; correct or remove it"
                ) from error
        if self.small_on_top:
            found.sort(key=lambda one: -np.count_nonzero(one[1][2]))
        return found


def dataset_of(
    name: str,
    split: str,
    labels: Labels,
    videos: Iterable[Video],
    pictures: Mapping[tuple[str, int], Listed],
    *,
    small_on_top: bool = False,
    **more: object,
) -> Dataset:
    """A data set of listed regions: it distinguishes objects where some class is a thing.

    Args:
        more: other fields of :class:`Dataset`.

    Raises:
        InputError: numbers of objects that fit no map.
    """
    drawn = DrawnRegions(labels, pictures, small_on_top)
    if drawn.end > MAX_ID:
        where = next(iter(pictures.values())).place
        raise InputError(f"{where}: numbers of objects above {MAX_ID}; number them from 1")
    dataset = Dataset(name, split, labels, tuple(videos), **more)  # type: ignore[arg-type]
    if labels.things:
        return replace(dataset, read_segments=drawn.segments)
    return replace(dataset, read_mask=drawn.classes)


def left_out(name: str, kinds: Mapping[str, int]) -> tuple[str, ...]:
    """The note on what people drew and is not read, by kind: points, lines, tags.

    Args:
        name: of the format.
        kinds: how many there are of each.
    """
    if not any(kinds.values()):
        return ()
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return (f"{name}: left out, as they cover no pixels or are not read: {listed}",)


def made_labels(
    name: str,
    classes: Sequence[str],
    *,
    colours: Mapping[str, tuple[int, int, int]] | None = None,
    things: Iterable[str] | None = None,
) -> Labels:
    """A label set of a file that names its classes.

    Args:
        colours: of some of them; the others have colours of a wheel.
        things: None: all are, since no list is given; `background` never is.

    Raises:
        ValueError: there are none, too many, two of one name, or one without a letter.
    """
    if not classes:
        raise ValueError("names no class")
    if len(classes) > IGNORE:
        raise ValueError(f"{len(classes)} classes; masks of 8 bits hold {IGNORE} at most")
    if len(set(classes)) < len(classes) or not all(one.strip() for one in classes):
        raise ValueError("every class needs a name of its own")

    wheel = map(tuple, hue_wheel(len(classes)).tolist())
    chosen = colours or {}
    looks = [chosen.get(one, wheeled) for one, wheeled in zip(classes, wheel, strict=True)]
    wanted = set(classes if things is None else things)
    numbers = (i for i, one in enumerate(classes) if one in wanted)
    return Labels(
        name,
        tuple(classes),
        tuple(looks),
        frozenset(i for i in numbers if classes[i].casefold() != BACKGROUND),
    )
