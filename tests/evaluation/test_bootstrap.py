"""Intervals over videos: a slow loop over whole videos gives the same."""

from __future__ import annotations

import numpy as np
import pytest

from support.random_videos import semantic
from vidparse.evaluation.metrics import make_measures
from vidparse.evaluation.metrics.measure import Counts
from vidparse.evaluation.tally import intervals
from vidparse.labels import Labels

LABELS = Labels("made", ("a", "b", "c"), ((1, 1, 1),) * 3, frozenset())
VIDEOS, DRAWS = 5, 300


def counts_of_videos(name: str) -> list[Counts]:
    rng = np.random.default_rng(3)
    (measure,) = make_measures([name], LABELS).values()
    found = []
    for v in range(VIDEOS):
        for t in range(4):
            truth = rng.integers(0, 3, (6, 8)).astype(np.uint8)
            predicted = np.where(rng.random((6, 8)) < 0.5 + v / 10, truth, 0).astype(np.uint8)
            measure.update(semantic(truth, predicted, t))
        found.append(measure.end_video())
    return found


@pytest.mark.parametrize("name", ["miou", "vc2"])
def test_intervals_equal_a_slow_loop(name: str) -> None:
    (measure,) = make_measures([name], LABELS).values()
    videos = counts_of_videos(name)
    times = np.random.default_rng(0).multinomial(VIDEOS, np.full(VIDEOS, 1 / VIDEOS), size=256)
    values = []
    for row in times:
        drawn = [video for video, count in zip(videos, row, strict=True) for _ in range(count)]
        total = {key: np.sum([video[key] for video in drawn], axis=0) for key in drawn[0]}
        values.append({key: float(value) for key, value in measure.scores(total).items()})
    spread = intervals(measure, videos, draws=256)
    for score, (low, high) in spread.items():
        expected = np.nanpercentile([value[score] for value in values], [2.5, 97.5])
        assert (low, high) == pytest.approx(tuple(expected), abs=1e-12)
    assert set(spread) == set(values[0])


def test_more_draws_than_fit_at_once() -> None:
    (measure,) = make_measures(["miou"], LABELS).values()
    videos = counts_of_videos("miou")
    low, high = intervals(measure, videos, draws=DRAWS)["miou"]
    total = {key: np.sum([video[key] for video in videos], axis=0) for key in videos[0]}
    assert low < float(measure.scores(total)["miou"]) < high
    assert intervals(measure, videos, draws=DRAWS) == intervals(measure, videos, draws=DRAWS)


def test_one_video_has_no_intervals() -> None:
    (measure,) = make_measures(["miou"], LABELS).values()
    assert intervals(measure, counts_of_videos("miou")[:1], draws=DRAWS) == {}
