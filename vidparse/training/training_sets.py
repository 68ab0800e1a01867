"""The data of a run: its names, and the sets to learn from, brought to the labels of the first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from vidparse.data import IGNORE, Dataset, FrameRecord, Video, frame_interval_s, open_dataset
from vidparse.errors import InputError, UsageError
from vidparse.labels import Labels, unions_of
from vidparse.maps import recode
from vidparse.requests.training import SourceRequest
from vidparse.textfiles import JsonTable, as_number, as_table, as_tables, as_word


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Data and weights of a run.

    sources: the first decides the classes. validation: what is scored; None: the split "val" of
    the first source. validates: False: nothing is. flow_weights: RAFT's, which NetWarp starts from.
    """

    sources: tuple[SourceRequest, ...]
    validation: SourceRequest | None = None
    validates: bool = True
    flow_weights: Path | None = None

    def open_validation(self) -> Dataset | None:
        """The data set that is scored; None for none.

        Raises:
            UsageError, InputError: as `open_dataset`.
        """
        if not self.validates:
            return None
        return open_source(self.validation or replace(self.sources[0], split="val"))


@dataclass(frozen=True)
class TrainingSet:
    """A data set in use.

    table: uint8 (256,), its training ids -> ids of the run: classes of the first data set, and from
        K on unions of them (partial labels).
    """

    dataset: Dataset
    table: np.ndarray
    labelled: tuple[FrameRecord, ...]  # those that are learnt from as such
    unlabelled: tuple[FrameRecord, ...]
    weight: float | None = None

    def load_labels(self, frame: FrameRecord) -> np.ndarray:
        """uint8 (H, W), ids of the run."""
        return cv2.LUT(self.dataset.load_mask(frame), self.table)

    def load_objects(self, frame: FrameRecord) -> tuple[np.ndarray, np.ndarray]:
        """Labels uint8 (H, W) as of :meth:`load_labels`, and which thing is where.

        The second is unsigned (H, W): 0 for none, else a number that is one thing in its whole
        video. A crowd has its class and no number: where one of its things ends is unknown.

        Raises:
            InputError: as of `Dataset.load_truth`.
        """
        truth = self.dataset.load_truth(frame)
        labels = cv2.LUT(truth.classes(IGNORE), self.table)
        segments = truth.segments or ()
        things = sorted(one.id for one in segments if one.is_thing and not one.is_crowd)
        keys = np.array(things, truth.ids.dtype)
        return labels, recode(truth.ids, keys, keys, otherwise=0)

    def video_of(self, frame: FrameRecord) -> Video:
        return self._videos[frame.video]

    def may_see(self, frame: FrameRecord) -> bool:
        """True if the labels of a frame may be used."""
        return (frame.video, frame.index) in self._seen

    @cached_property
    def _videos(self) -> dict[str, Video]:
        return {video.name: video for video in self.dataset.videos}

    @cached_property
    def _seen(self) -> frozenset[tuple[str, int]]:
        return frozenset((frame.video, frame.index) for frame in self.labelled)


@dataclass(frozen=True, slots=True)
class TrainingSets:
    """All data sets of a run.

    unions: bool (G, K), which classes each partial label may be; id K + g in a target.
    """

    labels: Labels
    parts: tuple[TrainingSet, ...]
    unions: np.ndarray

    @property
    def first(self) -> TrainingSet:
        return self.parts[0]

    @property
    def frame_interval_s(self) -> float | None:
        """Seconds from frame to frame: the longest of the parts' medians, where one is known."""
        known = [frame_interval_s(part.dataset.videos) for part in self.parts]
        return max((one for one in known if one is not None and math.isfinite(one)), default=None)

    def class_counts(self) -> np.ndarray:
        """Pixels of each class in the labels of the first data set, int64 (K,).

        The others may be many, and labelled by a network.

        Raises:
            InputError: a mask is damaged.
        """
        counts = np.zeros(256, np.int64)
        for frame in self.first.labelled:
            counts += np.bincount(self.first.load_labels(frame).ravel(), minlength=256)
        return counts[: len(self.labels)]

    def describe(self) -> list[dict[str, object]]:
        """Plain facts for checkpoints and logs."""
        return [
            {
                "dataset": part.dataset.name,
                "split": part.dataset.split,
                "labelled": len(part.labelled),
                "unlabelled": len(part.unlabelled),
                **({"weight": part.weight} if part.weight is not None else {}),
            }
            for part in self.parts
        ]


def open_source(request: SourceRequest) -> Dataset:
    """Raises: UsageError, InputError: as `open_dataset`."""
    return open_dataset(request.dataset, request.root, request.split)


def open_training_sets(
    requests: Sequence[SourceRequest], *, label_fraction: float = 1.0, labels_per_video: int = 0
) -> TrainingSets:
    """Open every data set and bring it to the labels of the first.

    A data set with coarser classes can be mixed in if each of them is a known union of classes of
    the first (IDD-Lite's 7 of CamVid's 11: `vidparse.labels`); a pixel then teaches the
    probability of the union.

    Args:
        label_fraction: this part of the first data set's labelled frames, evenly spread, keep their
            labels; the others count as unlabelled.
        labels_per_video: so many of each of its videos do, evenly spread over the video; 0: all.

    Raises:
        UsageError: classes that do not fit. InputError: no labelled frame in the first.
    """
    parts: list[TrainingSet] = []
    members: list[np.ndarray] = []  # (K,) bool each
    labels: Labels | None = None
    for place, request in enumerate(requests):
        dataset = open_source(request)
        labels = labels or dataset.labels
        table = _table(dataset, labels, members)
        frames = [frame for video in dataset.videos for frame in video.frames]

        # Hide the labels of the first that the fraction leaves out.
        keeps = [frame for frame in frames if frame.labelled]
        if place == 0:
            if not keeps:
                raise InputError(
                    f"{dataset.name} {dataset.split}: has no masks to learn from; put them there, "
                    "or make some with `vidparse autolabel`"
                )
            keeps = _evenly(keeps, max(1, round(len(keeps) * label_fraction)))
            if labels_per_video:
                videos = ([one for one in video.frames if one.labelled] for video in dataset.videos)
                keeps = [one for own in videos for one in _evenly(own, labels_per_video)]

        # Compare by identity, which is quicker than by all fields of a record.
        kept = {id(frame) for frame in keeps}
        rest = tuple(frame for frame in frames if id(frame) not in kept)
        parts.append(TrainingSet(dataset, table, tuple(keeps), rest, request.weight))

    assert labels is not None  # a run has a first data set
    groups = np.stack(members) if members else np.zeros((0, len(labels)), bool)
    return TrainingSets(labels, tuple(parts), groups)


def _table(dataset: Dataset, labels: Labels, members: list[np.ndarray]) -> np.ndarray:
    """Ids of a data set -> ids of the run; unions that are new are added to `members`."""
    table = np.full(256, IGNORE, np.uint8)
    count = len(dataset.labels)
    if dataset.labels.classes == labels.classes:
        table[:count] = np.arange(count)
        return table

    try:
        groups = unions_of(dataset.labels, labels)
    except UsageError as error:
        raise UsageError(
            f"data set {dataset.name}: its classes ({dataset.labels.name}) are neither "
            f"{labels.name}'s ({dataset.labels.difference(labels)}) nor known unions of them; "
            "leave it out"
        ) from error

    for coarse, name in enumerate(dataset.labels.classes):
        fine = [labels.classes.index(one) for one in groups[name]]
        if len(fine) == 1:
            table[coarse] = fine[0]
        if len(fine) <= 1:
            continue  # a class of which the run has no part stays void
        row = np.zeros(len(labels), bool)
        row[fine] = True
        table[coarse] = len(labels) + len(members)
        members.append(row)
    if len(labels) + len(members) > IGNORE:
        raise UsageError(f"data set {dataset.name}: too many classes and unions for 8-bit masks")
    return table


def _evenly(frames: list[FrameRecord], count: int) -> list[FrameRecord]:
    """So many frames, or all where they are fewer, spread over all of them."""
    count = min(count, len(frames))

    # Pick from the middle of equal stretches, so that both ends count alike.
    picked = np.floor((np.arange(count) + 0.5) * len(frames) / count).astype(int)
    return [frames[i] for i in picked]


def request_record(request: TrainingRequest) -> dict[str, object]:
    """Plain values for the state of a run; paths are absolute."""
    return {
        "sources": [_source_record(source) for source in request.sources],
        "validation": _source_record(request.validation) if request.validation else None,
        "validates": request.validates,
        "flow_weights": str(request.flow_weights.absolute()) if request.flow_weights else None,
    }


def request_from(record: JsonTable) -> TrainingRequest:
    """The request of :func:`request_record`.

    Raises:
        KeyError, TypeError, ValueError: not such a record.
    """
    validation, flow_weights = record["validation"], record["flow_weights"]
    return TrainingRequest(
        tuple(_source_from(source) for source in as_tables(record["sources"], "sources")),
        _source_from(as_table(validation, "validation")) if validation else None,
        bool(record["validates"]),
        Path(as_word(flow_weights, "flow_weights")) if flow_weights else None,
    )


def _source_record(source: SourceRequest) -> dict[str, object]:
    root = str(source.root.absolute()) if source.root is not None else None
    return {
        "dataset": source.dataset,
        "root": root,
        "split": source.split,
        "weight": source.weight,
    }


def _source_from(record: JsonTable) -> SourceRequest:
    root, weight = record["root"], record["weight"]
    return SourceRequest(
        str(record["dataset"]),
        Path(as_word(root, "root")) if root is not None else None,
        str(record["split"]),
        float(as_number(weight, "weight")) if weight is not None else None,
    )
