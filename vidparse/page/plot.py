"""A chart of curves over each other: lines of SVG, ticks, and the figures a reader looks for.

SVG by hand, not by a plotting library: a page needs paths of a few hundred points that take its
colours, light or dark, and stretch with its width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vidparse.page import DASH

WIDTH, HEIGHT = 600, 200  # in the units of the SVG; the page stretches it
_MOST_POINTS = 600  # longer curves keep the lowest and highest of each stretch
_MOST_DOTS = 60  # of a curve with more, points are too close to distinguish
_INTERVALS = 5  # between ticks, at most
_LEAST_ROOM = 1e-3  # around a flat curve: a share of 1e-17 has no ticks of its own
_WIDE = 5.0  # curves that fall by this factor need a logarithmic scale
_OUTLIER = 4.0  # times the range of 99 % of the points: cut off
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_FIGURES = {"last": "at the end", "highest": "at most", "mean": "mean"}


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve. Where a value is NaN the line is broken."""

    name: str
    index: int  # of the run or entry: its colour
    places: np.ndarray  # (N,), N > 0, rising, from 0 to the end of the horizontal axis
    values: np.ndarray  # float (N,)


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to the height of a chart: 0 at its top, 1 at its foot."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]  # value and its words
    cut: bool = False  # some points lie above

    @classmethod
    def between(cls, low: float, high: float) -> Scale:
        """A scale with ticks at both ends and in the middle."""
        digits = 0 if high - low >= 10 else 1
        ticks = tuple((one, f"{one:.{digits}f}") for one in (high, (low + high) / 2, low))
        return cls(low, high, False, ticks)

    def place(self, values: np.ndarray) -> np.ndarray:
        """Float64 (N,) in 0..1; what lies outside is put on the border."""
        inside = np.clip(values, self.low, self.high)
        low, high = self.low, self.high
        if self.log:
            inside, low, high = np.log(inside), math.log(low), math.log(high)
        return (high - inside) / (high - low)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A path of the SVG, and the words that pointing at it shows."""

    kind: str  # line, line faint, dot
    index: int
    data: str
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart that the template `chart` can write."""

    title: str
    aside: str  # text after the title: ", %", ", log"
    summary: str  # for those who hear the page
    figures: tuple[tuple[int, str], ...]  # index of a curve, its figure
    drawn: tuple[Drawn, ...]
    down: tuple[tuple[float, str], ...]  # ticks: share of the height from the top, words
    along: tuple[tuple[float, str], ...]  # ticks: share of the width, words; or `ends`
    ends: tuple[str, ...] = ()  # words under both ends of the horizontal axis
    marks: tuple[tuple[int, float, float], ...] = ()  # bars below: index, from and to, shares

    @property
    def grid(self) -> str:
        """SVG path data of a line at each tick."""
        return "".join(f"M0 {share * HEIGHT:.1f}H{WIDTH}" for share, _ in self.down)


def draw(
    title: str,
    curves: Sequence[Curve],
    *,
    end: int,
    over: str,
    percent: bool = False,
    smooth: bool = False,
    dots: bool = False,
    figure: Literal["last", "highest", "mean"] = "last",
    scale: Scale | None = None,
    ends: Sequence[str] = (),
    marks: Sequence[tuple[int, float, float]] = (),
) -> Chart:
    """A chart of one quantity.

    Args:
        curves: one at least; without `scale`, one value at least that is not NaN.
        end: where the horizontal axis ends; of 0, points stand in the middle.
        over: the quantity of the horizontal axis, in words.
        percent: values are shares of 1.
        smooth: draw the running mean over the faint curve itself; no value is NaN.
        dots: mark the points.
        figure: the value of each curve that stands beside the title.
        scale: of the shown values, per cent where they are; None: one that fits them.
        ends: words under both ends of the horizontal axis, in place of ticks.
        marks: bars under the chart: index of a curve, first place, last place.
    """
    # Bring values to short numbers before anything is placed or written.
    factor, unit = _unit(curves, percent)
    scaled = [curve.values * factor for curve in curves]
    means = [running_mean(values) if smooth else values for values in scaled]
    scale = scale or _fitting(np.concatenate(scaled), np.concatenate(means), may_be_log=smooth)

    # Draw what is faint first, so that no curve hides behind the noise of another.
    faint, strong, figures = [], [], []
    for curve, values, mean in zip(curves, scaled, means, strict=True):
        figures.append((curve.index, _number(_figure(values, mean, figure), percent)))
        if mean is not values:
            faint += _path(curve, values, scale, end, "line faint")
        strong += _path(curve, mean, scale, end, "line")
        if dots and len(values) <= _MOST_DOTS:
            strong += _dots(curve, values, scale, end, percent)

    notes = [unit, "log" if scale.log else "", "cut off" if scale.cut else ""]
    aside = "".join(f", {note}" for note in notes if note)
    listed = ", ".join(
        f"{curve.name} {words}" for curve, (_, words) in zip(curves, figures, strict=True)
    )
    along = [] if ends else [(step / end, f"{step:,.0f}") for step in _round_steps(0, end)]
    return Chart(
        title=title,
        aside=aside,
        summary=f"{title}{aside}, over {over}; {_FIGURES[figure]}: {listed}",
        figures=tuple(figures),
        drawn=(*faint, *strong),
        down=tuple((float(scale.place(np.array(value))), words) for value, words in scale.ticks),
        along=tuple(along),
        ends=tuple(ends),
        marks=tuple((index, first / end, last / end) for index, first, last in marks),
    )


def running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over a fortieth of the curve (N,), twice; a short one stays itself."""
    reach = len(values) // 80
    if reach == 0:
        return values
    places = np.arange(len(values))
    first, end = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    for _ in range(2):
        # Take differences of running sums: their cost does not grow with the reach.
        sums = np.concatenate([[0.0], np.cumsum(values)])
        values = (sums[end] - sums[first]) / (end - first)
    return values


def _figure(curve: np.ndarray, mean: np.ndarray, figure: str) -> float:
    """The value that stands for a curve; NaN where it is defined nowhere."""
    defined = (curve if figure == "highest" else mean)[~np.isnan(mean)]
    if not len(defined):
        return math.nan
    if figure == "last":
        return float(defined[-1])
    return float(defined.max() if figure == "highest" else defined.mean())


def _unit(curves: Sequence[Curve], percent: bool) -> tuple[float, str]:
    """The factor that makes ticks short, and the words that name it."""
    if percent:
        return 100.0, "%"
    highest = max(float(np.abs(curve.values).max()) for curve in curves)
    if highest == 0 or 0.01 <= highest < 100_000:
        return 1.0, ""
    power = math.floor(math.log10(highest))
    return 10.0**-power, f"10{str(power).translate(_SUPERSCRIPTS)}"


def _fitting(values: np.ndarray, means: np.ndarray, *, may_be_log: bool) -> Scale:
    """The scale of some values, none of them NaN, and of their running means."""
    low, high = float(values.min()), float(values.max())

    # Cut off what few points reach: one high first loss would flatten the curve.
    usual = float(np.percentile(values, 99))
    cut = may_be_log and high - low > _OUTLIER * (usual - low) > 0
    if cut:
        high = usual
    if may_be_log and low > 0 and min(float(means.max()), high) > _WIDE * float(means.min()):
        ticks = tuple((value, f"{value:g}") for value in _log_ticks(low, high))
        return Scale(low * 0.95, high * 1.05, True, ticks, cut)

    # Begin at zero where that costs little, and leave room around a curve that is flat.
    if low >= 0 and low < 0.4 * high:
        low = 0.0
    if high - low < 1e-9 * max(abs(high), 1.0):
        room = max(0.1 * abs(high), _LEAST_ROOM) if high else 1.0
        low, high = low - room, high + room
    steps = _round_steps(low, high, outside=True)
    digits = max(0, -math.floor(math.log10(steps[1] - steps[0]) + 1e-9))
    minus = "\N{MINUS SIGN}"
    ticks = tuple((step, f"{step + 0.0:.{digits}f}".replace("-", minus)) for step in steps)
    return Scale(steps[0], steps[-1], False, ticks, cut)


def _round_steps(low: float, high: float, *, outside: bool = False) -> list[float]:
    """Round numbers between `low` and `high`, or around them; the same distance apart."""
    rough = (high - low) / _INTERVALS
    power = 10.0 ** math.floor(math.log10(rough))

    # Forgive rounding, by which 3 * 0.1 lies above 0.3 and a tick would be lost.
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


def _path(curve: Curve, values: np.ndarray, scale: Scale, end: int, kind: str) -> list[Drawn]:
    """The path of a curve, in a list; an empty one where it is defined nowhere."""
    places = _thinned(values)
    xs, ys = _xs(curve.places[places], end), scale.place(values[places]) * HEIGHT

    # A point without neighbours is a line of no length, which round ends turn into a dot.
    parts, pen = [], "M"
    for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
        if math.isnan(y):
            pen = "M"
            continue
        parts.append(f"{pen}{x:.1f} {y:.1f}" + ("h0" if pen == "M" else ""))
        pen = "L"
    return [Drawn(kind, curve.index, "".join(parts), curve.name)] if parts else []


def _dots(curve: Curve, values: np.ndarray, scale: Scale, end: int, percent: bool) -> list[Drawn]:
    """A dot per point; pointing at it shows its value."""
    xs, ys = _xs(curve.places, end), scale.place(values) * HEIGHT
    rows = zip(xs.tolist(), ys.tolist(), curve.places.tolist(), values.tolist(), strict=True)
    return [
        Drawn(
            "dot",
            curve.index,
            f"M{x:.1f} {y:.1f}h0",
            f"{curve.name}, step {place:,}: {_number(value, percent)}",
        )
        for x, y, place, value in rows
    ]


def _xs(places: np.ndarray, end: int) -> np.ndarray:
    return places * (WIDTH / end) if end else np.full(len(places), WIDTH / 2)


def _thinned(values: np.ndarray) -> np.ndarray:
    """Places, int64, in order; of a long curve the lowest and highest of each stretch."""
    count = len(values)
    if count <= _MOST_POINTS:
        return np.arange(count)
    length = math.ceil(count / (_MOST_POINTS // 2))
    rows = math.ceil(count / length)
    padded = np.pad(values, (0, rows * length - count), mode="edge")
    table = padded.reshape(rows, length)  # (stretches, points of one)
    starts, unknown = np.arange(rows) * length, np.isnan(table)

    # Keep the extremes of each stretch: every n-th point would hide spikes.
    low = starts + np.where(unknown, np.inf, table).argmin(axis=1)
    high = starts + np.where(unknown, -np.inf, table).argmax(axis=1)
    return np.unique(np.concatenate([low, high, [0, count - 1]]))


def _number(value: float, percent: bool) -> str:
    if math.isnan(value):
        return DASH
    words = f"{value:.2f}" if percent else f"{value:#.3g}".rstrip(".")
    return words.replace("-", "\N{MINUS SIGN}")
