"""One entry under way: its answers meet the truth, and counts add up video by video.

The spread of its scores comes from drawing the videos again (Efron's bootstrap). Class ids that are
off by one, the commonest mistake in files of predictions, are found and named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.data import FrameRecord, Video
from vidparse.data.pictures import image_size, size_mismatch
from vidparse.errors import InputError
from vidparse.evaluation.diagnostics import Diagnostics, VideoDiagnostics
from vidparse.evaluation.entries import Entry, InputFrame
from vidparse.evaluation.metrics.measure import Counts, Measure, Sample
from vidparse.evaluation.result import EntryResult, VideoRecord
from vidparse.maps import Prediction, SegmentMap

_OFFSET = "offset"  # among the counts of the measures
_BATCH = 256  # draws at once
OFFSETS = (0, -1, 1)  # added to the ids of a prediction
_SAMPLES = 100  # rows and columns of a frame that are looked at, about
# An offset is named where it brings at least this share of the pixels right, and so many times
# the share of the ids as they are.
_LEAST_SHARE, _TIMES = 0.3, 3


@dataclass(frozen=True, slots=True)
class FrameData:
    """One frame's data, read once for all entries."""

    frame: FrameRecord
    image: np.ndarray | None  # RGB uint8 (H, W, 3), as it is shown
    truth: SegmentMap | None  # None of an unlabelled frame
    flow: np.ndarray | None = None  # float32 (2, H, W) from the frame before
    clean: np.ndarray | None = None  # the image before it was degraded; None where it was not


class Tally:
    """Counts of one entry.

    Args:
        entry: who answers.
        measures: by name, none of them used before.
        num_classes: of the data set.
        diagnostics: collects what the report shows, if one is wanted.
    """

    def __init__(
        self,
        entry: Entry,
        measures: dict[str, Measure],
        diagnostics: Diagnostics | None,
        *,
        num_classes: int,
    ) -> None:
        self.entry = entry
        self._measures, self._diagnostics = measures, diagnostics
        self._offset = OffsetCounts(num_classes)
        self._totals: dict[str, Counts] = {}
        self._per_video: dict[str, dict[str, Counts]] = {}  # video -> measure -> counts
        self._kept: list[VideoDiagnostics] = []

    def answers(
        self, video: Video, frames: Iterable[FrameData]
    ) -> Iterator[tuple[FrameData, Prediction]]:
        """The answers to the frames of one video, counted, each with its frame."""
        waiting: deque[FrameData] = deque()  # given to the entry, not yet answered

        def inputs() -> Iterator[InputFrame]:
            for loaded in frames:
                waiting.append(loaded)
                yield loaded.frame, loaded.image

        for prediction in self.entry.answers(video, inputs()):
            loaded = waiting.popleft()
            is_shown = self._diagnostics is not None
            sample = _sample(self.entry.name, loaded, prediction, is_shown=is_shown)
            for name, measure in self._measures.items():
                _measure(name, measure, sample, loaded)

            # Look for ids that are off by one, whatever is measured.
            if sample.true_classes is not None:
                self._offset.update(sample.true_classes, sample.predicted_classes)
            if self._diagnostics is not None:
                self._diagnostics.update(sample, loaded.image)
            yield loaded, prediction

    def end_video(self) -> VideoRecord:
        """Counts and diagnostics of the video that ended."""
        counts = {name: measure.end_video() for name, measure in self._measures.items()}
        counts[_OFFSET] = self._offset.end_video()
        kept = self._diagnostics.end_video().to_arrays() if self._diagnostics else None
        return VideoRecord(counts, kept)

    def take(self, video: str, record: VideoRecord) -> None:
        """Add a video's counts to the totals; big matrices are kept in the sum alone."""
        for name, counts in record.counts.items():
            total = self._totals.setdefault(name, {})
            for key, value in counts.items():
                total[key] = total[key] + value if key in total else value

        # Keep a video's counts without its matrix: many classes squared, per video, fill memory.
        self._per_video[video] = {
            name: {key: value for key, value in counts.items() if key != "confusion"}
            for name, counts in record.counts.items()
        }
        if record.diagnostics is not None:
            self._kept.append(VideoDiagnostics.from_arrays(record.diagnostics))

    def result(self, *, bootstrap: int) -> EntryResult:
        """Scores over the videos taken; with so many draws for the intervals."""
        scores: dict[str, float] = {}
        per_class: dict[str, np.ndarray] = {}
        spread: dict[str, tuple[float, float]] = {}
        per_video: dict[str, dict[str, float]] = {video: {} for video in self._per_video}

        for name, measure in self._measures.items():
            scores |= _floats(measure.scores(self._totals[name]))
            per_class |= measure.per_class(self._totals[name])
            for video, counts in self._per_video.items():
                per_video[video] |= _floats(measure.scores(counts[name]))

            every = [counts[name] for counts in self._per_video.values()]
            spread |= intervals(measure, every, draws=bootstrap)

        return EntryResult(
            name=self.entry.name,
            detail=self.entry.detail,
            scores=scores,
            per_class=per_class,
            per_video=per_video,
            intervals=spread,
            confusion=self._totals.get("miou", {}).get("confusion"),
            videos=tuple(self._kept),
            silent=_silent(self._totals.get("miou")),
            notes=(*self.entry.notes, *self._offset_note(), *self._measure_notes()),
        )

    def _measure_notes(self) -> list[str]:
        return [
            note
            for name, measure in self._measures.items()
            for note in measure.notes(self._totals[name])
        ]

    def _offset_note(self) -> list[str]:
        """One sentence if ids that are off by one explain the scores."""
        found = better_offset(self._totals[_OFFSET]) if _OFFSET in self._totals else None
        if found is None:
            return []
        offset, share, plain = found
        where = (
            "lower: they seem to begin at 1" if offset < 0 else "higher: they seem to begin at -1"
        )
        return [
            f"{self.entry.name}: {share:.0%} of the labelled pixels would be right, not "
            f"{plain:.0%}, were its class ids one {where}. {self.entry.hint_for_offset(offset)}"
        ]


def _check_truth(loaded: FrameData) -> None:
    """Raises: InputError: the mask has another size than its image, so no prediction can fit."""
    frame, image_hw = loaded.frame, None
    if loaded.image is not None:
        image_hw = loaded.image.shape[0], loaded.image.shape[1]
    elif frame.image is not None:
        image_hw = image_size(frame.image)
    if loaded.truth is not None and image_hw is not None and loaded.truth.size_hw != image_hw:
        what = size_mismatch(frame.image, loaded.truth.size_hw, image_hw)
        raise InputError(f"{frame.mask}: {what}; mend the mask, `vidparse data check` finds all")


def _sample(entry: str, loaded: FrameData, prediction: Prediction, *, is_shown: bool) -> Sample:
    """A frame as measures take it.

    Args:
        is_shown: the image is laid below maps, so it needs their size.

    Raises:
        InputError: the prediction has another size than the truth or the image.
    """
    frame = loaded.frame
    assert prediction.index == frame.index  # predictions come in the order of the frames

    truth = None if loaded.truth is None else loaded.truth.ids
    shown = loaded.image[..., 0] if is_shown and loaded.image is not None else None
    sizes = ((truth, "the ground truth"), (loaded.flow, "the image"), (shown, "the image"))
    for known, what in sizes:
        if known is not None and known.shape[-2:] != prediction.ids.shape:
            _check_truth(loaded)
            height, width = prediction.ids.shape
            raise InputError(
                f"{entry}: {frame.video}/{frame.stem}: prediction is {width}x{height}, "
                f"{what} {known.shape[-1]}x{known.shape[-2]}; bring it to that size (nearest)"
            )

    return Sample(
        video=frame.video,
        stem=frame.stem,
        index=frame.index,
        prediction=prediction.map,
        truth=loaded.truth,
        flow=loaded.flow,
        void=prediction.labels.void,
    )


def _measure(name: str, measure: Measure, sample: Sample, loaded: FrameData) -> None:
    """Raises: InputError: the data is not as the measure needs it, such as frames of one size."""
    try:
        measure.update(sample)
    except ValueError as error:
        place = loaded.frame.mask or loaded.frame
        raise InputError(
            f"{place}: {name}: {error}; mend the data (`vidparse data check`), or leave {name} out"
        ) from error


def _silent(counts: Counts | None) -> float:
    """Share of the labelled pixels that were given no class; 0 where nobody counted."""
    if counts is None or not counts["truth"].sum():
        return 0.0
    return 1 - float(counts["confusion"].sum() / counts["truth"].sum())


def _floats(scores: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items()}


def intervals(
    measure: Measure, per_video: Sequence[Counts], *, draws: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of every score of a measure, over videos drawn with replacement.

    Args:
        per_video: counts of each video; at least two, else nothing is known of the spread.
        draws: how many times a set of as many videos is drawn.
        seed: the same seed draws the same videos, for every measure and entry.
    """
    if len(per_video) < 2 or draws < 1:
        return {}

    rng = np.random.default_rng(seed)
    even = np.full(len(per_video), 1 / len(per_video))
    names = [name for name in per_video[0] if name != "confusion"]  # scores do without
    stacked = {name: np.stack([counts[name] for counts in per_video]) for name in names}

    drawn: dict[str, list[np.ndarray]] = {}

    # Draw in batches: all draws at once would hold as many confusion matrices.
    for first in range(0, draws, _BATCH):
        times = rng.multinomial(len(per_video), even, size=min(_BATCH, draws - first))  # (N, V)
        sums = {name: np.tensordot(times, value, 1) for name, value in stacked.items()}
        for name, values in measure.scores(sums).items():
            drawn.setdefault(name, []).append(np.asarray(values, np.float64))

    # Leave undefined draws out: a draw may miss all videos of a class.
    spread = {}
    for name, parts in drawn.items():
        values = np.concatenate(parts)
        values = values[~np.isnan(values)]
        if len(values):
            low, high = np.percentile(values, [2.5, 97.5])
            spread[name] = (float(low), float(high))
    return spread


class OffsetCounts:
    """Agreement with the truth of class ids as they are, one lower and one higher.

    A grid of pixels per frame is enough: an offset of all ids shows in any sample.
    """

    def __init__(self, num_classes: int) -> None:
        self._classes = num_classes
        self._start_video()

    def _start_video(self) -> None:
        self._truth = np.zeros(self._classes, np.int64)
        self._right = np.zeros((len(OFFSETS), self._classes), np.int64)

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Add a frame: class ids (H, W) each; ids of `truth` that are no class do not count."""
        # Sample a grid: an offset of all ids shows anywhere.
        step = max(1, min(truth.shape) // _SAMPLES)
        wanted = truth[::step, ::step].astype(np.int64)
        given = prediction[::step, ::step].astype(np.int64)
        labelled = (wanted >= 0) & (wanted < self._classes)
        wanted, given = wanted[labelled], given[labelled]

        self._truth += np.bincount(wanted, minlength=self._classes)
        for row, offset in zip(self._right, OFFSETS, strict=True):
            row += np.bincount(wanted[given + offset == wanted], minlength=self._classes)

    def end_video(self) -> Counts:
        """Sampled pixels of each class "truth" (K,), and those "right" by offset (3, K)."""
        counts = {"truth": self._truth, "right": self._right}
        self._start_video()
        return counts


def better_offset(counts: Counts) -> tuple[int, float, float] | None:
    """An offset that fits far better than none: it, its share of right pixels, and that of none.

    None where the ids fit best as they are, or no offset fits well. More than one class must gain:
    a network that takes one class for its neighbour has another fault.
    """
    total = counts["truth"].sum()
    if not total:
        return None

    # Require a clear gain in two classes: one may be taken for its neighbour.
    shares = counts["right"].sum(axis=1) / total  # (3,)
    best = int(shares.argmax())
    clear = shares[best] >= _LEAST_SHARE and shares[best] > _TIMES * shares[0]
    gained = (counts["right"][best] > counts["truth"] / 2).sum()
    if not clear or gained < 2:
        return None
    return OFFSETS[best], float(shares[best]), float(shares[0])
