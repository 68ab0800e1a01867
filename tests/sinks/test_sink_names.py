"""Outputs have the names that users expect: beside the input, in a folder, given, on stdout."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from vidparse.errors import Interrupted, OutputError, UsageError
from vidparse.requests.matte import MatteOptions
from vidparse.sinks import SINKS, Sink, SinkOptions, is_output, make_sinks
from vidparse.sinks.stream import ByteStream

ALL = ["overlay", "masks", "mask-video", "jsonl", "csv"]
STREAMED = ("masks", "masks-gray")  # folders that are videos on a stream
FOLDERS = [name for name, kind in SINKS.items() if kind.is_folder and name not in STREAMED]


def names(source: str, out: str | None = None, chosen=ALL) -> list[str]:
    sinks = make_sinks(chosen, source=source, out=out, options=SinkOptions())
    return [output for sink in sinks for output in sink.outputs]


@pytest.fixture(autouse=True)
def in_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Toy(Sink):
    """The number of each frame and the classes in it: a class and a line in the table."""

    suffix: ClassVar[str] = ".toy.lst"
    is_text: ClassVar[bool] = True

    def begin(self, info, labels):
        self._stream = ByteStream(self.target)
        self._stream.open()

    def add(self, frame, prediction):
        self._stream.write(f"{frame.index} {len(np.unique(prediction.ids))}\n".encode())

    def end(self, *, keep, complete, packets):
        return self._stream.close(keep=keep, complete=complete)


def test_a_new_output_is_a_class_and_a_line(cli, clip, tmp_path, monkeypatch):
    monkeypatch.setitem(SINKS, "toy", Toy)
    monkeypatch.setenv("COLUMNS", "200")
    path = clip("x.mp4", frames=3)
    assert cli("segment", path, "--save", "toy,csv").code == 0
    assert cli("segment", path, "-o", tmp_path / "y.lst").code == 0
    lines = (tmp_path / "x.toy.lst").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    assert (tmp_path / "y.lst").read_text().splitlines() == lines
    assert cli("segment", path, "--save", "toy", "-o", "-").out.decode().splitlines() == lines
    assert cli("segment", path, "--save", "toy").code == 6
    assert cli("segment", path, "--save", "toy", "--skip-existing").code == 0
    assert b", toy." in b" ".join(cli("segment", "--help").out.split())
    ended = cli("segment", path, "-o", tmp_path / "x.avi")
    assert ".lst (toy)" in ended.err
    assert is_output(tmp_path / "x.toy.lst")
    assert not is_output(tmp_path / "x.lst")


def test_a_sink_is_a_context_manager(tmp_path):
    (tmp_path / "old").write_text("old")
    for error, kept in ((None, True), (ValueError, False), (Interrupted, True)):
        target = tmp_path / str(error)
        with contextlib.suppress(ValueError, Interrupted), Toy(target, SinkOptions()) as sink:
            sink.open(None, None)
            if error:
                raise error
        assert target.exists() is kept
    options = SinkOptions(overwrite=True)
    with contextlib.suppress(Interrupted), Toy(tmp_path / "old", options) as sink:
        sink.open(None, None)
        raise Interrupted
    assert (tmp_path / "old").read_text() == "old"
    with pytest.raises(ValueError, match="write before open"):
        sink.write(None, None)


def test_beside_the_input():
    Path("dir").mkdir()
    assert names("dir/clip.mp4") == [
        "dir/clip.overlay.mp4",
        "dir/clip.masks",
        "dir/clip.masks.mkv",
        "dir/clip.jsonl",
        "dir/clip.csv",
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("clip.mp4", "clip.csv"),
        ("my.clip.v2.mov", "my.clip.v2.csv"),
        ("noending", "noending.csv"),
        ("-", "stdin.csv"),
        ("sample://street", "street.csv"),
        ("rtsp://host:554/live/cam1?tcp=1", "cam1.csv"),
        ("https://host/v/clip.mp4#t=3", "clip.csv"),
        ("frames/*.png", "frames.csv"),
        ("frames/img_%04d.png", "frames.csv"),
    ],
)
def test_stems(source, expected):
    assert names(source, chosen=["csv"]) == [expected]


def test_folders_keep_dots_in_their_names():
    Path("shots/take.1").mkdir(parents=True)
    assert names("shots/take.1", chosen=["csv"]) == ["shots/take.1.csv"]
    assert names("shots/take.1/", chosen=["csv"]) == ["shots/take.1.csv"]


def test_into_a_directory():
    assert names("a/clip.mp4", "out/", ["csv"]) == ["out/clip.csv"]
    assert Path("out").is_dir()
    assert names("a/clip.mp4", "out", ["csv"]) == ["out/clip.csv"]  # it exists by now
    assert names("a/clip.mp4", "new/deep", ["csv", "jsonl"]) == [
        "new/deep/clip.csv",
        "new/deep/clip.jsonl",
    ]


def test_by_name():
    assert names("clip.mp4", "x.mkv", ["overlay"]) == ["x.mkv"]
    assert names("clip.mp4", "X.MOV", ["overlay"]) == ["X.MOV"]
    assert names("clip.mp4", "ids.nut", ["mask-video"]) == ["ids.nut"]
    assert names("clip.mp4", "labels", ["masks"]) == ["labels"]
    assert names("clip.mp4", "shares.txt", ["csv"]) == ["shares.txt"]


@pytest.mark.parametrize(
    ("out", "sink", "hint"),
    [
        ("x.avi", "overlay", ".mp4, .mkv, .mov"),
        ("x", "overlay", "no file ending"),
        ("day1", "csv", r"no file ending; end it in \.csv, or in / for a directory"),
        ("x.mp4", "mask-video", ".mkv, .nut"),
        ("x.png", "masks", r"number its pictures, as in x_%04d\.png"),
        ("x.zip", "masks", "written to a folder"),
    ],
)
def test_endings_that_do_not_fit(out, sink, hint):
    with pytest.raises(UsageError, match=hint):
        names("clip.mp4", out, [sink])


def test_unknown_outputs_and_repeats():
    with pytest.raises(UsageError, match="did you mean overlay"):
        names("clip.mp4", chosen=["overly"])
    assert names("clip.mp4", chosen=["csv", "csv"]) == ["clip.csv"]


def test_stdout_carries_one_output():
    with pytest.raises(UsageError, match="one output, not 2"):
        names("clip.mp4", "-", ["csv", "jsonl"])
    for name in ALL:
        (sink,) = make_sinks(
            [name], source="-", out="-", options=SinkOptions(), stdout=io.BytesIO()
        )
        assert sink.outputs == ("-",)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"opacity": 1.5}, {"crf": 52}, {"preset": "fastest"}, {"pipe_format": "avi"}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match=r"out of range|unknown; try"):
        SinkOptions(**wrong)


def test_nothing_is_made_when_one_of_several_exists():
    Path("clip.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"clip\.csv: exists; use --overwrite or -o"):
        names("clip.mp4")
    assert Path("clip.csv").read_text() == "mine"
    assert [path.name for path in Path().iterdir()] == ["clip.csv"]


def test_the_help_lists_every_output(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    ended = cli("segment", "--help")
    assert ", ".join(SINKS) in " ".join(ended.out.decode().replace("│", " ").split())


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_to_go_to_stdout_is_named(name):
    options = SinkOptions(mattes=MatteOptions(("Car",)))
    with pytest.raises(UsageError, match=f"^-o -: {name} is a folder of pictures, which a stream"):
        make_sinks([name], source="clip.mp4", out="-", options=options, stdout=io.BytesIO())
