"""Scores class by class as bars, and the key of class colours."""

from __future__ import annotations

import math

import numpy as np

from vidparse.errors import counted
from vidparse.evaluation.metrics.measures import title
from vidparse.evaluation.report.markup import key, percent, points, series, swatch, text
from vidparse.evaluation.result import Evaluation

_TIGHT = 30  # classes from which on bars are set smaller


def class_bars(evaluation: Evaluation) -> str:
    """A list of bars for every score that exists for each class; all but the first folded."""
    names = list(dict.fromkeys(name for entry in evaluation.entries for name in entry.per_class))
    share = _truth_share(evaluation)
    parts: list[str] = []
    for name in names:
        bars = _bars(evaluation, name, share)
        if parts:
            bars = f"<details><summary>{text(_title(name))}</summary>\n{bars}\n</details>"
        parts.append(bars)
    return "\n".join(parts)


def _title(name: str) -> str:
    return "IoU" if name == "miou" else title(name)  # a class has no mean


def _truth_share(evaluation: Evaluation) -> np.ndarray | None:
    """Share of each class in the ground truth, (K,); None when nobody counted pixels."""
    for entry in evaluation.entries:
        if entry.confusion is not None and entry.confusion.any():
            return entry.confusion.sum(axis=1) / entry.confusion.sum()
    return None


def _bars(evaluation: Evaluation, name: str, share: np.ndarray | None) -> str:
    classes = evaluation.labels.classes
    none = np.full(len(classes), np.nan)
    values = np.stack([entry.per_class.get(name, none) for entry in evaluation.entries])  # (E, K)
    present = ~np.isnan(values).all(axis=0)  # (K,)
    rank = values[0] if share is None else share
    order = [int(i) for i in np.argsort(-np.nan_to_num(rank), kind="stable") if present[i]]
    items = "\n".join(
        _class(evaluation, i, values[:, i], None if share is None else float(share[i]))
        for i in order
    )
    by = _title(name) if share is None else "share of the ground truth (in grey)"
    keys = " ".join(key(entry.name, i) for i, entry in enumerate(evaluation.entries))
    absent = ", ".join(text(classes[i]) for i in np.flatnonzero(~present))
    apart = f"Not in the ground truth, so without a score: {absent}." if absent else ""
    kind = f"bars{' tight' * (len(order) > _TIGHT)}{' several' * (len(values) > 1)}"
    return (
        f'<p class="note">{text(_title(name))} in per cent, sorted by {text(by)}. {keys}</p>\n'
        f'<ul class="{kind}">\n{items}\n</ul>\n'
        f'<p class="note">{apart}</p>'
    )


def _class(evaluation: Evaluation, index: int, values: np.ndarray, share: float | None) -> str:
    """One class: its name and a bar an entry."""
    labels = evaluation.labels
    part = "" if share is None else f' <span class="share">{_share(share)}</span>'
    lines = []
    for i, entry in enumerate(evaluation.entries):
        value = float(values[i])
        width = 0.0 if math.isnan(value) else 100 * min(max(value, 0.0), 1.0)
        lines.append(
            f'<span class="track" title="{text(entry.name)}">'
            f'<i class="bar {series(i)}" style="width:{width:.2f}%"></i></span>'
            f'<span class="value"><span class="unseen">{text(entry.name)}: </span>'
            f"{percent(value, 1)}</span>"
        )
        if len(values) > 1:
            delta = points(value - float(values[0]), 1) if i else ""
            lines.append(f"<small>{delta}</small>")
    return (
        f'<li><span class="class">{swatch(labels.colours[index])}'
        f"<span>{text(labels.classes[index])}{part}</span></span>"
        f'<span class="lines">{"".join(lines)}</span></li>'
    )


def _share(share: float) -> str:
    if 0 < share < 0.0005:
        return "&lt;0.1 %"
    return f"{percent(share, 1)} %"


def colour_key(evaluation: Evaluation) -> str:
    """Every class with its id and colour."""
    labels = evaluation.labels
    items = "\n".join(
        f"<li>{swatch(labels.colours[i])}<span>{text(name)}</span> "
        f"<small>{i}{', thing' if i in labels.things else ''}</small></li>"
        for i, name in enumerate(labels.classes)
    )
    count = counted(len(labels), "class")
    return (
        f'<p class="note">Label set {text(labels.name)}, {count}: name, id, and '
        f"whether it is a thing. Black: not labelled, or nothing said.</p>\n"
        f'<ul class="key-list">\n{items}\n</ul>'
    )


def colour_line(evaluation: Evaluation) -> str:
    """Names and colours in a line, if the classes are few."""
    labels = evaluation.labels
    if len(labels) > _TIGHT:
        return ""
    pairs = zip(labels.colours, labels.classes, strict=True)
    words = " ".join(f"<span>{swatch(colour)}{text(name)}</span>" for colour, name in pairs)
    return f'<p class="colour-line">{words}</p>'
