"""Colours that stay near wished ones and keep a distance from each other in everybody's eyes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from vidparse.labels.vision import as_seen, difference

_FAR = 13.0  # CIEDE2000 beyond which colours need not move further from what was wished
_WIDE = 25.0  # CIEDE2000 of which more makes no difference
_MANY = 300  # classes from which on no choice of colours helps
_ROUNDS = 8  # of halving, to find how much of that many classes can have
_GRID = np.arange(0, 256, 17)
_DARKEST, _BRIGHTEST = 30.0, 93.0  # lightness that shows on pictures of any kind

_Rows = tuple[tuple[int, ...], ...]


def far_apart(
    wished: np.ndarray, first: Sequence[int] = (), *, least_chroma: float = 0.0
) -> np.ndarray:
    """Colours near the wished ones that everybody can distinguish, as far as there are so many.

    The classes choose in turn: each takes the colour nearest to its wish among those that lie far
    enough from all colours taken, as seen with all cones, without green and without red ones. How
    far that can be is found by halving. With few classes nothing moves further than it must. With
    some hundred classes the wishes stay as they are.

    Args:
        wished: RGB uint8 (N, 3).
        first: those that are often seen together; they choose first, and lie further apart.
        least_chroma: of Lab, of all colours: greys, on a street, look like what has no class.

    Returns:
        RGB uint8 (N, 3).
    """
    if len(wished) > _MANY:
        return wished
    rows = tuple(map(tuple, wished.tolist()))
    chosen = _far_apart(rows, tuple(first), least_chroma)
    return np.array(chosen, np.uint8).reshape(-1, 3)


@lru_cache(maxsize=8)
def _far_apart(wished: _Rows, first: tuple[int, ...], least_chroma: float) -> _Rows:
    candidates = _Candidates(np.array(wished, np.int64).reshape(-1, 3), least_chroma)
    others = tuple(i for i in range(len(wished)) if i not in set(first))
    taken: dict[int, int] = {}

    for members in (first, others):
        chosen = _furthest(candidates, members, taken)
        if chosen is None:  # more classes than there are colours: ids repeat them
            return wished
        taken = chosen
    colours = candidates.colours[[taken[i] for i in range(len(wished))]]
    return tuple(map(tuple, colours.tolist()))


class _Candidates:
    """Colours to choose from: the wished ones, and a grid; none too dark, bright or grey.

    colours: RGB (M, 3). wishes: Lab (N, 3) of the wished colours. wanted: CIEDE2000 (N, N) that
    each two of them are to keep for eyes with all cones.
    """

    def __init__(self, wished: np.ndarray, least_chroma: float) -> None:
        grid = np.stack(np.meshgrid(_GRID, _GRID, _GRID, indexing="ij"), -1).reshape(-1, 3)
        colours = np.concatenate([wished, grid])
        seen = as_seen(colours).astype(np.float32)  # (3, M, 3)
        usable = (seen[0, :, 0] >= _DARKEST) & (seen[0, :, 0] <= _BRIGHTEST)
        usable &= np.hypot(seen[0, :, 1], seen[0, :, 2]) >= least_chroma

        self.wishes = seen[0, : len(wished)]
        pairs = difference(self.wishes[:, None], self.wishes[None])
        self.wanted = np.clip(pairs, _FAR, _WIDE)
        self.colours, self._seen = colours[usable], seen[:, usable]
        self._found: dict[int, np.ndarray] = {}

    def differences(self, place: int) -> np.ndarray:
        """CIEDE2000 (3, M) of all to the one at `place`, for each view."""
        # Keep them: the rounds of halving mostly choose the same colours.
        if place not in self._found:
            self._found[place] = difference(self._seen, self._seen[:, place, None])
        return self._found[place]

    def nearest(self, member: int, allowed: np.ndarray) -> int:
        """The place of the one nearest a wish among those that are allowed, bool (M,)."""
        to_wish = ((self._seen[0] - self.wishes[member]) ** 2).sum(-1)  # (M,)
        return int(np.where(allowed, to_wish, np.inf).argmin())


def _furthest(
    candidates: _Candidates, members: Sequence[int], taken: dict[int, int]
) -> dict[int, int] | None:
    """Places of `members` and of those taken before, as far apart as halving finds."""
    chosen = _choose(candidates, members, taken, 1.0)
    low, high = 0.0, 1.0
    for _ in range(_ROUNDS if chosen is None else 0):
        middle = (low + high) / 2
        found = _choose(candidates, members, taken, middle)
        if found is None:
            high = middle
        else:
            low, chosen = middle, found
    return chosen


def _choose(
    candidates: _Candidates, members: Sequence[int], taken: dict[int, int], share: float
) -> dict[int, int] | None:
    """A place for each of `members`, beside those taken before; None when the colours run out.

    Each has at least `share` of the wanted distance from all others for eyes with all cones, and
    `share` of _FAR for other eyes.
    """
    places = dict(taken)
    free = np.ones(len(candidates.colours), bool)
    for place in places.values():
        free &= (candidates.differences(place)[1:] >= share * _FAR).all(0)

    for member in members:
        allowed = free.copy()
        for other, place in places.items():
            wanted = share * candidates.wanted[member, other]
            allowed &= candidates.differences(place)[0] >= wanted
        if not allowed.any():
            return None

        # Stay near the wish, so that published colours remain known.
        best = candidates.nearest(member, allowed)
        places[member] = best

        # Rule out colours that a colour-blind eye could not distinguish from it.
        free &= (candidates.differences(best)[1:] >= share * _FAR).all(0)
    return places
