"""The training loop: clips in, checkpoints and a log out."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidparse.data import Dataset
from vidparse.errors import DeviceError, InputError, Interrupted, UsageError, VidparseError
from vidparse.files import whole_file
from vidparse.hub.files import TRAINED
from vidparse.models.checkpoint import save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.zoo import build, facts_of, settings_for
from vidparse.training.average import Average
from vidparse.training.clips import check_objects
from vidparse.training.curves import write_curves
from vidparse.training.logbook import Logbook, Progress
from vidparse.training.objectives import OBJECTIVES, Setting, Teacher
from vidparse.training.optimisation import GROUPS, make_optimizer, rate_factor
from vidparse.training.processes import Processes, check_parts, whole
from vidparse.training.recipe import Recipe, difference
from vidparse.training.recipe_file import recipe_from
from vidparse.training.request import TrainingRequest, request_record
from vidparse.training.resume import read_resume, run_tensors, write_resume
from vidparse.training.sources import Sources
from vidparse.training.start import Start, Taken, class_rows, load_flow_weights, load_matching
from vidparse.training.stream import Batch, Schedule, batches
from vidparse.training.validation import Scores, check_metrics, check_validation, validate

BEST = TRAINED  # which `-m FOLDER` picks
LAST, RECIPE, CURVES = "last.safetensors", "recipe.json", "curves.html"

_SILENT_STEPS = 50  # in a row without a loss: too many to be chance


class Trainer:
    """One run: network, objective, optimiser, average of weights, and where they are kept.

    Args:
        validation: None: nothing is scored, and the last weights count as the best.
        teacher: of a distillation.
        flow_weights: RAFT's, for NetWarp.
        processes: this process among those of torchrun.
        request: what the run was asked for, kept so that it can go on from its state alone.
    """

    def __init__(
        self,
        recipe: Recipe,
        sources: Sources,
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
            check_validation(validation, sources.labels)
        self.request = request
        arch = recipe.network.arch
        self.recipe = recipe = recipe.with_config(**settings_for(arch, sources.labels))
        config, schedule = recipe.network.config, recipe.schedule
        self.sources, self.validation, self.out = sources, validation, out
        self.processes = processes or Processes()
        self.device = self.processes.device

        torch.manual_seed(schedule.seed)
        self.network = build(arch, dict(config))
        check_metrics(recipe.validation.metrics, sources.labels, self.network.task)
        self.preprocess = Preprocess(recipe.network.short_side, divisor=self.network.alignment)
        self.taken: Taken | None = None
        if init is not None:
            rows = class_rows(arch, config, sources.labels)
            self.taken = load_matching(self.network, init, sources.labels.classes, rows)
        load_flow_weights(self.network, flow_weights, arch=arch)
        if recipe.optimiser.norm == "sync":
            nn.SyncBatchNorm.convert_sync_batchnorm(self.network)  # its layers, in place

        kind = OBJECTIVES[recipe.objective.kind]
        self.plan = kind.clips(recipe, self.network)
        check_objects(self.plan, sources)
        self.schedule = Schedule(
            sources,
            batch_size=schedule.batch_size,
            steps_per_epoch=schedule.steps_per_epoch,
            unlabelled_share=kind.unlabelled_share(recipe),
            seed=schedule.seed,
        )
        check_parts(recipe, self.processes)
        self.steps = schedule.epochs * self.schedule.steps_per_epoch
        self._place(self.network)
        self.average = Average(self.network, recipe.optimiser.ema_decay)
        setting = Setting(
            self.recipe,
            sources.labels,
            self.network,
            self.average.network,
            self.preprocess,
            self._class_counts,
            torch.from_numpy(sources.unions),
            replace(teacher, network=self._place(teacher.network)) if teacher else None,
        )
        self.teacher_sha256 = teacher.sha256 if teacher else ""
        self.objective = self._place(kind(setting))
        self.wrapped = self.processes.wrapped(self.objective, shard=recipe.optimiser.shard)
        self.optimizer, self.base_rates = make_optimizer(self.objective, recipe)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=recipe.optimiser.precision == "fp16"
        )

        self.step = 0
        self.score: float | None = None
        self.best: float | None = None
        self.owes_validation = False  # the step reached is saved, and not yet scored
        self.tensorboard = tensorboard
        self._silent_steps = 0  # up to now, without any loss

    def resume(self, path: Path) -> None:
        """Continue a run exactly where `path` (last.safetensors) left it.

        Raises:
            ModelError: damaged, or of another network. UsageError: made by another recipe.
        """
        facts = read_resume(path, self.objective, self.average.network, self.optimizer)
        mine = json.loads(json.dumps(self.recipe.record()))
        theirs = recipe_from(facts["recipe"], str(path)).record()
        if theirs != mine:
            raise UsageError(
                f"{path}: made by another recipe ({difference(theirs, mine)}); resume "
                "with the same settings"
            )
        if facts["data"] != self.sources.describe():
            raise UsageError(f"{path}: learnt from other data; resume with the same --also")
        self.step, self.score, self.best = facts["step"], facts["score"], facts["best"]
        self.owes_validation = facts.get("owes_validation", False)
        if not (self.out / BEST).exists():  # lost, or never written
            self.best = None
            self.owes_validation |= self.step == self.steps
        if facts["scaler"]:
            self.scaler.load_state_dict(facts["scaler"])

    def fit(
        self,
        on_step: Callable[[Progress], None] = lambda _: None,
        *,
        stop: threading.Event | None = None,
    ) -> float | None:
        """Train to the end; best and last weights, log and curves are kept up to date in `out`.

        Returns:
            The best validation score, by the recipe's first metric.

        Raises:
            Interrupted: `stop` was set, and last.safetensors holds the step reached; or Ctrl-C in
                the middle of a step, and it holds the last whole epoch.
            DeviceError: out of memory.
            InputError: there is nothing to learn. UsageError: too few samples for a batch norm.
            VidparseError: the loss became NaN or infinite; the samples are named.
        """
        book = self._open_log()
        started_at, started_step, mark = time.perf_counter(), self.step, time.perf_counter()
        stream = self._stream()

        try:
            if self.owes_validation:
                self._end_epoch(self.step // self.schedule.steps_per_epoch, book)
            while self.step < self.steps:
                losses = self._train_step(stream)
                self.step += 1
                whole_epochs, within = divmod(self.step, self.schedule.steps_per_epoch)
                epoch = (self.step - 1) // self.schedule.steps_per_epoch
                now = time.perf_counter()
                losses = self.processes.mean(losses)
                self._check_taught(losses)
                total = sum(losses.values())
                if book is not None:
                    rates = [group["lr"] for group in self.optimizer.param_groups]
                    named = {GROUPS[0]: rates[0], GROUPS[2]: rates[2]}
                    book.step(self.step, epoch, {"total": total, **losses}, named, now - mark)
                mark = now
                if within == 0:
                    self._end_epoch(whole_epochs, book)
                eta = (now - started_at) / (self.step - started_step) * (self.steps - self.step)
                scores = self.score, self.best
                on_step(Progress(self.step, self.steps, epoch, total, losses, *scores, eta))

                if self.processes.any(stop is not None and stop.is_set()):
                    self._save_last()
                    raise Interrupted(
                        f"training: stopped at step {self.step} of {self.steps}; "
                        f"go on with --resume {self.out / LAST}"
                    )
        except KeyboardInterrupt as error:
            # within a step: there is nothing exact to keep
            raise Interrupted(
                f"training: stopped within step {self.step + 1}; {self.out / LAST}, where it is "
                "there, holds the epoch before: go on with --resume"
            ) from error
        except InputError as error:  # between two steps, and its cause can be mended
            whole_step = self.processes.count == 1 == self.recipe.schedule.accumulate
            if not whole_step or self.step == 0:
                raise
            self._save_last()
            raise InputError(f"{error}; then go on with --resume {self.out / LAST}") from error
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UsageError(
                "training: a batch norm over pooled features needs two samples at least in each "
                "process and part of a batch; use a larger batch_size, accumulate=1 or norm=frozen"
            ) from error
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"training: out of memory on {self.device}; use --set accumulate=2, a smaller "
                "crop_hw, or precision bf16"
            ) from error
        finally:
            stream.close()  # its workers heed no signal, and an error would keep them to the end
            if book is not None:
                book.close()
        return self.best

    def _train_step(self, stream: Iterator[Batch]) -> dict[str, float]:
        """One step of the optimiser; its loss terms."""
        self.objective.train()
        # Dropout and sampling must not depend on where a run was interrupted.
        torch.manual_seed(self.recipe.schedule.seed * 1_000_003 + self.step)
        factor = rate_factor(self.step, self.steps, self.recipe)
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * factor
        self.optimizer.zero_grad(set_to_none=True)
        losses: dict[str, float] = {}
        for _ in range(self.recipe.schedule.accumulate):
            batch = next(stream).to(self.device)
            terms = self.wrapped(batch)
            total = torch.stack(list(terms.values())).sum() / self.recipe.schedule.accumulate
            self._check_finite(total.item(), batch)
            self.scaler.scale(total).backward()
            for name, term in terms.items():
                losses[name] = losses.get(name, 0.0) + term.item() / self.recipe.schedule.accumulate
        largest = self.recipe.optimiser.clip_gradient
        if largest:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.objective.parameters(), largest)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.objective.after_step()
        self.average.update(whole(self.network.state_dict()), self.step)
        return losses

    def _check_finite(self, value: float, batch: Batch) -> None:
        if math.isfinite(value):
            return
        bad = []
        if self.processes.count == 1:  # the others would not take part
            self.objective.eval()
            with torch.no_grad():
                bad = [
                    name
                    for i, name in enumerate(batch.names)
                    if not all(term.isfinite() for term in self.objective(batch.only(i)).values())
                ]
        raise VidparseError(
            f"training: the loss became {value} at step {self.step}, with "
            f"{', '.join(bad or batch.names)}; lower the learning rates or use precision fp32"
        )

    def _check_taught(self, losses: Mapping[str, float]) -> None:
        """Raises: InputError: there has been nothing to learn for long, or all the time."""
        self._silent_steps = 0 if any(losses.values()) else self._silent_steps + 1
        if self._silent_steps in (_SILENT_STEPS, self.steps):
            raise InputError(
                f"training: {self._silent_steps} steps without a pixel of a known class; look at "
                "the masks (`vidparse data check`)"
            )

    def _stream(self) -> Generator[Batch]:
        return batches(
            self.sources,
            self.schedule,
            self.plan,
            steps=self.steps,
            first_step=self.step,
            parts=self.recipe.schedule.accumulate,
            process=(self.processes.rank, self.processes.count),
            workers=self.recipe.data.workers,
        )

    def _end_epoch(self, epoch: int, book: Logbook | None) -> None:
        """Validate when it is time, and save; in the first process, while the others wait."""
        due = epoch % self.recipe.validation.every == 0 or self.step == self.steps
        self.owes_validation = due
        self._save_last()
        if self.processes.is_first and due:
            self._validate(epoch, book)
        if due:
            self.owes_validation = False
            self._save_last()  # with the scores; the first is for a validation that fails
        self.processes.wait()

    def _validate(self, epoch: int, book: Logbook | None) -> None:
        """Score the averaged weights after `epoch` epochs; keep them when they are the best."""
        scores = Scores({}, {})
        if self.validation is not None:
            scores = validate(
                self.average.network,
                self.validation,
                self.preprocess,
                arch=self.recipe.network.arch,
                metrics=self.recipe.validation.metrics,
            )
        self.score = scores.values.get(self.recipe.validation.metrics[0])
        if self._is_best():
            self.best = self.score
            weights = self.average.network.state_dict()
            save_checkpoint(self.out / BEST, weights, self._metadata(epoch, scores))
        if book is not None:
            if scores.values:
                book.validation(self.step, epoch - 1, scores.values, scores.classes)
            book.flush()
            write_curves([self.out], self.out / CURVES)

    def _is_best(self) -> bool:
        """Without scores the last weights are; a score that is undefined is beaten by any."""
        if self.score is None or self.best is None or math.isnan(self.best):
            return True
        return self.score > self.best

    def _metadata(self, epoch: int, scores: Scores) -> dict[str, str]:
        simulated = self.recipe.data.neighbours == "simulated"
        interval_s = None if simulated else self.sources.frame_interval_s
        known = {  # readers of weights take no NaN: a score that is undefined counts as none
            name: round(value, 6) if math.isfinite(value) else None
            for name, value in scores.values.items()
        }
        sha256 = {"teacher_sha256": self.teacher_sha256} if self.teacher_sha256 else {}

        return metadata_of(
            arch=self.recipe.network.arch,
            **facts_of(self.network),
            labels=self.sources.labels,
            preprocess=self.preprocess,
            training={
                "recipe": self.recipe.record(),
                **sha256,
                "data": self.sources.describe(),
                "epoch": epoch,
                "steps": self.step,
                **({} if interval_s is None else {"frame_interval_s": round(interval_s, 4)}),
                "validation": known,
            },
        )

    def _save_last(self) -> None:
        tensors = run_tensors(self.objective, self.average.network, self.optimizer)
        if not self.processes.is_first:
            return
        facts = {
            "step": self.step,
            "score": self.score,
            "best": self.best,
            "owes_validation": self.owes_validation,
            "scaler": self.scaler.state_dict(),
            "recipe": self.recipe.record(),
            "data": self.sources.describe(),
            "classes": list(self.sources.labels.classes),
            "request": request_record(self.request) if self.request is not None else None,
        }
        write_resume(self.out / LAST, tensors, facts)

    def _open_log(self) -> Logbook | None:
        """The log, in the first process; the recipe beside it."""
        if not self.processes.is_first:
            return None
        book = Logbook(self.out, start=self.step, tensorboard=self.tensorboard)
        if self.step == 0:  # what an earlier run left here would pass for this one's
            for name in (LAST, BEST, CURVES):
                (self.out / name).unlink(missing_ok=True)
        record = self.recipe.record() | {"data_sets": self.sources.describe()}
        text = json.dumps(record, indent=2)
        with whole_file(self.out / RECIPE) as part:
            part.write_text(text + "\n", encoding="utf-8")
        return book

    def _class_counts(self) -> torch.Tensor:
        """Pixels of each class, (K,), in the first data set: the others may be many."""
        counts = self.sources.first.class_counts()
        return torch.from_numpy(counts[: len(self.sources.labels)])

    def _place(self, module: Any) -> Any:
        if self.recipe.optimiser.shard:  # FSDP takes plainly laid out weights alone
            return module.to(self.device)
        return module.to(self.device, memory_format=torch.channels_last)
