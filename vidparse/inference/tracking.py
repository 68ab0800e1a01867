"""Objects known again by their kernels, through a whole video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from vidparse.frame import Frame
from vidparse.inference.clip_segments import ClipSegments
from vidparse.inference.panoptic import Linker, Numbers, renumbered
from vidparse.maps import SegmentMap

COST_LIMIT = 0.3  # 1 - (cosine + 1) / 2, which must be below it
KEEP = 0.8  # share of the memory in the mean with the kernel that matched it


class KernelMemory:
    """The objects of a video by class, each a unit vector; none is ever forgotten.

    Args:
        cost_limit: of 1 - (cosine + 1) / 2; rows and memories with less may be one object.
        keep: share of a memory that stays when a row matches it.

    Attributes:
        state: float64 (n, D) of each class seen, the object's number being its row; immutable, may
            be stored, and set to go on.
    """

    state: Mapping[int, np.ndarray]

    def __init__(self, cost_limit: float = COST_LIMIT, keep: float = KEEP) -> None:
        self._cost_limit, self._keep = cost_limit, keep
        self.state = MappingProxyType({})

    def match(self, kernels: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        """The objects of the next clip.

        Of all pairings of rows with memories of their class whose cost is below the limit, the one
        with the greatest sum of what is left to the limit. Rows without one are new objects.

        Args:
            kernels: (M, D), of any length; one of zeros resembles nothing. class_ids: int (M,).

        Returns:
            int64 (M,): the number of each object within its class, in order of appearance.
        """
        rows, classes = np.asarray(kernels, np.float64), np.asarray(class_ids)
        tracks = np.zeros(len(rows), np.int64)
        state = dict(self.state)

        for class_id in np.unique(classes).tolist():
            (chosen,) = np.nonzero(classes == class_id)
            units = _units(rows[chosen])
            memory = state.get(class_id, units[:0])
            tracks[chosen], state[class_id] = self._matched(units, memory)
            state[class_id].flags.writeable = False

        self.state = MappingProxyType(state)
        return tracks

    def _matched(self, units: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tracks of the rows of one class (M, D), and the memory (n, D) after them."""
        from scipy.optimize import linear_sum_assignment

        cost = 1 - (units @ memory.T + 1) / 2  # (M, n)
        gain = np.maximum(self._cost_limit - cost, 0)

        # Bar zeros: their cosine with all is 0, which a wide limit would let pass.
        gain[~units.any(axis=1)] = 0
        gain[:, ~memory.any(axis=1)] = 0
        row, column = linear_sum_assignment(gain, maximize=True)
        met = gain[row, column] > 0
        row, column = row[met], column[met]

        # Bring means back to length 1, or their cosines would sink with each match.
        after = memory.copy()
        after[column] = _units(self._keep * memory[column] + (1 - self._keep) * units[row])
        tracks = np.full(len(units), -1, np.int64)
        tracks[row] = column
        new = np.flatnonzero(tracks < 0)
        tracks[new] = len(memory) + np.arange(len(new))
        return tracks, np.concatenate([after, units[new]])


def _units(vectors: np.ndarray) -> np.ndarray:
    """The vectors (M, D) at length 1; zeros stay."""
    largest = np.abs(vectors).max(axis=1, initial=0.0, keepdims=True)
    scaled = vectors / np.where(largest > 0, largest, 1)  # squares neither vanish nor overflow
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    units: np.ndarray = scaled / np.where(length > 0, length, 1)
    return units


@dataclass(frozen=True, slots=True)
class Known:
    """The memory of a :class:`KernelLinker`.

    kernels: of the shot, as :class:`KernelMemory` has them.
    ids: id of each object of the shot that was seen, by class and number.
    """

    kernels: Mapping[int, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
    ids: Mapping[tuple[int, int], int] = field(default_factory=lambda: MappingProxyType({}))
    numbers: Numbers = field(default_factory=Numbers)


class KernelLinker(Linker):
    """Links the things of clips by their kernels: one that was away comes back under its id.

    Args:
        cost_limit, keep: of the :class:`KernelMemory`.
    """

    state: Known

    def __init__(self, *, cost_limit: float = COST_LIMIT, keep: float = KEEP) -> None:
        self._cost_limit, self._keep = cost_limit, keep
        self.state = Known()

    @classmethod
    def fits(cls, clip: ClipSegments) -> bool:
        return clip.key_kind == "kernels"

    def link(self, clip: ClipSegments, frames: Sequence[Frame]) -> list[SegmentMap]:
        things = {
            one.id: one.class_id for found in clip.maps for one in found.segments or ()
        } | dict(clip.hidden)
        keyed = [(number, things[number]) for number in sorted(clip.keys) if number in things]
        objects = self._objects(clip, keyed)

        # Give ids to what is seen, in the order in which it comes.
        linked = []
        known = {
            number: self.state.ids[one] for number, one in objects.items() if one in self.state.ids
        }
        for found in clip.maps:
            segments = found.segments or ()
            stable, numbers = self.state.numbers.named(segments, known)
            known |= stable
            self.state = replace(self.state, numbers=numbers)
            linked.append(renumbered(found, stable))
        ids = {one: known[number] for number, one in objects.items() if number in known}
        self.state = replace(self.state, ids=MappingProxyType({**self.state.ids, **ids}))
        return linked

    def cut(self) -> None:
        self.state = Known(numbers=self.state.numbers)

    def _objects(
        self, clip: ClipSegments, keyed: Sequence[tuple[int, int]]
    ) -> dict[int, tuple[int, int]]:
        """Class and number within it of each object of the clip, by the clip's number."""
        if not keyed:
            return {}
        memory = KernelMemory(self._cost_limit, self._keep)
        memory.state = self.state.kernels
        vectors = np.stack([clip.keys[number] for number, _ in keyed])
        tracks = memory.match(vectors, np.array([class_id for _, class_id in keyed]))
        self.state = replace(self.state, kernels=memory.state)
        pairs = zip(keyed, tracks.tolist(), strict=True)
        return {number: (class_id, track) for (number, class_id), track in pairs}
