"""`vidparse train`."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidparse.cli import options as shared

if TYPE_CHECKING:
    from vidparse.training import Progress, Recipe, TrainingRequest


def train(
    dataset: shared.DatasetName = None,
    data: shared.DataRoot = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="More data, of the same classes or of unions of them: NAME=FOLDER:SPLIT@WEIGHT; "
            "split and weight may be left out (repeatable)."
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            "--val", help="What is scored: NAME=FOLDER:SPLIT, or none; else the split val."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Name of a recipe, or a .toml file; by default street-plain, with a --teacher "
            "street-student, and the network of --init where that is a model of vidparse."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder of checkpoints and log; by default runs/train, or that of --resume.",
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Weights to start from: a model, .safetensors, or .pth (ImageNet)."),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Model to distil, for recipes with objective etc.")
    ] = None,
    flow_weights: Annotated[Path | None, typer.Option(help="raft-things.pth, for NetWarp.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="last.safetensors of the run to continue, with its recipe and data."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew in a folder that holds a run.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a recipe field: --set epochs=10 (repeatable)."),
    ] = None,
    device: shared.Device = "auto",
    threads: shared.Threads = 0,
    max_pixels: shared.MaxPixels = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write for TensorBoard as well.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check all of it; print recipe, steps and memory."),
    ] = False,
    quiet: shared.Quiet = False,
) -> None:
    """Train a network; best.safetensors in the run's folder is ready for `segment -m`.

    With several GPUs or machines: torchrun --nproc-per-node N -m vidparse train ...
    """
    from vidparse.cli.parsing import assignments
    from vidparse.cli.signals import stop_on_signals
    from vidparse.cli.terminal import say
    from vidparse.training import (
        changed_recipe,
        fit,
        fitting_recipe,
        load_recipe,
        recorded_run,
        taught_by,
    )

    changes = assignments(set_)
    recorded, kept = recorded_run(resume) if resume is not None else (None, None)
    notes: list[str] = []
    if recipe is not None:
        resolved = load_recipe(recipe, changes, on_note=notes.append)
    elif recorded is not None:
        resolved = changed_recipe(recorded, changes)
    else:
        resolved, chosen = fitting_recipe(init, teacher, changes)
        notes.append(chosen)
    resolved = taught_by(resolved, teacher)
    request = _request(dataset, data, also, validation, flow_weights, kept)
    folder = out or (resume.parent if resume else Path("runs/train"))

    with _Steps(quiet=quiet) as shown, stop_on_signals() as stop:
        for note in notes:
            shown.note(note)
        if dry_run:
            _show_plan(resolved, request, init, shown)
            return
        shown.announce(stop)
        best = fit(
            resolved,
            request.sources,
            validation=request.validation,
            validates=request.validates,
            out=folder,
            init=init,
            flow_weights=request.flow_weights,
            resume=resume,
            overwrite=overwrite,
            device=device,
            threads=threads,
            tensorboard=tensorboard,
            on_step=shown.step,
            on_note=shown.note,
            stop=stop,
        )
    if not quiet and shown.is_first:
        score = (
            f"best validation {resolved.validation.metrics[0]} {best:.4f}"
            if best is not None
            else "done"
        )
        if best is not None and math.isnan(best):
            score = "done; the validation has no pixel of a known class, so nothing was scored"
        say(f"{score} -> {folder / 'best.safetensors'}")


def _request(
    dataset: str | None,
    data: Path | None,
    also: list[str] | None,
    validation: str | None,
    flow_weights: Path | None,
    kept: TrainingRequest | None,
) -> TrainingRequest:
    """The data of the options; of those that are not given, that of the run that goes on.

    Raises:
        UsageError: a text that names no data set, or a weight for what is scored.
    """
    from vidparse.data import usual_format
    from vidparse.errors import UsageError
    from vidparse.training import SourceRequest, TrainingRequest, parse_source

    to_score = parse_source(validation) if validation and validation != "none" else None
    if to_score is not None and to_score.weight is not None:
        raise UsageError(f"--val {validation}: what is scored has no weight; leave it out")

    rendered = dataset is not None and "://" in dataset
    if kept is not None and data is None and not also and not rendered:
        request = replace(kept, flow_weights=flow_weights or kept.flow_weights)
        if validation is None:
            return request
        return replace(request, validation=to_score, validates=validation != "none")
    if dataset is None:  # without a folder there is nothing to recognise, nor to learn from
        dataset = "camvid" if data is None else usual_format(data)
    sources = (SourceRequest(dataset, data), *map(parse_source, also or ()))
    return TrainingRequest(sources, to_score, validation != "none", flow_weights)


def _show_plan(recipe: Recipe, request: TrainingRequest, init: str | None, shown: _Steps) -> None:
    """Print the resolved recipe and what it will take, after every check that needs no step."""
    import os
    from dataclasses import asdict

    from vidparse.cli.terminal import print_json
    from vidparse.training import rehearse

    plan: dict[str, Any] = {"recipe": recipe.record()}
    first = request.sources[0]
    if first.root is None and "://" not in first.dataset:
        print_json(plan)  # without data there is nothing to count
        return
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    rehearsal = rehearse(recipe, request, init=init, processes=processes)
    for note in rehearsal.notes:
        shown.note(note)
    plan["data"] = rehearsal.data
    plan["estimate"] = {
        name: round(value, 1) if isinstance(value, float) else value
        for name, value in asdict(rehearsal.estimate).items()
    }
    print_json(plan)


class _Steps:
    """A progress bar on a terminal, else a line every 50 steps; the first process alone speaks."""

    def __init__(self, *, quiet: bool) -> None:
        import os

        from vidparse.cli.terminal import is_terminal

        self.is_first = os.environ.get("RANK", "0") == "0"
        self._quiet = quiet or not self.is_first
        self._bar = _step_bar() if not self._quiet and is_terminal(err=True) else None
        self._task: Any = None

    def __enter__(self) -> _Steps:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        from vidparse.cli.screen import above

        if not self._quiet:
            above(self._bar, f"note: {text}")

    def announce(self, stop: threading.Event) -> None:
        """Say at once that a signal was heard: the step or validation under way may take minutes.

        In a thread of its own, since a handler of signals may interrupt another line.
        """

        def wait() -> None:
            if stop.wait():
                self.note(
                    "stopping after the step or validation under way, with a state to resume "
                    "from; a second signal stops at once, with that of the last epoch"
                )

        threading.Thread(target=wait, daemon=True).start()

    def step(self, progress: Progress) -> None:
        from vidparse.cli.screen import above

        score = f", val {progress.score:.4f}" if progress.score is not None else ""
        text = f"epoch {progress.epoch + 1}, loss {progress.loss:.3f}{score}"
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(text, total=progress.steps)
            self._bar.update(self._task, completed=progress.step, description=text)
        elif not self._quiet and (progress.step % 50 == 0 or progress.step == progress.steps):
            left = f"{progress.eta_s / 60:.0f} min left"
            above(None, f"step {progress.step}/{progress.steps}, {text}, {left}")


def _step_bar() -> Any:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from vidparse.cli.terminal import console

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console(err=True),
    )
