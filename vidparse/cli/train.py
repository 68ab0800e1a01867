"""`vidparse train`, and `vidparse curves` of its runs."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from vidparse.cli import options as shared
from vidparse.cli.process import stop_on_signals
from vidparse.cli.terminal import Reporter, print_json, print_message
from vidparse.errors import counted
from vidparse.requests.option import Argument, Option
from vidparse.requests.training import TrainOptions

if TYPE_CHECKING:
    from vidparse.training import Progress, Recipe, TrainingRequest


def train(
    options: TrainOptions,
    max_pixels: shared.MaxPixels = None,
    quiet: shared.Quiet = False,
) -> None:
    """Train a network; best.safetensors in the run's folder is ready for `segment -m`.

    With several GPUs or machines: torchrun --nproc-per-node N -m vidparse train ...
    """
    from vidparse.training import fit, recorded_run

    # Read the run that goes on first: its recipe and data are the defaults.
    recorded = recorded_run(options.resume) if options.resume is not None else (None, None)
    recipe, notes = _recipe(options, recorded[0])
    request = _request(options, recorded[1])

    quiet = quiet or os.environ.get("RANK", "0") != "0"  # the first process alone speaks
    reporter = Reporter(quiet=quiet, every=50, is_long=True)
    with reporter, stop_on_signals() as stop:
        for note in notes:
            reporter.note(note)
        if options.dry_run:
            _show_plan(recipe, request, options.init, reporter)
            return
        _announce(stop, reporter)
        best = fit(
            recipe,
            request.sources,
            validation=request.validation,
            validates=request.validates,
            out=options.folder,
            init=options.init,
            flow_weights=request.flow_weights,
            resume=options.resume,
            overwrite=options.overwrite,
            device=options.device,
            threads=options.threads,
            tensorboard=options.tensorboard,
            on_step=lambda progress: _show_step(progress, reporter),
            on_note=reporter.note,
            stop=stop,
        )
    if not quiet:
        _say_best(best, recipe, options.folder)


def _recipe(options: TrainOptions, recorded: Recipe | None) -> tuple[Recipe, list[str]]:
    """The recipe that is named, else that of the run that goes on, else one that fits; and notes.

    Raises:
        UsageError: as of `load_recipe`.
    """
    from vidparse.training import changed_recipe, fitting_recipe, load_recipe, taught_by

    notes: list[str] = []
    changes = dict(options.changes)
    if options.recipe is not None:
        recipe = load_recipe(options.recipe, changes, on_note=notes.append)
    elif recorded is not None:
        recipe = changed_recipe(recorded, changes)
    else:
        recipe, chosen = fitting_recipe(options.init, options.teacher, changes)
        notes.append(chosen)
    return taught_by(recipe, options.teacher), notes


def _request(options: TrainOptions, kept: TrainingRequest | None) -> TrainingRequest:
    """The data of the options; of those that are not given, that of the run that goes on."""
    from vidparse.data import usual_format
    from vidparse.requests.training import SourceRequest
    from vidparse.training import TrainingRequest

    scored, dataset, data = options.validation, options.dataset, options.data
    validation = scored.source if scored is not None else None
    validates = scored is None or scored.source is not None

    rendered = dataset is not None and "://" in dataset
    if kept is not None and data is None and not options.also and not rendered:
        request = replace(kept, flow_weights=options.flow_weights or kept.flow_weights)
        if scored is None:
            return request
        return replace(request, validation=validation, validates=validates)
    if dataset is None:  # without a folder there is nothing to recognise, nor to learn from
        dataset = "camvid" if data is None else usual_format(data)
    sources = (SourceRequest(dataset, data), *options.also)
    return TrainingRequest(sources, validation, validates, options.flow_weights)


def _say_best(best: float | None, recipe: Recipe, folder: Path) -> None:
    """The last line of a run."""
    score = "done"
    if best is not None and math.isnan(best):
        score = "done; the validation has no pixel of a known class, so nothing was scored"
    elif best is not None:
        score = f"best validation {recipe.validation.metrics[0]} {best:.4f}"
    print_message(f"{score} -> {folder / 'best.safetensors'}")


def _show_plan(
    recipe: Recipe, request: TrainingRequest, init: str | None, reporter: Reporter
) -> None:
    """Print the resolved recipe and what it will take, after every check that needs no step."""
    from vidparse.training import rehearse

    plan: dict[str, object] = {"recipe": recipe.record()}
    first = request.sources[0]
    if first.root is None and "://" not in first.dataset:
        print_json(plan)  # without data there is nothing to count
        return
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    rehearsal = rehearse(recipe, request, init=init, processes=processes)
    for note in rehearsal.notes:
        reporter.note(note)
    plan["data"] = rehearsal.data
    plan["estimate"] = {
        name: round(value, 1) if isinstance(value, float) else value
        for name, value in asdict(rehearsal.estimate).items()
    }
    print_json(plan)


def _announce(stop: threading.Event, reporter: Reporter) -> None:
    """Confirm a signal at once: the step or validation under way may take minutes.

    In a thread of its own, since a handler of signals may interrupt another line.
    """

    def wait() -> None:
        if stop.wait():
            reporter.note(
                "stopping after the step or validation under way, with a state to resume "
                "from; a second signal stops at once, with that of the last epoch"
            )

    threading.Thread(target=wait, daemon=True).start()


def _show_step(progress: Progress, reporter: Reporter) -> None:
    score = f", val {progress.score:.4f}" if progress.score is not None else ""
    what = f"epoch {progress.epoch + 1}, loss {progress.loss:.3f}{score}"
    reporter.step(progress.step, progress.steps, what, progress.eta_s)


def curves(
    runs: Annotated[tuple[Path, ...], Argument("Folders of training runs.", metavar="RUN")],
    out: Annotated[Path, Option("The HTML page.", flag="--out", short="-o")] = Path("curves.html"),
    quiet: shared.Quiet = False,
) -> None:
    """Show training runs as a page: losses, scores, classes, and how their recipes differ."""
    from vidparse.training.curves import write_curves

    write_curves(runs, out)
    if not quiet:
        print_message(f"{counted(len(runs), 'run')} -> {out}")
