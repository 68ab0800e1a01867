"""Score a model on a labelled split, through the very session that `segment` uses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vidparse.data import IGNORE, Dataset, FrameRecord, labelled_frames
from vidparse.errors import Interrupted, UsageError
from vidparse.evaluation.confusion import ConfusionMatrix, SemanticScores
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import Runner, Session
from vidparse.inference.stages import in_thread


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of one model on one split."""

    dataset: str
    split: str
    frames: int
    seconds: float
    classes: tuple[str, ...]
    scores: SemanticScores


def evaluate(
    runner: Runner,
    dataset: Dataset,
    *,
    size: int | tuple[int, int] | None = None,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
    stop: threading.Event | None = None,
) -> Evaluation:
    """mIoU and its kin over every labelled frame, at the size of its labels.

    Raises:
        UsageError: the model speaks of other classes than the data set.
        Interrupted: `stop` was set.
        InputError: an image or mask is damaged; the file is named.
    """
    labels = runner.description.labels
    if labels.classes != dataset.labels.classes:
        raise UsageError(
            f"model labels '{labels.name}' ({len(labels)} classes) are not those of "
            f"{dataset.name} ({len(dataset.labels)}); choose a model trained for it"
        )
    cv2.setNumThreads(1)
    stop = stop or threading.Event()
    session = Session(runner, size=size)
    matrix = ConfusionMatrix(len(labels), ignore=IGNORE)
    total = len(labelled_frames(dataset))
    done, start = 0, time.perf_counter()
    for video in dataset.videos:
        session.reset()
        loaded = in_thread(
            _load(dataset, video.frames), name="data", stuck=threading.Event(), halt=stop
        )
        with closing(loaded) as frames:
            for frame, mask in frames:
                (prediction,) = session.step(frame)
                if mask is not None:
                    matrix.update(mask, prediction.ids)
                    done += 1
                    on_frame(done, total)
                if stop.is_set():
                    break
        if stop.is_set():
            raise Interrupted(f"eval: stopped after {done} of {total} frames")
    seconds = time.perf_counter() - start
    return Evaluation(dataset.name, dataset.split, done, seconds, labels.classes, matrix.compute())


def _load(
    dataset: Dataset, frames: tuple[FrameRecord, ...]
) -> Iterator[tuple[Frame, np.ndarray | None]]:
    for record in frames:
        mask = dataset.load_mask(record) if record.labelled else None
        image = Rgb(dataset.load_image(record))
        yield Frame(record.index, record.index, image, name=record.stem), mask


def evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    """Plain values for `--json`; NaN becomes null."""

    def plain(value: float) -> float | None:
        return None if np.isnan(value) else round(float(value), 6)

    scores = evaluation.scores
    return {
        "dataset": evaluation.dataset,
        "split": evaluation.split,
        "frames": evaluation.frames,
        "seconds": round(evaluation.seconds, 2),
        "miou": plain(scores.miou),
        "wiou": plain(scores.wiou),
        "pixel_accuracy": plain(scores.pixel_accuracy),
        "mean_accuracy": plain(scores.mean_accuracy),
        "per_class": {
            name: plain(value)
            for name, value in zip(evaluation.classes, scores.per_class, strict=True)
        },
    }
