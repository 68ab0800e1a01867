"""Scores as tables: over the split, and video by video."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vidparse.evaluation.metrics.measures import title
from vidparse.evaluation.report.markup import DASH, Cell, count, key, percent, points, table, text
from vidparse.evaluation.report.order import worst_first
from vidparse.evaluation.result import Evaluation

_LESS_IS_BETTER = ("j_decay", "f_decay")


def score_table(evaluation: Evaluation) -> str:
    """Every score of every entry, with differences to the first and 95 % intervals."""
    entries = evaluation.entries
    names = list(dict.fromkeys(name for entry in entries for name in entry.scores))
    if not names:
        return '<p class="note">Nothing was scored.</p>'
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
            body = percent(values[i])
            cells.append(Cell(f"<b>{body}</b>" if values[i] == best else body))
            if i > 0:
                cells.append(Cell(points(values[i] - values[0])))
            if spread:
                cells.append(Cell(f"<small>{_interval(entry.intervals.get(name))}</small>"))
        rows.append((text(title(name)), cells))
    return _score_note(evaluation, spread) + table("Scores", groups, rows)


def _score_note(evaluation: Evaluation, spread: bool) -> str:
    words = ["Per cent."]
    if len(evaluation.entries) > 1:
        first = text(evaluation.entries[0].name)
        words.append(f"Differences are to {first}, in points; the best of a row is bold.")
    if spread:
        words.append("Intervals: the spread of a score when the videos are drawn anew.")
    return f'<p class="note">{" ".join(words)}</p>'


def _interval(bounds: tuple[float, float] | None) -> str:
    return DASH if bounds is None else f"{percent(bounds[0])} to {percent(bounds[1])}"


def _best(name: str, values: Sequence[float]) -> float:
    """The value to print bold; NaN when there is nothing to tell apart."""
    defined = [value for value in values if not math.isnan(value)]
    if len(set(defined)) < 2:
        return math.nan
    return min(defined) if name in _LESS_IS_BETTER else max(defined)


def video_table(evaluation: Evaluation) -> str:
    """A row a video, the worst first."""
    videos = worst_first(evaluation)
    names = _video_scores(evaluation)
    if not videos or not names:
        return ""
    frames = {video.video: len(video.stems) for video in evaluation.entries[0].videos}
    several = len(evaluation.entries) > 1
    heads = [key(entry.name, i) for i, entry in enumerate(evaluation.entries)] if several else []
    rows = [
        (
            f'<span class="name">{text(video)}</span>',
            [
                *([Cell(f"{frames.get(video, 0):,}", frames.get(video, 0))] if frames else []),
                *(
                    _plain_cell(entry.per_video.get(video, {}).get(name, math.nan))
                    for name in names
                    for entry in evaluation.entries
                ),
            ],
        )
        for video in videos
    ]
    groups: list[tuple[str, Sequence[str]]] = [("Video", ())]
    if frames:
        groups.append(("Frames", ()))
    groups += [(text(title(name)), heads) for name in names]
    note = f"Per cent; {count(len(videos), 'video')}, the lowest {text(title(names[0]))} first."
    return f'<p class="note">{note}</p>' + table("Videos", groups, rows, sortable=True)


def _video_scores(evaluation: Evaluation) -> list[str]:
    """Scores that say something of single videos, without those that repeat another."""
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


def _plain_cell(value: float) -> Cell:
    return Cell(percent(value), value)
