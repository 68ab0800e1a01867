"""A memory moves on by the time of the video: at 15, 30 and 60 frames per second alike."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from support.going_on import check_goes_on, drive, sessions_on_a_device
from vidparse.frame import Frame
from vidparse.inference import Scores, Session, load_model
from vidparse.inference.memory_clock import ClockState, MemoryClock
from vidparse.inference.runners import Runner, has_openvino
from vidparse.models.description import describe
from vidparse.resume.plain import pack, unpack
from vidparse.video import open_video

BACKENDS = [
    "torch",
    "onnx",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(not has_openvino(), reason="openvino is not installed"),
    ),
]


def moved_at(clock: MemoryClock, times_s: list[float]) -> list[int]:
    """The frames with which it moved on."""
    moves = []
    for i, time_s in enumerate(times_s):
        if clock.moves(time_s, begins=clock.forgets(time_s)):
            moves.append(i)
    return moves


@pytest.mark.parametrize(
    ("rate", "every"),
    [(5, 1), (10, 1), (15, 1), (20, 1), (24, 2), (25, 2), (30, 2), (50, 3), (60, 4), (120, 8)],
)
def test_frames_go_in_at_the_pace_that_was_taught(rate: int, every: int) -> None:
    times = [i / rate for i in range(3 * rate)]
    assert moved_at(MemoryClock(1 / 15), times) == [*range(0, 3 * rate, every)]
    ms = [round(1000 * time_s) / 1000 for time_s in times]  # as Matroska has them
    assert moved_at(MemoryClock(1 / 15), ms) == [*range(0, 3 * rate, every)]


def test_frames_of_29_97_and_of_no_fixed_rate() -> None:
    ntsc = [i * 1001 / 30000 for i in range(300)]
    assert moved_at(MemoryClock(1 / 15), ntsc) == [*range(0, 300, 2)]
    # 0.06 is nearer to 0.067 than the next at 0.09; then a slow stretch, every frame of it.
    times = [0.0, 0.03, 0.06, 0.09, 0.12, 0.5, 0.9, 0.93, 0.96]
    assert moved_at(MemoryClock(1 / 15), times) == [0, 2, 4, 5, 6, 8]


def test_without_an_interval_or_without_times_every_frame_goes_in() -> None:
    assert moved_at(MemoryClock(None), [0.0, 0.001, 50.0]) == [0, 1, 2]
    assert MemoryClock(None).state is None
    assert moved_at(MemoryClock(1 / 15), [0.0, 0.0, 0.0]) == [0, 1, 2]
    assert moved_at(MemoryClock(1 / 15), [3.0, 2.0, 1.0]) == [0, 1, 2]


def test_pictures_of_a_folder_all_go_in_unless_their_rate_is_given(tmp_path: Path) -> None:
    for i, frame in enumerate(drive(4)):
        Pillow.fromarray(frame.image.rgb()).save(tmp_path / f"{i}.png")
    runner = load_model("street-tcb", backend="onnx", device="cpu", threads=1)

    def read(rate: int | None) -> list[Frame]:
        return [*open_video(str(tmp_path), image_rate=None if rate is None else Fraction(rate))]

    every = answers(runner, at_rate(read(15), 15))
    for frames, same in ((read(None), True), (read(15), True), (read(30), False)):
        found = answers(runner, frames)
        assert all((a == b).all() for a, b in zip(found, every, strict=True)) == same
    assert Frame.from_rgb(np.zeros((4, 4, 3), np.uint8)).known_time_s is None
    assert Frame.from_rgb(np.zeros((4, 4, 3), np.uint8), time_s=2.0).known_time_s == 2.0


def test_a_long_gap_makes_it_forget() -> None:
    clock = MemoryClock(0.1)
    assert clock.moves(0.0, begins=True)
    # Ten intervals are kept however they are rounded, eleven are too many.
    assert not clock.forgets(1.0) and not clock.forgets(1.001) and clock.forgets(1.1)
    assert clock.moves(0.02, begins=True), "a cut empties the memory, and its first frame opens it"
    assert not clock.moves(0.04, begins=False)
    assert not clock.forgets(1.03), "counted from the last frame, not from the last that went in"
    assert not MemoryClock(None).forgets(1e9) and not MemoryClock(0.1).forgets(1e9)


def test_its_state_goes_on_in_another_process() -> None:
    times = [i / 30 for i in range(20)]
    for split in range(1, 20):
        first = MemoryClock(1 / 15)
        head = moved_at(first, times[:split])
        second = MemoryClock(1 / 15)
        second.state = unpack(ClockState, pack(first.state))
        rest = [split + i for i in moved_at(second, times[split:])]
        assert head + rest == [*range(0, 20, 2)]


def at_rate(frames: list[Frame], rate: int) -> list[Frame]:
    return [replace(one, time_base=Fraction(1, rate), is_timed=True) for one in frames]


def answers(runner: Runner, frames: list[Frame]) -> list[np.ndarray]:
    session = Session(runner, size=64, cut=None)
    found = [one.answer for one in session.answered(session.prepared(frames))]
    return [answer.values[0] for answer in found if isinstance(answer, Scores)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_sixty_frames_per_second_are_remembered_as_fifteen(backend: str) -> None:
    """Every fourth frame has the very answer that it has where the others are not there."""
    frames = drive(9)
    runner = load_model("street-tcb", backend=backend, device="cpu", threads=1)
    assert runner.description.memory_interval_s == pytest.approx(1 / 15)
    fast = answers(runner, at_rate(frames, 60))
    slow = answers(runner, at_rate(frames[::4], 15))
    assert len(fast) == 9
    for one, other in zip(fast[::4], slow, strict=True):
        assert (one == other).all()

    # The frames between are answered out of the same memory: that of the fourth before.
    beside = answers(runner, at_rate([frames[0], frames[3]], 15))
    assert (fast[3] == beside[1]).all()
    as_taught = answers(runner, at_rate(frames, 15))
    assert any((one != other).any() for one, other in zip(fast, as_taught, strict=True))


def test_frames_far_apart_are_answered_each_by_itself() -> None:
    frames = drive(3)
    runner = load_model("street-tcb", backend="onnx", device="cpu", threads=1)
    alone = [answers(runner, [one])[0] for one in frames]
    assert all(
        (a == b).all() for a, b in zip(answers(runner, at_rate(frames, 1)), alone, strict=True)
    )
    assert (answers(runner, at_rate(frames, 15))[2] != alone[2]).any()


@pytest.mark.parametrize("rate", [30, 60])
def test_a_session_goes_on_between_two_moves_of_its_memory(rate: int) -> None:
    frames = at_rate(drive(6, cuts=(3,)), rate)
    runner = load_model("street-tcb", backend="onnx", device="cpu", threads=1)
    assert check_goes_on(lambda: runner.session(size=64), frames) == len(frames)


def test_a_session_on_a_device_keeps_the_same_pace() -> None:
    session = sessions_on_a_device("street-tcb", (48, 72))
    frames = drive(3, (48, 72))

    def ids(frames: list[Frame]) -> list[np.ndarray]:
        one = session(cut=None)
        stages = one.answered(one.prepared(frames), live=True)
        return [found.ids for _, found in one.finished(stages)]

    fast = ids(at_rate(frames, 30))
    slow = ids(at_rate(frames[::2], 15))
    assert all((a == b).all() for a, b in zip(fast[::2], slow, strict=True))
    goes_on = at_rate(frames, 30)
    assert check_goes_on(session, goes_on) == len(frames)


@pytest.mark.parametrize(
    ("arch", "fields", "interval_s"),
    [
        ("tcb-ocr", {}, 1 / 15),
        ("tcb-ocr", {"training": {"frame_interval_s": 0.2}}, 0.2),
        ("tcb-ppm", {"memory_interval_s": 0.5, "training": {"frame_interval_s": 0.2}}, 0.5),
        ("perframe", {"training": {"frame_interval_s": 0.2}}, None),
        ("netwarp", {}, None),
    ],
)
def test_files_say_at_which_pace_a_memory_was_taught(
    arch: str, fields: dict, interval_s: float | None
) -> None:
    assert described(arch, **fields).memory_interval_s == interval_s


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "fast", True, [1]])
def test_a_pace_that_is_none_is_damage(value: object) -> None:
    from vidparse.errors import ModelError

    with pytest.raises(ModelError, match="damaged description"):
        described("tcb-ocr", memory_interval_s=value)


def described(arch: str, **fields: object):
    import json

    from vidparse.labels import load_labels
    from vidparse.models.description import Preprocess, metadata_of

    text = metadata_of(
        arch=arch, config={}, labels=load_labels("camvid"), preprocess=Preprocess(48), training={}
    )["vidparse"]
    return describe(Path("x"), {"vidparse": json.dumps(json.loads(text) | fields)}, "")
