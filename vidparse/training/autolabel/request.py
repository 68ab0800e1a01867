"""Automatic labels by names and paths, as `vidparse autolabel` gives them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidparse.data import Dataset, open_dataset, usual_format
from vidparse.errors import InputError, Interrupted, UsageError, counted
from vidparse.frame import Frame
from vidparse.hub import DEFAULT_MODEL, catalogue
from vidparse.inference import Runner, Session, load_model
from vidparse.inference.preprocess import SMALLEST
from vidparse.inference.runners.ensemble import Ensemble, Variants, shares_of
from vidparse.training.autolabel.choice import OwnClasses, Within
from vidparse.training.autolabel.folder import Counts, LabelFolder
from vidparse.training.autolabel.pictures import (
    Picture,
    Pictures,
    pictures_of_dataset,
    pictures_of_inputs,
)


@dataclass(frozen=True, slots=True)
class AutolabelRequest:
    """Everything that `vidparse autolabel` takes."""

    out: Path

    # by whom; none: the default model
    models: tuple[str, ...] = ()
    votes: tuple[float, ...] = ()  # how much each counts; none: all alike
    labels: str | None = None  # label set of the answer, where models differ
    classes: tuple[str, ...] = ()  # own classes made of those, see `OwnClasses`; none: all of them
    variants: Variants = field(default_factory=Variants)
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    task: str = "auto"

    # what: either a split, or videos and folders of pictures
    dataset: str | None = None
    data: Path | None = None
    split: str = "train"
    unlabelled: bool = False  # only frames without a mask
    inputs: tuple[str, ...] = ()
    every: int = 1
    start_s: float | None = None  # range of each video
    end_s: float | None = None
    max_frames: int | None = None
    shrink: int | None = None  # larger pictures are brought to this shorter side first

    # which labels are kept
    threshold: float = 0.5
    within: bool = False  # agree with the data set's coarser labels
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class AutolabelResult:
    """What was done, and what the folder holds now."""

    out: Path
    classes: tuple[str, ...]
    made: int  # frames labelled now
    skipped: int  # that were done before
    counts: Counts
    notes: tuple[str, ...]


def make_labels(
    request: AutolabelRequest,
    *,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
    on_note: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> AutolabelResult:
    """Label frames with the mean answer of several models; the folder is a `folder` data set.

    One frame is held at a time. The same request goes on where it was interrupted.

    Args:
        on_frame: gets the number of frames done, and of all (a guess while videos are read).
        on_note: gets what a user should know before the work.
        stop: set it to end after the frame under way.

    Raises:
        UsageError, InputError, ModelError, DeviceError, OutputError: see each one's message.
        TruncatedError: an input ended early; all frames before that, and other inputs, are done.
        Interrupted: `stop` was set.
    """
    # Check what can be checked before models are fetched and loaded.
    stop = stop or threading.Event()
    pictures, dataset = _pictures(request)
    if not request.models:
        summary = catalogue()[DEFAULT_MODEL].summary
        on_note(f"no model is named with -m, so {DEFAULT_MODEL} labels ({summary})")
    names = request.models or (DEFAULT_MODEL,)
    votes = shares_of(request.votes, len(names))

    # Load, and find the folder as these settings left it, or new.
    runners = [(name, _runner(request, name)) for name in names]
    ensemble = Ensemble(runners, request.variants, labels=request.labels, votes=votes)
    within = Within(dataset.labels, ensemble.labels) if dataset and request.within else None
    own = OwnClasses(request.classes, ensemble.labels) if request.classes else None
    labels = own.labels if own else ensemble.labels
    settings = _settings(request, runners, ensemble, dataset)
    folder = LabelFolder(request.out, labels, settings, overwrite=request.overwrite)

    made = done = 0
    complete = False
    try:
        for picture in islice(pictures, request.max_frames):
            if stop.is_set():
                raise Interrupted(
                    f"autolabel: stopped after {counted(done, 'frame')}; the same command goes on "
                    "from there"
                )
            if not folder.has(picture):
                rgb = picture.load()
                if request.shrink is not None and min(rgb.shape[:2]) > request.shrink:
                    rgb, picture = _shrunk(rgb, request.shrink), replace(picture, file=None)
                ids = _labelled(picture, rgb, ensemble, request.threshold, within, own)
                folder.write(picture, rgb, ids)
                made += 1
            done += 1
            total = max(done, min(pictures.expected, request.max_frames or pictures.expected))
            on_frame(done, total)
        complete = pictures.truncated is None and done != request.max_frames
    finally:
        counts = folder.write_record(complete=complete)

    if pictures.truncated is not None:
        raise pictures.truncated
    return AutolabelResult(
        out=request.out,
        classes=labels.classes,
        made=made,
        skipped=done - made,
        counts=counts,
        notes=tuple(pictures.notes),
    )


def autolabel_record(result: AutolabelResult) -> dict[str, Any]:
    """Plain JSON values."""
    counts = result.counts
    return {
        "out": str(result.out),
        "made": result.made,
        "skipped": result.skipped,
        "frames": counts.frames,
        "pixels": counts.pixels,
        "kept_share": counts.kept_share,
        "class_shares_of_kept": dict(zip(result.classes, counts.class_shares, strict=True)),
        "notes": list(result.notes),
    }


def _pictures(request: AutolabelRequest) -> tuple[Pictures, Dataset | None]:
    of_dataset = request.dataset is not None or (request.data is not None and not request.inputs)
    if of_dataset == bool(request.inputs):
        raise UsageError("inputs: name either a data set with --dataset, or videos and folders")
    if request.within and request.unlabelled:
        raise UsageError("--within: needs the labels that --unlabelled leaves out; drop one")
    if request.shrink is not None and request.shrink < SMALLEST:
        raise UsageError(f"--shrink {request.shrink}: must be {SMALLEST} or more")
    if request.within and request.shrink is not None:
        raise UsageError("--shrink: cannot go with --within, whose labels are of full size")
    if not of_dataset:
        if request.within or request.unlabelled or request.data is not None:
            raise UsageError(
                "--data, --within, --unlabelled: belong to a data set; name it with --dataset"
            )
        span = (request.start_s, request.end_s)
        return pictures_of_inputs(request.inputs, every=request.every, span_s=span), None

    if request.start_s is not None or request.end_s is not None:
        raise UsageError("--start, --end: are for videos; choose a --split of the data set")
    if request.every != 1:
        raise UsageError("--every: is for videos and folders; a data set is labelled whole")
    name = request.dataset or usual_format(request.data)
    dataset = open_dataset(name, request.data, request.split)
    found = pictures_of_dataset(dataset, unlabelled=request.unlabelled)
    if request.within and not found.labelled:
        raise UsageError(
            f"--within: no frame of {dataset.name} {dataset.split} has labels; "
            "drop it or choose another --split"
        )
    return found, dataset


def _runner(request: AutolabelRequest, name: str) -> Runner:
    return load_model(
        name,
        backend=request.backend,
        device=request.device,
        precision=request.precision,
        threads=request.threads,
        task=request.task,
    )


def _settings(
    request: AutolabelRequest,
    runners: list[tuple[str, Runner]],
    ensemble: Ensemble,
    dataset: Dataset | None,
) -> dict[str, Any]:
    """All that decides what a mask says, as plain JSON values."""
    source: dict[str, Any] = {"inputs": list(request.inputs), "every": request.every}
    for name, edge in (("start_s", request.start_s), ("end_s", request.end_s)):
        source |= {} if edge is None else {name: edge}
    if dataset is not None:
        root = str(request.data.resolve()) if request.data else None
        source = {
            "dataset": request.dataset or usual_format(request.data),
            "data": root,
            "split": request.split,
            "unlabelled": request.unlabelled,
        }
    return {
        "source": source,
        "models": [
            {
                "name": name,
                "sha256": runner.description.sha256,
                "backend": runner.backend,
                "precision": runner.precision,
                "share": share,
            }
            for (name, runner), share in zip(runners, ensemble.shares, strict=True)
        ],
        **asdict(request.variants),
        "shrink": request.shrink,
        "threshold": request.threshold,
        "labels": ensemble.labels.name,
        "classes": list(request.classes or ensemble.labels.classes),
        "within": dataset.labels.name if dataset and request.within else None,
    }


def _shrunk(rgb: np.ndarray, size: int) -> np.ndarray:
    """A picture brought to this shorter side."""
    height, width = (round(side * size / min(rgb.shape[:2])) for side in rgb.shape[:2])
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)


def _labelled(
    picture: Picture,
    rgb: np.ndarray,
    ensemble: Ensemble,
    threshold: float,
    within: Within | None,
    own: OwnClasses | None,
) -> np.ndarray:
    """Class ids uint8 (H, W) of a picture, IGNORE where nothing is sure."""
    coarse = picture.load_mask() if within and picture.load_mask else None
    if coarse is not None and coarse.shape != rgb.shape[:2]:
        raise InputError(
            f"{picture}: its mask is {coarse.shape[1]}x{coarse.shape[0]}, the image "
            f"{rgb.shape[1]}x{rgb.shape[0]}; make them the same size"
        )

    def refined(rows: slice, probabilities: np.ndarray) -> np.ndarray:
        if within is not None and coarse is not None:
            probabilities = within.constrained(probabilities, coarse[rows])
        return probabilities if own is None else own.sums(probabilities)

    ensemble.sample_aspect_ratio = picture.sample_aspect_ratio
    size_hw = (rgb.shape[0], rgb.shape[1])
    session = Session(ensemble, size=size_hw, min_confidence=threshold, refine=refined)
    ((_, prediction),) = session.run([Frame.from_rgb(rgb)])
    return prediction.ids
