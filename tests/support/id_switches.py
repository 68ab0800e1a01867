"""Id switches of predicted segments, and what imperfect networks make of perfect ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vidparse.maps import SegmentMap, segments_of_ids


class IdSwitches:
    """Counts how often the id under which a thing is found changes.

    The mismatches of CLEAR MOT (Bernardin and Stiefelhagen, 2008, section 2.1.2) with the masks of
    MOTS (Voigtlaender et al., CVPR 2019, section 5): a true thing is found by the prediction of its
    class whose mask has an IoU above 1/2 with its own. A switch is a frame where it is found under
    another id than the last time, however long ago that was.

    Attributes:
        switches: so far.
    """

    def __init__(self) -> None:
        self.switches = 0
        self._found: dict[int, int] = {}  # true id -> the id it was last found under

    def update(self, truth: SegmentMap, predicted: SegmentMap) -> None:
        classes = {one.id: one.class_id for one in predicted.segments or ()}
        areas = dict(zip(*(part.tolist() for part in _counts(predicted.ids)), strict=True))
        for one in truth.segments or ():
            if not one.is_thing:
                continue
            inside = truth.ids == one.id  # (H, W)
            numbers, pixels = _counts(predicted.ids[inside])
            best = int(numbers[pixels.argmax()])
            shared = int(pixels.max())
            union = int(inside.sum()) + areas[best] - shared
            if classes.get(best) != one.class_id or shared <= union / 2:
                continue
            self.switches += self._found.get(one.id, best) != best
            self._found[one.id] = best


@dataclass(frozen=True)
class Faults:
    """How often, of the things of a frame, and how badly a network errs.

    missed: share that is not found. missed_long: share that begins to be missed for up to 1 s.
    split: share found in two halves. merged: share that swallows its neighbour of the same class.
    flipped: share that is found as another class of things. jitter: standard deviation of where a
    mask is, in sizes of its box.
    """

    missed: float = 0.05
    missed_long: float = 0.01
    split: float = 0.02
    merged: float = 0.02
    flipped: float = 0.02
    jitter: float = 0.02


class WeakNetwork:
    """Frames as a network would find them that has such faults: the same for the same seed."""

    def __init__(self, faults: Faults | None, things: Collection[int], rate: float, seed: int):
        self._faults, self._things, self._rate = faults, sorted(things), rate
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._away: dict[int, int] = {}  # true id -> frames for which it is still missed

    def found(self, truth: SegmentMap) -> SegmentMap:
        """The segments of the next frame, numbered anew in any order."""
        rng, faults = self._rng, self._faults
        ids = np.zeros(truth.size_hw, np.uint16)
        classes: dict[int, int] = {}
        segments = truth.segments or ()
        numbers = (1 + rng.permutation(2 * len(segments))).tolist()
        for one in segments:
            if not one.is_thing:
                classes[numbers[-1]] = one.class_id
                ids[truth.ids == one.id] = numbers.pop()
        lost = set()
        for one in segments:
            if not one.is_thing or one.id in lost:
                continue
            mask, class_id = truth.ids == one.id, one.class_id
            if faults is None:
                classes[numbers[-1]] = class_id
                ids[mask] = numbers.pop()
                continue
            if self._is_missed(one.id, faults):
                continue

            # Draw each fault for each thing, so that one does not change the chances of another.
            shift = rng.normal(0, faults.jitter, 2) * one.box[2:]
            split, merged, flipped = rng.random(3) < (faults.split, faults.merged, faults.flipped)
            if merged:
                near = self._neighbour(one, segments)
                if near is not None:
                    mask = mask | (truth.ids == near)
                    lost.add(near)
            mask = _shifted(mask, shift)
            if flipped:
                class_id = int(rng.choice([c for c in self._things if c != class_id]))
            parts = _halves(mask, one.box) if split else [mask]
            for part in parts:
                classes[numbers[-1]] = class_id
                ids[part] = numbers.pop()
        listed = segments_of_ids(ids, classes, things=self._things)
        return SegmentMap(ids, tuple(replace(one, score=0.9) for one in listed if one.area))

    def _is_missed(self, number: int, faults: Faults) -> bool:
        once, begins = self._rng.random(2) < (faults.missed, faults.missed_long)
        if begins:
            self._away[number] = int(self._rng.integers(1, max(2, round(self._rate) + 1)))
        self._away[number] = self._away.get(number, 0) - 1
        return bool(once) or self._away[number] >= 0

    @staticmethod
    def _neighbour(one, segments) -> int | None:
        """The thing of the same class whose box is the nearest and meets that of `one`."""
        x, y, width, height = one.box
        for other in segments:
            left, top, wide, high = other.box
            meets = left < x + width and x < left + wide and top < y + height and y < top + high
            if meets and other.id != one.id and other.class_id == one.class_id:
                return other.id
        return None


def _counts(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(ids, return_counts=True)


def _shifted(mask: np.ndarray, shift: np.ndarray) -> np.ndarray:
    matrix = np.array([[1, 0, round(shift[0])], [0, 1, round(shift[1])]], np.float64)
    size_wh = mask.shape[::-1]
    moved = cv2.warpAffine(mask.view(np.uint8), matrix, size_wh, flags=cv2.INTER_NEAREST)
    return moved > 0


def _halves(mask: np.ndarray, box: tuple[int, int, int, int]) -> list[np.ndarray]:
    """Both parts of a mask, cut across its longer side."""
    x, y, width, height = box
    first = np.zeros_like(mask)
    if height > width:
        first[: y + height // 2] = True
    else:
        first[:, : x + width // 2] = True
    return [mask & first, mask & ~first]
