"""An evaluation: planned before the first frame is read, then every entry on the same frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import tee
from typing import Protocol

import cv2
import numpy as np

from vidparse import __version__
from vidparse.data import Dataset, FrameRecord, Video
from vidparse.data.folders import ListedSegments
from vidparse.errors import InputError, Interrupted, UsageError, counted
from vidparse.evaluation.diagnostics import Diagnostics
from vidparse.evaluation.entries import Entry
from vidparse.evaluation.entries.entry import VideoFrames, stamp_of
from vidparse.evaluation.metrics import Measure, make_measures
from vidparse.evaluation.result import EntryResult, Evaluation, Store, default_store
from vidparse.evaluation.tally import FrameData, Tally
from vidparse.flow import FlowSource
from vidparse.maps import Prediction, SegmentMap
from vidparse.threads import in_thread

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
    images: bool  # True if a measure or the report needs the pictures
    objects: bool  # True if a measure distinguishes objects
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

    # Refuse a measure now rather than after hours of frames.
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
    check_data(name, measure, dataset, videos)

    for entry in entries:
        if measure.needs_panoptic and not entry.is_panoptic:
            raise UsageError(
                f"{name}: {entry.name} has classes, not objects; give panoptic predictions"
            )


def check_data(name: str, measure: Measure, dataset: Dataset, videos: Sequence[Video]) -> None:
    """Raises: UsageError: this measure cannot be computed from this data."""
    if measure.needs_panoptic and not dataset.is_panoptic:
        raise UsageError(
            f"{name}: {dataset.name} does not distinguish objects; choose a panoptic data set"
        )

    for video in videos if measure.needs_every_mask else ():
        bare = [frame for frame in video.frames if not frame.labelled]
        if bare:
            raise UsageError(
                f"{name}: needs a mask on every frame; {len(bare)} of {len(video.frames)} "
                f"frames of {video.name} have none (first: {bare[0]}); choose other metrics"
            )


def _key(
    dataset: Dataset,
    entries: Sequence[Entry],
    metrics: tuple[str, ...],
    options: EvaluationOptions,
) -> str:
    flow = options.flow.key if options.flow else None
    details = [entry.detail for entry in entries]

    # Name the classes, too: a label file may be mended between two runs and keep its name.
    labels = dataset.labels
    classes = (labels.name, labels.classes, sorted(labels.things))
    listed = dataset.read_segments
    table = listed.table if isinstance(listed, ListedSegments) else None
    of_file = stamp_of(table.path) if table is not None else ""
    of_data = (dataset.name, dataset.split, classes, of_file, dataset.recipe)
    of_run = (metrics, options.windows, flow, options.diagnostics)
    return repr((__version__, _COUNTS, *of_data, details, *of_run))


class Saver(Protocol):
    """Keeps predictions as they are made, video by video."""

    def begin(self, video: Video, size_hw: tuple[int, int]) -> None: ...
    def write(self, frame: FrameRecord, image: np.ndarray, prediction: Prediction) -> None: ...
    def end(self, *, keep: bool) -> None: ...


def evaluate(
    dataset: Dataset,
    entries: Sequence[Entry],
    options: EvaluationOptions | None = None,
    *,
    saver: Saver | None = None,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
    stop: threading.Event | None = None,
) -> Evaluation:
    """Scores of every entry over the labelled frames of a split.

    Images, masks and flow are read or made once per frame, however many entries there are; only the
    current frame and counts are held. An interrupted evaluation goes on from its last complete
    video when it is started again, unless `options.resume` is off.

    Args:
        saver: gets the predictions of every frame, labelled or not; the split may have no labels.
        on_frame: called with the frames done and their number.
        stop: set it to end early.

    Raises:
        UsageError: an entry has other classes, or a measure cannot be computed from this data.
        InputError: an image, mask or prediction is damaged or missing; the file is named.
        Interrupted: `stop` was set.
    """
    options, stop = options or EvaluationOptions(), stop or threading.Event()

    # Leave the cores to the networks: OpenCV's threads would compete with theirs.
    cv2.setNumThreads(1)
    plan = make_plan(dataset, entries, options, saving=saver is not None)
    tallies = [
        Tally(
            entry,
            make_measures(plan.metrics, dataset.labels, windows=options.windows),
            Diagnostics(dataset.labels) if options.diagnostics else None,
            num_classes=len(dataset.labels),
        )
        for entry in entries
    ]

    # Keep no counts while predictions are saved: a resumed run would lack their files.
    store = default_store(plan.key) if options.resume and saver is None else Store(None)
    done, resumed, start = 0, 0, time.perf_counter()
    used: list[str] = []  # keys of what is kept of these videos

    for video, frames in plan.videos:
        # Take over videos that an interrupted run has finished, for each entry by itself.
        keys = {id(tally): video_key(tally.entry, video, frames) for tally in tallies}
        used += keys.values()
        pending = []
        for tally in tallies:
            record = store.read(keys[id(tally)])
            if record is None:
                pending.append(tally)
            else:
                tally.take(video.name, record)
                resumed += 1

        steps = _predict(dataset, plan, video, frames, pending, saver, stop)
        for count in steps if pending else ():
            on_frame(done + count, plan.frames)

        if stop.is_set():
            hint = "the same command goes on from its last video" if store.folder else "begin anew"
            raise Interrupted(f"eval: stopped after {done} of {plan.frames} frames; {hint}")
        done += len(frames)
        on_frame(done, plan.frames)

        for tally in pending:
            record = tally.end_video()
            store.write(keys[id(tally)], record)
            tally.take(video.name, record)

    # Leave the counts of other videos alone: an interrupted run of the whole split needs them.
    store.clear(None if options.max_videos is None else used)
    results = tuple(tally.result(bootstrap=options.bootstrap) for tally in tallies)
    return Evaluation(
        dataset=dataset.name,
        split=dataset.split,
        labels=dataset.labels,
        metrics=plan.metrics,
        frames=plan.labelled,
        videos=len(plan.videos),
        resumed=resumed,
        seconds=time.perf_counter() - start,
        flow=plan.flow.name if plan.flow else None,
        entries=results,
        notes=(*(f"{note}." for note in dataset.notes), *_notes(plan, options, results)),
    )


def _notes(
    plan: Plan, options: EvaluationOptions, results: Sequence[EntryResult]
) -> tuple[str, ...]:
    """Sentences that a reader of the scores must know."""
    notes = [
        f"{entry.name} has no prediction for {entry.silent:.0%} of the labelled pixels."
        for entry in results
        if entry.silent > 0.01
    ]
    notes += dict.fromkeys(note for entry in results for note in entry.notes)
    if options.bootstrap and len(plan.videos) < 2:
        notes.append("Intervals need two videos or more; there is one.")
    if options.max_videos is not None:
        notes.append(f"Only the first {counted(len(plan.videos), 'video')} of the split.")
    return tuple(notes)


def _predict(
    dataset: Dataset,
    plan: Plan,
    video: Video,
    frames: Sequence[FrameRecord],
    tallies: Sequence[Tally],
    saver: Saver | None,
    stop: threading.Event,
) -> Iterator[int]:
    """Put one video to every entry; yields the number of frames done, ends early at `stop`."""
    # Read each frame once for all entries, in a thread beside the networks.
    loading = in_thread(
        _load(dataset, plan, video, frames), name="data", stuck=threading.Event(), halt=stop
    )
    saving = whole = False

    try:
        with closing(loading) as stream:
            copies = tee(stream, len(tallies))
            answers = [
                tally.answers(video, copy) for tally, copy in zip(tallies, copies, strict=True)
            ]

            for count, answered in enumerate(zip(*answers, strict=True), start=1):
                for loaded, prediction in answered if saver is not None else ():
                    assert loaded.image is not None and saver is not None  # the plan has images on
                    if not saving:
                        saver.begin(video, loaded.image.shape[:2])
                        saving = True
                    saver.write(loaded.frame, loaded.image, prediction)
                yield count
                if stop.is_set():
                    return

        whole = not stop.is_set()
    finally:
        if saver is not None and saving:
            saver.end(keep=whole)


def _load(
    dataset: Dataset, plan: Plan, video: Video, frames: Sequence[FrameRecord]
) -> Iterator[FrameData]:
    """Everything about each frame but the answers; runs in a thread of its own."""
    before: FrameData | None = None
    for frame in frames:
        image = dataset.load_image(frame) if plan.images else None
        truth = None
        if frame.labelled:  # segments only where they are looked at: classes are read faster
            objects = plan.objects and dataset.is_panoptic
            truth = dataset.load_truth(frame) if objects else SegmentMap(dataset.load_mask(frame))
        # Follow motion in pictures as they were: noise hides it, and the world moved all the same.
        follows = plan.flow is not None and dataset.read_clean is not None
        clean = dataset.read_clean(frame) if follows and dataset.read_clean else None
        loaded = FrameData(frame, image, truth, clean=clean)
        yield replace(loaded, flow=_flow(plan.flow, video, before, loaded))
        before = loaded


def _flow(
    source: FlowSource | None, video: Video, before: FrameData | None, now: FrameData
) -> np.ndarray | None:
    """Flow from the frame before; None at the start, and where a frame is missing between."""
    if source is None or before is None or now.frame.index != before.frame.index + 1:
        return None
    earlier, later = (one.image if one.clean is None else one.clean for one in (before, now))
    assert earlier is not None and later is not None
    if earlier.shape != later.shape:
        raise InputError(f"{now.frame}: differs in size from {before.frame}; check the data folder")
    return source.between(earlier, later, video=video.name, stem=before.frame.stem)
