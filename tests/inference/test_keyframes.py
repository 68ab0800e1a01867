"""Key frames: when the network runs, and scores that move along with what is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidparse.errors import UsageError
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import Runner, Scores, Session
from vidparse.inference.keyframes import Durations, KeyFrames
from vidparse.labels import load_labels
from vidparse.models.description import PANOPTIC, Description, Preprocess
from vidparse.requests.option import key_frames

SIZE_HW = (96, 192)


class Bright(Runner):
    """Class 3 where a picture is bright, class 1 elsewhere, at half its size; counts its calls."""

    backend, device, precision, engine = "test", "cpu", "fp32", "test"

    def __init__(self, *, task: str = "semantic") -> None:
        self.description = Description(
            Path("none"), "", "toy", {}, load_labels("camvid"),
            Preprocess(96, mean=(0.0,) * 3, std=(1.0,) * 3), {}, task=task,
        )  # fmt: skip
        self.calls = 0

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
        assert size_hw is None or size_hw == SIZE_HW
        self.calls += 1
        small = clip[0, :, 1, ::2, ::2]  # (T, h, w)
        scores = np.full((len(small), len(self.labels), *small.shape[1:]), -9, np.float32)
        scores[:, 3], scores[:, 1] = small - 0.6, 0.6 - small
        return Scores(scores)


def textured(seed: int = 0) -> np.ndarray:
    """uint8 (H, 3 W, 3): soft noise with a bright square in it."""
    import cv2

    noise = np.random.default_rng(seed).integers(0, 120, (SIZE_HW[0] // 6, 96), np.uint8)
    ground = cv2.resize(noise, (3 * SIZE_HW[1], SIZE_HW[0]), interpolation=cv2.INTER_CUBIC)
    ground[30:70, 120:160] = 120 + ground[30:70, 120:160]
    return np.repeat(np.maximum(ground, 10)[..., None], 3, 2)


def panned(steps: int, step: int, seed: int = 0, first: int = 0) -> list[Frame]:
    """A camera that pans by so many pixels per frame, past a bright square."""
    wide = textured(seed)
    return [
        Frame(first + i, first + i, Rgb(np.ascontiguousarray(wide[:, i * step :][:, : SIZE_HW[1]])))
        for i in range(steps)
    ]


def ids_of(session: Session, given: list[Frame]) -> list[np.ndarray]:
    return [one.ids for _, one in session.run(given)]


def agreement(found: list[np.ndarray], truth: list[np.ndarray]) -> list[float]:
    return [float((a == b).mean()) for a, b in zip(found, truth, strict=True)]


@pytest.mark.parametrize(("every", "calls"), [(1, 10), (2, 5), (3, 4), (20, 1)])
def test_the_network_runs_every_so_many_frames(every: int, calls: int) -> None:
    runner = Bright()
    session = Session(runner, keyframes=every)
    found = ids_of(session, panned(10, 2))
    report = session.key_frames
    assert report is not None
    assert (runner.calls, report.keys, report.frames) == (calls, calls, 10)
    assert report.share == calls / 10
    assert 0 < report.median_s <= report.p95_s <= report.most_s
    if every == 1:
        assert all(map(np.array_equal, found, ids_of(Session(Bright()), panned(10, 2))))


def test_scores_move_with_the_picture() -> None:
    frames = panned(8, 3)
    truth = ids_of(Session(Bright()), frames)
    carried = ids_of(Session(Bright(), keyframes=20), frames)
    stays = [truth[0]] * len(truth)
    assert set(np.unique(truth[-1])) == {1, 3}
    # The flow loses a strip at the side where new things come into view, and a little at edges.
    assert min(agreement(carried, truth)) > 0.99
    assert agreement(stays, truth)[-1] < 0.93


def test_auto_runs_where_the_motion_does_not_explain_the_picture() -> None:
    runner = Bright()
    still = [Frame(i, i, Rgb(picture)) for i, picture in enumerate(noisy(12))]
    list(Session(runner, keyframes="auto").run(still))
    assert runner.calls == 1
    runner.calls = 0
    unlike = [Frame(i, i, Rgb(textured(i)[:, : SIZE_HW[1]].copy())) for i in range(6)]
    list(Session(runner, keyframes="auto", cut=None).run(unlike))
    assert runner.calls == 6


def noisy(count: int) -> list[np.ndarray]:
    """One picture with a camera's noise."""
    ground = textured()[:, : SIZE_HW[1]].astype(int)
    rng = np.random.default_rng(1)
    return [
        np.clip(ground + rng.normal(0, 2, ground.shape), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def test_a_video_a_cut_and_a_new_size_begin_with_a_key_frame() -> None:
    runner = Bright()
    session = Session(runner, keyframes=100)
    dark = [
        Frame(3 + i, 3 + i, Rgb(255 - one.image.rgb())) for i, one in enumerate(panned(3, 1, 5))
    ]
    list(session.run(panned(3, 1) + dark))
    assert runner.calls == 2
    list(session.run(panned(3, 1)))
    assert runner.calls == 3
    small = [
        Frame(i, i, Rgb(one.image.rgb()[:, :150].copy())) for i, one in enumerate(panned(2, 1))
    ]
    list(session.run(panned(2, 1) + small))
    assert runner.calls == 5


def test_a_frame_that_repeats_is_no_key_frame() -> None:
    runner = Bright()
    session = Session(runner, keyframes=2)
    (one,) = panned(1, 1)
    list(session.run([Frame(i, i, one.image) for i in range(6)]))
    report = session.key_frames
    assert report is not None
    assert (runner.calls, report.keys, report.frames, session.repeated) == (1, 1, 6, 5)


def test_many_classes_are_carried_in_groups() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1, 70, 48, 96)).astype(np.float32)
    session = Session(Bright())
    prepared = list(Session(Bright(), keyframes=9).prepared(panned(2, 2)))
    keys = KeyFrames(lambda clip: Scores(values), 9)
    first, second = (keys.answer([one]) for one in prepared)
    assert isinstance(first, Scores) and isinstance(second, Scores)
    assert second.values.shape == values.shape and session.key_frames is None
    alone = KeyFrames(lambda clip: Scores(values[:, 60:61]), 9)
    alone.answer(prepared[:1])
    one = alone.answer(prepared[1:])
    assert isinstance(one, Scores)
    np.testing.assert_allclose(one.values[0, 0], second.values[0, 60], atol=0.1)


def test_networks_whose_scores_cannot_be_carried_are_refused() -> None:
    class Remembering(Bright):
        remembers = True

    class Windows(Bright):
        window = 3

    for runner, why in (
        (Remembering(), "has a memory that needs every frame"),
        (Windows(), "does not take one frame at a time"),
        (Bright(task=PANOPTIC), "finds objects"),
    ):
        with pytest.raises(UsageError, match=f"keyframes: the model {why}.*; leave it out"):
            Session(runner, keyframes="auto")
    with pytest.raises(UsageError, match="leave out keyframes or stabilize"):
        Session(Bright(), keyframes=2, stabilize=True)


@pytest.mark.parametrize("wrong", ["0", "-1", "2.5", "often", "", "1001"])
def test_wrong_values_are_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match=f"--keyframes '{wrong}': write auto, or every how many"):
        key_frames(wrong, "--keyframes")
    assert (key_frames("auto"), key_frames("7"), key_frames(3)) == ("auto", 7, 3)


def test_quantiles_of_times_are_exact_to_a_hundredth() -> None:
    spread = Durations()
    assert spread.quantile_s(0.5) == 0
    times = np.random.default_rng(0).lognormal(-4, 1, 5000)
    for one in times:
        spread.add(float(one))
    for share in (0.05, 0.5, 0.95):
        assert spread.quantile_s(share) == pytest.approx(np.quantile(times, share), rel=0.015)
    assert spread.quantile_s(1) == pytest.approx(times.max(), rel=0.015)
    assert spread.most_s == times.max()
    spread.add(0.0)
    spread.add(1e9)
    assert spread.most_s == 1e9
