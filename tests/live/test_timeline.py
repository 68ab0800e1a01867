"""When live pictures were taken, and where they stand in the outputs."""

from __future__ import annotations

from fractions import Fraction

import pytest

from vidparse.live.timeline import Timeline

BASE = Fraction(1, 90_000)
STEP = Fraction(1, 25)


class Wall:
    """A clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr("vidparse.live.timeline.time.monotonic", lambda: self.now_s)
        monkeypatch.setattr("vidparse.live.timeline.time.time", lambda: 5e8 + self.now_s)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch)


def place(timeline: Timeline, wall: Wall, stamp_s: Fraction, now_s: float):
    wall.now_s = now_s
    return timeline.place(stamp_s, now_s)


def test_stamps_of_a_source_stay_as_they_are(wall):
    timeline = Timeline(BASE, has_stamps=True, keeps_pace=True)
    late_s = (0.0, 0.03, 0.0, 0.02, 0.3, 0.0)
    placed = [
        place(timeline, wall, 7 + i * STEP, 1000 + float(i * STEP) + late)
        for i, late in enumerate(late_s)
    ]
    assert [pts for pts, _ in placed] == [(7 * 25 + i) * 3600 for i in range(len(late_s))]
    assert not any(arrival.gap_s for _, arrival in placed)


def test_a_picture_that_waited_in_a_buffer_was_taken_at_its_stamp(wall):
    timeline = Timeline(BASE, has_stamps=True, keeps_pace=True)
    place(timeline, wall, Fraction(0), 1000.0)
    _, arrival = place(timeline, wall, STEP, 1005.0)
    assert arrival.clock_s == pytest.approx(1000.04, abs=1e-4)
    assert arrival.utc_s == pytest.approx(5e8 + 1000.04, abs=1e-4)


def test_the_time_on_the_wall_survives_a_reconnection(wall):
    """Stamps begin anew, and outputs go on where the clock on the wall stands."""
    timeline = Timeline(BASE, has_stamps=True, keeps_pace=True)
    for i in range(50):
        place(timeline, wall, i * STEP, 1000 + i / 25)
    timeline.connected()
    pts, arrival = place(timeline, wall, Fraction(123), 1060.0)
    assert pts == pytest.approx(60 * 90_000, abs=1)
    assert arrival.gap_s == pytest.approx(60 - 49 / 25)
    pts, arrival = place(timeline, wall, Fraction(123) + STEP, 1060.04)
    assert pts == pytest.approx(60.04 * 90_000, abs=1)
    assert arrival.gap_s == 0


@pytest.mark.parametrize("speed", [1.0005, 0.9995])
def test_outputs_stay_with_the_wall_where_the_clock_of_a_camera_is_off(wall, speed):
    """An hour of a camera that is off by 0.5 per mille: 1.8 s without a remedy."""
    timeline = Timeline(BASE, has_stamps=True, keeps_pace=True)
    seconds, before = 3600, -1
    for i in range(seconds):
        pts, _ = place(timeline, wall, Fraction(i) * Fraction(speed), 1000.0 + i)
        assert pts > before
        before = pts
    late_s = seconds - 1 - float(before * BASE)
    # A source that is slow by more than 2e-4 is taken for one whose pictures come late: see _DRIFT.
    bound_s = 0.3 if speed > 1 else (1 / speed - 1 - 2e-4) * seconds + 0.5
    assert abs(late_s) < bound_s


def test_pictures_that_waited_at_the_beginning_do_not_stretch_the_outputs(wall):
    """A playlist begins with the last seconds at once."""
    timeline = Timeline(BASE, has_stamps=True, keeps_pace=True)
    for i in range(500):
        pts, _ = place(timeline, wall, i * STEP, 1000 + 0.001 * i)
        assert pts == i * 3600
    for i in range(500, 1000):
        pts, _ = place(timeline, wall, i * STEP, 1000.5 + (i - 500) / 25)
        assert pts == i * 3600


def test_without_stamps_the_coming_counts(wall):
    timeline = Timeline(BASE, has_stamps=False, keeps_pace=True)
    made_up = [place(timeline, wall, i * STEP, 1000 + 0.1 * i)[0] for i in range(5)]
    assert made_up == [i * 9000 for i in range(5)]


def test_a_jump_of_the_stamps_is_a_gap_and_slow_video_has_none(wall):
    timeline = Timeline(BASE, has_stamps=True, keeps_pace=False)
    stamps = (0, STEP, 2 * STEP, 5 + STEP, 5 + 2 * STEP)
    gaps = [place(timeline, wall, Fraction(s), 1000 + float(s))[1].gap_s for s in stamps]
    assert [gap > 0 for gap in gaps] == [False, False, False, True, False]
    slow = Timeline(BASE, has_stamps=True, keeps_pace=False)
    assert not any(place(slow, wall, Fraction(10 * i), 1000 + 10 * i)[1].gap_s for i in range(5))


def test_times_rise_where_a_source_sets_its_clock_back(wall):
    timeline = Timeline(BASE, has_stamps=True, keeps_pace=True)
    stamps = (0, STEP, Fraction(0), STEP, 2 * STEP, 3 * STEP)
    placed = [place(timeline, wall, Fraction(s), 1000 + i / 25)[0] for i, s in enumerate(stamps)]
    assert placed == sorted(set(placed))
