"""A requested evaluation, in names and paths, and the function that `vidparse eval` calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidparse.data import Dataset, FrameRecord, Video, open_dataset, usual_format
from vidparse.data.dataset import in_labels
from vidparse.data.void_warning import survey
from vidparse.errors import OutputError, UsageError
from vidparse.evaluation.entries import (
    SUPPORTS,
    Entry,
    ModelEntry,
    PublishedTcbEntry,
    check_published,
    open_predictions,
)
from vidparse.evaluation.evaluate import EvaluationOptions, evaluate
from vidparse.evaluation.result import Evaluation
from vidparse.flow import open_flow
from vidparse.frame import Frame, VideoInfo
from vidparse.hub import DEFAULT_MODEL
from vidparse.image import ColourTags, Rgb
from vidparse.inference import load_chosen
from vidparse.inference.devices import choose_device
from vidparse.inference.load import model_names
from vidparse.inference.runners import TorchRunner
from vidparse.labels import Labels, load_labels
from vidparse.maps import Prediction
from vidparse.requests.evaluation import EvaluationRequest
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks import Sink, make_sinks
from vidparse.video import Input

SUBMISSIONS = ("vspw", "vipseg")


def run_evaluation(
    request: EvaluationRequest,
    *,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
    stop: threading.Event | None = None,
) -> Evaluation:
    """Open what is named and score it; errors as those of :func:`evaluate`."""
    name = request.dataset or usual_format(request.data)
    dataset = open_dataset(name, request.data, request.split)
    if request.labels is not None:
        dataset = in_labels(dataset, load_labels(request.labels))

    if request.degrade is not None:
        from vidparse.data.degrade import degraded

        dataset = degraded(dataset, request.degrade)

    if (request.save is None) != (request.out is None):
        raise UsageError("--save and -o: belong together; name a layout and a folder")

    options = EvaluationOptions(
        metrics=request.metrics,
        windows=request.windows or dataset.windows,
        flow=open_flow(
            request.flow,
            weights=request.flow_weights,
            device=str(choose_device(request.choice.device)),
            cache=request.flow_cache,
        ),
        max_videos=request.max_videos,
        bootstrap=request.bootstrap,
        diagnostics=request.report is not None,
        resume=request.resume,
    )

    entries = _entries(request, dataset)
    saver = _saver(request, dataset, entries) if request.save else None
    result = evaluate(dataset, entries, options, saver=saver, on_frame=on_frame, stop=stop)

    # Warn only: a doubt about the masks is no reason to refuse scores.
    videos = dataset.videos[: request.max_videos]
    scored = [frame for video in videos for frame in video.frames if frame.labelled]
    warning = survey(dataset, scored)
    return replace(result, notes=(*result.notes, f"{warning}.")) if warning else result


def _entries(request: EvaluationRequest, dataset: Dataset) -> list[Entry]:
    if request.support not in SUPPORTS:
        raise UsageError(f"support '{request.support}': unknown; use {' or '.join(SUPPORTS)}")
    models = request.models
    if not models and not request.predictions:
        models = (DEFAULT_MODEL,)
    if not models:
        _refuse_options_of_models(request)
    entries = [_model_entry(name, request, dataset) for name in models]
    entries += [open_predictions(folder, raw_ids=request.raw_ids) for folder in request.predictions]
    for i, entry in enumerate(entries):  # heads of table columns must differ
        same = sum(other.name == entry.name for other in entries[:i])
        if same:
            entry.name = f"{entry.name} ({same + 1})"
    return entries


def _refuse_options_of_models(request: EvaluationRequest) -> None:
    """Raises: UsageError: an option is set that changes nothing where predictions are read."""
    given = {
        "degrade": request.degrade is not None,
        "size": request.size is not None,
        **dict.fromkeys(filter(None, [request.variants.words.split(" ")[0].lstrip("-")]), True),
        "stabilize": request.stabilize,
        "keyframes": request.keyframes is not None,
        "window": request.window is not None,
        "linker": request.linker is not None,
        request.merging.first_set if request.merging else "merging": request.merging is not None,
        "support": request.support != SUPPORTS[0],
    }
    for name, is_set in given.items():
        if is_set:
            raise UsageError(
                f"--{name}: acts on models, and only predictions are scored; "
                "leave it out, or name a model with -m"
            )


def _model_entry(name: str, request: EvaluationRequest, dataset: Dataset) -> Entry:
    is_published = request.support == "official"
    if is_published and not request.variants.is_plain:
        raise UsageError(
            f"--support official: is one look at each frame; leave out {request.variants.words}"
        )
    if is_published:
        smoother = "--stabilize" if request.stabilize else "--keyframes"
        changes = request.stabilize or request.keyframes is not None
        check_published(
            name, backend=request.choice.backend, changed_by=smoother if changes else ""
        )

    choice = replace(request.choice.of(name), variants=request.variants)
    runner = load_chosen(replace(choice, backend="torch") if is_published else choice)

    short = ",".join(Path(one).name for one in model_names(name))
    if isinstance(runner, TorchRunner) and is_published:
        return PublishedTcbEntry(short, runner, dataset, size=request.size)
    labels = dataset.labels if request.labels is not None else None
    return ModelEntry(
        short,
        runner,
        size=request.size,
        stabilize=request.stabilize,
        keyframes=request.keyframes,
        window=request.window,
        linker=request.linker,
        merging=request.merging,
        labels=labels,
    )


def _saver(request: EvaluationRequest, dataset: Dataset, entries: list[Entry]) -> SubmissionSaver:
    if request.save not in SUBMISSIONS:
        raise UsageError(f"--save {request.save}: unknown; use {' or '.join(SUBMISSIONS)}")
    if len(entries) != 1 or not isinstance(entries[0], ModelEntry | PublishedTcbEntry):
        raise UsageError("--save: keeps the predictions of one model; give one -m and no --pred")
    assert request.out is not None  # they come together
    sink_options = SinkOptions(raw_ids=request.raw_ids, overwrite=request.overwrite)
    return SubmissionSaver(request.save, request.out, dataset.labels, sink_options)


class SubmissionSaver:
    """A folder that every video of a split adds to.

    Args:
        layout: one of SUBMISSIONS.
        out: the folder; made when it is not there.
        labels: the classes of the ids.

    Raises:
        OutputError: the folder is not empty, and `options` do not allow to replace its content.
    """

    def __init__(self, layout: str, out: Path, labels: Labels, options: SinkOptions) -> None:
        if not options.overwrite and out.is_dir() and any(out.iterdir()):
            raise OutputError(f"{out}: is not empty; give --overwrite or another folder")
        self._layout, self._out, self._labels, self._options = layout, out, labels, options
        self._sink: Sink | None = None

    def begin(self, video: Video, size_hw: tuple[int, int]) -> None:
        first = video.frames[0].image
        (self._sink,) = make_sinks(
            [self._layout],
            source=Input(str(first.parent), first.parent) if first else Input(video.name),
            out=f"{self._out}/",
            options=self._options,
            video=video.name,
        )
        info = VideoInfo(
            name=video.name,
            size_hw=size_hw,
            time_base=Fraction(1, 25),
            rate=None,
            frames=len(video.frames),
            duration_s=None,
            sample_aspect_ratio=Fraction(1),
            colour=ColourTags(),
        )
        self._sink.open(info, self._labels)

    def write(self, frame: FrameRecord, image: np.ndarray, prediction: Prediction) -> None:
        assert self._sink is not None
        picture = Frame(frame.index, frame.index, Rgb(image), name=frame.stem)
        self._sink.write(picture, prediction)

    def end(self, *, keep: bool) -> None:
        assert self._sink is not None
        sink, self._sink = self._sink, None
        sink.close(keep=keep)
