"""Training: a recipe and data in, checkpoints and a log out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from vidparse.data import Dataset, labelled_frames
from vidparse.data.void_warning import survey
from vidparse.requests.training import SourceRequest, available_recipes
from vidparse.training.learner import warmup_note
from vidparse.training.logbook import Progress
from vidparse.training.processes import Processes, join_processes
from vidparse.training.recipe import Recipe
from vidparse.training.recipe_file import changed_recipe, load_recipe
from vidparse.training.rehearsal import rehearse
from vidparse.training.resume import recorded_run
from vidparse.training.run_folder import check_folder
from vidparse.training.trainer import Trainer
from vidparse.training.training_sets import TrainingRequest, TrainingSets, open_training_sets
from vidparse.training.weights import fitting_recipe, load_teacher, read_start, taught_by


def fit(
    recipe: Recipe,
    sources: Sequence[SourceRequest],
    *,
    out: Path,
    validation: SourceRequest | None = None,
    validates: bool = True,
    init: str | None = None,
    teacher: str | None = None,
    flow_weights: Path | None = None,
    resume: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    threads: int = 0,
    tensorboard: bool = False,
    on_step: Callable[[Progress], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> float | None:
    """Train on `sources`, whose first decides the classes.

    Under torchrun every process calls this; the first one writes.

    Args:
        validation: data to score; None: the split "val" of the first source.
        validates: False: nothing is, and the last weights count as the best.
        init: weights to start from (see `read_start`); names that fit the network or its
            backbone are taken.
        teacher: model to distil, in place of the recipe's.
        flow_weights: RAFT's, which NetWarp starts from.
        resume: last.safetensors of a run to continue; gives the weights of an unbroken run.
        on_note: gets lines that a user should know and that need not stop the run.
        overwrite: begin anew in a folder that holds a run.
        stop: set it to end after the step under way, with a checkpoint to resume from.

    Returns:
        The best validation score, by the recipe's first metric; its weights are
        out/best.safetensors.
    """
    import torch

    from vidparse.inference.devices import check_threads, choose_device, cpu_count

    check_folder(out, resume=resume, overwrite=overwrite)
    check_threads(threads)
    place = torch.device(str(choose_device(device)))
    recipe = taught_by(recipe, teacher)
    request = TrainingRequest(tuple(sources), validation, validates, flow_weights)
    with join_processes(place) as processes:
        torch.set_num_threads(threads or max(1, cpu_count() // processes.count))
        # in a call of its own: no name of the run is left when the processes part
        return _run(
            recipe,
            request,
            out,
            processes,
            init=init,
            resume=resume,
            tensorboard=tensorboard,
            on_step=on_step,
            on_note=on_note,
            stop=stop,
        )


def _run(
    recipe: Recipe,
    request: TrainingRequest,
    out: Path,
    processes: Processes,
    *,
    init: str | None,
    resume: Path | None,
    tensorboard: bool,
    on_step: Callable[[Progress], None],
    on_note: Callable[[str], None],
    stop: threading.Event | None,
) -> float | None:
    """A run among the processes that were joined: open the data, build, notes, train."""
    opened = open_training_sets(
        request.sources,
        label_fraction=recipe.data.label_fraction,
        labels_per_video=recipe.data.labels_per_video,
    )
    scored = request.open_validation()
    if scored is not None and _learnt_from(scored, opened):
        on_note(
            f"validation on {scored.name} {scored.split}: these pictures are learnt from as "
            "well, so the scores flatter; make a split val, or name other data with --val"
        )
    for warning in (survey(part.dataset, part.labelled) for part in opened.parts):
        if warning is not None:
            on_note(warning)

    named = recipe.objective.teacher
    trainer = Trainer(
        recipe,
        opened,
        scored,
        out,
        processes=processes,
        init=read_start(init) if init else None,
        teacher=load_teacher(named, opened.labels) if named else None,
        flow_weights=request.flow_weights,
        tensorboard=tensorboard,
        request=request,
    )

    # Leave notes out of a run that goes on: it gave them when it began.
    if resume:
        trainer.resume(resume)
        return trainer.fit(on_step, stop=stop)
    if trainer.learner.taken is not None:
        on_note(str(trainer.learner.taken))
    warmup = warmup_note(recipe, trainer.steps)
    if warmup is not None:
        on_note(warmup)
    return trainer.fit(on_step, stop=stop)


def _learnt_from(validation: Dataset, sources: TrainingSets) -> bool:
    """True if a picture of the validation is one whose labels teach."""
    # Compare the files: two data sets may share pictures under other names.
    taught = {frame.image for part in sources.parts for frame in part.labelled}
    return any(frame.image in taught for frame in labelled_frames(validation) if frame.image)


__all__ = [
    "Progress",
    "Recipe",
    "SourceRequest",
    "TrainingRequest",
    "available_recipes",
    "changed_recipe",
    "fit",
    "fitting_recipe",
    "load_recipe",
    "read_start",
    "recorded_run",
    "rehearse",
    "taught_by",
]
