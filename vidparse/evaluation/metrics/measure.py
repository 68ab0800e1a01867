"""The measure: samples in, additive counts per video out, scores from their sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from vidparse.maps import SegmentMap

# Arrays that add up over videos: the scores of a split are those of the sum of its videos' counts,
# so videos can be shared out among workers, kept on disk, and resampled.
Counts = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame, its prediction and its truth.

    Args:
        index: position in the video.
        truth: None of an unlabelled frame.
        flow: float32 (2, H, W) from the frame before to this one; None where there is none.
        void: class id of pixels without a class.
    """

    video: str
    stem: str
    index: int
    prediction: SegmentMap
    truth: SegmentMap | None
    flow: np.ndarray | None = None
    void: int = 255

    @cached_property
    def predicted_classes(self) -> np.ndarray:
        """Class ids (H, W), `void` where nothing is predicted."""
        return self.prediction.classes(self.void)

    @cached_property
    def true_classes(self) -> np.ndarray | None:
        """Class ids (H, W), `void` where there is no truth; None of an unlabelled frame."""
        return None if self.truth is None else self.truth.classes(self.void)


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Facts of the data that measures are made from.

    stuff: None: every class that is no thing.
    ignore: class id of void; None: there is none.
    windows: of VPQ, in frames.
    """

    num_classes: int
    things: frozenset[int] = frozenset()
    stuff: frozenset[int] | None = None
    ignore: int | None = 255
    windows: tuple[int, ...] = (1, 2, 4, 6)

    @property
    def void(self) -> int:
        """The id of void, -1 where there is none: no pixel has it."""
        return -1 if self.ignore is None else self.ignore


class Measure(ABC):
    """A metric as `eval` runs it. Frames of a video come in order; `end_video` follows the last.

    A new one is a subclass and a line in METRICS; what it needs and the words for its scores stand
    here.

    Args:
        data: facts of the data.
    """

    needs_flow: ClassVar[bool] = False  # optical flow from the frame before
    needs_panoptic: ClassVar[bool] = False  # objects in truth and prediction
    needs_every_mask: ClassVar[bool] = False  # consecutive frames must be labelled
    # Score -> its title, and one sentence without its full stop.
    glossary: ClassVar[Mapping[str, tuple[str, str]]] = MappingProxyType({})

    def __init__(self, data: DataFacts) -> None:
        self.data = data

    @abstractmethod
    def update(self, sample: Sample) -> None:
        """Add the next frame of the video."""

    @abstractmethod
    def end_video(self) -> Counts:
        """Counts of the video that ended; the next sample starts another."""

    @abstractmethod
    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        """Scores (fractions, NaN where undefined) by name, from summed counts.

        Counts may have leading axes (..., *own); scores then have them: (...). This is what
        resampling uses. A field named "confusion" is for show: scores do without it, since it is
        too big to keep for every video.
        """

    def per_class(self, counts: Counts) -> dict[str, np.ndarray]:
        """Scores that exist for each class, (K,) each; empty when there are none."""
        return {}

    def notes(self, counts: Counts) -> tuple[str, ...]:
        """Sentences that a reader of the scores must know, from counts as in `scores`."""
        return ()

    @classmethod
    def words(cls, score: str) -> tuple[str, str] | None:
        """Title and meaning of one of its scores, None of another's; see `glossary`."""
        return cls.glossary.get(score)


def variant_words(
    glossary: Mapping[str, tuple[str, str]], score: str, suffix: str, meaning: str
) -> tuple[str, str] | None:
    """Words of a score whose name may end in `_suffix`, which `meaning` explains."""
    if score in glossary:
        return glossary[score]
    plain = score.removesuffix(f"_{suffix}")
    if plain == score or plain not in glossary:
        return None
    title, sentence = glossary[plain]
    return f"{title}, {suffix}", f"{sentence}; {meaning}"


def samples(
    truths: np.ndarray | None, predicted: np.ndarray, flows: np.ndarray | None = None
) -> Iterator[Sample]:
    """Frames of one video: ids (T, H, W) each; flows (T - 1, 2, H, W), each to the next frame.

    Raises:
        ValueError: numbers of frames differ.
    """
    if truths is not None and len(truths) != len(predicted):
        raise ValueError(f"{len(truths)} ground truth frames, {len(predicted)} predicted")
    if flows is not None and len(flows) != max(len(predicted) - 1, 0):
        raise ValueError(
            f"{len(predicted)} frames need {max(len(predicted) - 1, 0)} flows, got {len(flows)}"
        )

    for t, ids in enumerate(predicted):
        yield Sample(
            video="",
            stem=str(t),
            index=t,
            prediction=SegmentMap(np.asarray(ids)),
            truth=None if truths is None else SegmentMap(np.asarray(truths[t])),
            flow=None if flows is None or t == 0 else flows[t - 1],
        )


def counts_per_video(measure: Measure, videos: Iterable[Iterable[Sample]]) -> Iterator[Counts]:
    """Feed videos; yields the counts of each as it ends."""
    for video in videos:
        for sample in video:
            measure.update(sample)
        yield measure.end_video()


def count_videos(
    measure: Measure, videos: Iterable[Iterable[Sample]]
) -> tuple[Counts, list[Counts]]:
    """Feed videos to a fresh measure; the counts of all together, and those of each."""
    total = measure.end_video()  # of no frame: zeros
    each = list(counts_per_video(measure, videos))
    for counts in each:
        total = add_counts(total, counts)
    return total, each


def add_counts(total: Counts, counts: Counts) -> Counts:
    """The sum of two counts; an empty total takes the other's fields."""
    if not total:
        return dict(counts)
    return {name: total[name] + value for name, value in counts.items()}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64; NaN where whole is 0. Shapes broadcast."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN: (..., N) -> (...)."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))
