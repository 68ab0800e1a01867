"""The package as a library: what its names take and give."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import vidparse
from vidparse.data.pictures import read_indices
from vidparse.errors import InputError, UsageError


@pytest.fixture
def options(colour_model: Path) -> Callable[..., vidparse.SegmentOptions]:
    """Options for a model that runs anywhere in no time."""
    usual = {"model": colour_model, "device": "cpu", "threads": 1, "save": "masks"}
    return lambda **wishes: vidparse.SegmentOptions(**(usual | wishes))


class TestSegment:
    @pytest.mark.parametrize("given", [str, Path, lambda path: [path], lambda path: iter([path])])
    def test_takes_one_path_or_several(self, clip, options, tmp_path: Path, given) -> None:
        video = clip("a.mp4", frames=3)
        clip("b.mp4", frames=3)  # a string that was taken for its letters would find it in "."
        summary = vidparse.segment(given(video), options(out=tmp_path / "out"))
        assert [(one.name, one.frames, one.error) for one in summary.inputs] == [
            (str(video), 3, None)
        ]
        assert len(list((tmp_path / "out").rglob("*.png"))) == 3

    def test_several_of_both_kinds(self, clip, options, tmp_path: Path) -> None:
        videos = (str(clip("a.mp4", frames=1)), clip("b.mp4", frames=2))
        summary = vidparse.segment(videos, options(out=tmp_path / "out"))
        assert [one.frames for one in summary.inputs] == [1, 2]

    def test_one_output_and_one_class_are_no_letters(self, clip, options, tmp_path: Path) -> None:
        wishes = options(save="jsonl", out=tmp_path / "a.jsonl", classes="Road")
        (result,) = vidparse.segment(clip("a.mp4", frames=1), wishes).inputs
        assert result.outputs == (str(tmp_path / "a.jsonl"),)
        _, line = (tmp_path / "a.jsonl").read_text().splitlines()
        assert {row["class"] for row in json.loads(line)["segments"]} <= {"Road"}

    def test_a_path_that_is_not_there_is_its_own_error(self, options) -> None:
        (result,) = vidparse.segment(Path("none.mp4"), options()).inputs
        assert result.name == "none.mp4"
        assert isinstance(result.error, InputError)

    @pytest.mark.parametrize("given", [None, 5, b"in.mp4", ["in.mp4", 3], [b"in.mp4"]])
    def test_no_path_is_a_usage_error(self, given: object) -> None:
        with pytest.raises(UsageError, match="is no path or name; give a str or a Path"):
            vidparse.segment(given)  # type: ignore[arg-type]

    def test_no_input_is_a_usage_error(self) -> None:
        with pytest.raises(UsageError, match="none is given"):
            vidparse.segment([])


@pytest.mark.parametrize("time_s", [float("nan"), float("inf")])
def test_a_frame_has_a_finite_time(time_s: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        vidparse.Frame.from_rgb(np.zeros((2, 2, 3), np.uint8), time_s=time_s)


def test_a_model_is_named_by_a_path(colour_model: Path) -> None:
    runner = vidparse.load_model(colour_model, device="cpu", threads=1)
    assert runner.description.labels.name == "camvid"


class TestSession:
    def test_pictures_in_memory_have_the_answer_of_the_file(self, clip, colour_model: Path) -> None:
        """Arrays go in by `Frame.from_rgb`, one by one, as they come."""
        model = vidparse.load_model(colour_model, device="cpu", threads=1)
        with vidparse.open_video(clip("a.mp4", frames=4)) as video:
            frames = list(video)
            expected = [prediction.ids for _, prediction in model.session().run(frames)]
        pixels = [frame.image.rgb() for frame in frames]
        given = (
            vidparse.Frame.from_rgb(one, index=i, time_s=i / 5) for i, one in enumerate(pixels)
        )
        with model.session() as session:
            for i, (frame, prediction) in enumerate(session.run(given)):
                assert (frame.index, prediction.index, frame.time_s) == (i, i, i / 5)
                assert (prediction.ids == expected[i]).mean() > 0.99  # colours were rounded

    def test_an_array_in_place_of_a_frame_is_one_line(self, colour_model: Path) -> None:
        model = vidparse.load_model(colour_model, device="cpu", threads=1)
        with (
            model.session() as session,
            pytest.raises(UsageError, match=r"^frames: ndarray is no Frame; make each by Frame"),
        ):
            list(session.run([np.zeros((48, 64, 3), np.uint8)]))

    def test_wide_pixels_are_seen_as_segment_sees_them(
        self, clip, options, colour_model: Path, tmp_path: Path
    ) -> None:
        path = clip("a.mp4", frames=1, aspect=Fraction(2))
        (result,) = vidparse.segment(path, options(out=tmp_path / "out")).inputs
        (mask,) = (tmp_path / "out").rglob("*.png")
        model = vidparse.load_model(colour_model, device="cpu", threads=1)
        with vidparse.open_video(path) as video:
            assert model.session(video.info).input_size(video.info.size_hw) == (96, 256)
            ((_, prediction),) = model.session(video.info).run(video)
        assert result.frames == 1 and np.array_equal(prediction.ids, read_indices(mask))
