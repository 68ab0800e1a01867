"""Frames that repeat: the picture before once more, in screen recordings, slides, doubled frames.

A network without a memory answers equal inputs with equal scores, so it is run at the first of them
alone. Pictures and inputs are compared byte for byte, block by block from the top, so that pictures
that differ are known to at their first block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from vidparse.image import Image, Rgb
from vidparse.inference.answer import Answer, ClassIds, Scores
from vidparse.inference.clip_segments import ClipSegments
from vidparse.inference.clips import Prepared

_BLOCK_BYTES = 1 << 16  # compared at a time; small enough for the cache


class LastPicture:
    """A copy of the last picture: who made that frame may draw on it, or use its memory again."""

    def __init__(self) -> None:
        self._planes: tuple[np.ndarray, ...] = ()
        self._colours: tuple[object, ...] = ()

    def repeats(self, image: Image) -> bool:
        """True if the picture equals the one before, sample for sample; it is the last one now."""
        planes = image.planes

        # Compare the colour code, too: equal samples under another matrix are another picture.
        colours = () if isinstance(image, Rgb) else (image.matrix, image.full_range)
        fits = self._shapes(planes) == self._shapes(self._planes)
        if fits and colours == self._colours and all(map(same_bytes, planes, self._planes)):
            return True

        self._colours = colours
        if not fits:
            self._planes = tuple(np.empty(plane.shape, plane.dtype) for plane in planes)
        for mine, plane in zip(self._planes, planes, strict=True):
            np.copyto(mine, plane)
        return False

    @staticmethod
    def _shapes(planes: tuple[np.ndarray, ...]) -> list[tuple[int, ...]]:
        return [plane.shape for plane in planes]


def same_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    """True if two arrays of one type have the same shape and the same samples, NaN and -0 too."""
    if a.shape != b.shape:
        return False

    # Compare bits: as numbers NaN differs from itself, and -0 equals 0.
    if a.dtype == np.float32:
        a, b = a.view(np.uint32), b.view(np.uint32)
    if a.ndim > 3:
        a, b = (one.reshape(-1, *one.shape[-2:]) for one in (a, b))

    # Go in blocks and stop at the first that differs: most pictures differ at the top.
    rows = max(1, _BLOCK_BYTES // max(1, a[:1].nbytes))
    return all(
        np.array_equal(a[top : top + rows], b[top : top + rows]) for top in range(0, len(a), rows)
    )


class Repeats:
    """The answers to the clips of a video, each of which is got once while it repeats.

    Args:
        predict: the answer to a clip.
        alone: each frame is answered by itself, and a clip is a mere batch of them: frames that
            repeat within it are left out, too.
    """

    def __init__(self, predict: Callable[[Sequence[Prepared]], Answer], *, alone: bool) -> None:
        self._predict, self._alone = predict, alone
        self._last: Answer | None = None
        self._frames = 0  # of the last clip
        self._is_still = False  # all of them are one picture

    @property
    def state(self) -> Scores | ClassIds | None:
        """The answer to the last frame alone, to be kept and set again.

        None where a clip that repeats it runs the network once more.
        """
        last = self._last
        return _last_of(last) if self._alone and isinstance(last, Scores | ClassIds) else None

    @state.setter
    def state(self, state: Scores | ClassIds | None) -> None:
        self._last, self._frames, self._is_still = state, 1, state is not None

    def answer(self, clip: Sequence[Prepared]) -> tuple[Answer, int]:
        """The answer to a clip, and the number of its frames that the network was spared.

        It is the very object of the clip before, where this clip repeats that one.
        """
        last, frames = self._last, len(clip)
        goes_on = last is not None and all(one.repeats for one in clip)
        if last is not None and goes_on and self._is_still and self._frames == frames:
            return last, frames

        # Predict the frames that are new; of a batch, the others have the answer before theirs.
        fresh = [i for i, one in enumerate(clip) if not (self._alone and one.repeats and i)]
        if last is not None and goes_on and self._alone:
            fresh, answer = [], _taken(last, np.full(frames, -1))
        else:
            answer = self._predict([clip[i] for i in fresh])
            if len(fresh) < frames:
                answer = _taken(answer, np.searchsorted(fresh, np.arange(frames), "right") - 1)

        self._last, self._frames = answer, frames
        self._is_still = all(one.repeats for one in clip[1:])
        return answer, frames - len(fresh)


def _taken(answer: Answer, places: np.ndarray) -> Answer:
    """The answers at these places of a batch."""
    assert isinstance(answer, Scores | ClassIds)  # no other network takes batches
    return answer.taken(places)


def _last_of(answer: Scores | ClassIds) -> Scores | ClassIds:
    return answer.taken(np.array([-1]))


def copied(clip: ClipSegments) -> ClipSegments:
    """The segments of a clip in memory of their own, which users may change."""
    return replace(clip, maps=tuple(replace(one, ids=one.ids.copy()) for one in clip.maps))
