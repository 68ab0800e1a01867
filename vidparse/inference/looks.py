"""Looks at how sure a network is of some frames of a video, and of the whole, by their mean.

A network that is given what it never saw still answers, but it is less sure (Hendrycks and Gimpel,
"A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks", ICLR
2017). Its scores are looked at before they are enlarged, at some of their positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import isqrt

import numpy as np

from vidparse.inference.answer import Answer, Scores
from vidparse.models.profile import Profile, Spread

MOST_LOOKS = 16  # of a video
LEAST_LOOKS = 4  # by which a video is judged
FURTHEST = 2.0  # standard deviations of the profile, within which a frame looks like it
_FIRST_GAP = 3  # frames between the first two looks
_POSITIONS = 4096  # of a frame's scores, about


@dataclass(frozen=True, slots=True)
class Look:
    """The sureness of a network at one frame; see :class:`Profile` for both figures."""

    confidence: float
    entropy: float

    def is_like(self, profile: Profile) -> bool:
        """True if one of the figures is what it is for pictures of the profile, or better."""
        low = profile.confidence.mean - FURTHEST * profile.confidence.deviation
        high = profile.entropy.mean + FURTHEST * profile.entropy.deviation
        return self.confidence >= low or self.entropy <= high


def look_at(scores: np.ndarray) -> Look:
    """A look at the scores of one frame, float32 (K, h, w), finite."""
    classes, height, width = scores.shape
    step = max(1, isqrt(height * width // _POSITIONS))
    some = scores[:, step // 2 :: step, step // 2 :: step].reshape(classes, -1)

    # Shift by the greatest score, so that exp cannot overflow.
    shifted = some.astype(np.float64) - some.max(axis=0)
    odds = np.exp(shifted)
    total = odds.sum(axis=0)

    # Use log p = score - log total: so no logarithm is taken of a probability of 0.
    entropy = np.log(total) - (odds * shifted).sum(axis=0) / total
    most = np.log(classes) if classes > 1 else 1.0
    return Look(float((1 / total).mean()), float((entropy / most).mean()))


def looks_at(answer: Answer, first: int) -> tuple[Look, ...]:
    """Looks at the frames of a clip whose turn it is: 16 of a video, at growing distances.

    They are frames 0, 3, 12, 27 and so on to 675: the length of a video need not be known, and the
    answer is the same for every part of it, whoever segments it.

    Args:
        answer: to the frames of the clip. One without scores is not looked at.
        first: number of its first frame in the video.
    """
    if not isinstance(answer, Scores) or first > _FIRST_GAP * (MOST_LOOKS - 1) ** 2:
        return ()
    return tuple(
        look_at(scores) for number, scores in enumerate(answer.values, first) if _is_due(number)
    )


def _is_due(number: int) -> bool:
    place = isqrt(number // _FIRST_GAP)
    return place < MOST_LOOKS and _FIRST_GAP * place**2 == number


def profile_of(looks: Sequence[Look]) -> Profile:
    """The profile of pictures, by a look at each; at least one."""
    confidence, entropy = np.array([astuple(one) for one in looks]).T
    return Profile(len(looks), _spread(confidence), _spread(entropy))


def _spread(values: np.ndarray) -> Spread:
    return Spread(round(float(values.mean()), 4), round(float(values.std()), 4))


def is_unlike(looks: Sequence[Look], profile: Profile | None) -> bool:
    """True if no look at a video is like the profile.

    One frame that is like it speaks for the rest: a shot of a street may well hold close pictures
    of its cars, of which a network is less sure than of a room.
    """
    if profile is None or len(looks) < LEAST_LOOKS:
        return False
    return not any(look.is_like(profile) for look in looks)


def mean_look(looks: Sequence[Look]) -> Look:
    """The mean of both figures; of at least one look."""
    confidence, entropy = np.mean([astuple(one) for one in looks], axis=0)
    return Look(float(confidence), float(entropy))
