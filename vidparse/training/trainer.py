"""The training loop: clips in, checkpoints and a log out."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch

from vidparse.data import Dataset
from vidparse.errors import DeviceError, InputError, Interrupted, UsageError
from vidparse.models.zoo import settings_for
from vidparse.textfiles import JsonTable, as_flag, as_number, as_table, as_whole
from vidparse.training.learner import Learner
from vidparse.training.logbook import Progress
from vidparse.training.objectives import OBJECTIVES, Teacher
from vidparse.training.processes import Processes, check_parts
from vidparse.training.recipe import Recipe
from vidparse.training.run_folder import Origin, RunFolder
from vidparse.training.stream import Batch, Schedule, batches
from vidparse.training.training_sets import TrainingRequest, TrainingSets
from vidparse.training.validation import (
    ValidationScores,
    check_measured,
    check_validation,
    validate,
)
from vidparse.training.weights import Start

_SILENT_STEPS = 50  # in a row without a loss: too many to be chance


class Trainer:
    """One run: a learner from step to step, its validations, and the folder that keeps it.

    Args:
        validation: None: nothing is scored, and the last weights count as the best.
        out: the folder of the run.
        teacher: of a distillation.
        flow_weights: RAFT's, for NetWarp.
        processes: this process among those of torchrun.
        request: kept so that the run can go on from its state alone.
    """

    def __init__(
        self,
        recipe: Recipe,
        sets: TrainingSets,
        validation: Dataset | None,
        out: Path,
        *,
        processes: Processes | None = None,
        init: Start | None = None,
        teacher: Teacher | None = None,
        flow_weights: Path | None = None,
        tensorboard: bool = False,
        request: TrainingRequest | None = None,
    ) -> None:
        if validation is not None:
            check_validation(validation, sets.labels)
        recipe = recipe.with_config(**settings_for(recipe.network.arch, sets.labels))
        self.recipe, self.sets, self.validation = recipe, sets, validation
        self.processes = processes or Processes()
        check_parts(recipe, self.processes)
        self.learner = Learner(
            recipe,
            sets,
            processes=self.processes,
            init=init,
            teacher=teacher,
            flow_weights=flow_weights,
        )

        # Refuse a metric now rather than at the first validation: a run keeps its recipe.
        if validation is not None:
            check_measured(validation, recipe.validation.metrics)
        self.schedule = Schedule(
            sets,
            batch_size=recipe.schedule.batch_size,
            steps_per_epoch=recipe.schedule.steps_per_epoch,
            unlabelled_share=OBJECTIVES[recipe.objective.kind].unlabelled_share(recipe),
            seed=recipe.schedule.seed,
        )
        self.steps = recipe.schedule.epochs * self.schedule.steps_per_epoch

        origin = Origin(recipe, sets, request, teacher.sha256 if teacher else "")
        average, interval_s = self.learner.average, origin.frame_interval_s

        # Let a memory go at the pace of its clips, where they are frames of videos.
        if average.memory_interval_s is not None and interval_s is not None:
            average.memory_interval_s = interval_s
        self.folder = RunFolder(
            out,
            origin,
            writes=self.processes.is_first,
            tensorboard=tensorboard,
        )
        self.step = 0
        self.score: float | None = None
        self.best: float | None = None
        self.owes_validation = False  # the step reached is saved, and not yet scored
        self._silent_steps = 0  # up to now, without any loss

    def resume(self, path: Path) -> None:
        """Continue a run exactly where `path` (last.safetensors) left it.

        Raises:
            ModelError: damaged, or of another network. UsageError: made by another recipe.
        """
        folder, learner = self.folder, self.learner
        facts = folder.read_last(path, learner.objective, learner.average, learner.optimizer)
        self.step = as_whole(facts["step"], "step")
        self.score, self.best = _score_in(facts, "score"), _score_in(facts, "best")
        self.owes_validation = as_flag(facts.get("owes_validation", False), "owes_validation")

        # Score anew where the best weights were lost, or never written.
        if not folder.best.exists():
            self.best = None
            self.owes_validation |= self.step == self.steps
        if facts["scaler"]:
            learner.scaler.load_state_dict(as_table(facts["scaler"], "scaler"))

    def fit(
        self,
        on_step: Callable[[Progress], None] = lambda _: None,
        *,
        stop: threading.Event | None = None,
    ) -> float | None:
        """Train to the end; best and last weights, log and curves are kept up to date.

        Returns:
            The best validation score, by the recipe's first metric.

        Raises:
            Interrupted: `stop` was set, and last.safetensors holds the step reached; or Ctrl-C in
                the middle of a step, and it holds the last whole epoch.
            DeviceError: out of memory.
            InputError: there is nothing to learn. UsageError: too few samples for a batch norm.
            VidparseError: the loss became NaN or infinite; the samples are named.
        """
        self.folder.begin(self.step)

        clock, stream = _Clock(self.step), self._stream()
        try:
            with self._explained():
                # Score first what the run saved before it ended, and did not score.
                if self.owes_validation:
                    self._end_epoch()
                while self.step < self.steps:
                    losses = self._train_step(stream)
                    self.step += 1
                    self._check_taught(losses)
                    self._note_step(losses, clock.tick())
                    if self.step % self.schedule.steps_per_epoch == 0:
                        self._end_epoch()
                    on_step(self._progress(losses, clock.left_s(self.step, self.steps)))

                    # Agree on the stop: a process that ended alone would leave the others waiting.
                    if self.processes.any(stop is not None and stop.is_set()):
                        raise self._stopped()
        finally:
            # End the workers here: they heed no signal, and an error would keep them.
            stream.close()
            self.folder.close()
        return self.best

    def _stream(self) -> Generator[Batch]:
        return batches(
            self.sets,
            self.schedule,
            self.learner.plan,
            steps=self.steps,
            first_step=self.step,
            parts=self.recipe.schedule.accumulate,
            process=(self.processes.rank, self.processes.count),
            workers=self.recipe.data.workers,
        )

    def _train_step(self, stream: Iterator[Batch]) -> dict[str, float]:
        """One step of the optimiser; its loss terms, means over the processes."""
        parts = islice(stream, self.recipe.schedule.accumulate)
        return self.processes.mean(self.learner.step(parts, self.step, self.steps))

    def _check_taught(self, losses: Mapping[str, float]) -> None:
        """Raises: InputError: there has been nothing to learn for long, or all the time."""
        self._silent_steps = 0 if any(losses.values()) else self._silent_steps + 1
        if self._silent_steps in (_SILENT_STEPS, self.steps):
            raise InputError(
                f"training: {self._silent_steps} steps without a pixel of a known class; look at "
                "the masks (`vidparse data check`)"
            )

    def _note_step(self, losses: Mapping[str, float], seconds: float) -> None:
        totals = {"total": sum(losses.values()), **losses}
        shares = self.learner.shares
        if shares:
            shares = self.processes.mean(shares)
        self.folder.note_step(self.step, self._epoch, totals, self.learner.rates, seconds, shares)

    @property
    def _epoch(self) -> int:
        """The epoch of the last step, from 0."""
        return (self.step - 1) // self.schedule.steps_per_epoch

    def _progress(self, losses: dict[str, float], left_s: float) -> Progress:
        total = sum(losses.values())
        scores = self.score, self.best
        return Progress(self.step, self.steps, self._epoch, total, losses, *scores, left_s)

    def _end_epoch(self) -> None:
        """Validate when it is time, and save; in the first process, while the others wait."""
        epoch = self.step // self.schedule.steps_per_epoch
        due = epoch % self.recipe.validation.every == 0 or self.step == self.steps
        self.owes_validation = due

        # Save before the validation, so that one that fails loses no steps.
        self._save_last()
        if self.processes.is_first and due:
            self._validate(epoch)
        if due:
            self.owes_validation = False

            # Save again, now with the scores.
            self._save_last()
        self.processes.wait()

    def _validate(self, epoch: int) -> None:
        """Score the averaged weights after `epoch` epochs; keep them when they are the best."""
        network, preprocess = self.learner.average, self.learner.preprocess
        metrics = self.recipe.validation.metrics
        scores = ValidationScores({}, {})
        if self.validation is not None:
            arch = self.recipe.network.arch
            scores = validate(network, self.validation, preprocess, arch=arch, metrics=metrics)

        # Take the first score, that of the first metric: its name may be another, as boundary's is.
        self.score = next(iter(scores.values.values()), None)
        if self._is_best():
            self.best = self.score
            self.folder.save_best(network, preprocess, scores, step=self.step, epoch=epoch)
        self.folder.note_scores(self.step, epoch - 1, scores)

    def _is_best(self) -> bool:
        """Without scores the last weights are; a score that is undefined is beaten by any."""
        if self.score is None or self.best is None or math.isnan(self.best):
            return True
        return self.score > self.best

    def _save_last(self) -> None:
        """Every process takes part, since each may hold a part of the weights."""
        facts = {
            "step": self.step,
            "score": self.score,
            "best": self.best,
            "owes_validation": self.owes_validation,
            "scaler": self.learner.scaler.state_dict(),
        }
        self.folder.save_last(self.learner.tensors(), facts)

    def _stopped(self) -> Interrupted:
        """Save the step reached; the error that ends the run names the command to go on."""
        self._save_last()
        return Interrupted(
            f"training: stopped at step {self.step} of {self.steps}; "
            f"go on with --resume {self.folder.last}"
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of steps in words, with the way to go on."""
        last = self.folder.last
        try:
            yield

        # Keep nothing of a step that was stopped within: it would not be exact.
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"training: stopped within step {self.step + 1}; {last}, where it is "
                "there, holds the epoch before: go on with --resume"
            ) from error

        # Save between two steps, where nobody is halfway, as other processes or parts may be.
        except InputError as error:
            whole_step = self.processes.count == 1 == self.recipe.schedule.accumulate
            if not whole_step or self.step == 0:
                raise
            self._save_last()
            raise InputError(f"{error}; then go on with --resume {last}") from error
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UsageError(
                "training: a batch norm over pooled features needs two samples at least in each "
                "process and part of a batch; use a larger batch_size, accumulate=1 or norm=frozen"
            ) from error
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"training: out of memory on {self.learner.device}; use --set accumulate=2, "
                "a smaller crop_hw, or precision bf16"
            ) from error


def _score_in(facts: JsonTable, key: str) -> float | None:
    """A score of a run's state, None where there is none yet."""
    return None if facts[key] is None else as_number(facts[key], key)


class _Clock:
    """Seconds of steps, at the mean speed of this session.

    Args:
        step: steps done before.
    """

    def __init__(self, step: int) -> None:
        self._first = step
        self._start = self._last = time.perf_counter()

    def tick(self) -> float:
        """Seconds since the tick before."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before

    def left_s(self, step: int, steps: int) -> float:
        """Seconds from `step` to the end."""
        return (self._last - self._start) / (step - self._first) * (steps - step)
