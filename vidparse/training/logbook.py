"""The log of a run, log.jsonl: one line every few steps and one a validation, whole after a crash.

A step line: {"kind": "step", "time", "step", "epoch", "losses": {...}, "rates": {...}, "seconds"},
and, where one of its steps looked at gradients, "shares": {...}.
A validation line: {"kind": "validation", "time", "step", "epoch", "scores": {...}, "classes":
{...}}. Numbers that are not finite are null. `step` counts the steps done so far.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat

import numpy as np

from vidparse.errors import InputError, UsageError
from vidparse.files import whole_file, write_error
from vidparse.textfiles import Json, JsonTable, as_whole, parse_json

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG_NAME = "log.jsonl"


@dataclass(frozen=True, slots=True)
class Steps:
    """The step lines of a log, N of them; NaN where a line lacks a value."""

    steps: np.ndarray  # int64 (N,)
    epochs: np.ndarray  # int64 (N,)
    times: np.ndarray  # float64 (N,), seconds since 1970
    losses: Mapping[str, np.ndarray]  # float64 (N,) each: means over the steps since the last line
    rates: Mapping[str, np.ndarray]  # float64 (N,) each: learning rates of that step
    seconds: np.ndarray  # float64 (N,), a step, mean as the losses
    shares: Mapping[str, np.ndarray]  # float64 (N,) each: gradients beside cross-entropy's


@dataclass(frozen=True, slots=True)
class Validations:
    """The validation lines of a log, V of them; NaN where a line lacks a value."""

    steps: np.ndarray  # int64 (V,)
    epochs: np.ndarray  # int64 (V,)
    times: np.ndarray  # float64 (V,), seconds since 1970
    scores: Mapping[str, np.ndarray]  # float64 (V,) each
    classes: Mapping[str, np.ndarray]  # float64 (V,) each


@dataclass(frozen=True, slots=True)
class Progress:
    """One step done, for whoever watches."""

    step: int  # steps done so far
    steps: int
    epoch: int
    loss: float
    losses: dict[str, float]  # its terms
    score: float | None  # of the last validation, by the recipe's first metric
    best: float | None
    eta_s: float  # at the mean speed of this session


class Logbook:
    """Writes log.jsonl and, if wanted, TensorBoard's event file beside it."""

    def __init__(
        self, folder: Path, *, every: int = 10, start: int = 0, tensorboard: bool = False
    ) -> None:
        """Open the log of the run in `folder`, which is made.

        Args:
            every: steps between two lines.
            start: steps done before, where a run is resumed; lines beyond it are dropped.
            tensorboard: write for TensorBoard, too.

        Raises:
            OutputError: the log cannot be written there.
            UsageError: TensorBoard is wanted but not installed.
        """
        self.path = folder / LOG_NAME
        self._every = every
        self._losses: dict[str, list[float]] = {}
        self._seconds: list[float] = []
        self._shares: dict[str, list[float]] = {}
        self._last: tuple[int, int, dict[str, float]] | None = None  # step, epoch, rates

        # Look for TensorBoard first, so that nothing is made where it is missing.
        writer = _summary_writer() if tensorboard else None
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

        # Drop what a resumed run does again, in the log and in TensorBoard's file.
        _keep_until(self.path, start)
        self._board: SummaryWriter | None = None
        if writer is not None:
            with _writing(folder):
                self._board = writer(str(folder), purge_step=start + 1)

    def step(
        self,
        step: int,
        epoch: int,
        losses: Mapping[str, float],
        rates: Mapping[str, float],
        seconds: float,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        """Note a step; every few of them become a line.

        Args:
            step: steps done, this one included.
            losses: each term, and their sum.
            rates: learning rates by parameter group.
            seconds: how long the step took.
            shares: of the gradient of each term in cross-entropy's, where the step looked.

        Raises:
            OutputError: disk full, or the folder is gone.
        """
        for name, value in losses.items():
            self._losses.setdefault(name, []).append(value)
        for name, value in (shares or {}).items():
            self._shares.setdefault(name, []).append(value)
        self._seconds.append(seconds)
        self._last = (step, epoch, dict(rates))

        if step % self._every == 0:
            self.flush()

    def validation(
        self,
        step: int,
        epoch: int,
        scores: Mapping[str, float],
        classes: Mapping[str, float],
    ) -> None:
        """Write a line of scores, after a line of the steps before it.

        Args:
            step: steps done.
            scores: by the names of `vidparse eval` ("miou"), as shares of 1.
            classes: IoU of each class; NaN where it does not occur.

        Raises:
            OutputError: disk full, or the folder is gone.
        """
        self.flush()
        self._write("validation", step, epoch, {"scores": scores, "classes": classes})
        self._chart({"validation": scores, "class": classes}, step)

    def flush(self) -> None:
        """Write the steps since the last line, if any, as a line of their means.

        Raises:
            OutputError: disk full, or the folder is gone.
        """
        if self._last is None:
            return
        step, epoch, rates = self._last
        losses = {name: _mean(values) for name, values in self._losses.items()}
        seconds = _mean(self._seconds)
        shares = {name: _mean(values) for name, values in self._shares.items()}

        # Forget the steps before the write: one that fails must not fail again at the close.
        self._last = None
        self._losses.clear()
        self._seconds.clear()
        self._shares.clear()
        values = {"losses": losses, "rates": rates, "seconds": seconds}
        self._write("step", step, epoch, values | ({"shares": shares} if shares else {}))
        groups = {"loss": losses, "rate": rates, "seconds": {"step": seconds}, "share": shares}
        self._chart(groups, step)

    def close(self) -> None:
        """Write what is left; nothing may be noted after it.

        Raises:
            OutputError: disk full, or the folder is gone.
        """
        try:
            self.flush()
        finally:
            # Let go of the board first: a second call finds nothing to close.
            board, self._board = self._board, None
            if board is not None:
                with _writing(self.path.parent):
                    board.close()

    def _write(self, kind: str, step: int, epoch: int, values: Mapping[str, object]) -> None:
        line = {"kind": kind, "time": round(time.time(), 1), "step": step, "epoch": epoch}
        text = json.dumps({**line, **_plain_table(values)}, allow_nan=False)
        # Opened anew for each line: one that stays open would not notice its folder vanish.
        with _writing(self.path), self.path.open("a", encoding="utf-8") as log:
            log.write(text + "\n")

    def _chart(self, groups: Mapping[str, Mapping[str, float]], step: int) -> None:
        if self._board is None:
            return
        with _writing(self.path.parent):
            for group, values in groups.items():
                for name, value in values.items():
                    self._board.add_scalar(f"{group}/{name}", float(value), step)


def read_log(path: Path) -> tuple[Steps, Validations]:
    """A log as arrays. Lines that are no records, as a half-written last one, are skipped.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    found: dict[str, list[JsonTable]] = {"step": [], "validation": []}
    for _, record in _records(path):
        if record is not None:
            found[str(record["kind"])].append(record)

    steps, validations = found["step"], found["validation"]
    return (
        Steps(
            *_places(steps),
            losses=_columns(steps, "losses"),
            rates=_columns(steps, "rates"),
            seconds=_floats([record.get("seconds") for record in steps]),
            shares=_columns(steps, "shares"),
        ),
        Validations(
            *_places(validations),
            scores=_columns(validations, "scores"),
            classes=_columns(validations, "classes"),
        ),
    )


def _records(path: Path) -> Iterator[tuple[str, JsonTable | None]]:
    """Every line, and the record it holds if it is a whole one."""
    try:
        # Replace bytes that are no text: a torn line must not hide the whole ones.
        with path.open(encoding="utf-8", errors="replace") as log:
            for line in log:
                yield line, _record(line)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such log; give the folder of a training run") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason}); check the run's folder") from error


def _record(line: str) -> JsonTable | None:
    try:
        record = parse_json(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or record.get("kind") not in ("step", "validation"):
        return None
    return record if isinstance(record.get("step"), int) else None


def _step(record: JsonTable) -> int:
    """The number of steps that a record has, which `_record` made sure of."""
    return as_whole(record["step"], "step", -(1 << 63), 1 << 63)


def _keep_until(path: Path, step: int) -> None:
    """Rewrite the log without what is beyond `step` or torn; it changes at once or not at all."""
    if not path.exists():
        return
    lines = list(_records(path))
    kept = [line for line, record in lines if record is not None and _step(record) <= step]
    if len(kept) == len(lines) and kept[-1:] and kept[-1].endswith("\n"):
        return
    with whole_file(path) as part:
        part.write_text("".join(line.rstrip("\n") + "\n" for line in kept), encoding="utf-8")


def _places(records: Sequence[JsonTable]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, epochs and times."""
    epochs = [record.get("epoch") for record in records]
    return (
        np.array([_step(record) for record in records], np.int64),
        np.array([epoch if isinstance(epoch, int) else 0 for epoch in epochs], np.int64),
        _floats([record.get("time") for record in records]),
    )


def _columns(records: Sequence[JsonTable], field: str) -> dict[str, np.ndarray]:
    """{"a": 1} and {"a": 2, "b": 3} -> a: [1, 2], b: [NaN, 3]."""
    rows = [record.get(field) for record in records]
    whole = [row if isinstance(row, dict) else {} for row in rows]
    names = dict.fromkeys(name for row in whole for name in row)
    return {name: _floats([row.get(name) for row in whole]) for name in names}


def _floats(values: Sequence[object]) -> np.ndarray:
    """float64 (N,); NaN for what is no number."""
    numbers = [value if isinstance(value, int | float) else math.nan for value in values]
    return np.array(numbers, np.float64)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan


def _plain_table(values: Mapping[str, object]) -> JsonTable:
    """The values as JSON can hold them."""
    return {str(name): _plain(value) for name, value in values.items()}


def _plain(value: object) -> Json:
    """A value as JSON can hold it, numbers to six digits."""
    if isinstance(value, Mapping):
        return _plain_table(value)
    assert isinstance(value, SupportsFloat)  # of NumPy and torch, too
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None


def _summary_writer() -> type[SummaryWriter]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "tensorboard: not installed here; pip install 'vidparse[tensorboard]'"
        ) from error
    return SummaryWriter


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A full disk or a vanished folder in one line."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error
