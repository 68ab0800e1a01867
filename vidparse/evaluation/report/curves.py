"""Scores over time: small charts a video, all entries over each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.evaluation.diagnostics import Clip, VideoDiagnostics
from vidparse.evaluation.report.markup import count, percent, series, text
from vidparse.evaluation.result import Evaluation

_WIDTH, _HEIGHT = 600, 100  # of a chart, in its own units; the page stretches it
_MARK = 3  # height of the bars below a chart
_MOST_POINTS = 600  # longer curves keep the lowest and highest of each stretch
_KINDS = (("accuracy", "pixel accuracy"), ("miou", "mIoU of the frame"), ("flicker", "flicker"))


@dataclass(frozen=True, slots=True)
class _Axis:
    """The range of a kind of curve, the same in every chart of the page."""

    kind: str
    title: str
    low: float
    high: float


def video_charts(evaluation: Evaluation, videos: Sequence[str]) -> str:
    """A figure for each of these videos."""
    found = [{video.video: video for video in entry.videos} for entry in evaluation.entries]
    axes = _axes([by_name[video] for by_name in found for video in videos if video in by_name])
    figures = []
    for video in videos:
        curves = {
            i: by_name[video]
            for i, by_name in enumerate(found)
            if video in by_name and by_name[video].stems
        }
        if curves and axes:
            figures.append(_figure(evaluation, video, curves, axes))
    return "\n".join(figures)


def _axes(videos: Sequence[VideoDiagnostics]) -> list[_Axis]:
    """Kinds that are defined anywhere, with limits that hold all of them."""
    axes = []
    for kind, title in _KINDS:
        curves = [getattr(video, kind) for video in videos]
        values = np.concatenate(curves) if curves else np.empty(0)
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        if kind == "flicker":
            steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
            high = next((step for step in steps if step >= values.max()), 1.0)
            axes.append(_Axis(kind, title, 0.0, high))
        else:
            low = min(math.floor(float(values.min()) * 10) / 10, 0.9)
            axes.append(_Axis(kind, title, low, 1.0))
    return axes


def _figure(
    evaluation: Evaluation, video: str, curves: dict[int, VideoDiagnostics], axes: Sequence[_Axis]
) -> str:
    stems = next(iter(curves.values())).stems
    charts = "".join(_chart(evaluation, video, curves, axis) for axis in axes)
    return (
        f'<figure class="video"><figcaption><span class="name">{text(video)}</span> '
        f"<small>{count(len(stems), 'frame')}</small></figcaption>"
        f'<div class="charts">{charts}</div></figure>'
    )


def _chart(
    evaluation: Evaluation, video: str, curves: dict[int, VideoDiagnostics], axis: _Axis
) -> str:
    paths, said, means = [], [], []
    for i, found in curves.items():
        curve = getattr(found, axis.kind)
        defined = curve[~np.isnan(curve)]
        mean = float(defined.mean()) if len(defined) else math.nan
        means.append(f'<span class="key {series(i)}">{percent(mean, 1)}</span>')
        said.append(f"{evaluation.entries[i].name} {percent(mean, 1)}")
        if axis.kind != "flicker" and len(found.stems) > 1:
            paths.append(_mark(found.worst, found.stems, i))
        paths.append(f'<path class="line {series(i)}" d="{_path(curve, axis)}"/>')
    stems = next(iter(curves.values())).stems
    middle = (axis.low + axis.high) / 2
    digits = 0 if axis.high - axis.low >= 0.1 else 1
    ticks = "".join(
        f"<span>{percent(value, digits)}</span>" for value in (axis.high, middle, axis.low)
    )
    ends = f"<span>{text(stems[0])}</span>" + (
        f"<span>{text(stems[-1])}</span>" if len(stems) > 1 else ""
    )
    foot = 2 + (_MARK + 1) * len(evaluation.entries)
    summary = f"{axis.title} of {video} over time, mean: {', '.join(said)}"
    return (
        f'<div class="chart"><p>{text(axis.title)}, %<span>{" ".join(means)}'
        f'</span></p><div class="ticks" aria-hidden="true">{ticks}</div>'
        f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" '
        f'aria-label="{text(summary)}"><path class="grid" d="M0 0H{_WIDTH}M0 {_HEIGHT / 2:g}'
        f'H{_WIDTH}M0 {_HEIGHT}H{_WIDTH}"/>{"".join(paths)}</svg>'
        f'<div class="ends" aria-hidden="true" style="padding-top:{foot}px">{ends}</div></div>'
    )


def _mark(clip: Clip | None, stems: Sequence[str], index: int) -> str:
    """A bar under the stretch of the worst clip, entries below each other."""
    if clip is None:
        return ""
    first, last = stems.index(clip.first_stem), stems.index(clip.last_stem)
    scale = _WIDTH / (len(stems) - 1)
    return (
        f'<rect class="worst {series(index)}" x="{first * scale:.1f}" '
        f'y="{_HEIGHT + 2 + index * (_MARK + 1)}" '
        f'width="{max((last - first) * scale, 2):.1f}" height="{_MARK}"/>'
    )


def _path(curve: np.ndarray, axis: _Axis) -> str:
    """SVG path data; the line is broken where the curve is undefined."""
    places, values = _thinned(curve)
    xs = places * (_WIDTH / max(len(curve) - 1, 1))
    if len(curve) == 1:
        xs = np.array([_WIDTH / 2])
    ys = (axis.high - values) / (axis.high - axis.low) * _HEIGHT
    words, pen = [], "M"
    for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
        if math.isnan(y):
            pen = "M"
            continue
        # A point without neighbours is a line of no length, which round ends turn into a dot.
        words.append(f"{pen}{x:.1f} {y:.1f}" + ("h0" if pen == "M" else ""))
        pen = "L"
    return "".join(words)


def _thinned(curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and values; of a long curve the lowest and highest of each stretch, in order."""
    if len(curve) <= _MOST_POINTS:
        return np.arange(len(curve), dtype=np.float64), curve.astype(np.float64)
    places: list[int] = []
    for part in np.array_split(np.arange(len(curve)), _MOST_POINTS // 2):
        values = curve[part]
        if np.isnan(values).all():
            places.append(int(part[0]))
        else:
            ends = {int(part[np.nanargmin(values)]), int(part[np.nanargmax(values)])}
            places += sorted(ends)
    return np.array(places, np.float64), curve[places].astype(np.float64)
