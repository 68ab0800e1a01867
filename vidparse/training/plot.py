"""One quantity over the steps, the runs over each other, as SVG between ticks of HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidparse.evaluation.report.markup import series, text

_WIDTH, _HEIGHT = 600, 200  # in the units of the SVG; the page stretches it
_MOST_POINTS = 600  # longer curves keep the lowest and highest of each stretch
_MOST_DOTS = 60  # of a curve with more, points are too close to tell apart
_INTERVALS = 5  # between ticks, at most
_WIDE = 5.0  # curves that fall by this factor need a logarithmic scale
_OUTLIER = 4.0  # times the range of 99 % of the points: cut off
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Line:
    """What one run contributes."""

    run: str
    index: int  # of the run: its colour
    steps: np.ndarray  # int64 (N,), N > 0
    values: np.ndarray  # float64 (N,), finite


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to the height of the chart: 0 at its top, 1 at its foot."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]  # value and its words
    cut: bool = False  # some points lie above

    def place(self, values: np.ndarray) -> np.ndarray:
        """Float64 (N,) in 0..1; what lies outside is put on the border."""
        inside = np.clip(values, self.low, self.high)
        low, high = self.low, self.high
        if self.log:
            inside, low, high = np.log(inside), math.log(low), math.log(high)
        return (high - inside) / (high - low)


def plot(
    title: str,
    lines: Sequence[Line],
    *,
    last_step: int,
    percent: bool = False,
    smooth: bool = False,
    dots: bool = False,
    peaks: bool = False,
) -> str:
    """A figure: title, a value of each run, chart, ticks.

    Args:
        lines: one at least.
        last_step: where the horizontal axis ends, the same for all charts of a page.
        percent: values are shares of 1.
        smooth: draw the running mean over the faint curve itself.
        dots: mark the points.
        peaks: tell the highest value of each run, not the last.
    """
    factor, unit = _unit(lines, percent)
    curves = [line.values * factor for line in lines]
    means = [running_mean(curve) if smooth else curve for curve in curves]
    scale = _scale(np.concatenate(curves), np.concatenate(means), may_be_log=smooth)
    faint, strong, figures, said = [], [], [], []
    for line, curve, mean in zip(lines, curves, means, strict=True):
        told = _number(float(curve.max() if peaks else mean[-1]), percent)
        figures.append(f'<span class="key {series(line.index)}">{told}</span>')
        said.append(f"{line.run} {told}")
        if mean is not curve:
            faint.append(_path(line, curve, scale, last_step, "line faint"))
        strong.append(_path(line, mean, scale, last_step, "line"))
        if dots and len(curve) <= _MOST_DOTS:
            strong += _dots(line, curve, scale, last_step, percent)
    notes = [unit, "log" if scale.log else "", "cut off" if scale.cut else ""]
    aside = "".join(f", {note}" for note in notes if note)
    what = "at most" if peaks else "at the end"
    summary = f"{title}{aside}, over {last_step:,} steps; {what}: {', '.join(said)}"
    down = [(float(scale.place(np.array(value))), label) for value, label in scale.ticks]
    along = [(step / last_step, f"{step:,.0f}") for step in _round_steps(0, last_step)]
    return (
        f'<figure class="plot"><figcaption><span><span class="name">{text(title)}</span>{aside}'
        f"</span><span>{' '.join(figures)}</span></figcaption>"
        f'<div class="down" aria-hidden="true">{_ticks("top", down)}</div>'
        f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none">'
        f"<title>{text(summary)}</title>{_grid(down)}{''.join(faint)}{''.join(strong)}</svg>"
        f'<div class="along" aria-hidden="true">{_ticks("left", along)}</div></figure>'
    )


def running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over a fortieth of the curve (N,), twice; a short one stays itself."""
    reach = len(values) // 80
    if reach == 0:
        return values
    places = np.arange(len(values))
    first, end = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    for _ in range(2):
        sums = np.concatenate([[0.0], np.cumsum(values)])
        values = (sums[end] - sums[first]) / (end - first)
    return values


def _unit(lines: Sequence[Line], percent: bool) -> tuple[float, str]:
    """What to multiply by, and what to say of it, so that ticks are short."""
    if percent:
        return 100.0, "%"
    highest = max(float(np.abs(line.values).max()) for line in lines)
    if highest == 0 or 0.01 <= highest < 100_000:
        return 1.0, ""
    power = math.floor(math.log10(highest))
    return 10.0**-power, f"10{str(power).translate(_SUPERSCRIPTS)}"


def _scale(values: np.ndarray, means: np.ndarray, *, may_be_log: bool) -> _Scale:
    low, high = float(values.min()), float(values.max())
    usual = float(np.percentile(values, 99))
    cut = may_be_log and high - low > _OUTLIER * (usual - low) > 0
    if cut:
        high = usual
    if may_be_log and low > 0 and min(float(means.max()), high) > _WIDE * float(means.min()):
        ticks = tuple((value, f"{value:g}") for value in _log_ticks(low, high))
        return _Scale(low * 0.95, high * 1.05, True, ticks, cut)
    if low >= 0 and low < 0.4 * high:
        low = 0.0
    if high - low < 1e-9 * max(abs(high), 1.0):
        room = 0.1 * abs(high) or 1.0
        low, high = low - room, high + room
    steps = _round_steps(low, high, outside=True)
    digits = max(0, -math.floor(math.log10(steps[1] - steps[0]) + 1e-9))
    minus = "\N{MINUS SIGN}"
    ticks = tuple((step, f"{step + 0.0:.{digits}f}".replace("-", minus)) for step in steps)
    return _Scale(steps[0], steps[-1], False, ticks, cut)


def _round_steps(low: float, high: float, *, outside: bool = False) -> list[float]:
    """Round numbers between `low` and `high`, or around them; the same distance apart."""
    rough = (high - low) / _INTERVALS
    power = 10.0 ** math.floor(math.log10(rough))
    distance = next(power * n for n in (1, 2, 5, 10) if power * n >= rough * (1 - 1e-9))
    if outside:
        first, last = math.floor(low / distance + 1e-9), math.ceil(high / distance - 1e-9)
    else:
        first, last = math.ceil(low / distance - 1e-9), math.floor(high / distance + 1e-9)
    return [round(n * distance, 12) for n in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 2 and 5 times them where these are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    multiples = (1, 2, 5) if len(powers) < 4 else (1,)
    ticks = [n * 10.0**power for power in powers for n in multiples]
    return [tick for tick in ticks if low <= tick <= high]


def _grid(down: Sequence[tuple[float, str]]) -> str:
    lines = "".join(f"M0 {share * _HEIGHT:.1f}H{_WIDTH}" for share, _ in down)
    return f'<path class="grid" d="{lines}"/>'


def _ticks(side: str, places: Sequence[tuple[float, str]]) -> str:
    return "".join(
        f'<span style="{side}:{100 * share:.2f}%">{label}</span>' for share, label in places
    )


def _path(line: Line, values: np.ndarray, scale: _Scale, last_step: int, kind: str) -> str:
    places = _thinned(values)
    xs = line.steps[places] * (_WIDTH / last_step)
    ys = scale.place(values[places]) * _HEIGHT
    points = [f"{x:.1f} {y:.1f}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True)]
    # A single point is a line of no length, which round ends turn into a dot.
    data = f"M{points[0]}h0L{'L'.join(points)}"
    name = f"<title>{text(line.run)}</title>"
    return f'<path class="{kind} {series(line.index)}" d="{data}">{name}</path>'


def _dots(
    line: Line, values: np.ndarray, scale: _Scale, last_step: int, percent: bool
) -> list[str]:
    """A dot a point; pointing at it tells its value."""
    return [
        f'<path class="dot {series(line.index)}" d="M{step * _WIDTH / last_step:.1f} '
        f'{share * _HEIGHT:.1f}h0"><title>{text(line.run)}, step {step:,}: '
        f"{_number(value, percent)}</title></path>"
        for step, value, share in zip(
            line.steps.tolist(), values.tolist(), scale.place(values).tolist(), strict=True
        )
    ]


def _thinned(values: np.ndarray) -> np.ndarray:
    """Places, int64, in order; of a long curve the lowest and highest of each stretch."""
    count = len(values)
    if count <= _MOST_POINTS:
        return np.arange(count)
    length = math.ceil(count / (_MOST_POINTS // 2))
    rows = math.ceil(count / length)
    padded = np.pad(values, (0, rows * length - count), mode="edge")
    table = padded.reshape(rows, length)  # (stretches, points of one)
    starts = np.arange(rows) * length
    low, high = starts + table.argmin(axis=1), starts + table.argmax(axis=1)
    return np.unique(np.concatenate([low, high, [0, count - 1]]))


def _number(value: float, percent: bool) -> str:
    words = f"{value:.2f}" if percent else f"{value:#.3g}".rstrip(".")
    return words.replace("-", "\N{MINUS SIGN}")
