"""Confusion of a report: the matrix of an entry as a picture, its largest mistakes as a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidparse.evaluation.result import Evaluation
from vidparse.labels import Labels
from vidparse.page import Cell, Table, named_swatch, percent

READABLE = 20  # classes up to which the numbers stand in the cells
LONGEST_NAME = 24  # characters on the axes; hovering shows the rest
_MOST_MISTAKES = 12
_SMALLEST_SHARE = 0.002  # of a row, to be drawn


@dataclass(frozen=True, slots=True)
class Matrix:
    """A heat map, each row in shares of its true class; lengths in the units of its SVG.

    names: of the S classes shown; none where no pixel is labelled. counts: pixels (S, S), rows
    ground truth. cells: row, column and share of the row, of each that is large enough to be seen.
    side: of a cell. margin: for names, left and above.
    """

    entry: str
    names: tuple[str, ...]
    counts: np.ndarray
    cells: tuple[tuple[int, int, float], ...]
    side: int
    font: int
    margin: int


def matrices(evaluation: Evaluation) -> list[tuple[int, Matrix, Table | None]]:
    """Of each entry that counted pixels: its index, its matrix, its mistakes if there are any.

    All show the classes that occur in any, so that they can be compared.
    """
    counts = {
        i: entry.confusion
        for i, entry in enumerate(evaluation.entries)
        if entry.confusion is not None
    }
    if not counts:
        return []
    total = np.sum(list(counts.values()), axis=0)  # (K, K)
    used = np.flatnonzero(total.sum(axis=0) + total.sum(axis=1))
    return [
        (
            i,
            _matrix(evaluation.entries[i].name, one, evaluation.labels, used),
            _mistakes(one, evaluation.labels),
        )
        for i, one in counts.items()
    ]


def _matrix(entry: str, counts: np.ndarray, labels: Labels, used: np.ndarray) -> Matrix:
    """The matrix of counts (K, K) for the classes `used`."""
    names = tuple(labels.classes[i] for i in used)
    size = len(names)
    side, font = (40, 13) if size <= READABLE else (16, 11) if size <= 60 else (9, 8)
    longest = max(map(len, names), default=0)
    shown = counts[np.ix_(used, used)]  # (S, S)
    shares = shown / np.maximum(shown.sum(axis=1, keepdims=True), 1)
    cells = np.argwhere((shown > 0) & (shares >= _SMALLEST_SHARE)).tolist()
    return Matrix(
        entry=entry,
        names=names,
        counts=shown,
        cells=tuple((i, j, float(shares[i, j])) for i, j in cells),
        side=side,
        font=font,
        margin=round(min(longest, LONGEST_NAME) * font * 0.6) + 12,
    )


def _mistakes(counts: np.ndarray, labels: Labels) -> Table | None:
    """The pairs of classes that cost most pixels; None where all are right."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    total = int(wrong.sum())
    if not total:
        return None
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_MISTAKES]

    rows = []
    for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True):
        pixels = int(wrong[i, j])
        if not pixels:
            break
        cells = [
            Cell(named_swatch(labels.colours[j], labels.classes[j])),
            Cell(percent(pixels / counts[i].sum(), 1)),
            Cell(percent(pixels / total, 1)),
        ]
        rows.append((named_swatch(labels.colours[i], labels.classes[i]), cells))
    heads = ("Ground truth", "Prediction", "% of class", "% of mistakes")
    return Table("The largest mistakes", [(head, ()) for head in heads], rows)
