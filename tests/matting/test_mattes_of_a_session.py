"""A session makes mattes where somebody wants them, and only there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vidparse.errors import UsageError
from vidparse.frame import Frame
from vidparse.inference import Runner, Scores
from vidparse.labels import load_labels
from vidparse.models.description import Description, Preprocess
from vidparse.requests.matte import MatteOptions
from vidparse.requests.redaction import RedactOptions
from vidparse.sinks import SINKS, SinkOptions
from vidparse.sinks.targets import with_implied

CAR = load_labels("camvid").classes.index("Car")


class LeftHalf(Runner):
    """Scores of a car in the left half; `is_there` holds for each call whether it is found."""

    backend, device, precision, engine = "test", "cpu", "fp32", "test"

    def __init__(self, *is_there: bool) -> None:
        self.description = Description(
            Path("none"), "", "toy", {}, load_labels("camvid"), Preprocess(64), {}, task="semantic"
        )
        self.window, self.remembers, self.fixed_window = 1, False, False
        self._is_there, self.calls = is_there, 0
        self.sizes: list[tuple[int, int] | None] = []

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
        scores = np.zeros((1, len(self.labels), 8, 12), np.float32)
        scores[0, 3] = 1
        if self._is_there[self.calls]:
            scores[0, CAR, :, :6] = 9
        self.calls += 1
        self.sizes.append(size_hw)
        return Scores(scores)

    def reset(self) -> None:
        """It remembers nothing."""


def pictures(count: int, cut: int = -1) -> list[Frame]:
    """Frames of one noise, and of another from `cut` on; each a little brighter."""
    frames = []
    for index in range(count):
        rng = np.random.default_rng(index >= cut > 0)
        blocks = rng.integers(0, 200, (12, 18, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        frames.append(Frame.from_rgb(blocks + np.uint8(index), index=index))
    return frames


def alphas(frames: list[Frame], *is_there: bool, **wishes: object) -> list[np.ndarray]:
    runner = LeftHalf(*is_there)
    with runner.session(matte=MatteOptions(("Car",), **wishes)) as session:
        found = [prediction.mattes for _, prediction in session.run(frames)]
    assert all(len(mattes) == 1 and mattes[0].name == "Car" for mattes in found)
    return [mattes[0].alpha for mattes in found]


def test_the_matte_is_the_class_with_a_soft_edge() -> None:
    (alpha,) = alphas(pictures(1), True, edges="scores")
    assert alpha.shape == (96, 144) and alpha.dtype == np.uint8
    assert alpha[:, :60].min() > 250 and alpha[:, 84:].max() < 100
    assert np.all(np.diff(alpha[50, 60:84].astype(int)) <= 0)


def test_a_miss_of_one_frame_is_filled_from_the_past_but_not_across_a_cut() -> None:
    wishes = (True, True, False)
    steady = alphas(pictures(3), *wishes)
    assert steady[2][:, :50].mean() > 100
    assert alphas(pictures(3), *wishes, smooth=False)[2][:, :50].mean() < 5
    assert alphas(pictures(3, cut=2), *wishes)[2][:, :50].mean() < 5


def mattes_of(matte: str, frames: list[Frame], is_there: Sequence[bool]) -> list[np.ndarray]:
    """The alpha of cars in each frame; zeros where no matte is given."""
    with LeftHalf(*is_there).session(matte=MatteOptions((matte,))) as session:
        found = [
            {one.name: one.alpha for one in prediction.mattes}
            for _, prediction in session.run(frames)
        ]
    return [one.get("Car", np.zeros((96, 144), np.uint8)) for one in found]


def test_a_class_named_by_itself_and_by_each_has_one_matte() -> None:
    """It goes, fades from frame to frame, is forgotten, and comes back as if it had never been."""
    is_there = [False, False, True, True, *[False] * 9, True, True]
    alone, each = (mattes_of(one, pictures(15), is_there) for one in ("Car", "each"))
    np.testing.assert_array_equal(alone, each)

    # Its scores stay at p = 1 / (1 + e), and 0.6 of the past: p + (1 - p) 0.6^n > 0.3 for n < 7.
    shows = [bool(alpha[:, :50].any()) for alpha in alone]
    assert shows[:4] == [False, False, True, True] and shows[-2:] == [True, True]
    assert not any(shows[4 + 6 : -2]) and shows[4:6] == [True, True]
    (new,) = mattes_of("Car", pictures(15)[13:14], [True])
    np.testing.assert_array_equal(alone[13], new)


def test_nobody_pays_for_mattes_that_nobody_wants() -> None:
    runner = LeftHalf(True)
    with runner.session() as session:
        ((_, prediction),) = session.run(pictures(1))
    assert prediction.mattes == () and prediction.map.margins is None
    assert runner.sizes == [(96, 144)]  # a device may answer with class ids


def test_devices_keep_scores_for_mattes() -> None:
    runner = LeftHalf(True)
    with runner.session(matte=MatteOptions(("Car",))) as session:
        assert [prediction.ids[0, 0] for _, prediction in session.run(pictures(1))] == [CAR]
    assert runner.sizes == [None]


def test_a_session_refuses_mattes_of_unknown_classes() -> None:
    with pytest.raises(UsageError, match="class 'crab'"):
        LeftHalf().session(matte=MatteOptions(("crab",)))


@pytest.mark.parametrize(
    ("save", "sinks", "wanted"),
    [
        (None, SinkOptions(), None),
        (None, SinkOptions(mattes=MatteOptions(("Car",))), ("matte",)),
        (("trimap",), SinkOptions(mattes=MatteOptions(("Car",))), ("trimap",)),
        (("csv",), SinkOptions(mattes=MatteOptions("Car")), ("csv", "matte")),
        (None, SinkOptions(mattes=MatteOptions("Car", background="blur")), ("background",)),
        (("csv",), SinkOptions(redaction=RedactOptions("blur")), ("csv", "redact")),
        (("redact",), SinkOptions(redaction=RedactOptions("fill")), ("redact",)),
    ],
)
def test_options_imply_the_outputs_that_they_are_for(save, sinks, wanted) -> None:
    assert with_implied(SINKS, save, sinks) == wanted
