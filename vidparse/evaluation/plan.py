"""The evaluation plan: metrics, frames, and the inputs that each metric needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vidparse import __version__
from vidparse.data import Dataset, FrameRecord, Video
from vidparse.errors import InputError, UsageError
from vidparse.evaluation.entries import Entry
from vidparse.evaluation.entries.entry import VideoFrames, stamp_of
from vidparse.evaluation.metrics.measure import Measure
from vidparse.evaluation.metrics.measures import make_measures
from vidparse.flow import FlowSource

VPQ_WINDOWS = (1, 2, 4, 6)
_COUNTS = 2  # goes up when names of counts change: those of an interrupted run are not read then


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """Options of an evaluation, apart from the entries and the data set."""

    metrics: tuple[str, ...] | None = None  # names in METRICS; None: what the data set is known for
    windows: tuple[int, ...] = VPQ_WINDOWS  # of VPQ, in frames
    flow: FlowSource | None = None  # for measures that follow motion
    max_videos: int | None = None  # only the first so many of the split
    bootstrap: int = 0  # draws; 0: no intervals
    diagnostics: bool = False  # collect what the report shows
    resume: bool = True  # keep the counts of finished videos until the evaluation is complete


@dataclass(frozen=True, slots=True)
class Plan:
    """The work, settled before the first frame is read."""

    metrics: tuple[str, ...]
    videos: tuple[VideoFrames, ...]
    flow: FlowSource | None  # only if a measure needs it
    images: bool  # whether anyone looks at the pictures
    objects: bool  # whether a measure tells objects apart
    key: str  # everything but the files that decides the result

    @property
    def frames(self) -> int:
        return sum(len(frames) for _, frames in self.videos)

    @property
    def labelled(self) -> int:
        return sum(frame.labelled for _, frames in self.videos for frame in frames)


def make_plan(
    dataset: Dataset, entries: Sequence[Entry], options: EvaluationOptions, *, saving: bool
) -> Plan:
    """Settle everything that can be known beforehand.

    Args:
        saving: predictions of every frame are wanted, labelled or not.

    Raises:
        UsageError: a measure cannot be computed from this data or these entries.
        InputError: there is nothing to score, or an entry lacks predictions.
    """
    videos = dataset.videos[: options.max_videos]
    labelled = any(frame.labelled for video in videos for frame in video.frames)
    if not labelled and not saving:
        raise InputError(
            f"{dataset.name} {dataset.split}: has no masks to score against; "
            "choose another split, or write predictions with --save"
        )

    metrics = options.metrics or default_metrics(dataset, entries) if labelled else ()
    measures = make_measures(metrics, dataset.labels, windows=options.windows)
    for name, measure in measures.items():
        _check(name, measure, dataset, videos, entries, options)

    # Read every frame where flow or files need neighbours that have no mask.
    flow = options.flow if any(measure.needs_flow for measure in measures.values()) else None
    every = flow is not None or saving
    plan = Plan(
        metrics=tuple(metrics),
        videos=tuple(
            (video, tuple(frame for frame in video.frames if every or frame.labelled))
            for video in videos
        ),
        flow=flow,
        images=every or options.diagnostics or any(entry.needs_images for entry in entries),
        objects=any(measure.needs_panoptic for measure in measures.values()),
        key=_key(dataset, entries, tuple(metrics), options),
    )

    for entry in entries:
        entry.check(dataset, plan.videos)
    return plan


def default_metrics(dataset: Dataset, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Scores that are usually quoted for a data set, as far as these entries can have them."""
    if dataset.is_panoptic and all(entry.is_panoptic for entry in entries):
        return ("vpq", "stq", *dataset.metrics)
    return dataset.metrics


def video_key(entry: Entry, video: Video, frames: Sequence[FrameRecord]) -> str:
    """Key of one entry's result on one video: the entry, and the files behind it."""
    files = [path for frame in frames for path in (frame.image, frame.mask) if path]
    stamps = " ".join(stamp_of(path) for path in files)
    return f"{entry.detail} {entry.fingerprint(video)} {video.name} {stamps}"


def _check(
    name: str,
    measure: Measure,
    dataset: Dataset,
    videos: Sequence[Video],
    entries: Sequence[Entry],
    options: EvaluationOptions,
) -> None:
    """Raises: UsageError: this measure cannot be computed."""
    if measure.needs_flow and options.flow is None:
        raise UsageError(f"{name}: needs optical flow; name one with --flow")
    if measure.needs_panoptic and not dataset.is_panoptic:
        raise UsageError(
            f"{name}: {dataset.name} does not tell objects apart; choose a panoptic data set"
        )

    for entry in entries:
        if measure.needs_panoptic and not entry.is_panoptic:
            raise UsageError(
                f"{name}: {entry.name} has classes, not objects; give panoptic predictions"
            )

    for video in videos if measure.needs_every_mask else ():
        bare = [frame for frame in video.frames if not frame.labelled]
        if bare:
            raise UsageError(
                f"{name}: needs a mask on every frame; {len(bare)} of {len(video.frames)} "
                f"frames of {video.name} have none (first: {bare[0]})"
            )


def _key(
    dataset: Dataset,
    entries: Sequence[Entry],
    metrics: tuple[str, ...],
    options: EvaluationOptions,
) -> str:
    flow = options.flow.key if options.flow else None
    details = [entry.detail for entry in entries]
    of_data = (dataset.name, dataset.split, dataset.labels.name, dataset.recipe)
    of_run = (metrics, options.windows, flow, options.diagnostics)
    return repr((__version__, _COUNTS, *of_data, details, *of_run))
