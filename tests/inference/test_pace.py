"""Keeping up with a rate: the step that is chosen, in a simulated pipeline and in a real run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from vidparse.errors import UsageError
from vidparse.frame import Frame
from vidparse.inference import pace as pace_module
from vidparse.inference.pace import SCALES, STRIDES, Pace, PaceReport, Step
from vidparse.inference.preprocess import scaled_size
from vidparse.requests.model import ModelChoice

PICTURE = np.zeros((4, 4, 3), np.uint8)


@dataclass
class Simulated:
    """A pipeline without threads, on a clock of its own.

    network_s: per frame at the full size, by the time. rest_s: of all else. source_s: between two
    frames of the source; 0: it has them all at once.
    """

    network_s: Callable[[float], float]
    rest_s: float = 0.002
    source_s: float = 0.0
    now_s: float = 0.0
    steps: list[tuple[float, Step]] = field(default_factory=list)
    taken: int = 0

    def run(self, fps: float, seconds: float, *, can_shrink: bool = True) -> PaceReport:
        pace = Pace(fps, can_shrink=can_shrink, clock=lambda: self.now_s)
        for _ in pace.taken(self._source(seconds)):
            spent_s = self.network_s(self.now_s) * pace.step.scale**2
            self.now_s += spent_s + self.rest_s
            self.taken += 1
            pace.spent(spent_s, 1)
            if not self.steps or self.steps[-1][1] != pace.step:
                self.steps.append((self.now_s, pace.step))
        return pace.report()

    def _source(self, seconds: float) -> Iterator[Frame]:
        index, due_s = 0, 0.0
        while self.now_s < seconds:
            due_s += self.source_s
            self.now_s = max(self.now_s, due_s)
            yield Frame.from_rgb(PICTURE, index=index)
            index += 1


def test_a_quick_network_gives_nothing_up():
    run = Simulated(lambda _: 0.010)
    report = run.run(30, 20)
    assert [step for _, step in run.steps] == [Step()]
    assert report.kept_up
    assert report.note == ""
    assert report.reached_fps == pytest.approx(1 / 0.012, rel=0.01)


def test_the_dearest_step_that_is_quick_enough_is_taken():
    # At 30 frames per second a frame may take 33.3 ms: 50 x 0.6 x 0.6 + 2 = 20 ms does, and so
    # does 0.7 (26.5 ms); 0.85 (38.1 ms) does not.
    run = Simulated(lambda _: 0.050)
    report = run.run(30, 20)
    assert run.steps[1][0] < 1.5, "within two windows"
    assert [step for _, step in run.steps] == [Step(), Step(0.7)]
    assert report.kept_up
    assert report.note.startswith("to keep up with 30 frames per second: 70 % of the network's")


def test_frames_are_passed_over_where_the_smallest_input_is_too_slow():
    # 200 ms: at half the sides 50 + 2 ms per frame, so that every second one fits into 66.7 ms.
    run = Simulated(lambda _: 0.200)
    report = run.run(30, 30)
    assert run.steps[-1][1] == Step(0.5, 2)
    assert report.kept_up
    assert "50 % of the network's input size and every 2nd frame" in report.note

    fixed = Simulated(lambda _: 0.200)
    fixed.run(30, 30, can_shrink=False)
    assert fixed.steps[-1][1] == Step(1.0, 8), "202 ms of 8 x 33.3; of 6 they would be more"


def test_a_note_names_a_rate_out_of_reach():
    report = Simulated(lambda _: 40.0, rest_s=0.5).run(30, 2000)
    assert not report.kept_up
    assert report.note.startswith("30 frames per second not reached: ")
    assert report.shares[-1][0] == Step(0.5, STRIDES[-1])


def test_load_that_goes_gives_the_size_back_and_load_that_comes_takes_it():
    run = Simulated(lambda now_s: 0.012 if now_s < 10 else 0.060 if now_s < 30 else 0.012)
    report = run.run(30, 80)
    scales = [step.scale for _, step in run.steps]
    assert scales[0] == 1.0
    assert min(scales) == 0.7
    assert 10 < run.steps[1][0] < 12
    assert scales[-1] == 1.0, "all is back"
    assert report.kept_up


def test_a_step_back_that_was_too_much_is_tried_more_and_more_seldom():
    run = Simulated(lambda _: 0.0)

    def network_s(now_s: float) -> float:
        # Cost more than the pixels tell above 0.7 of the sides, as where a cache is too small.
        large = bool(run.steps) and run.steps[-1][1].scale > 0.7
        return 0.055 if large or not run.steps else 0.017

    run.network_s = network_s
    run.run(30, 300)
    raised = [at for at, step in run.steps[1:] if step.scale > 0.7]
    pauses = [round(later - at, 3) for at, later in pairwise(raised)]
    assert 3 < len(raised) < 12, "and not seventy times"
    assert pauses == sorted(pauses)


@pytest.mark.parametrize(
    ("fps", "int8_s", "precision"), [(30, 0.01, "int8"), (5, 0.01, "fp32"), (30, 0.2, "fp32")]
)
def test_int8_is_taken_where_it_is_needed_and_quicker(monkeypatch, fps, int8_s, precision):
    times_s = {"fp32": 0.1, "int8": int8_s}
    monkeypatch.setattr(pace_module, "_answer_s", lambda runner: times_s[runner.precision])
    monkeypatch.setattr("vidparse.inference.load.has_vnni", lambda: False)
    runner = pace_module.load_paced(ModelChoice("street-student", device="cpu"), fps)
    assert runner.precision == precision
    assert ("to keep up with 30" in runner.chosen) == (precision == "int8")


def test_a_slow_camera_is_no_reason_to_give_anything_up():
    run = Simulated(lambda _: 0.005, source_s=0.040)
    report = run.run(30, 20)
    assert [step for _, step in run.steps] == [Step()]
    assert report.kept_up
    assert report.note == ""


def test_sound_and_the_last_frame_are_kept():
    frames = [
        Frame.from_rgb(PICTURE, index=at).following(Frame(0, 0, None, packets=(at,)))
        for at in range(200)
    ]
    pace, clock = None, [0.0]

    def source() -> Iterator[Frame]:
        for frame in frames:
            clock[0] += 0.001
            yield frame

    pace = Pace(30, can_shrink=False, clock=lambda: clock[0])
    taken = []
    for frame in pace.taken(source()):
        clock[0] += 0.1
        pace.spent(0.1, 1)
        taken.append(frame)
    assert pace.step.stride > 1
    assert taken[-1].index == 199
    assert [packet for frame in taken for packet in frame.packets] == list(range(200))


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(fps):
    with pytest.raises(UsageError, match="give frames per second"):
        Pace(fps)


def test_smaller_inputs_are_multiples_of_eight_and_of_the_divisor():
    assert scaled_size((360, 480), 1.0, 1) == (360, 480)
    assert scaled_size((352, 480), 0.7, 1) == (248, 336)
    assert scaled_size((384, 512), 0.5, 32) == (192, 256)
    assert scaled_size((40, 60), 0.5, 32) == (32, 32)


def test_a_slow_machine_records_what_it_gives_up(cli, clip, tmp_path):
    """Ten thousand frames per second are too many for any machine."""
    path = clip("long.mp4", frames=400)
    out = tmp_path / "o.csv"
    done = cli("segment", path, "-o", out, "--fps", "10000", "--json", "--serial")
    assert done.code == 0, done.err
    record = json.loads(done.out)["inputs"][0]
    pace = record["pace"]
    assert not pace["kept_up"]
    assert pace["reached_fps"] < 10000
    assert sum(step["share"] for step in pace["steps"]) == pytest.approx(1, abs=1e-3)
    assert pace["steps"][-1]["scale"] == SCALES[-1]
    assert pace["steps"][-1]["stride"] > 1
    assert record["frames"] < 400
    assert any("10000 frames per second not reached" in note for note in record["notes"])
    assert out.read_text().splitlines()[-1].startswith("399,")


@pytest.mark.parametrize(
    "other",
    [("--keyframes", "auto"), ("--workers", "2"), ("--cluster", "auto"), ("--resume",)],
)
def test_what_does_not_go_with_a_rate_is_refused(cli, clip, other):
    done = cli("segment", clip("a.mp4", frames=2), "--fps", "30", *other)
    assert done.code == 2
    assert f"--fps and {other[0]}: give one of them" in done.err
