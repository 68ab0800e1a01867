"""Labels for frames that have none, or coarse ones, from the mean answer of several models."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vidparse.data import Dataset, labelled_frames, open_dataset, usual_format
from vidparse.data.shrink import check_shorter_side
from vidparse.errors import Interrupted, TruncatedError, UsageError, counted
from vidparse.hub import DEFAULT_MODEL, catalogue
from vidparse.inference import Runner, load_chosen, run
from vidparse.inference.runners.ensemble import Ensemble, shares_of
from vidparse.labels import Labels
from vidparse.requests.autolabel import AutolabelRequest
from vidparse.requests.variants import Variants
from vidparse.training.autolabel.choice import Choice, OwnClasses, Within
from vidparse.training.autolabel.folder import FolderCounts, LabelFolder, LabelSink
from vidparse.training.autolabel.pictures import (
    FrameCount,
    Reading,
    Recording,
    Rest,
    recordings_of_dataset,
    recordings_of_inputs,
)


@dataclass(frozen=True, slots=True)
class AutolabelResult:
    """The work done by a call, and the state of the folder after it."""

    out: Path
    classes: tuple[str, ...]
    made: int  # frames labelled now
    skipped: int  # that were done before
    counts: FolderCounts
    notes: tuple[str, ...]


def make_labels(
    request: AutolabelRequest,
    *,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
    on_note: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> AutolabelResult:
    """Label frames with the mean answer of several models; the folder is a `folder` data set.

    Frames take the path of `segment`: sources, a session, a sink. The same request goes on where
    it was interrupted.

    Args:
        on_frame: gets the number of frames done, and of all (a guess while videos are read). The
            thread that decodes calls it, too, for frames that were done before.
        on_note: gets what a user should know before the work.
        stop: set it to end after the frame under way.

    Raises:
        UsageError, InputError, ModelError, DeviceError, OutputError: see each one's message.
        TruncatedError: an input ended early; all frames before that, and other inputs, are done.
        Interrupted: `stop` was set.
    """
    # Check what can be checked before models are fetched and loaded.
    stop = stop or threading.Event()
    recordings, dataset = _recordings(request)
    if not request.models:
        summary = catalogue()[DEFAULT_MODEL].summary
        on_note(f"no model is named with -m, so {DEFAULT_MODEL} labels ({summary})")
    names = request.models or (DEFAULT_MODEL,)
    votes = shares_of(request.votes or (), len(names))

    # Load, and find the folder as these settings left it, or new.
    runners = [(name, load_chosen(request.choice.of(name))) for name in names]
    ensemble = Ensemble(runners, request.variants, labels=request.labels, votes=votes,
                        begin_anew=True)  # fmt: skip
    choice = _choice(request, ensemble.labels, dataset)
    settings = _settings(request, runners, ensemble, dataset)
    folder = LabelFolder(request.out, choice.labels, settings, overwrite=request.overwrite)

    expected = sum(len(one.pictures) for one in recordings)
    progress = FrameCount(expected, request.max_frames, on_frame, stop)
    work = _Work(request, ensemble, choice, folder, progress)
    notes = [note for one in recordings for note in one.notes]
    complete = False
    try:
        for one in recordings:
            if progress.room == 0:
                break
            work.label(one)
        complete = work.truncated is None and progress.done != request.max_frames
    except Interrupted as error:
        raise Interrupted(
            f"autolabel: stopped after {counted(progress.done, 'frame')}; the same command goes on "
            "from there"
        ) from error
    finally:
        # Write the record however the run ends: the next one goes on by it.
        counts = folder.write_record(complete=complete)

    if work.truncated is not None:
        raise work.truncated
    return AutolabelResult(
        out=request.out,
        classes=choice.labels.classes,
        made=progress.made,
        skipped=progress.passed,
        counts=counts,
        notes=(*notes, *work.notes),
    )


class _Work:
    """The path that recordings take: that of `segment`, with an ensemble and a label folder.

    Attributes:
        truncated: the error of the first video that ended early; the others are labelled.
        notes: of videos, for the user, one line each.
    """

    def __init__(
        self,
        request: AutolabelRequest,
        ensemble: Ensemble,
        choice: Choice,
        folder: LabelFolder,
        progress: FrameCount,
    ) -> None:
        self._threshold, self._ensemble, self._choice = request.threshold, ensemble, choice
        self._folder, self._progress = folder, progress
        self._reading = Reading(request.every, request.start_s, request.end_s, request.shrink)
        self.truncated: TruncatedError | None = None
        self.notes: list[str] = []

    def label(self, recording: Recording) -> None:
        """Label the frames of a recording that have no label yet.

        Raises:
            Interrupted: at the user's wish; frames that are done stay.
            InputError, OutputError, ModelError, DeviceError: see each one's message.
        """
        progress, before = self._progress, self._progress.done
        others = progress.expected
        is_done = partial(self._folder.has, recording.name)
        try:
            rest = Rest(recording, self._reading, is_done, progress)
            if not rest.is_empty:
                self._run(rest, recording.name)
            self.notes += [f"{recording.name}: {note}" for note in rest.notes]
        except TruncatedError as error:
            # Keep the first error and go on: the other videos can be labelled.
            self.truncated = self.truncated or error

        # Put the number of frames that came in place of the guess.
        if recording.video is not None:
            progress.expected = others + progress.done - before

    def _run(self, rest: Rest, name: str) -> None:
        session = self._ensemble.session(
            rest.info, min_confidence=self._threshold, refine=self._choice
        )
        run(
            rest,
            session,
            [LabelSink(self._folder, name)],
            on_frame=self._progress.count_made,
            stop=self._progress.stop,
        )


def _looks(variants: Variants) -> dict[str, object]:
    """The looks at a picture, by the names that folders of all versions have."""
    found = {"scales": variants.scales, "flip": variants.flip, "window": variants.slide}
    return found | ({"stride": variants.slide_stride} if variants.slide_stride else {})


def autolabel_record(result: AutolabelResult) -> dict[str, object]:
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


def _recordings(request: AutolabelRequest) -> tuple[list[Recording], Dataset | None]:
    of_dataset = request.dataset is not None or (request.data is not None and not request.inputs)
    if of_dataset == bool(request.inputs):
        raise UsageError("inputs: name either a data set with --dataset, or videos and folders")
    if request.within and request.unlabelled:
        raise UsageError("--within: needs the labels that --unlabelled leaves out; drop one")
    check_shorter_side(request.shrink)
    if request.within and request.shrink is not None:
        raise UsageError("--shrink: cannot go with --within, whose labels are of full size")
    if not of_dataset:
        if request.within or request.unlabelled or request.data is not None:
            raise UsageError(
                "--data, --within, --unlabelled: belong to a data set; name it with --dataset"
            )
        whole = request.start_s is None and request.end_s is None
        found = recordings_of_inputs(request.inputs, every=request.every, may_have_pictures=whole)
        return found, None

    if request.start_s is not None or request.end_s is not None:
        raise UsageError("--start, --end: are for videos; choose a --split of the data set")
    if request.every != 1:
        raise UsageError("--every: is for videos and folders; a data set is labelled whole")
    name = request.dataset or usual_format(request.data)
    dataset = open_dataset(name, request.data, request.split)
    found = recordings_of_dataset(dataset, unlabelled=request.unlabelled)
    if request.within and not labelled_frames(dataset):
        raise UsageError(
            f"--within: no frame of {dataset.name} {dataset.split} has labels; "
            "drop it or choose another --split"
        )
    return found, dataset


def _choice(request: AutolabelRequest, labels: Labels, dataset: Dataset | None) -> Choice:
    """Raises: UsageError: see `Within` and `OwnClasses`."""
    within = Within(dataset.labels, labels) if dataset and request.within else None
    own = OwnClasses(request.classes, labels) if request.classes else None
    return Choice(labels, within, own, dataset.load_mask if dataset else None)


def _settings(
    request: AutolabelRequest,
    runners: list[tuple[str, Runner]],
    ensemble: Ensemble,
    dataset: Dataset | None,
) -> dict[str, object]:
    """All that decides the labels in a mask, as plain JSON values.

    A folder goes on only with the settings that it was begun with. An edge that nobody set has
    no key, as in the folders of versions that knew no edges.
    """
    if dataset is None:
        source: dict[str, object] = {"inputs": list(request.inputs), "every": request.every}
        edges = {"start_s": request.start_s, "end_s": request.end_s}

        # Leave out edges that nobody set, as versions that knew none did.
        source |= {name: edge for name, edge in edges.items() if edge is not None}
    else:
        source = {
            "dataset": request.dataset or usual_format(request.data),
            "data": str(request.data.resolve()) if request.data else None,
            "split": request.split,
            "unlabelled": request.unlabelled,
        }

    # Name a model by its weights too: what a name stands for may change.
    models = [
        {
            "name": name,
            "sha256": runner.description.sha256,
            "backend": runner.backend,
            "precision": runner.precision,
            "share": share,
        }
        for (name, runner), share in zip(runners, ensemble.shares, strict=True)
    ]

    return {
        "source": source,
        "models": models,
        **_looks(request.variants),
        "shrink": request.shrink,
        "threshold": request.threshold,
        "labels": ensemble.labels.name,
        "classes": list(request.classes or ensemble.labels.classes),
        "within": dataset.labels.name if dataset and request.within else None,
    }
