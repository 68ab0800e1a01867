"""Ids linked by tracks: an object that was hidden for a while gets its id back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vidparse.frame import Frame
from vidparse.inference.appearance import Thumbnail, slot_ious
from vidparse.inference.clip_segments import NUMBERS, ClipSegments
from vidparse.inference.panoptic import Linker, Numbers, renumbered
from vidparse.inference.tracks import Sightings, Tracking, Tracks
from vidparse.maps import SegmentMap

_ROUNDING_S = 1e-6  # times of frames are fractions


@dataclass(frozen=True, slots=True)
class Glimpse:
    """The record of a past frame.

    slots: its things, as of :meth:`Thumbnail.slots_of`. ids: theirs, int64 (M,).
    size_hw: of the frame.
    """

    view: Thumbnail
    slots: np.ndarray
    ids: np.ndarray
    size_hw: tuple[int, int]
    time_s: float


@dataclass(frozen=True, slots=True)
class TrackMemory:
    """All that is remembered of a video; its arrays are never written to again.

    tracks: of this shot.
    last: the frame before; None at the beginning of a shot.
    numbers: the ids that the video has used.
    """

    tracks: Tracks = field(default_factory=lambda: Tracks.none())
    last: Glimpse | None = None
    numbers: Numbers = field(default_factory=Numbers)


class TrackLinker(Linker):
    """Links by motion, look and overlap at once.

    An object is expected where its velocity and the motion of the camera bring it, ever less surely
    the longer it is out of sight. All objects of a frame are assigned to the tracks of their class
    together, so that the sum of scores is the greatest; those that no track fits are new. A track
    ends when its object was hidden for longer than `longest_s`, and at a cut. Within a clip a
    number is one thing; a stuff class keeps one id for the whole video.

    The parts are those of SORT (Bewley et al., ICIP 2016: motion and assignment), DeepSORT (Wojke
    et al., ICIP 2017: looks, and gates by Mahalanobis distance) and BoT-SORT (Aharon et al., 2022:
    the camera's motion), with times in seconds instead of frames.
    """

    state: TrackMemory

    def __init__(self, tracking: Tracking | None = None) -> None:
        self._tracking = tracking or Tracking()
        self.state = TrackMemory()

    @classmethod
    def fits(cls, clip: ClipSegments) -> bool:
        return True

    def link(self, clip: ClipSegments, frames: Sequence[Frame]) -> list[SegmentMap]:
        known: dict[int, int] = {}  # segments of the clip so far -> their stable ids
        keys = {} if clip.key_kind in NUMBERS else clip.keys  # numbers look like nothing
        return [
            self._follow(found, frame, known, keys)
            for found, frame in zip(clip.maps, frames, strict=True)
        ]

    def cut(self) -> None:
        self.state = TrackMemory(numbers=self.state.numbers)

    def _follow(
        self,
        found: SegmentMap,
        frame: Frame,
        known: dict[int, int],
        keys: Mapping[int, np.ndarray],
    ) -> SegmentMap:
        """One frame under stable ids; `known` grows by its segments."""
        segments = found.segments or ()
        things = [one for one in segments if one.is_thing]
        view = Thumbnail.of(frame.image)
        slots = view.slots_of(found.ids, [one.id for one in things])
        seen = Sightings.of(things, view, slots, keys)
        tracks = self._expected(view, slots, found.size_hw, frame.time_s)
        tracks = tracks.comparable(seen)

        # Give things that are new in this clip the tracks that fit them, but for those of others.
        fresh = np.array([one.id not in known for one in things], bool)
        free = ~np.isin(tracks.ids, list(known.values()))
        overlaps = self._overlaps(tracks, slots, len(things))
        pairs = self._matches(tracks, seen, overlaps, free, fresh, found.ids.size)
        matched = {things[place].id: int(tracks.ids[row]) for row, place in pairs}
        stable, numbers = self.state.numbers.named(segments, {**known, **matched})
        known |= stable

        linked = renumbered(found, stable)
        ids = np.array([stable[one.id] for one in things], np.int64)
        tracks = self._updated(tracks, ids, seen, frame.time_s)
        last = Glimpse(view, slots, ids, found.size_hw, frame.time_s)
        self.state = TrackMemory(tracks, last, numbers)
        return linked

    def _expected(
        self, view: Thumbnail, slots: np.ndarray, size_hw: tuple[int, int], time_s: float
    ) -> Tracks:
        """The tracks that have not ended, where they should be at `time_s`."""
        last, how = self.state.last, self._tracking
        if last is None or last.size_hw != size_hw:
            return Tracks.none()
        tracks = self.state.tracks

        # Keep those of the last frame even where frames lie further apart than `longest_s`.
        recent = time_s - tracks.seen_s <= how.longest_s + _ROUNDING_S
        tracks = tracks.take(np.flatnonzero(recent | tracks.present))
        if not len(tracks):
            return tracks
        camera = view.camera_since(last.view, slots, size_hw)
        return tracks.expected(max(time_s - last.time_s, 0.0), camera, how)

    def _overlaps(self, tracks: Tracks, slots: np.ndarray, count: int) -> np.ndarray:
        """IoU (N, M) of `count` objects with the tracks in the frame before; 0 for others."""
        overlaps = np.zeros((len(tracks), count))
        last = self.state.last
        if last is None or not len(tracks) or not count:
            return overlaps

        # Find rows by bisection: tracks are sorted by id, and those of the last frame are kept.
        rows = np.searchsorted(tracks.ids, last.ids)
        overlaps[rows] = slot_ious(last.slots, len(last.ids), slots, count)
        return overlaps

    def _matches(
        self,
        tracks: Tracks,
        seen: Sightings,
        overlaps: np.ndarray,
        free: np.ndarray,
        fresh: np.ndarray,
        area_px: int,
    ) -> list[tuple[int, int]]:
        """Pairs of a track and an object, by place, of those that are free (N,) and fresh (M,)."""
        from scipy.optimize import linear_sum_assignment

        rows, places = np.flatnonzero(free), np.flatnonzero(fresh)
        if not len(rows) or not len(places):
            return []
        part = overlaps[np.ix_(rows, places)]
        score = tracks.take(rows).scores(seen.take(places), part, area_px, self._tracking)

        # Make impossible pairs worth 0: the assignment fails where a row is -inf throughout.
        gain = np.maximum(score - self._tracking.least_score, 0)
        pairs = zip(*linear_sum_assignment(gain, maximize=True), strict=True)
        return [(rows[i], places[j]) for i, j in pairs if gain[i, j] > 0]

    def _updated(self, tracks: Tracks, ids: np.ndarray, seen: Sightings, time_s: float) -> Tracks:
        """The tracks after this frame, with new ones for ids (M,) that none had."""
        place_of = {number: row for row, number in enumerate(tracks.ids.tolist())}
        rows = np.array([place_of.get(number, -1) for number in ids.tolist()], np.int64)
        old, new = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
        how = self._tracking
        tracks = tracks.seen(rows[old], seen.take(old), time_s, how)

        # Sort by id in the end, which `_overlaps` relies on.
        tracks = tracks.joined(Tracks.begun(ids[new], seen.take(new), time_s, how))
        return tracks.take(np.argsort(tracks.ids))
