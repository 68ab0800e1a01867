"""The confusion matrix of an entry as a picture, and its largest mistakes as a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidparse.evaluation.report.markup import Cell, percent, swatch, table, text
from vidparse.labels import Labels

READABLE = 20  # classes up to which the numbers stand in the cells
_SMALLEST_SHARE = 0.002  # of a row, to be drawn
_GAMMA = 0.4  # from share to opacity: rare mistakes must not vanish
_DARK = 0.8  # opacity of a cell from which on its number is white
_LONGEST_NAME = 24  # characters on the axes; hovering shows the rest


def classes_met(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Ids of the classes that are true or said anywhere; matrices of them can be compared."""
    total = np.sum(matrices, axis=0)  # (K, K)
    return np.flatnonzero(total.sum(axis=0) + total.sum(axis=1))


def confusion_matrix(counts: np.ndarray, labels: Labels, used: np.ndarray, *, name: str) -> str:
    """An SVG heat map, each row in shares of its true class.

    Args:
        counts: (K, K) pixels, rows ground truth.
        used: the class ids to show.
        name: of the entry.
    """
    if not len(used):
        return '<p class="note">No labelled pixels.</p>'
    size = len(used)
    names = [labels.classes[i] for i in used]
    cell, font = (40, 13) if size <= READABLE else (16, 11) if size <= 60 else (9, 8)
    margin = round(min(max(map(len, names)), _LONGEST_NAME) * font * 0.6) + 12
    width = height = margin + size * cell + 2
    shown = counts[np.ix_(used, used)]  # (S, S)
    parts = [
        f'<rect class="frame" x="{margin}" y="{margin}" width="{size * cell}" '
        f'height="{size * cell}"/>'
    ]
    if size > READABLE:
        every = range(margin + 5 * cell, margin + size * cell, 5 * cell)
        lines = "".join(f"M{at} {margin}v{size * cell}M{margin} {at}h{size * cell}" for at in every)
        parts.append(f'<path class="frame" d="{lines}"/>')
    for i, label in enumerate(names):
        middle = margin + (i + 0.5) * cell
        short = text(_short(label))
        tip = f"<title>{text(label)}</title>" if len(label) > _LONGEST_NAME else ""
        parts.append(f'<text class="row" x="{margin - 6}" y="{middle:g}">{short}{tip}</text>')
        parts.append(
            f'<text class="column" transform="translate({middle:g} {margin - 6}) rotate(-90)">'
            f"{short}{tip}</text>"
        )
    parts += _cells(shown, names, margin=margin, cell=cell, numbers=size <= READABLE)
    kind = "small" if size <= READABLE else "large"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Matrix">'
        f'<svg class="matrix {kind}" role="img" '
        f'viewBox="0 0 {width} {height}" style="min-width:{min(width, 720)}px;'
        f'max-width:{width}px;font-size:{font}px" '
        f'aria-label="Confusion matrix of {text(name)}: rows ground truth, columns prediction; '
        f'the table beside it lists the largest mistakes">{"".join(parts)}</svg></div>'
    )


def _cells(
    counts: np.ndarray, names: list[str], *, margin: int, cell: int, numbers: bool
) -> list[str]:
    parts = []
    totals = counts.sum(axis=1)
    for i, j in np.argwhere(counts > 0).tolist():
        share = counts[i, j] / totals[i]
        if share < _SMALLEST_SHARE:
            continue
        x, y = margin + j * cell, margin + i * cell
        kind = "hit" if i == j else "miss"
        tip = (
            f"{names[i]} said to be {names[j]}: {percent(share)} %, {counts[i, j]:,} of "
            f"{totals[i]:,} pixels"
            if i != j
            else f"{names[i]}: {percent(share)} % found, {counts[i, j]:,} of {totals[i]:,} pixels"
        )
        opacity = share**_GAMMA
        parts.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{cell}" height="{cell}" '
            f'fill-opacity="{opacity:.2f}"><title>{text(tip)}</title></rect>'
        )
        if numbers and share >= 0.005:
            ink = "over" if opacity > _DARK else "on"
            parts.append(
                f'<text class="{ink}" x="{x + cell / 2:g}" y="{y + cell / 2:g}">'
                f"{100 * share:.0f}</text>"
            )
    return parts


def mistake_table(counts: np.ndarray, labels: Labels, *, rows: int, name: str = "") -> str:
    """The pairs of classes that cost most pixels, under the name (HTML) of the entry."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    total = int(wrong.sum())
    if not total:
        return '<p class="note">No mistakes.</p>'
    order = np.argsort(-wrong, axis=None, kind="stable")[:rows]
    found = []
    for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True):
        pixels = int(wrong[i, j])
        if not pixels:
            break
        cells = [
            Cell(swatch(labels.colours[j]) + text(labels.classes[j])),
            Cell(percent(pixels / counts[i].sum(), 1)),
            Cell(percent(pixels / total, 1)),
        ]
        found.append((swatch(labels.colours[i]) + text(labels.classes[i]), cells))
    heads = [("Ground truth", ()), ("Said to be", ()), ("% of class", ())]
    note = f'<p class="note">The largest mistakes {name}</p>'
    mistakes = table("The largest mistakes", [*heads, ("% of mistakes", ())], found)
    return f"<div>{note}{mistakes}</div>"


def _short(label: str) -> str:
    if len(label) <= _LONGEST_NAME:
        return label
    return label[: _LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
