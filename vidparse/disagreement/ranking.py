"""The frames of a video in which models differ most, with some time between them."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vidparse.disagreement.answers import NOTHING, Answer, Answers
from vidparse.errors import InputError, Interrupted
from vidparse.requests.disagreement import DisagreementRequest

_ROUNDING_S = 1e-6  # of times, so that neighbours 0.04 s apart are that
_MOST_PAIRS = 3  # of classes, that are named for a frame


@dataclass(frozen=True, slots=True)
class RankedFrame:
    """A frame worth a look.

    score: 0 (alike) to 1. pairs: the classes that are taken for each other most, with their share
        of the pixels.
    """

    index: int
    time_s: float
    score: float
    pairs: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The outcome for a video.

    mean: of the scores of all frames. ranked: () where nothing differs in any frame.
    """

    input: str
    models: tuple[str, ...]
    by: str
    frames: int
    mean: float
    ranked: tuple[RankedFrame, ...]


def rank_frames(
    request: DisagreementRequest,
    answers: Answers,
    *,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
    stop: threading.Event | None = None,
) -> Disagreement:
    """Score every frame of the range, and choose those of the highest scores.

    A frame is chosen where none of a higher score lies closer than `spacing_s`. Of the frames only
    their scores are kept, 32 bytes each.

    Args:
        on_frame: gets the number of frames done, and of all, as the header claims.
        stop: set it to end early.

    Raises:
        InputError: the range holds no frame that can be scored. Interrupted: `stop` was set.
    """
    _, expected = answers.info()
    scores, times, indices = array("d"), array("d"), array("q")
    kept: dict[int, tuple[tuple[str, str, float], ...]] = {}
    done = 0
    for answer in answers.run():
        if stop is not None and stop.is_set():
            raise Interrupted(f"disagree: stopped after {done} frames")
        done += 1
        on_frame(done, max(done, expected or 0))
        if answer.second is None:
            continue
        scores.append(score_of(answer, request.by, len(answers.classes)))
        times.append(answer.frame.time_s)
        indices.append(answer.frame.index)

        # Name the pairs of frames that may be chosen, and forget those of frames that cannot.
        kept[len(scores) - 1] = confusions(answer, answers.classes)
        if len(kept) > 4 * request.top + 64:
            best = chosen(scores, times, top=request.top, spacing_s=request.spacing_s)
            kept = {place: kept[place] for place in best if place in kept}

    if not scores:
        raise InputError(
            f"{request.input}: too few frames to compare ({done}); take a longer range"
        )
    best = chosen(scores, times, top=request.top, spacing_s=request.spacing_s)
    ranked = tuple(
        RankedFrame(indices[place], times[place], scores[place], kept.get(place, ()))
        for place in best
    )
    mean = float(np.mean(np.asarray(scores)))
    return Disagreement(request.input, tuple(answers.names), request.by, done, mean, ranked)


def score_of(answer: Answer, by: str, classes: int) -> float:
    """Distance of the two opinions of a frame, 0 (alike) to 1.

    pixels: the share of pixels on which both predict a class and not the same one. classes: 1 less
    the mean over classes of the IoU of the two, over the same pixels.
    """
    first, second = answer.first, answer.second
    assert second is not None
    both = (first != NOTHING) & (second != NOTHING)
    count = int(np.count_nonzero(both))
    if not count:
        return 0.0
    if by == "pixels":
        return int(np.count_nonzero((first != second) & both)) / count

    one, other = first[both], second[both]
    here = np.bincount(one, minlength=classes)
    there = np.bincount(other, minlength=classes)
    same = np.bincount(one[one == other], minlength=classes)
    union = here + there - same
    return 1 - float(np.mean(same[union > 0] / union[union > 0]))


def confusions(answer: Answer, classes: tuple[str, ...]) -> tuple[tuple[str, str, float], ...]:
    """The pairs of classes, first opinion and second, that cover most of what differs."""
    first, second = answer.first, answer.second
    assert second is not None
    differs = (first != second) & (first != NOTHING) & (second != NOTHING)
    codes = first[differs].astype(np.int64) * len(classes) + second[differs]
    pairs, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MOST_PAIRS]
    return tuple(
        (
            classes[int(pairs[i]) // len(classes)],
            classes[int(pairs[i]) % len(classes)],
            float(counts[i]) / first.size,
        )
        for i in order
    )


def chosen(scores: array[float], times: array[float], *, top: int, spacing_s: float) -> list[int]:
    """Places of the highest scores, highest first, that lie at least `spacing_s` apart.

    A score of 0 is none: nothing differs there.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    found: list[int] = []
    for place in order.tolist():
        if len(found) == top or scores[place] <= 0:
            break
        if all(abs(times[place] - times[other]) > spacing_s - _ROUNDING_S for other in found):
            found.append(place)
    return found
