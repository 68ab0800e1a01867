"""Scores of a report: over the split, class by class, and video by video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.evaluation.metrics import title
from vidparse.evaluation.result import Evaluation
from vidparse.labels import Labels
from vidparse.page import DASH, Table, TableCell, key, named_swatch, percent, points

_LESS_IS_BETTER = ("j_decay", "f_decay")
READABLE = 20  # classes up to which the numbers stand in the cells
LONGEST_NAME = 24  # characters on the axes; hovering shows the rest
_MOST_MISTAKES = 12
_SMALLEST_SHARE = 0.002  # of a row, to be drawn


@dataclass(frozen=True, slots=True)
class ClassBars:
    """One score, class by class.

    order: the key that classes are sorted by. class_ids: those that have a score, in that order.
    share: of each class in the ground truth, (K,); None where nobody counted pixels.
    values: (K, E), NaN where an entry has none. absent: names of the classes without a score.
    """

    title: str
    order: str
    class_ids: tuple[int, ...]
    share: np.ndarray | None
    values: np.ndarray
    absent: tuple[str, ...]


def score_table(evaluation: Evaluation) -> Table | None:
    """Every score of every entry, with differences to the first and 95 % intervals."""
    entries = evaluation.entries
    names = list(dict.fromkeys(name for entry in entries for name in entry.scores))
    if not names:
        return None
    spread = any(entry.intervals for entry in entries)
    groups: list[tuple[str, Sequence[str]]] = [("Score", ())]
    for i, entry in enumerate(entries):
        columns = ["%", *["difference"][: i > 0], *["95 % interval"][:spread]]
        groups.append((key(entry.name, i), columns if spread or len(entries) > 1 else ()))

    rows = []
    for name in names:
        values = [entry.scores.get(name, math.nan) for entry in entries]
        best = _best(name, values)
        cells = []
        for i, entry in enumerate(entries):
            cells.append(TableCell(percent(values[i]), is_best=values[i] == best))
            if i > 0:
                cells.append(TableCell(points(values[i] - values[0])))
            if spread:
                cells.append(TableCell(_interval(entry.intervals.get(name)), is_small=True))
        rows.append((title(name), cells))
    return Table("Scores", groups, rows)


def _interval(bounds: tuple[float, float] | None) -> str:
    return DASH if bounds is None else f"{percent(bounds[0])} to {percent(bounds[1])}"


def _best(name: str, values: Sequence[float]) -> float:
    """The value to print bold; NaN when all are equal, or fewer than two are defined."""
    defined = [value for value in values if not math.isnan(value)]
    if len(set(defined)) < 2:
        return math.nan
    return min(defined) if name in _LESS_IS_BETTER else max(defined)


def class_bars(evaluation: Evaluation) -> list[ClassBars]:
    """The scores that exist for each class, the leading one first."""
    names = dict.fromkeys(name for entry in evaluation.entries for name in entry.per_class)
    share = _truth_share(evaluation)
    return [_bars(evaluation, name, share) for name in names]


def _truth_share(evaluation: Evaluation) -> np.ndarray | None:
    """Share of each class in the ground truth, (K,); None when nobody counted pixels."""
    for entry in evaluation.entries:
        if entry.confusion is not None and entry.confusion.any():
            return entry.confusion.sum(axis=1) / entry.confusion.sum()
    return None


def _bars(evaluation: Evaluation, name: str, share: np.ndarray | None) -> ClassBars:
    none = np.full(len(evaluation.labels), np.nan)
    values = np.stack([entry.per_class.get(name, none) for entry in evaluation.entries], axis=1)
    absent = np.isnan(values).all(axis=1)  # (K,)
    rank = np.argsort(-np.nan_to_num(values[:, 0] if share is None else share), kind="stable")
    heading = "IoU" if name == "miou" else title(name)  # a class has no mean
    return ClassBars(
        title=heading,
        order=heading if share is None else "share of the ground truth (in grey)",
        class_ids=tuple(i for i in rank.tolist() if not absent[i]),
        share=share,
        values=values,
        absent=tuple(evaluation.labels.classes[i] for i in np.flatnonzero(absent)),
    )


def video_table(evaluation: Evaluation) -> Table | None:
    """A row per video, the worst first; None where no score belongs to a single video."""
    videos, names = worst_first(evaluation), video_scores(evaluation)
    if not videos or not names:
        return None
    entries = evaluation.entries
    frames = {video.video: len(video.stems) for video in entries[0].videos}
    heads = [key(entry.name, i) for i, entry in enumerate(entries)] if len(entries) > 1 else []
    groups: list[tuple[str, Sequence[str]]] = [("Video", ())]
    groups += [("Frames", ())] if frames else []
    groups += [(title(name), heads) for name in names]

    rows = []
    for video in videos:
        long = frames.get(video, 0)
        cells = [TableCell(f"{long:,}", long)] if frames else []
        for name in names:
            values = [entry.per_video.get(video, {}).get(name, math.nan) for entry in entries]
            cells += [TableCell(percent(value), value) for value in values]
        rows.append((video, cells))
    return Table("Videos", groups, rows, is_sortable=True)


def video_scores(evaluation: Evaluation) -> list[str]:
    """Scores that are defined for single videos, without those that repeat another."""
    columns: dict[str, tuple[float, ...]] = {}
    for name in evaluation.entries[0].scores:
        column = tuple(
            scores.get(name, math.nan)
            for entry in evaluation.entries
            for scores in entry.per_video.values()
        )
        defined = any(not math.isnan(value) for value in column)
        if defined and not any(_same(column, other) for other in columns.values()):
            columns[name] = column
    return list(columns)


def _same(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(one, other, strict=True))


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

    # Share out each row by itself, or rare classes would show nothing.
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
            TableCell(named_swatch(labels.colours[j], labels.classes[j])),
            TableCell(percent(pixels / counts[i].sum(), 1)),
            TableCell(percent(pixels / total, 1)),
        ]
        rows.append((named_swatch(labels.colours[i], labels.classes[i]), cells))
    heads = ("Ground truth", "Prediction", "% of class", "% of mistakes")
    return Table("The largest mistakes", [(head, ()) for head in heads], rows)


def worst_first(evaluation: Evaluation) -> list[str]:
    """Videos in the order in which they deserve a look: by the first entry's leading score.

    The leading score is the first that is defined for any video; without one, pixel accuracy.
    Videos where it is undefined come last.
    """
    entry = evaluation.entries[0]
    values = {video.video: mean(video.accuracy) for video in entry.videos if video.stems}
    for name in entry.scores:
        scores = {video: own.get(name, math.nan) for video, own in entry.per_video.items()}
        if not all(math.isnan(value) for value in scores.values()):
            values |= scores
            break
    return sorted(values, key=lambda video: (math.isnan(values[video]), values[video]))


def mean(curve: np.ndarray) -> float:
    """Mean of what is not NaN in a curve (N,); NaN if nothing is."""
    defined = curve[~np.isnan(curve)]
    return float(defined.mean()) if len(defined) else math.nan
