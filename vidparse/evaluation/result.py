"""The result of an evaluation, entry by entry, its plain form for `--json`, and what is kept of it.

Counts of finished videos are kept on disk while an evaluation is incomplete.
"""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from vidparse.errors import OutputError
from vidparse.evaluation.diagnostics import VideoDiagnostics
from vidparse.evaluation.metrics.measure import Counts
from vidparse.filenames import user_cache
from vidparse.files import whole_file
from vidparse.labels import Labels

log = logging.getLogger(__name__)


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
    videos: tuple[VideoDiagnostics, ...]  # for the report; may be empty
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
    notes: tuple[str, ...] = ()  # sentences for readers of the scores


def evaluation_record(evaluation: Evaluation) -> dict[str, object]:
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


def _entry(entry: EntryResult, labels: Labels) -> dict[str, object]:
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


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """Results of one entry on one video, as they are kept on disk."""

    counts: dict[str, Counts]  # by measure
    diagnostics: dict[str, np.ndarray] | None  # VideoDiagnostics.to_arrays()


class Store:
    """A folder with one file per video and entry, gone once the evaluation is complete.

    Args:
        folder: of this evaluation; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def read(self, key: str) -> VideoRecord | None:
        """The record under `key`; None if there is none, or none that can be read."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            # Refuse pickles: a file in a cache must not run code.
            with np.load(path, allow_pickle=False) as kept:
                return _unpacked({name: kept[name] for name in kept.files})
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            log.warning("%s: %s; scoring that video again", path, error)
            return None

    def write(self, key: str, record: VideoRecord) -> None:
        """Keep a record. A disk that is full or read-only costs the resume, not the evaluation."""
        path = self._path(key)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as part, part.open("wb") as file:
                np.savez_compressed(file, **_packed(record))  # type: ignore[arg-type]
        except (OSError, OutputError) as error:
            log.warning("%s; this evaluation cannot be resumed", error)
            self.folder = None

    def clear(self, keys: Iterable[str] | None = None) -> None:
        """Remove what was kept for an evaluation that is complete.

        Args:
            keys: of its records, where others are to stay; None: none are.
        """
        if self.folder is None:
            return
        if keys is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for path in map(self._path, keys):
            assert path is not None
            with suppress(OSError):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()  # if nothing is left in it

    def _path(self, key: str) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"


def default_store(key: str) -> Store:
    """The place of an evaluation in the user's cache, by everything that decides its result."""
    return Store(user_cache() / "vidparse" / "eval" / hashlib.sha256(key.encode()).hexdigest()[:24])


def _packed(record: VideoRecord) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for measure, counts in record.counts.items():
        arrays |= {f"counts/{measure}/{name}": value for name, value in counts.items()}
    for name, value in (record.diagnostics or {}).items():
        arrays[f"diagnostics/{name}"] = value
    return arrays


def _unpacked(arrays: dict[str, np.ndarray]) -> VideoRecord:
    counts: dict[str, Counts] = {}
    diagnostics: dict[str, np.ndarray] = {}
    for name, value in arrays.items():
        kind, _, rest = name.partition("/")
        if kind == "counts":
            measure, _, field = rest.partition("/")
            counts.setdefault(measure, {})[field] = value
        elif kind == "diagnostics":
            diagnostics[rest] = value
    return VideoRecord(counts, diagnostics or None)
