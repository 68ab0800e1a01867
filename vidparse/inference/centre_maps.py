"""The answer of a network whose pixels point to the centre of their object, as ViP-DeepLab's do.

Centres are peaks of a map, to which pixels point: Panoptic-DeepLab (Cheng et al., CVPR 2020,
section 3.2). Objects follow each other by centres of the frame before: ViP-DeepLab (Qiao et al.,
CVPR 2021, section 3.3). The numbers are those that deeplab2 has for VIPSeg.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from vidparse.inference.clip_segments import (
    ClipSegments,
    PanopticAnswer,
    keep_wanted,
    with_margins,
)
from vidparse.inference.overlap import mask_ious
from vidparse.inference.upsample import upsample_argmax
from vidparse.labels import Labels
from vidparse.maps import Segment, SegmentMap, regions_of
from vidparse.matting.margins import margins_of
from vidparse.requests.model import Merging

CENTRE_KEYS = "centres"  # the number of an object's centre in the frame before, and its own
NO_CENTRE = -1
LEAST_STUFF = 2048 / (720 * 1280)  # of a frame, that a class of stuff covers: deeplab2, VIPSeg
LEAST_CENTRE = 0.1  # from which on a peak is a centre
MOST_CENTRES = 200  # of a frame; the greatest are kept
NEIGHBOURHOOD = 3  # positions a side in which a peak is the greatest: at stride 4, 13 pixels
_AT_ONCE = 1 << 22  # products of pixels and centres


@dataclass(frozen=True, slots=True)
class CentreMaps(PanopticAnswer):
    """The maps of T frames; see `vidparse.models.network.CentreMaps` for their meaning.

    classes: float32 (T, K, h, w). centres, earlier_centres: (T, 1, h, w). offsets,
    earlier_offsets: (T, 2, h, w), in pixels of the input. follows: (T,). input_hw: of the input.
    """

    classes: np.ndarray
    centres: np.ndarray
    offsets: np.ndarray
    earlier_centres: np.ndarray
    earlier_offsets: np.ndarray
    follows: np.ndarray
    input_hw: tuple[int, int]

    @classmethod
    def of_outputs(cls, outputs: Mapping[str, np.ndarray], input_hw: tuple[int, int]) -> Self:
        """The maps in the outputs of a network, under the names that exports give them."""
        return cls(
            outputs["classes"],
            outputs["centres"],
            outputs["offsets"],
            outputs["earlier_centres"],
            outputs["earlier_offsets"],
            outputs["follows"],
            input_hw,
        )

    def first(self, frames: int) -> Self:
        return replace(
            self,
            classes=self.classes[:frames],
            centres=self.centres[:frames],
            offsets=self.offsets[:frames],
            earlier_centres=self.earlier_centres[:frames],
            earlier_offsets=self.earlier_offsets[:frames],
            follows=self.follows[:frames],
        )

    def misfit(self, labels: Labels) -> str:
        classes = self.classes.shape[1]
        return f"finds {classes} classes" if classes != len(labels) else ""

    @property
    def is_finite(self) -> bool:
        arrays = (
            *(self.classes, self.centres, self.offsets),
            *(self.earlier_centres, self.earlier_offsets, self.follows),
        )
        return all(bool(np.isfinite(one).all()) for one in arrays)

    def segments(
        self, size_hw: tuple[int, int], labels: Labels, merging: Merging, *, margins: bool = False
    ) -> ClipSegments:
        """A thing is the same in successive frames where its pixels point back to its centre."""
        numbers = _Numbers()
        maps: list[SegmentMap] = []
        earlier: dict[int, int] = {}  # centre in the frame before the clip, by number
        last: dict[int, int] = {}  # centre in the last frame
        wanted: dict[int, int] = {}  # class of each thing
        for t in range(len(self.classes)):
            frame = self._frame(t, size_hw, labels)
            named = numbers.named(frame)
            whole = self._segment_map(t, frame, named, numbers, labels)
            shown = keep_wanted(whole, merging)
            maps.append(self._with_margins(t, shown) if margins else shown)

            # Keep what the first frame follows: it alone looks back to the clip before.
            if t == 0:
                earlier = {named[group]: centre for group, centre in frame.follows.items()}
            last = {number: group - 1 for group, number in named.items()}

            # Remember also things below the least area: their centres link those of the next clip.
            wanted |= {
                one.id: one.class_id
                for one in whole.segments or ()
                if one.is_thing and merging.wants(one.class_id, one.score, is_thing=True)
            }

        keys = {
            number: np.array([earlier.get(number, NO_CENTRE), last.get(number, NO_CENTRE)])
            for number in wanted
        }
        seen = {one.id for found in maps for one in found.segments or ()}
        hidden = {number: kind for number, kind in wanted.items() if number not in seen}
        return ClipSegments(tuple(maps), keys, CENTRE_KEYS, hidden)

    def _frame(self, t: int, size_hw: tuple[int, int], labels: Labels) -> _Frame:
        kinds = upsample_argmax(self.classes[t], size_hw, dtype=labels.dtype.type)
        is_thing = np.zeros(len(labels), bool)
        is_thing[list(labels.things)] = True
        there = is_thing.take(kinds)
        places, scores = find_centres(self.centres[t, 0])
        groups = group_pixels(there, self.offsets[t], places, self.input_hw)
        things = majority(groups, kinds, len(labels))

        # The same pixels, by the centres of the frame before that they point to.
        follows: dict[int, int] = {}
        if self.follows[t] > 0:
            before, _ = find_centres(self.earlier_centres[t, 0])
            others = group_pixels(there, self.earlier_offsets[t], before, self.input_hw)
            pairs = stitched(groups, things, others, majority(others, kinds, len(labels)))
            follows = {own: other - 1 for own, other in pairs.items()}
        return _Frame(kinds, groups, things, scores, follows)

    def _with_margins(self, t: int, found: SegmentMap) -> SegmentMap:
        """The lead of each segment's class: centres show where objects are, not how surely."""
        kinds = sorted({one.class_id for one in found.segments or ()})
        leads = margins_of(self.classes[t], [(one,) for one in kinds])
        of_kind = dict(zip(kinds, leads, strict=True))
        return with_margins(found, {one.id: of_kind[one.class_id] for one in found.segments or ()})

    def _segment_map(
        self,
        t: int,
        frame: _Frame,
        named: Mapping[int, int],
        numbers: _Numbers,
        labels: Labels,
    ) -> SegmentMap:
        """Things, and the classes of stuff that are large enough, under numbers of the clip."""
        # Leave small stuff out, as deeplab2 does.
        areas = np.bincount(frame.kinds.ravel(), minlength=len(labels))
        stuff = {
            numbers.of_stuff(class_id): class_id
            for class_id in np.flatnonzero(areas >= LEAST_STUFF * frame.kinds.size).tolist()
            if class_id not in labels.things
        }
        of_group = np.zeros(max(named, default=0) + 1, np.uint16)
        for group, number in named.items():
            of_group[group] = number
        of_class = np.zeros(len(labels), np.uint16)
        for number, class_id in stuff.items():
            of_class[class_id] = number

        # Add the two maps: pixels of things have no number of stuff, and the others no group.
        ids = of_group.take(frame.groups) + of_class.take(frame.kinds)

        # A thing is as sure as its centre and its classes are, stuff as its classes.
        regions = regions_of(ids)
        sums = np.bincount(ids.ravel(), weights=_sureness(self.classes[t], ids.shape).ravel())
        known = {
            number: (frame.things[group], True, float(frame.scores[group - 1]))
            for group, number in named.items()
        } | {number: (class_id, False, 1.0) for number, class_id in stuff.items()}
        segments = []
        for number, (class_id, is_thing, sure) in known.items():
            area, box = regions[number]
            score = round(sure * float(sums[number]) / area, 6)
            segments.append(Segment(number, class_id, is_thing, score, area, box))
        return SegmentMap(ids, tuple(segments))


@dataclass(frozen=True, slots=True)
class _Frame:
    """The classes, things and scores of one frame, at its own size.

    kinds: class ids (H, W). groups: uint16 (H, W), number of a centre + 1, 0 for none.
    things: class of each group that has a pixel. scores: of all centres, by their number.
    follows: centre of the frame before that a group follows, where there is one.
    """

    kinds: np.ndarray
    groups: np.ndarray
    things: Mapping[int, int]
    scores: np.ndarray
    follows: Mapping[int, int]


@dataclass(slots=True)
class _Numbers:
    """Numbers of a clip's segments, from 1, in order of appearance."""

    next: int = 1
    stuff: dict[int, int] = field(default_factory=dict)  # by class
    things: dict[tuple[int, int], int] = field(default_factory=dict)  # by centre and class

    def named(self, frame: _Frame) -> dict[int, int]:
        """The number of each thing of the next frame, by its group."""
        named: dict[int, int] = {}
        for group, class_id in frame.things.items():
            before = frame.follows.get(group, NO_CENTRE)
            number = self.things.get((before, class_id))
            named[group] = self._new() if number is None else number

        # Keep the things of this frame only: as published, one that is away for a frame is new.
        self.things = {
            (group - 1, class_id): named[group] for group, class_id in frame.things.items()
        }
        return named

    def of_stuff(self, class_id: int) -> int:
        """The one number of a class."""
        if class_id not in self.stuff:
            self.stuff[class_id] = self._new()
        return self.stuff[class_id]

    def _new(self) -> int:
        self.next += 1
        return self.next - 1


def _sureness(logits: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """Probability float32 (H, W) of the greatest of the classes (K, h, w)."""
    # Subtract the greatest: its own term becomes 1, so the sum of all is 1 / probability.
    greatest = logits.max(axis=0)
    sure: NDArray[np.float32] = 1 / np.exp(logits - greatest).sum(axis=0)
    return cv2.resize(sure.astype(np.float32), (size_hw[1], size_hw[0]))


def find_centres(heat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The peaks of a map, the greatest first; the place in this order is the number of a centre.

    Args:
        heat: float32 (h, w), near 1 at centres.

    Returns:
        places float32 (C, 2), row and column of a position, and scores float32 (C,) up to 1.
    """
    around = np.ones((NEIGHBOURHOOD, NEIGHBOURHOOD), np.uint8)

    # Suppress neighbours as the paper does: a peak equals the greatest of its window.
    peaks = (heat >= LEAST_CENTRE) & (heat == cv2.dilate(heat, around))
    places = np.argwhere(peaks)
    scores = heat[peaks]

    # Sort stably, so that of equal peaks the first in reading order has the lower number.
    order = np.argsort(-scores, kind="stable")[:MOST_CENTRES]
    return places[order].astype(np.float32), np.minimum(scores[order], np.float32(1))


def group_pixels(
    there: np.ndarray, offsets: np.ndarray, places: np.ndarray, input_hw: tuple[int, int]
) -> np.ndarray:
    """Each pixel of things with the centre that is nearest to where it points.

    Args:
        there: bool (H, W), the pixels of things.
        offsets: float32 (2, h, w), rows and columns in pixels of the input; brought to (H, W)
            bilinearly.
        places: float32 (C, 2), as of :func:`find_centres`; C may be 0.
        input_hw: height and width of the input, which the maps cover.

    Returns:
        uint16 (H, W): number of the centre + 1; 0 where there is no thing, or no centre at all.
    """
    groups = np.zeros(there.shape, np.uint16)
    rows, columns = np.nonzero(there)
    if not len(rows) or not len(places):
        return groups
    height, width = there.shape
    full = cv2.resize(
        np.ascontiguousarray(offsets.transpose(1, 2, 0)), (width, height)
    )  # (H, W, 2)

    # Measure in pixels of the input, from its middle, where float32 is finest.
    scale = np.array(input_hw, np.float32) / there.shape
    cell = np.array(input_hw, np.float32) / offsets.shape[1:]
    middle = np.array(input_hw, np.float32) / 2
    centres = (places + 0.5) * cell - middle  # (C, 2)
    bar = (centres**2).sum(axis=1) / 2
    found = np.empty(len(rows), np.uint16)

    # Take pixels in parts: their products with all centres at once would fill memory.
    step = max(1, _AT_ONCE // len(centres))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        pixels = np.stack([rows[part], columns[part]], axis=1).astype(np.float32)
        aims = (pixels + 0.5) * scale - middle + full[rows[part], columns[part]]
        # The nearest centre c of a place p has the greatest p c - c c / 2.
        found[part] = (aims.astype(np.float32) @ centres.T - bar).argmax(axis=1)
    groups[rows, columns] = found + 1
    return groups


def majority(groups: np.ndarray, kinds: np.ndarray, count: int) -> dict[int, int]:
    """The class that most pixels of each group have, by group; of equal ones the lowest.

    Args:
        groups: unsigned integers (H, W), 0 for none. kinds: class ids (H, W), all below `count`.
    """
    inside = groups > 0
    pairs = groups[inside].astype(np.int64) * count + kinds[inside]
    rows = int(groups.max(initial=0)) + 1
    table = np.bincount(pairs, minlength=rows * count).reshape(rows, count)
    return {int(group): int(table[group].argmax()) for group in np.flatnonzero(table.any(axis=1))}


def stitched(
    ids: np.ndarray,
    things: Mapping[int, int],
    earlier: np.ndarray,
    earlier_things: Mapping[int, int],
) -> dict[int, int]:
    """The thing of the frame before that each thing of a frame is, in one and the same frame.

    Pairs of one class are taken in the order of their IoU, each thing once; a pair that shares no
    pixel is none.

    Args:
        ids: unsigned integers (H, W), the things as this frame finds them; class of each by id.
        earlier: (H, W), the same pixels as they point to things of the frame before; class of each.
    """
    if not things or not earlier_things:
        return {}
    rows, columns = list(things), list(earlier_things)
    iou = mask_ious(ids, rows, earlier, columns)  # (N, M)
    same = np.array(list(things.values()))[:, None] == np.array(list(earlier_things.values()))
    iou[~same] = 0

    # Take the best pair that is left, until pairs share nothing.
    matched: dict[int, int] = {}
    for place in np.argsort(-iou, axis=None, kind="stable").tolist():
        row, column = divmod(place, len(columns))
        if iou[row, column] <= 0:
            break
        if rows[row] not in matched and columns[column] not in matched.values():
            matched[rows[row]] = columns[column]
    return matched
