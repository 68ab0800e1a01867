"""`vidparse eval`, and its tables of scores."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vidparse.addresses import masked
from vidparse.cli import options as shared
from vidparse.cli.process import stop_on_signals
from vidparse.cli.terminal import Reporter, cell, console, print_json, show
from vidparse.errors import counted
from vidparse.requests.evaluation import EvaluationRequest

if TYPE_CHECKING:
    from vidparse.evaluation.result import Evaluation

_Interval = tuple[float, float] | None


def evaluate(
    request: EvaluationRequest,
    max_pixels: shared.MaxPixels = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Score models, or predictions made by any tool, on a labelled data set."""
    from vidparse.evaluation.report import write_report
    from vidparse.evaluation.request import run_evaluation
    from vidparse.evaluation.result import evaluation_record
    from vidparse.page import check_page

    # Refuse the place of the report before hours of scoring.
    if request.report is not None:
        check_page(request.report)

    name = request.dataset or (request.data.name if request.data else "")
    title = f"{name} {request.split}"
    with stop_on_signals() as stop, Reporter(title, quiet=quiet) as reporter:
        result = run_evaluation(request, on_frame=reporter.update, stop=stop)

    if request.report is not None:
        command = masked(shlex.join(["vidparse", *sys.argv[1:]]))
        write_report(request.report, replace(result, command=command))
    if json:
        print_json(evaluation_record(result))
    elif not quiet and result.metrics:
        print_scores(result)


def print_scores(evaluation: Evaluation) -> None:
    """Head lines, the scores in per cent, and what exists for each class."""
    from vidparse.evaluation.metrics import title

    facts = [
        f"{counted(evaluation.frames, 'frame')} in {counted(evaluation.videos, 'video')}",
        *([f"{evaluation.resumed} of them done before"] if evaluation.resumed else []),
        *([f"flow {evaluation.flow}"] if evaluation.flow else []),
        f"{evaluation.seconds:.1f} s",
    ]
    show(f"{evaluation.dataset} {evaluation.split}: {', '.join(facts)}")

    entries = evaluation.entries
    for entry in entries:
        show(f"{entry.name}: {entry.detail}")
    for note in evaluation.notes:
        show(f"note: {note}")

    names = list(entries[0].scores)
    _print_table(
        ["score, %", *(entry.name for entry in entries)],
        {title(name): [entry.scores[name] for entry in entries] for name in names},
        {title(name): [entry.intervals.get(name) for entry in entries] for name in names},
        differences=True,
    )
    _print_classes(evaluation)


def _print_classes(evaluation: Evaluation) -> None:
    """One table with a column per score; with several entries, one table per score."""
    from vidparse.evaluation.metrics import title

    entries, classes = evaluation.entries, evaluation.labels.classes
    heads = {
        name: "IoU" if name == "miou" else title(name)  # a class has no mean
        for name in entries[0].per_class
    }
    tables = {
        f"class, {head}, %": [(entry.name, entry.per_class[name]) for entry in entries]
        for name, head in heads.items()
    }
    if len(entries) == 1 and heads:
        own = entries[0].per_class
        tables = {"class, %": [(head, own[name]) for name, head in heads.items()]}

    for what, columns in tables.items():
        rows = {
            label: [float(values[i]) for _, values in columns] for i, label in enumerate(classes)
        }

        # Leave out classes that occur nowhere: their number stands in one line below.
        found = {label: row for label, row in rows.items() if not all(map(math.isnan, row))}
        several = len(entries) > 1
        _print_table([what, *(head for head, _ in columns)], found, {}, differences=several)
        if absent := len(rows) - len(found):
            show(f"{counted(absent, 'class')} {'does' if absent == 1 else 'do'} not occur")


def _print_table(
    heads: Sequence[str],
    rows: dict[str, list[float]],
    intervals: dict[str, list[_Interval]],
    *,
    differences: bool,
) -> None:
    from rich.table import Table

    first, *others = heads[1:]
    more = []
    if differences:
        more = ["difference"] if len(others) == 1 else [f"{head} - {first}" for head in others]

    table = Table()
    for i, head in enumerate([*heads, *more]):
        table.add_column(cell(head), justify="right" if i else "left")

    for name, values in rows.items():
        spread = intervals.get(name) or [None] * len(values)
        cells = [_value(value, within) for value, within in zip(values, spread, strict=True)]
        if differences:
            cells += [_difference(value - values[0]) for value in values[1:]]
        table.add_row(cell(name), *cells)
    console().print(table)


def _value(value: float, within: _Interval) -> str:
    if math.isnan(value):
        return "-"
    spread = f" ({100 * within[0]:.2f} to {100 * within[1]:.2f})" if within else ""
    return f"{100 * value:.2f}{spread}"


def _difference(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:+.2f}"
