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
_SMALLEST_NUMBER = 0.005  # of a row, to be written
_GAMMA = 0.4  # from share to opacity: rare mistakes must not vanish
_DARK = 0.8  # opacity of a cell from which on its number is white


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """Pixels of one true class (row) that were predicted as one class (column)."""

    row: int
    column: int
    opacity: float
    words: str
    number: str  # per cent of the row; empty where there is no room

    @property
    def is_dark(self) -> bool:
        return self.opacity > _DARK


@dataclass(frozen=True, slots=True)
class Matrix:
    """A heat map, each row in shares of its true class; lengths in the units of its SVG."""

    entry: str
    names: tuple[str, ...]  # of the classes shown; none where no pixel is labelled
    cells: tuple[MatrixCell, ...]
    cell: int  # side of a cell
    font: int
    margin: int  # for names, left and above
    has_numbers: bool


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
    """The matrix of counts, (K, K) pixels with rows of ground truth, for the classes `used`."""
    names = tuple(labels.classes[i] for i in used)
    size = len(names)
    cell, font = (40, 13) if size <= READABLE else (16, 11) if size <= 60 else (9, 8)
    longest = max(map(len, names), default=0)
    return Matrix(
        entry=entry,
        names=names,
        cells=_cells(counts[np.ix_(used, used)], names, has_numbers=size <= READABLE),
        cell=cell,
        font=font,
        margin=round(min(longest, LONGEST_NAME) * font * 0.6) + 12,
        has_numbers=size <= READABLE,
    )


def _cells(
    counts: np.ndarray, names: tuple[str, ...], *, has_numbers: bool
) -> tuple[MatrixCell, ...]:
    """The cells of counts (S, S) that are large enough to be seen."""
    cells = []
    totals = counts.sum(axis=1)
    for i, j in np.argwhere(counts > 0).tolist():
        share = counts[i, j] / totals[i]
        if share < _SMALLEST_SHARE:
            continue
        pixels = f"{counts[i, j]:,} of {totals[i]:,} pixels"
        if i == j:
            words = f"{names[i]}: {percent(share)} % found, {pixels}"
        else:
            words = f"{names[i]} predicted as {names[j]}: {percent(share)} %, {pixels}"
        number = f"{100 * share:.0f}" if has_numbers and share >= _SMALLEST_NUMBER else ""
        cells.append(MatrixCell(i, j, share**_GAMMA, words, number))
    return tuple(cells)


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
