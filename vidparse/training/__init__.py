"""Training: a recipe and data in, checkpoints and a log out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from vidparse.data import Dataset, labelled_frames
from vidparse.data.coverage import survey
from vidparse.errors import UsageError
from vidparse.training.recipe import Recipe, available_recipes, load_recipe, recipe_record
from vidparse.training.sources import SourceRequest, Sources, open_sources, parse_source
from vidparse.training.start import fitting_recipe, load_teacher, read_start
from vidparse.training.trainer import LAST, Progress, Trainer


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
        validation: what is scored; None: the split "val" of the first source.
        validates: False: nothing is, and the last weights count as the best.
        init: weights to start from (see `read_start`); names that fit the network or its
            backbone are taken.
        teacher: model to distil, in place of the recipe's.
        flow_weights: RAFT's, which NetWarp starts from.
        resume: last.safetensors of a run to continue; gives the weights of an unbroken run.
        on_note: told what a user should know and need not stop the run.
        overwrite: begin anew in a folder that holds a run.
        stop: set it to end after the step under way, with a checkpoint to resume from.

    Returns:
        The best validation score, by the recipe's first metric; its weights are
        out/best.safetensors.
    """
    import torch

    if resume is not None and resume.resolve().parent != out.resolve():
        raise UsageError(
            f"--resume {resume}: a run goes on in its own folder; leave -o out, or copy the folder "
            "and resume from the copy"
        )
    if (out / LAST).exists() and resume is None and not overwrite:
        raise UsageError(
            f"{out}: holds a run already; go on with --resume {out / LAST}, choose another -o, or "
            "begin anew with --overwrite"
        )
    from vidparse.inference.devices import choose_device, cpu_count
    from vidparse.training.processes import join_processes

    place = torch.device(str(choose_device(device)))
    recipe = replace(recipe, teacher=teacher) if teacher else recipe
    if recipe.teacher and recipe.objective != "etc":
        raise UsageError(
            f"teacher {recipe.teacher}: is for objective etc, not {recipe.objective}; leave it "
            "out, or --set objective=etc"
        )
    validation = validation or replace(sources[0], split="val")
    with join_processes(place) as processes:
        torch.set_num_threads(threads or max(1, cpu_count() // processes.count))
        opened = open_sources(sources, label_fraction=recipe.label_fraction)
        scored = validation.open() if validates else None
        if scored is not None and _learnt_from(scored, opened):
            on_note(
                f"validation on {scored.name} {scored.split}: these pictures are learnt from as "
                "well, so the scores flatter; make a split val, or name other data with --val"
            )
        for warning in (survey(part.dataset, part.labelled) for part in opened.parts):
            if warning is not None:
                on_note(warning)
        trainer = Trainer(
            recipe,
            opened,
            scored,
            out,
            processes=processes,
            init=read_start(init) if init else None,
            teacher=load_teacher(recipe.teacher, opened.labels) if recipe.teacher else None,
            flow_weights=flow_weights,
            tensorboard=tensorboard,
        )
        if trainer.taken is not None and not resume:
            on_note(str(trainer.taken))
        if resume:
            trainer.resume(resume)
        return trainer.fit(on_step, stop=stop)


def _learnt_from(validation: Dataset, sources: Sources) -> bool:
    """Whether a picture of the validation is one whose labels are taught."""
    taught = {frame.image for part in sources.parts for frame in part.labelled}
    return any(frame.image in taught for frame in labelled_frames(validation) if frame.image)


__all__ = [
    "Progress",
    "Recipe",
    "SourceRequest",
    "available_recipes",
    "fit",
    "fitting_recipe",
    "load_recipe",
    "parse_source",
    "read_start",
    "recipe_record",
]
