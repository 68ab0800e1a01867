"""Training runs as one HTML page: curves over each other, scores, classes, and how recipes differ.

The templates and their look are those of `vidparse.page`.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypedDict

import numpy as np

from vidparse.errors import UsageError
from vidparse.evaluation.metrics import definition, title
from vidparse.page import (
    DASH,
    Table,
    TableCell,
    check_page,
    count,
    key,
    percent,
    points,
    render,
    write_page,
)
from vidparse.page.plot import Chart, Curve, draw
from vidparse.textfiles import parse_json
from vidparse.training.logbook import LOG_NAME, Steps, Validations, read_log
from vidparse.training.recipe import short_names

_LATEST = 250_000_000_000  # seconds since 1970: the end of the year 9891
RECIPE_NAME = "recipe.json"
_MOST_RATES = 6  # charts of learning rates; networks with a rate per layer have more
_HEADINGS = {
    "scores": "Scores",
    "validation": "Validation",
    "loss": "Loss",
    "shares": "Gradients",
    "rates": "Learning rate",
    "classes": "Classes",
    "recipe": "Recipe",
}


@dataclass(frozen=True, slots=True)
class _Run:
    name: str
    index: int  # its colour
    steps: Steps
    validations: Validations
    recipe: Mapping[str, str] | None  # flat: "config.width" -> "256"


def write_curves(folders: Sequence[Path], out: Path) -> None:
    """Write the page of these runs; it appears complete or not at all.

    Args:
        folders: of the runs, each with log.jsonl and, where it is there, recipe.json.
        out: the HTML file.

    Raises:
        InputError: a folder has no log.
        OutputError: the page cannot be written.
        UsageError: no folder at all.
    """
    if not folders:
        raise UsageError("curves: no run to show; give the folder of a training run")
    runs = [
        _Run(name, i, *read_log(folder / LOG_NAME), _flat_recipe(folder / RECIPE_NAME))
        for i, (name, folder) in enumerate(zip(_names(folders), folders, strict=True))
    ]
    check_page(out)
    command = shlex.join(["vidparse", "curves", *map(str, folders), "-o", str(out)])
    write_page(out, _page(runs, command))


def _names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many as distinguish the runs."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-length:]) for own in parts]

        # Count a folder once: one that is given twice has the same name at any length.
        if len(set(names)) == len(set(parts)):
            break
    return names


def _flat_recipe(path: Path) -> dict[str, str] | None:
    """Every field as words; None when there is no whole recipe."""
    try:
        record = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return dict(_flat(short_names(record), "")) if isinstance(record, dict) else None


def _flat(record: Mapping[str, object], prefix: str) -> list[tuple[str, str]]:
    found = []
    for name, value in record.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{name}.")
        else:
            words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.append((f"{prefix}{name}", words))
    return found


def _page(runs: Sequence[_Run], command: str) -> str:
    recipe, same_fields = _recipes(runs)
    rates, rate_groups = _rates(runs)
    sections = {
        "scores": _scores(runs),
        "validation": _validation(runs),
        "loss": _losses(runs),
        "shares": _shares(runs),
        "rates": rates,
        "classes": _classes(runs),
        "recipe": recipe,
    }

    ends = {f"{int(run.validations.steps[-1]):,}" for run in runs if len(run.validations.steps)}
    return render(
        "curves.html",
        title=runs[0].name if len(runs) == 1 else "Training runs",
        facts=_facts(runs),
        entries=[(run.name, _summary(run)) for run in runs],
        command=command,
        notes=[f"{run.name}: no step logged yet." for run in runs if not len(run.steps.steps)],
        contents={name: words for name, words in _HEADINGS.items() if sections[name]},
        classes_at=f"step {ends.pop()}" if len(ends) == 1 else "the last validation of each run",
        most_rates=_MOST_RATES,
        rate_groups=rate_groups,
        same_fields=same_fields,
        **sections,
    )


def _facts(runs: Sequence[_Run]) -> str:
    """The number of runs, and the time of the latest value."""
    times = np.concatenate([one.times for run in runs for one in (run.steps, run.validations)])

    # Leave out NaN and times that no clock shows: datetime refuses them.
    known = times[(times >= 0) & (times < _LATEST)]
    if not len(known):
        return count(len(runs), "run")
    last = datetime.fromtimestamp(float(known.max()))
    return f"{count(len(runs), 'run')}, last heard of on {last:%Y-%m-%d at %H:%M}"


def _summary(run: _Run) -> str:
    """Steps, epochs, hours."""
    steps = run.steps
    if not len(steps.steps):
        return ""

    # Weigh each line by the steps it stands for: its seconds are their mean.
    lengths = np.diff(steps.steps, prepend=0)
    seconds = float(np.nansum(lengths * steps.seconds))
    hours, minutes = divmod(round(seconds / 60), 60)
    spent = f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
    facts = [
        count(int(steps.steps[-1]), "step"),
        f"epoch {int(steps.epochs[-1]) + 1}",
        f"{spent} of steps" if minutes or hours else f"{seconds:.0f} s of steps",
        count(len(run.validations.steps), "validation"),
    ]
    return ", ".join(facts)


def _scores(runs: Sequence[_Run]) -> Table | None:
    """Best and last of every score, with differences to the first run."""
    names = dict.fromkeys(name for run in runs for name in run.validations.scores)
    if not names:
        return None
    groups: list[tuple[str, Sequence[str]]] = [("Score", ())]
    for run in runs:
        columns = ["best", *["difference"][: run.index > 0], "at step", "last"]
        groups.append((key(run.name, run.index), columns))

    rows = []
    for name in names:
        bests = [_best(run, name) for run in runs]

        # Mark a best value only where values differ.
        values = {value for value, _ in bests if not math.isnan(value)}
        top = (min if _less_is_better(name) else max)(values) if len(values) > 1 else math.nan
        cells = []
        for run, (value, step) in zip(runs, bests, strict=True):
            cells.append(TableCell(_number(name, value), is_best=value == top))
            if run.index > 0:
                cells.append(TableCell(_number(name, value - bests[0][0], sign=True)))
            cells.append(TableCell(f"{step:,}" if step else DASH))
            cells.append(TableCell(_number(name, _last(run.validations.scores.get(name)))))
        rows.append((title(name), cells))
    return Table("Scores", groups, rows)


def _best(run: _Run, name: str) -> tuple[float, int]:
    """The best value and the step it was reached at; NaN and 0 when there is none."""
    values = run.validations.scores.get(name)
    if values is None or np.isnan(values).all():
        return math.nan, 0
    place = int(np.nanargmin(values) if _less_is_better(name) else np.nanargmax(values))
    return float(values[place]), int(run.validations.steps[place])


def _less_is_better(name: str) -> bool:
    return name.endswith(("decay", "loss"))


def _is_share(name: str) -> bool:
    """True for a score that is a share of 1, to be shown in per cent."""
    return bool(definition(name))


def _number(name: str, value: float, *, sign: bool = False) -> str:
    if math.isnan(value):
        return DASH
    if _is_share(name):
        return points(value) if sign else percent(value)
    return f"{value:{'+' if sign else ''}.4g}".replace("-", "\N{MINUS SIGN}")


def _last(values: np.ndarray | None) -> float:
    """The last defined value, or NaN."""
    defined = np.empty(0) if values is None else values[~np.isnan(values)]
    return float(defined[-1]) if len(defined) else math.nan


def _curves(
    runs: Sequence[_Run], of: Callable[[_Run], tuple[np.ndarray, Mapping[str, np.ndarray]]]
) -> dict[str, list[Curve]]:
    """The curves of every name that is defined anywhere, in the order they are met."""
    found: dict[str, list[Curve]] = {}
    for run in runs:
        steps, columns = of(run)
        for name, values in columns.items():
            defined = ~np.isnan(values)
            if defined.any():
                curve = Curve(run.name, run.index, steps[defined], values[defined])
                found.setdefault(name, []).append(curve)
    return found


def _last_step(runs: Sequence[_Run]) -> int:
    """The step at which every horizontal axis ends."""
    ends = [
        int(steps[-1])
        for run in runs
        for steps in (run.steps.steps, run.validations.steps)
        if len(steps)
    ]
    return max([1, *ends])


class _Axis(TypedDict):
    end: int
    over: str


def _over(runs: Sequence[_Run]) -> _Axis:
    """The horizontal axis that all charts share."""
    last = _last_step(runs)
    return {"end": last, "over": count(last, "step")}


def _validation(runs: Sequence[_Run]) -> list[Chart]:
    curves = _curves(runs, lambda run: (run.validations.steps, run.validations.scores))
    return [
        draw(title(name), found, **_over(runs), percent=_is_share(name), dots=True)
        for name, found in curves.items()
    ]


def _losses(runs: Sequence[_Run]) -> list[Chart]:
    curves = _curves(runs, lambda run: (run.steps.steps, run.steps.losses))
    return [
        draw(name.replace("_", " "), found, **_over(runs), smooth=True)
        for name, found in curves.items()
    ]


def _shares(runs: Sequence[_Run]) -> list[Chart]:
    curves = _curves(runs, lambda run: (run.steps.steps, run.steps.shares))
    return [
        draw(name.replace("_", " "), found, **_over(runs), percent=True, dots=True)
        for name, found in curves.items()
    ]


def _rates(runs: Sequence[_Run]) -> tuple[list[Chart], int]:
    """Charts of learning rates, equal ones as one, and of the time of steps; groups of rates."""
    same: dict[tuple[tuple[int, bytes, bytes], ...], tuple[list[str], list[Curve]]] = {}
    for name, found in _curves(runs, lambda run: (run.steps.steps, run.steps.rates)).items():
        # Compare bytes: arrays have no hash, and equal rates are equal to the last bit.
        mark = tuple((one.index, one.places.tobytes(), one.values.tobytes()) for one in found)
        same.setdefault(mark, ([], found))[0].append(name)
    charts = [
        draw(", ".join(names).replace("_", " "), found, **_over(runs), figure="highest")
        for names, found in list(same.values())[:_MOST_RATES]
    ]
    time = _curves(runs, lambda run: (run.steps.steps, {"seconds per step": run.steps.seconds}))
    charts += [draw(name, found, **_over(runs), smooth=True) for name, found in time.items()]
    return charts, len(same)


def _classes(runs: Sequence[_Run]) -> Table | None:
    """Classes at the last validation of each run."""
    names = dict.fromkeys(name for run in runs for name in run.validations.classes)
    if not names:
        return None
    several = len(runs) > 1
    groups: list[tuple[str, Sequence[str]]] = [("Class", ())]
    if several:
        heads = [["%", *["difference"][: run.index > 0]] for run in runs]
        groups += [(key(run.name, run.index), head) for run, head in zip(runs, heads, strict=True)]
    else:
        groups += [("Last", ()), ("Best", ())]

    rows = []
    for name in names:
        columns = [run.validations.classes.get(name) for run in runs]
        values = [math.nan if one is None or not len(one) else float(one[-1]) for one in columns]
        cells = []
        for i, value in enumerate(values):
            cells.append(TableCell(percent(value), value))
            if i > 0:
                cells.append(TableCell(points(value - values[0]), value - values[0]))
        if not several:
            own = columns[0]
            best = math.nan if own is None or np.isnan(own).all() else float(np.nanmax(own))
            cells.append(TableCell(percent(best), best))
        rows.append((name, cells))
    return Table("Classes", groups, rows, is_sortable=True)


def _recipes(runs: Sequence[_Run]) -> tuple[Table | None, int]:
    """One recipe, or the fields in which several differ; how many are the same."""
    recipes = {run.index: run.recipe for run in runs if run.recipe is not None}

    # Show nothing where one of several runs alone has a recipe: nothing compares.
    if not recipes or (len(runs) > 1 and len(recipes) < 2):
        return None, 0
    fields = dict.fromkeys(name for recipe in recipes.values() for name in recipe)
    shown = [
        name
        for name in fields
        if len(runs) == 1 or len({recipe.get(name) for recipe in recipes.values()}) > 1
    ]
    groups: list[tuple[str, Sequence[str]]] = [("Field", ())]
    groups += [(key(runs[i].name, i) if len(runs) > 1 else "Value", ()) for i in recipes]
    rows = [
        (name, [TableCell(recipe.get(name, DASH)) for recipe in recipes.values()]) for name in shown
    ]
    return Table("Recipe", groups, rows), len(fields) - len(shown)
