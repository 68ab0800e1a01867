"""Windows, linkers and merging by the command line, with a network of kernel maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.commands import Finished
from support.kernel_toy import (
    GREEN,
    LABELS,
    RED,
    SIDE,
    KernelToy,
    KernelToyConfig,
    picture,
    save_toy,
    write_pictures,
)
from vidparse.evaluation.entries import ModelEntry
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import Merging, kernel_maps, load_model
from vidparse.inference.kernel_maps import merge_clip
from vidparse.models.zoo import MODELS

FIRST, SECOND = sorted(LABELS.things)[:2]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "kernel-toy", (KernelToyConfig, KernelToy))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_toy(tmp_path / "toy.safetensors")


@pytest.fixture
def found(
    cli: Callable[..., Finished], model: Path, tmp_path: Path
) -> Callable[..., list[list[dict[str, Any]]]]:
    """`found(pictures, "--window", 2)`: the segments of every frame, as jsonl has them."""
    count = 0

    def run(pictures: Sequence[np.ndarray], *words: object) -> list[list[dict[str, Any]]]:
        nonlocal count
        count += 1
        folder = write_pictures(tmp_path / f"in{count}", pictures)
        out = tmp_path / f"out{count}.jsonl"
        ended = cli("segment", folder, "-m", model, "-o", out, *words)
        assert ended.code == 0, ended.err
        lines = [json.loads(line) for line in out.read_text().splitlines()][1:]
        assert len(lines) == len(pictures[:: 2 if "--stride" in words else 1])
        return [line["segments"] for line in lines]

    return run


def things(frames: list[list[dict[str, Any]]]) -> list[dict[int, int]]:
    """Ids of the things of every frame, by class."""
    return [
        {one["class_id"]: one["id"] for one in frame if one["class_id"] in LABELS.things}
        for frame in frames
    ]


def moving(count: int) -> list[np.ndarray]:
    """A red and a green square that drift apart."""
    return [picture([(RED, 30 + 3 * i, 8), (GREEN, 100 - 3 * i, 56)]) for i in range(count)]


@pytest.mark.parametrize("window", [None, *range(1, 9)])
def test_every_window_finds_the_same_objects(found, window: int | None) -> None:
    words = () if window is None else ("--window", window)
    frames = found(moving(7), *words)
    assert things(frames) == [{FIRST: 1, SECOND: 2}] * 7
    for i, frame in enumerate(frames):
        red = next(one for one in frame if one["class_id"] == FIRST)
        assert np.abs(np.subtract(red["bbox"], [30 + 3 * i, 8, SIDE, SIDE])).max() <= 4


@pytest.mark.parametrize("window", [1, 3])
def test_a_video_of_one_frame(found, window: int) -> None:
    assert things(found(moving(1), "--window", window)) == [{FIRST: 1, SECOND: 2}]


def test_stride_takes_frames_into_clips(found) -> None:
    assert found(moving(9), "--stride", 2) == found(moving(9)[::2])


def test_one_that_was_away_has_its_id_by_kernels_and_a_new_one_by_overlap(found) -> None:
    away = [*moving(3), *(picture([(GREEN, 90, 56)]) for _ in range(6)), *moving(2)]
    ids = things(found(away))
    assert ids == [{FIRST: 1, SECOND: 2}] * 3 + [{SECOND: 2}] * 6 + [{FIRST: 1, SECOND: 2}] * 2
    assert things(found(away, "--linker", "kernels")) == ids
    assert things(found(away, "--linker", "overlap"))[-1] == {FIRST: 4, SECOND: 2}


def test_no_linker_gives_new_ids_in_every_clip(found) -> None:
    ids = things(found(moving(5), "--linker", "none", "--window", 2))
    assert ids == [{FIRST: 1, SECOND: 2}] * 2 + [{FIRST: 4, SECOND: 5}] * 2 + [
        {FIRST: 6, SECOND: 7}
    ]


def test_a_cut_ends_objects_and_ids_go_on(found) -> None:
    shots = [*moving(4), *(picture([(RED, 30, 8)], ground=(250, 250, 250)) for _ in range(3))]
    before = [{FIRST: 1, SECOND: 2}] * 4
    assert things(found(shots)) == before + [{FIRST: 4}] * 3
    assert things(found(shots, "--cut", "off")) == before + [{FIRST: 1}] * 3


def test_two_sizes_in_one_stream(model: Path) -> None:
    small = [picture([(RED, 10, 8)], size_hw=(64, 96)) for _ in range(2)]
    pictures = [*moving(4), *small, *moving(1)]
    frames = (Frame(i, i, Rgb(pixels)) for i, pixels in enumerate(pictures))
    with load_model(model, backend="torch").session(cut=None) as session:
        for pixels, (_, prediction) in zip(pictures, session.run(frames), strict=True):
            assert prediction.ids.shape == pixels.shape[:2]
            (red,) = (one for one in prediction.segments or () if one.class_id == FIRST)
            assert red.id == 1 and abs(red.area - SIDE**2) < SIDE**2 / 3


def test_nothing_found_is_an_answer(found, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither things nor stuff: all of it is in the dark, and too small for stuff."""
    monkeypatch.setattr(kernel_maps, "LEAST_STUFF_AREA", 2 * 1280 * 720)
    frames = found([picture(ground=(0, 0, 0), size_hw=(32, 32))] * 4, "--window", 1)
    assert frames == [[]] * 4


def test_stuff_of_a_small_picture_needs_fewer_pixels(found) -> None:
    (sky,) = found([picture(ground=(0, 0, 0), size_hw=(32, 32))], "--window", 1)[0]
    assert sky["area"] == 32 * 32 < 4096


def test_small_and_unsure_objects_can_be_left_out(found) -> None:
    rows = found(moving(3))
    area = min(one["area"] for frame in rows for one in frame if one["class_id"] == FIRST)
    assert things(found(moving(3), "--min-area", area)) == [{FIRST: 1, SECOND: 2}] * 3
    assert things(found(moving(3), "--min-area", 4096)) == [{}] * 3
    assert things(found(moving(3), "--min-score", 1)) == [{}] * 3
    stuff = [[one for one in frame if one["class_id"] not in LABELS.things] for frame in rows]
    found_stuff = found(moving(3), "--min-area", 4096)
    assert [[one["area"] for one in frame] for frame in found_stuff] == [
        [one["area"] for one in frame] for frame in stuff
    ]
    only = found(moving(3), "--classes", LABELS.classes[SECOND])
    assert [[one["class_id"] for one in frame] for frame in only] == [[SECOND]] * 3


@pytest.mark.parametrize("rule", ["intended", "official"])
def test_the_rule_is_that_of_the_decoder(found, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    rules = []

    def merge(*kernels: Any, **options: Any) -> Any:
        rules.append(options["rule"])
        return merge_clip(*kernels, **options)

    monkeypatch.setattr(kernel_maps, "merge_clip", merge)
    assert things(found(moving(4), "--merging", rule)) == [{FIRST: 1, SECOND: 2}] * 4
    found(moving(4))
    assert rules == [rule] * 2 + ["intended"] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--window", 9), "window 9: must lie in 1..8 frames"),
        (("--window", 0), "window 0: must lie in 1..8 frames"),
        (("--linker", "nearest"), "linker 'nearest': unknown; use none, overlap"),
        (("--linker", "queries"), "linker 'queries': needs more than this network gives; use"),
        (("--merging", "best"), "merging 'best': unknown; use intended, official, filled"),
        (("--min-area", -1), "min-area -1: must be 0 pixels or more"),
        (("--min-score", 1.5), "min-score 1.5: must lie in 0..1"),
    ],
)
def test_what_cannot_be_is_one_line(cli, model: Path, tmp_path: Path, words, message: str) -> None:
    folder = write_pictures(tmp_path / "in", moving(2))
    ended = cli("segment", folder, "-m", model, "-o", f"{tmp_path}/out/", *words)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert message in ended.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--window", 2), "window 2: this network takes 1 frame at a time; leave --window out"),
        (("--linker", "overlap"), "linker: the model finds classes and no objects"),
        (("--min-area", 5), "min-area: the model finds classes and no objects"),
        (("--min-score", 0.5), "min-score: the model finds classes and no objects"),
        (("--merging", "official"), "merging: the model finds classes and no objects"),
    ],
)
def test_a_semantic_model_has_no_use_for_them(cli, clip, tmp_path: Path, words, message) -> None:
    ended = cli("segment", clip("in.mp4", frames=2), "-o", f"{tmp_path}/out/", *words)
    assert ended.code == 2 and message in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("window", [1, 2, 5])
def test_a_pipe_waits_for_its_window_and_no_longer(model: Path, window: int) -> None:
    taken = []

    def camera():
        for i, pixels in enumerate(moving(8)):
            taken.append(i)
            yield Frame(i, i, Rgb(pixels))

    with load_model(model, backend="torch").session(window=window, cut=None) as session:
        for count, _ in enumerate(session.run(camera()), start=1):
            assert len(taken) == min(-(-count // window) * window, 8)


def test_eval_takes_them_and_keeps_their_answers_apart(model: Path) -> None:
    runner = load_model(model, backend="torch")
    options: list[dict[str, Any]] = [
        {}, {"window": 2}, {"linker": "none"}, {"merging": Merging("official")},
    ]  # fmt: skip
    prints = {ModelEntry("toy", runner, **one).fingerprint(None) for one in options}  # type: ignore[arg-type]
    assert len(prints) == len(options)


def test_eval_by_the_command_line(cli, model: Path) -> None:
    data = "sample://crowd?frames=4&size=96x64"
    words = (
        "eval",
        "--dataset",
        data,
        "-m",
        model,
        "--metrics",
        "vpq",
        "--max-videos",
        1,
        "--json",
    )
    ended = cli(*words, "--window", 2, "--linker", "none", "--merging", "official")
    assert ended.code == 0, ended.err
    assert "vpq" in json.loads(ended.out)["entries"][0]["scores"]
    ended = cli(*words, "--window", 12)
    assert ended.code == 2 and "window 12: must lie in 1..8 frames" in ended.err
