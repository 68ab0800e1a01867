"""An evaluation from its request; what `vidparse eval` calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vidparse.data import Dataset, open_dataset, usual_format
from vidparse.data.coverage import survey
from vidparse.data.dataset import in_labels
from vidparse.errors import UsageError
from vidparse.evaluation.entries import (
    SUPPORTS,
    Entry,
    ModelEntry,
    PublishedTcbEntry,
    check_published,
    open_predictions,
)
from vidparse.evaluation.evaluate import evaluate
from vidparse.evaluation.plan import EvaluationOptions
from vidparse.evaluation.result import Evaluation
from vidparse.evaluation.saver import SUBMISSIONS, SubmissionSaver
from vidparse.flow import open_flow
from vidparse.hub import DEFAULT_MODEL
from vidparse.inference import load_model
from vidparse.inference.devices import choose_device
from vidparse.inference.runners import TorchRunner
from vidparse.labels import load_labels
from vidparse.requests.evaluation import EvaluationRequest
from vidparse.requests.outputs import SinkOptions


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

    if (request.save is None) != (request.out is None):
        raise UsageError("--save and -o: belong together; name a layout and a folder")

    options = EvaluationOptions(
        metrics=request.metrics,
        windows=request.windows or dataset.windows,
        flow=open_flow(
            request.flow,
            weights=request.flow_weights,
            device=str(choose_device(request.device)),
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
    entries = [_model_entry(name, request, dataset) for name in models]
    entries += [open_predictions(folder, raw_ids=request.raw_ids) for folder in request.predictions]
    for i, entry in enumerate(entries):  # heads of table columns must differ
        same = sum(other.name == entry.name for other in entries[:i])
        if same:
            entry.name = f"{entry.name} ({same + 1})"
    return entries


def _model_entry(name: str, request: EvaluationRequest, dataset: Dataset) -> Entry:
    is_published = request.support == "official"
    if is_published:
        check_published(name, backend=request.backend, stabilize=request.stabilize)

    runner = load_model(
        name,
        backend="torch" if is_published else request.backend,
        device=request.device,
        precision=request.precision,
        threads=request.threads,
        task=request.task,
    )

    short = Path(name).name
    if isinstance(runner, TorchRunner) and is_published:
        return PublishedTcbEntry(short, runner, dataset, size=request.size)
    labels = dataset.labels if request.labels is not None else None
    return ModelEntry(
        short,
        runner,
        size=request.size,
        stabilize=request.stabilize,
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
