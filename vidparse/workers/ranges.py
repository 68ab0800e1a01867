"""Ranges of a video that are segmented apart: where to cut, so that little is decoded twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vidparse.video import Stamps

_SHORTEST, _LONGEST = 16, 240  # frames of a range, about
_RANGES_EACH = 4  # at least, so that no worker waits long for the last one


@dataclass(frozen=True, slots=True)
class Range:
    """Successive frames that are taken, each `stride`-th one of a video.

    number: of the first of them, among those taken from the whole video.
    start: pts of the first one. end: pts of the first one that is not wanted any more.
    before: pts of the one before, which shows whether a shot begins; None where nobody asks.
    """

    number: int
    start: int
    end: int
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Cutting:
    """How a video is cut.

    stride: each `stride`-th frame is taken.
    unit: ranges begin where it divides the number of the frame, as clips do.
    workers: that share the video.
    sees_cuts: a range needs the frame before it.
    """

    stride: int = 1
    unit: int = 1
    workers: int = 2
    sees_cuts: bool = False

    def ranges(
        self, stamps: Stamps, *, at: int = 0, number: int = 0, before: int | None = None
    ) -> Iterator[Range]:
        """All frames from `at` on, in ranges; they begin at key frames as far as can be.

        Args:
            at: place in `stamps` of the first frame that is taken.
            number: of this frame among those taken from the whole video.
            before: pts of the frame taken before it.
        """
        places = range(at, len(stamps.pts), self.stride)
        since_key = _since_key(stamps.keys)
        usual = min(_LONGEST, max(_SHORTEST, len(places) // (self.workers * _RANGES_EACH)))

        first = 0
        while first < len(places):
            following = self._border(places, since_key, number, first, usual)
            whole = following == len(places)
            yield Range(
                number + first,
                stamps.pts[places[first]],
                stamps.pts[-1] + 1 if whole else stamps.pts[places[following]],
                before if self.sees_cuts else None,
            )
            before = stamps.pts[places[following - 1]]
            first = following

    def _border(
        self, places: range, since_key: list[int], number: int, first: int, usual: int
    ) -> int:
        """Where the range ends that begins with the `first` of `places`."""
        lowest, highest = first + max(1, usual // 2), first + usual + usual // 2
        if highest >= len(places):
            return len(places)
        lowest += -(number + lowest) % self.unit
        asks = 1 if self.sees_cuts else 0  # a range is decoded from the frame before it on
        candidates = range(lowest, max(highest, lowest + 1), self.unit)
        return min(
            (one for one in candidates if one < len(places)),
            key=lambda one: (since_key[places[one - asks]], abs(one - first - usual)),
            default=len(places),
        )


def _since_key(keys: tuple[bool, ...]) -> list[int]:
    """Frames that are decoded before each one, from the last key frame on."""
    counts, count = [], 0
    for is_key in keys:
        count = 0 if is_key else count + 1
        counts.append(count)
    return counts
