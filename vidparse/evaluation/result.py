"""The result of an evaluation, entry by entry, and its plain form for `--json`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidparse.evaluation.diagnostics import VideoDiagnostics
from vidparse.labels import Labels


@dataclass(frozen=True, slots=True)
class EntryResult:
    """Scores of one model or one folder of predictions; fractions, NaN where undefined."""

    name: str
    detail: str
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]  # 95 %, by bootstrap over videos; may be empty
    per_class: dict[str, np.ndarray]  # score -> (K,), NaN where the class is absent
    confusion: np.ndarray | None  # int64 (K, K) pixels, rows ground truth; of semantic scores
    per_video: dict[str, dict[str, float]]  # video -> score -> value
    videos: tuple[VideoDiagnostics, ...]  # what the report shows of each; may be empty
    silent: float = 0.0  # share of the labelled pixels that were given no class
    notes: tuple[str, ...] = ()  # about this entry alone, a sentence each


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Every entry on the same frames of one split."""

    dataset: str
    split: str
    labels: Labels
    metrics: tuple[str, ...]
    frames: int  # scored, of each entry
    videos: int
    resumed: int  # videos whose counts came from an interrupted run, over all entries
    seconds: float
    flow: str | None
    entries: tuple[EntryResult, ...]  # at least one; the others are compared with the first
    command: str = ""  # that made it
    notes: tuple[str, ...] = ()  # what people should know about the scores


def evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    """Plain values for `--json`; NaN becomes null."""
    return {
        "schema": "vidparse-evaluation/1",
        "dataset": evaluation.dataset,
        "split": evaluation.split,
        "metrics": list(evaluation.metrics),
        "frames": evaluation.frames,
        "videos": evaluation.videos,
        "resumed_videos": evaluation.resumed,
        "seconds": round(evaluation.seconds, 2),
        "flow": evaluation.flow,
        "notes": list(evaluation.notes),
        "entries": [_entry(entry, evaluation.labels) for entry in evaluation.entries],
    }


def _entry(entry: EntryResult, labels: Labels) -> dict[str, Any]:
    return {
        "name": entry.name,
        "detail": entry.detail,
        "scores": {name: _plain(value) for name, value in entry.scores.items()},
        "intervals_95": {
            name: [_plain(low), _plain(high)] for name, (low, high) in entry.intervals.items()
        },
        "per_class": {
            name: dict(zip(labels.classes, map(_plain, values), strict=True))
            for name, values in entry.per_class.items()
        },
        "per_video": {
            video: {name: _plain(value) for name, value in scores.items()}
            for video, scores in entry.per_video.items()
        },
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
