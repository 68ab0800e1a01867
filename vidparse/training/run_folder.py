"""The folder of a run: its best and last weights, log, recipe and curves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor, nn

from vidparse.errors import UsageError
from vidparse.files import whole_file
from vidparse.hub.files import TRAINED
from vidparse.models.checkpoint import save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.network import VideoNetwork
from vidparse.models.zoo import facts_of
from vidparse.textfiles import JsonTable, as_list, as_table
from vidparse.training.curves import write_curves
from vidparse.training.logbook import Logbook
from vidparse.training.recipe import Recipe, difference
from vidparse.training.recipe_file import recipe_from
from vidparse.training.resume import read_resume, write_resume
from vidparse.training.training_sets import TrainingRequest, TrainingSets, request_record
from vidparse.training.validation import ValidationScores

BEST = TRAINED  # which `-m FOLDER` picks
LAST, RECIPE, CURVES = "last.safetensors", "recipe.json", "curves.html"


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a run's weights, the same from the first step to the last.

    recipe: with the settings that follow from the classes. request: kept so that the run can go on
    from its state alone. teacher_sha256: of the teacher's weights, "" for none.
    """

    recipe: Recipe
    sets: TrainingSets
    request: TrainingRequest | None = None
    teacher_sha256: str = ""

    @property
    def frame_interval_s(self) -> float | None:
        """Seconds from frame to frame in clips of videos, None where not known.

        None, too, where a camera was made up: its frames are no time apart.
        """
        simulated = self.recipe.data.neighbours == "simulated"
        return None if simulated else self.sets.frame_interval_s


def check_folder(path: Path, *, resume: Path | None, overwrite: bool) -> None:
    """Refuse a folder whose content a run would replace.

    Raises:
        UsageError: a run or its model is there and is not the one to go on, or is to go on
            elsewhere.
    """
    if resume is not None and resume.resolve().parent != path.resolve():
        raise UsageError(
            f"--resume {resume}: a run goes on in its own folder; leave -o out, or copy the folder "
            "and resume from the copy"
        )
    if resume is not None or overwrite:
        return

    # Look for the model, too, since a run that begins removes it.
    if (path / LAST).exists():
        raise UsageError(
            f"{path}: holds a run already; go on with --resume {path / LAST}, choose another -o, "
            "or begin anew with --overwrite"
        )
    if (path / BEST).exists():
        raise UsageError(
            f"{path / BEST}: is the model of an earlier run; choose another -o, or replace it with "
            "--overwrite"
        )


class RunFolder:
    """Every process of a run has one; the first alone writes.

    Args:
        path: made when the run begins.
        writes: False in the other processes.
        tensorboard: write for TensorBoard, too.
    """

    def __init__(
        self, path: Path, origin: Origin, *, writes: bool = True, tensorboard: bool = False
    ) -> None:
        self.path, self.best, self.last = path, path / BEST, path / LAST
        self._origin, self._writes, self._tensorboard = origin, writes, tensorboard
        self._log: Logbook | None = None

    def begin(self, step: int) -> None:
        """Open the log and write the recipe.

        Args:
            step: steps done before; 0 for a run that begins, which keeps nothing of another here.

        Raises:
            OutputError: the folder cannot be written to. UsageError: TensorBoard is not installed.
        """
        if not self._writes:
            return
        self._log = Logbook(self.path, start=step, tensorboard=self._tensorboard)

        # Remove what an earlier run left here, which would pass for this one's.
        if step == 0:
            for name in (LAST, BEST, CURVES):
                (self.path / name).unlink(missing_ok=True)

        origin = self._origin
        record = origin.recipe.record() | {"data_sets": origin.sets.describe()}
        with whole_file(self.path / RECIPE) as part:
            part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def note_step(
        self,
        step: int,
        epoch: int,
        losses: Mapping[str, float],
        rates: Mapping[str, float],
        seconds: float,
        shares: Mapping[str, float],
    ) -> None:
        """As :meth:`Logbook.step`."""
        if self._log is not None:
            self._log.step(step, epoch, losses, rates, seconds, shares)

    def note_scores(self, step: int, epoch: int, scores: ValidationScores) -> None:
        """Log the scores of a validation, if it has any, and draw the curves up to here.

        Raises:
            OutputError: disk full, or the folder is gone.
        """
        if self._log is None:
            return
        if scores.values:
            self._log.validation(step, epoch, scores.values, scores.classes)

        # Write the steps that wait: the curves are drawn from the file.
        self._log.flush()
        write_curves([self.path], self.path / CURVES)

    def save_best(
        self,
        network: VideoNetwork,
        preprocess: Preprocess,
        scores: ValidationScores,
        *,
        step: int,
        epoch: int,
    ) -> None:
        """Write weights for use, with the whole description of the model.

        Args:
            network: the average. step, epoch: done so far.

        Raises:
            OutputError: disk full, or the folder is gone.
        """
        if not self._writes:
            return
        origin = self._origin
        interval_s = origin.frame_interval_s

        # Write an undefined score as none: readers of weights take no NaN.
        known = {
            name: round(value, 6) if math.isfinite(value) else None
            for name, value in scores.values.items()
        }
        sha256 = {"teacher_sha256": origin.teacher_sha256} if origin.teacher_sha256 else {}

        metadata = metadata_of(
            arch=origin.recipe.network.arch,
            **facts_of(network),
            labels=origin.sets.labels,
            preprocess=preprocess,
            training={
                "recipe": origin.recipe.record(),
                **sha256,
                "data": origin.sets.describe(),
                "epoch": epoch,
                "steps": step,
                **({} if interval_s is None else {"frame_interval_s": round(interval_s, 4)}),
                "validation": known,
            },
        )
        save_checkpoint(self.best, network.state_dict(), metadata)

    def save_last(self, tensors: dict[str, Tensor], facts: Mapping[str, object]) -> None:
        """Write the state that the run goes on from.

        Args:
            tensors: of `run_tensors`. facts: plain values, which :meth:`read_last` gives back.

        Raises:
            OutputError: disk full, or the folder is gone.
        """
        if not self._writes:
            return
        origin = self._origin
        request = request_record(origin.request) if origin.request is not None else None
        identity = {
            "recipe": origin.recipe.record(),
            "data": origin.sets.describe(),
            "classes": list(origin.sets.labels.classes),
            "request": request,
        }
        write_resume(self.last, tensors, {**facts, **identity})

    def read_last(
        self,
        path: Path,
        objective: nn.Module,
        average: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> JsonTable:
        """Put the state of a run in place and return its facts.

        Raises:
            ModelError: damaged, or of another network.
            UsageError: made by another recipe, or learnt from other data or classes.
        """
        facts = read_resume(path, objective, average, optimizer)

        # Send ours through JSON too, which turns tuples into lists.
        mine = json.loads(json.dumps(self._origin.recipe.record()))
        theirs = recipe_from(as_table(facts["recipe"], "recipe"), str(path)).record()
        if theirs != mine:
            raise UsageError(
                f"{path}: made by another recipe ({difference(theirs, mine)}); resume "
                "with the same settings"
            )
        if facts["data"] != self._origin.sets.describe():
            raise UsageError(f"{path}: learnt from other data; resume with the same --also")

        # Compare the classes, too: a label file that was put in order anew gives as many.
        classes = facts.get("classes")  # None of an older version
        own = list(self._origin.sets.labels.classes)
        if classes is not None and classes != own:
            known = map(str, as_list(classes, "classes"))
            pairs = zip_longest(known, own, fillvalue="no class")
            before, now = next((one, other) for one, other in pairs if one != other)
            raise UsageError(
                f"{path}: learnt '{before}' where the data has '{now}' now; restore its label file"
            )
        return facts

    def close(self) -> None:
        """Write what is left of the log.

        Raises:
            OutputError: disk full, or the folder is gone.
        """
        log, self._log = self._log, None
        if log is not None:
            log.close()
