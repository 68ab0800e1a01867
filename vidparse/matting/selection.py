"""The choice of classes and objects that make a matte, from the words of a user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.errors import UsageError
from vidparse.labels import Labels
from vidparse.maps import Segment, SegmentMap
from vidparse.requests.matte import EACH


@dataclass(frozen=True, slots=True)
class Selection:
    """The classes and objects of mattes.

    name: of the one matte; "" where there is one for each.
    class_ids: whose pixels are wanted. objects: class and id of objects that are wanted, too.
    each: a matte for every class, and for every object of a panoptic map.
    """

    name: str
    class_ids: tuple[int, ...]
    objects: tuple[tuple[int, int], ...] = ()
    each: bool = False

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Groups of classes for whose joint pixels scores are wanted."""
        return tuple((one,) for one in self.class_ids) if self.each else (self.class_ids,)

    def masks(self, found: SegmentMap, labels: Labels) -> dict[str, np.ndarray]:
        """The pixels of each matte, uint8 (H, W) of 0 and 255, by its name."""
        if found.segments is not None:
            return {
                name: _of_ids(found.ids, [found.segments[place].id for place in places])
                for name, places in self.places(found.segments, labels).items()
            }
        if not self.each:
            return {self.name: _table(self.class_ids, labels.void).take(found.ids)}
        here = np.flatnonzero(np.bincount(found.ids.ravel(), minlength=labels.void + 1))
        return {
            labels.classes[number]: _equal(found.ids, number)
            for number in here.tolist()
            if number in self.class_ids
        }

    def places(self, segments: Sequence[Segment], labels: Labels) -> dict[str, list[int]]:
        """The places of each matte's segments in a list of segments, by its name."""
        if not self.each:
            return {
                self.name: [
                    place
                    for place, one in enumerate(segments)
                    if one.class_id in self.class_ids or (one.class_id, one.id) in self.objects
                ]
            }

        # Name a class by itself, an object by its class and id.
        return {
            f"{labels.classes[one.class_id]}{f'-{one.id}' if one.is_thing else ''}": [place]
            for place, one in enumerate(segments)
            if one.class_id in self.class_ids
        }


def _equal(ids: np.ndarray, number: int) -> np.ndarray:
    """255 where ids are the number, else 0, uint8 (H, W)."""
    return (ids == number).view(np.uint8) * np.uint8(255)


def _table(class_ids: Sequence[int], void: int) -> np.ndarray:
    table = np.zeros(void + 1, np.uint8)
    table[list(class_ids)] = 255
    return table


def _of_ids(ids: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    inside = np.isin(ids, np.array(wanted, ids.dtype)) if wanted else np.zeros(ids.shape, bool)
    return inside.view(np.uint8) * np.uint8(255)


def select_mattes(
    words: Sequence[str] | None,
    labels: Labels,
    *,
    is_panoptic: bool,
    kept: Sequence[int] | None,
    select: Callable[[Labels, Sequence[str]], tuple[int, ...]] = Labels.select,
) -> Selection:
    """The classes and objects that `--matte` names.

    Args:
        words: "person", "car:7", or "each" alone; None: all countable things.
        is_panoptic: the model finds objects.
        kept: class ids that the run keeps; None: all.
        select: finds the classes of names.

    Raises:
        UsageError: an unknown class, an object of a model that finds none, or nothing at all.
    """
    allowed = tuple(range(len(labels))) if kept is None else tuple(kept)
    if words is None:
        class_ids = tuple(one for one in sorted(labels.things) if one in allowed)
        if not class_ids:
            whose = "--classes keeps" if labels.things else f"label set '{labels.name}' has"
            raise UsageError(
                f"--matte: {whose} no countable things to choose by itself; name classes, as in "
                f"--matte {labels.classes[allowed[0]]}"
            )
        return Selection("things", class_ids)
    if EACH in words:
        if len(words) > 1:
            raise UsageError("--matte each: stands alone; choose classes with --classes")
        return Selection("", allowed, each=True)

    # Split objects off from classes.
    classes = [word for word in words if ":" not in word]
    objects = [_object_id(word, labels, is_panoptic, select) for word in words if ":" in word]
    class_ids = select(labels, classes) if classes else ()
    named = (*class_ids, *(class_id for class_id, _ in objects))
    lost = [labels.classes[one] for one in named if one not in allowed]
    if lost:
        raise UsageError(f"--matte {lost[0]}: --classes leaves it out; name it there, too")
    name = "+".join(word.strip().replace(":", "-") for word in words)
    return Selection(name, class_ids, tuple(objects))


def _object_id(
    word: str,
    labels: Labels,
    is_panoptic: bool,
    select: Callable[[Labels, Sequence[str]], tuple[int, ...]],
) -> tuple[int, int]:
    name, _, number = word.partition(":")
    (class_id,) = select(labels, [name])
    if not number.strip().isdecimal():
        raise UsageError(f"--matte {word}: not an object; write class:id, as in car:7")
    if not is_panoptic:
        raise UsageError(
            f"--matte {word}: the model finds classes and no objects; "
            f"use --matte {name}, or a panoptic model"
        )
    return class_id, int(number)
