"""A model as an entry: the session of `segment`, answer by answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vidparse.data import Dataset, FrameRecord, Video
from vidparse.errors import UsageError
from vidparse.evaluation.entries.entry import InputFrame, VideoFrames
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import Merging, Runner, Session
from vidparse.labels import Labels, class_ids_in
from vidparse.maps import Prediction, SegmentMap
from vidparse.models.description import SEMANTIC

_USUAL_INTERVAL_S = 0.1  # of video that networks with a memory are meant for, or a shorter one
_MUCH_FURTHER = 3  # times as far apart as in training


class ModelEntry:
    """Predictions of a network, brought back to the size of the frames as `segment` does.

    Args:
        name: for table heads.
        runner: the network on its device.
        size, stabilize, window, linker, merging: as for :class:`Session`.
        labels: the label set of the answers, whose classes those of the network are parts of; its
            own if not given.

    Raises:
        UsageError: its classes are not known as parts of those.
    """

    needs_images = True
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        runner: Runner,
        *,
        size: int | tuple[int, int] | None = None,
        stabilize: bool = False,
        window: int | None = None,
        linker: str | None = None,
        merging: Merging | None = None,
        labels: Labels | None = None,
    ) -> None:
        self.name = name
        self._labels = labels or runner.description.labels
        self._table = _table(name, runner, self._labels)

        self._runner, self._size = runner, size
        self._session = Session(
            runner, size=size, stabilize=stabilize, window=window, linker=linker, merging=merging
        )

        # Name the settings that differ from the model's own: they are part of the key of results.
        settings = {"window": window, "linker": linker, "merging": merging}
        self._settings = "".join(
            f" {name} {one}" for name, one in settings.items() if one is not None
        )
        facts = runner.description
        self.is_panoptic = facts.task != SEMANTIC
        self._looks_back = runner.remembers or stabilize

        self.detail = (
            f"model {name}, sha256 {facts.sha256[:12]}, {runner.backend} {runner.precision} "
            f"on {runner.device}{', stabilized' if stabilize else ''}"
            f"{'' if self._table is None else f', as {self._labels.name}'}"
        )

    def check(self, dataset: Dataset, videos: Sequence[VideoFrames]) -> None:
        labels = self._labels
        if labels.classes != dataset.labels.classes:
            raise UsageError(
                f"model {self.name}: its labels '{labels.name}' are not those of {dataset.name} "
                f"({labels.difference(dataset.labels)}); choose a model trained for it"
            )
        if self._looks_back:
            self.notes = _pace_notes(self.name, self._runner.description.training, videos)

    def fingerprint(self, video: Video) -> str:
        facts = self._runner.description
        task = "" if facts.task == SEMANTIC else f" {facts.task}"
        how = f"{self._runner.backend} {self._runner.precision} {self._size}{self._settings}{task}"
        return f"{facts.sha256} {how}"

    def answers(self, video: Video, frames: Iterable[InputFrame]) -> Iterator[Prediction]:
        for prediction in predictions_of(self._session, frames):
            yield prediction if self._table is None else self._regrouped(prediction, self._table)

    def _regrouped(self, prediction: Prediction, table: np.ndarray) -> Prediction:
        ids = np.take(table, prediction.ids)
        return replace(prediction, map=SegmentMap(ids), labels=self._labels)

    def hint_for_offset(self, offset: int) -> str:
        return "Convert the model again with the classes in the order of the data set's."


def _table(name: str, runner: Runner, labels: Labels) -> np.ndarray | None:
    """Ids of other labels by the ids that a network answers with; None where they are the same."""
    own = runner.description.labels
    class_ids = class_ids_in(own, labels)
    if class_ids is None:
        return None
    if runner.description.task != SEMANTIC:
        raise UsageError(f"{name}: is panoptic, and --labels is for classes; use --task semantic")
    table = np.full(own.void + 1, labels.void, labels.dtype)
    table[: len(class_ids)] = class_ids
    return table


def predictions_of(session: Session, frames: Iterable[InputFrame]) -> Iterator[Prediction]:
    """The predictions of a session for frames of one video that come with their images."""
    return (prediction for _, prediction in session.run(_frame(*one) for one in frames))


def _frame(record: FrameRecord, image: np.ndarray | None) -> Frame:
    assert image is not None  # needs_images
    return Frame(record.index, record.index, Rgb(image), name=record.stem)


def _pace_notes(
    name: str, training: Mapping[str, Any], videos: Sequence[VideoFrames]
) -> tuple[str, ...]:
    """A note if the frames lie much further apart than those that a memory learnt on."""
    stored = training.get("frame_interval_s")
    learnt_s = _USUAL_INTERVAL_S
    if isinstance(stored, int | float) and stored > 0:
        learnt_s = float(stored)
    interval_s = _interval_s(videos)
    if interval_s is None or interval_s <= _MUCH_FURTHER * learnt_s:
        return ()

    far = "are no video" if math.isinf(interval_s) else f"lie {interval_s:.3g} s apart"
    return (
        f"{name} blends each frame with those before, and the frames here {far}; it is for video "
        f"with a frame every {learnt_s:.2g} s. What it remembers may be too old to help: compare "
        "with a model without a memory.",
    )


def _interval_s(videos: Sequence[VideoFrames]) -> float | None:
    """Seconds between the frames that are fed, the median over videos; None if unknown."""
    known = []
    for video, frames in videos:
        steps = np.diff([frame.index for frame in frames])
        if video.interval_s is not None and len(steps):
            known.append(video.interval_s * float(np.median(steps)))
    return float(np.median(known)) if known else None
