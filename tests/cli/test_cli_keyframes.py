"""`--keyframes` on the command line: its summary, its errors, and `eval`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.made_camvid import make_camvid


def test_the_summary_has_the_share_and_the_spread(cli, clip, tmp_path: Path) -> None:
    command = ("segment", clip("x.mp4", frames=9), "-o", f"{tmp_path}/", "--save", "csv")
    ended = cli(*command, "--keyframes", "3")
    assert ended.code == 0, ended.err
    assert ", 33% key frames (scores in " in ended.lines[-1] and " ms, 95 % in " in ended.lines[-1]

    auto = cli(*command, "--keyframes", "auto", "--overwrite", "--json")
    found = json.loads(auto.out)["inputs"][0]["key_frames"]
    assert found["keys"] >= 1 and found["share"] == round(found["keys"] / 9, 4)
    times = found["scores_ms"]
    assert 0 < times["median"] <= times["p95"] <= times["max"]

    every = cli(*command, "--overwrite", "--json")
    assert json.loads(every.out)["inputs"][0]["key_frames"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--keyframes", "0"), "--keyframes '0': write auto, or every how many frames"),
        (("--keyframes", "often"), "--keyframes 'often': write auto, or every how many frames"),
        (("--keyframes", "auto", "--stabilize"), "leave out keyframes or stabilize"),
        (("--keyframes", "auto", "--workers", "2"), "--keyframes carries scores from frame to"),
        (("--keyframes", "2", "-m", "street-panoptic"), "keyframes: the model finds objects"),
        (("--keyframes", "2", "-m", "street-tcb"), "keyframes: the model has a memory"),
    ],
)
def test_what_makes_no_sense_is_one_line(cli, clip, arguments, message: str) -> None:
    ended = cli("segment", clip("x.mp4", frames=2), *arguments)
    assert (ended.code, len(ended.lines)) == (2, 1)
    assert message in ended.lines[0]


def test_eval_scores_them_and_notes_how_many(
    cli, colour_model, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    data = make_camvid(tmp_path / "data")
    command = ("eval", "-m", colour_model, "--dataset", "camvid", "--data", data, "--json")
    records = [json.loads(cli(*command, *more).out) for more in ((), ("--keyframes", "2"))]
    every, keyed = (record["entries"][0] for record in records)
    assert keyed["detail"] == f"{every['detail']}, key frames 2"
    assert "colours.onnx: 1 of 2 frames were key frames." in records[1]["notes"]
    assert "key frames" not in " ".join(records[0]["notes"])
    assert keyed["scores"]["miou"] == pytest.approx(every["scores"]["miou"], abs=0.3)


def test_eval_of_other_frames_than_segments_own_has_no_key_frames(cli, tmp_path: Path) -> None:
    data = ("--dataset", "sample://street", "--support", "official")
    ended = cli("eval", "-m", "street-tcb", *data, "--keyframes", "2")
    assert (ended.code, len(ended.lines)) == (2, 1)
    assert "the published code has no --keyframes" in ended.lines[0]
