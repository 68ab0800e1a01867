"""Inputs of one name: their outputs lie in folders as they do, and stay there in later calls."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from vidparse import SegmentOptions, segment
from vidparse.cli.segment import summary_record
from vidparse.run import Summary
from vidparse.sinks import SINKS, SinkOptions
from vidparse.sinks.places import places
from vidparse.video import Input


@pytest.fixture(autouse=True)
def in_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def folders(names: Sequence[str], out: str | None = "out/", save: Sequence[str] = ("csv",)) -> list:
    inputs = [Input.named(name) for name in names]
    return [one.folder for one in places(SINKS, save, inputs=inputs, out=out).inputs]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/x.mp4", "b/y.mp4"], ["", ""]),
        (["a/x.mp4", "b/x.mp4"], ["a", "b"]),
        (["v/a/x.mp4", "v/b/x.mp4", "v/y.mp4"], ["a", "b", ""]),
        (["v/a/x.mp4", "v/a/c/x.mov", "v/a/y.mp4"], ["", "c", ""]),
        (["/r/a/x.mp4", "/r/q/../b/x.mp4", "/r/b/c/z.mp4"], ["a", "b", "b/c"]),
        (["x.mp4", "x.mov"], ["", ""]),
        (["a/*.png", "b/c/a/*.png"], ["", "b/c"]),
        (
            ["rtsp://u:p@cam1:8554/s", "rtsp://cam2/s", "a/x.mp4", "a/b/s.mp4"],
            ["cam1_8554", "cam2", "", "b"],
        ),
        (["sample://street", "a/street.mp4"], ["", ""]),
        (["rtsp://h/../s", "rtsp://h/q/s", "rtsp://k/s"], ["h/_", "h/q", "k"]),
    ],
)
def test_folders_below_the_common_one(names, expected):
    assert folders(names) == [name.replace("/", os.sep) for name in expected]


def test_places_that_stay_as_they_are():
    same = ["a/x.mp4", "b/x.mp4"]
    assert folders(same, out=None) == ["", ""]
    assert folders(same, save=("vspw",)) == ["", ""]
    assert folders(same, out="all.v1", save=("masks",)) == ["", ""]
    assert folders(same, save=("vspw", "csv")) == ["a", "b"]


@pytest.fixture
def call(clip, colour_model):
    """`call("a/x.mp4", ...)` makes the clips that are not there, and segments all into out/."""

    def run(*names: str, out: str = "out/", **options: object) -> Summary:
        for name in names:
            if not Path(name).exists():
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                clip(Path(name).name, frames=2).rename(name)
        chosen = {"model": colour_model, "save": "csv", "out": out, **options}
        return segment(names, SegmentOptions(**chosen))

    return run


def outputs(out: str = "out") -> list[str]:
    return sorted(str(path.relative_to(out)) for path in Path(out).rglob("*") if path.is_file())


def test_one_note_names_where_outputs_are(call):
    assert call("a/x.mp4", "b/y.mp4").notes == ()
    summary = call("v/a/x.mp4", "v/b/x.mp4", "v/z.mp4", out="o/")
    assert outputs("o") == ["a/x.csv", "b/x.csv", "z.csv"]
    assert summary_record(summary)["notes"] == [
        "several inputs are called x, so outputs lie in folders as their inputs do: those of "
        f"v/a/x.mp4 in {Path('o/a')}"
    ]


def test_an_input_keeps_its_place_when_a_namesake_comes(call):
    """Without a ledger, outputs that are there say where; the namesakes have new places."""
    kept = SinkOptions(skip_existing=True)
    call("v/a/x.mp4", "v/b/y.mp4", sinks=kept)
    summary = call("v/a/x.mp4", "v/b/y.mp4", "v/b/x.mp4", sinks=kept)
    assert [one.is_skipped for one in summary.inputs] == [False, True, False]
    assert outputs() == ["a/x.csv", "b/x.csv", "x.csv", "y.csv"]
    assert summary.notes[1] == "outputs of 1 input stay where an earlier call put them"

    # The namesake is gone again: outputs in folders stay there, too.
    summary = call("v/a/x.mp4", "v/b/y.mp4", sinks=kept)
    assert [one.is_skipped for one in summary.inputs] == [True, True]
    assert outputs() == ["a/x.csv", "b/x.csv", "x.csv", "y.csv"]


def test_a_ledger_keeps_the_place_of_what_it_knows(call):
    options = {"ledger": Path("b.db")}
    call("v/a/x.mp4", "v/b/y.mp4", **options)
    Path("out/x.csv").unlink()
    summary = call("v/a/x.mp4", "v/b/y.mp4", "w/x.mp4", **options)
    assert [one.settled for one in summary.inputs] == [False, True, False]
    assert outputs() == ["w/x.csv", "x.csv", "y.csv"]
    assert call("v/a/x.mp4", "v/b/y.mp4", "w/x.mp4", **options).totals.settled == 3


def test_a_journal_is_found_again(call):
    options = {"ledger": Path("b.db"), "resume": True}
    call("a/x.mp4", "b/x.mp4", **options)
    assert outputs() == ["a/x.csv", "b/x.csv"]
    assert call("a/x.mp4", "b/x.mp4", **options).totals.settled == 2


def test_inputs_of_one_name_in_one_folder_do_not_overwrite_each_other(call):
    summary = call("a/x.mp4", "a/x.mov", "b/x.mp4")
    assert [one.error is None for one in summary.inputs] == [True, False, True]
    assert str(summary.inputs[1].error) == (
        "a/x.mov: would overwrite out/a/x.csv of a/x.mp4, as both have one name; rename one of "
        "them, or segment them with different -o"
    )


def test_one_file_in_several_spellings_is_one_input(call, tmp_path):
    summary = call("a/x.mp4", "./a/x.mp4", f"{tmp_path}/a/x.mp4", "a/../a/x.mp4")
    assert [one.name for one in summary.inputs] == ["a/x.mp4"]
    assert outputs() == ["x.csv"]


def test_submissions_of_one_name_are_refused(call):
    summary = call("a/x.mp4", "b/x.mp4", save="vspw")
    assert [one.error is None for one in summary.inputs] == [True, False]
    assert outputs() == ["x/00000000.png", "x/00000001.png"]
