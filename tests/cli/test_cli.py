"""How the command line behaves towards people: names, codes, one line, silence, a bar, JSON."""

from __future__ import annotations

import csv
import json
import os
import pty
import select
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vidparse import DEFAULT_MODEL
from vidparse.video import report_media


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def clips(tmp_path, clip) -> Path:
    """A folder with two clips in it, apart from where outputs go."""
    folder = tmp_path / "clips"
    folder.mkdir()
    clip("clips/a.mp4", frames=6)
    clip("clips/b.mov", frames=4)
    return folder


class TestOutputs:
    def test_default_is_an_overlay_and_masks_beside_the_input(self, cli, clips):
        ended = cli("segment", clips / "a.mp4")
        assert (ended.code, ended.out) == (0, b"")
        assert listing(clips) == ["a.masks", "a.mp4", "a.overlay.mp4", "b.mov"]
        assert len(listing(clips / "a.masks")) == 6
        assert len(ended.lines) == 1
        assert ended.lines[0].startswith(f"{clips / 'a.mp4'}: 6 frames in ")
        assert "a.overlay.mp4" in ended.lines[0]

    def test_one_line_names_the_engine_and_why_it_was_chosen(self, cli, clips):
        both = (clips / "a.mp4", clips / "b.mov", "--save", "csv")
        first, second, totals = cli("segment", *both, "--threads", "1").lines
        assert totals.startswith("2 inputs: 2 done; ")
        assert ") with ONNX Runtime, fp32, 1 thread (auto: the quickest to start) -> " in first
        assert "ONNX" not in second
        ended = cli("segment", *both, "--backend", "onnx", "--threads", "2", "--overwrite")
        assert ") with ONNX Runtime, fp32, 2 threads -> " in ended.lines[0]
        assert cli("segment", *both, "--overwrite", "-q").lines == []

    @pytest.mark.parametrize(
        ("out", "written"),
        [
            ("x.mp4", ["x.mp4"]),
            ("x.masks.mkv", ["x.masks.mkv"]),
            ("x.csv", ["x.csv"]),
            ("x.jsonl", ["x.jsonl"]),
            ("deep/er/", ["a.masks", "a.overlay.mp4"]),
            ("results", ["a.masks", "a.overlay.mp4"]),
        ],
    )
    def test_the_name_chooses_what_is_written(self, cli, clips, tmp_path, out, written):
        target = f"{tmp_path}/{out}"
        assert cli("segment", clips / "a.mp4", "-o", target).code == 0
        folder = Path(target) if Path(target).is_dir() else Path(target).parent
        assert [name for name in listing(folder) if name != "clips"] == written

    def test_all_outputs_of_one_pass_agree(self, cli, clips, tmp_path):
        ended = cli(
            *("segment", clips / "a.mp4", "-o", f"{tmp_path}/out/", "--rle", "--contours"),
            *("--save", "overlay,masks,mask-video,jsonl,csv", "--legend"),
        )
        assert ended.code == 0
        out = tmp_path / "out"
        assert listing(out) == ["a.csv", "a.jsonl", "a.masks", "a.masks.mkv", "a.overlay.mp4"]
        with av.open(str(out / "a.masks.mkv")) as video:
            ids = [frame.to_ndarray() for frame in video.decode(video=0)]
        records = [json.loads(line) for line in (out / "a.jsonl").read_text().splitlines()]
        rows = list(csv.DictReader((out / "a.csv").open()))
        assert len(ids) == len(records) - 1 == len(rows) == 6
        for index, (image, record, row) in enumerate(zip(ids, records[1:], rows, strict=True)):
            with Image.open(out / f"a.masks/{index:06d}.png") as png:
                np.testing.assert_array_equal(np.asarray(png), image)
            areas = {segment["class_id"]: segment["area"] for segment in record["segments"]}
            values, counts = np.unique(image, return_counts=True)
            assert areas == dict(zip(values.tolist(), counts.tolist(), strict=True))
            assert len(areas) > 1, "the model must see something, or this test checks nothing"
            for segment in record["segments"]:
                assert float(row[segment["class"]]) == pytest.approx(segment["area"] / image.size)

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["-o", "x.mp4", "--save", "overlay,csv"], 2, "one file for 2 outputs"),
            (["-o", "x.avi"], 2, "no output is written as '.avi'"),
            (["-o", "x.webm", "--save", "overlay"], 2, "end it in .mp4"),
            (["-o", "x", "--save", "overlay"], 2, "no file ending"),
            (["-o", "-", "--save", "csv,jsonl"], 2, "stdout carries one output"),
            (["-o", "-", "--json"], 2, "drop one of them"),
            (["-o", "a.mp4", "--overwrite"], 6, "is the input itself"),
            (["-o", "b.mov"], 6, "exists; use --overwrite or -o"),
            (["-o", "b.mov/"], 6, "b.mov is no directory)"),
            (["-o", "b.mov/x/y/"], 6, "b.mov/x/y is no directory)"),
        ],
    )
    def test_refused_before_anything_is_written(
        self, cli, clips, monkeypatch, arguments, code, message
    ):
        monkeypatch.chdir(clips)
        before = {path: path.read_bytes() for path in clips.iterdir()}
        ended = cli("segment", "a.mp4", *arguments)
        assert ended.code == code
        assert len(ended.lines) == 1
        assert message in ended.lines[0]
        assert ended.lines[0].startswith("vidparse: ")
        assert {path: path.read_bytes() for path in clips.iterdir()} == before

    def test_existing_outputs_are_replaced_on_request_only(self, cli, clips):
        assert cli("segment", clips / "a.mp4", "--save", "csv").code == 0
        first = (clips / "a.csv").read_bytes()
        assert cli("segment", clips / "a.mp4", "--save", "csv", "--stride", "2").code == 6
        assert (clips / "a.csv").read_bytes() == first
        again = ("--save", "csv", "--stride", "2", "--overwrite")
        assert cli("segment", clips / "a.mp4", *again).code == 0
        assert (clips / "a.csv").read_bytes().count(b"\n") == 1 + 3


class TestSeveralInputs:
    def test_files_patterns_and_folders_in_one_call(self, cli, clips, tmp_path, clip):
        (tmp_path / "more").mkdir()
        clip("more/c.mkv", frames=2)
        ended = cli(
            *("segment", clips / "a.mp4", f"{clips}/*.mov", tmp_path / "more"),
            *("-o", f"{tmp_path}/out", "--save", "csv", "--json"),
        )
        assert ended.code == 0
        assert listing(tmp_path / "out") == ["a.csv", "b.csv", "c.csv"]
        assert [one["frames"] for one in json.loads(ended.out)["inputs"]] == [6, 4, 2]

    def test_a_second_run_does_not_take_the_first_ones_outputs(self, cli, clips):
        for _ in range(2):
            ended = cli("segment", clips, "--overwrite", "--save", "overlay,masks,mask-video")
            assert ended.code == 0
            assert len(ended.lines) == 2 + 1, "and the totals"
        assert cli("segment", f"{clips}/*", "--overwrite", "--save", "csv").code == 0
        assert [name for name in listing(clips) if name.endswith("csv")] == ["a.csv", "b.csv"]
        assert cli("segment", f"{clips}/*.overlay.mp4", "--save", "csv").code == 0, "when named"

    def test_any_option_of_redaction_redacts(self, cli, clips, tmp_path):
        """Nobody shall take a picture for redacted that is not."""
        words = ("-o", f"{tmp_path}/o/", "--redact-classes", "Car", "--redact-margin", "5%")
        done = cli("segment", clips / "a.mp4", *words)
        assert done.code == 0, done.err
        assert (tmp_path / "o" / "a.redacted.mp4").is_file()
        refused = cli("segment", clips / "a.mp4", "-o", f"{tmp_path}/p/", "--matte-edges", "scores")
        assert refused.code == 2
        assert "no output takes a matte; add --save matte" in refused.err

    def test_the_same_input_twice_is_done_once(self, cli, clips):
        ended = cli("segment", clips / "a.mp4", clips / "a.mp4", "--save", "csv")
        assert ended.code == 0
        assert len(ended.lines) == 1

    @pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
    def test_two_inputs_of_one_name_do_not_share_an_output(self, cli, clips, clip, overwrite):
        clip("clips/a.mkv", frames=2)
        ended = cli("segment", clips / "a.mp4", clips / "a.mkv", "--save", "csv", *overwrite)
        assert ended.code == 1
        assert f"a.mkv: would overwrite {clips / 'a.csv'} of {clips / 'a.mp4'}" in ended.err
        assert (clips / "a.csv").read_bytes().count(b"\n") == 1 + 6

    def test_a_batch_goes_on_past_bad_inputs_and_ends_with_a_table(self, cli, clips, tmp_path):
        (tmp_path / "bad.mp4").write_text("no video")
        ended = cli(
            *("segment", clips / "a.mp4", tmp_path / "bad.mp4", tmp_path / "[/no].mp4"),
            *(f"{clips}/*.none", clips / "b.mov", "-o", f"{tmp_path}/out/", "--save", "csv"),
        )
        assert ended.code == 1
        assert listing(tmp_path / "out") == ["a.csv", "b.csv"]
        assert "3 of 5 inputs failed" in ended.err
        assert ended.err.count("not a video or image that can be read") >= 1
        alone = [line for line in ended.lines if line.startswith("vidparse: ")]
        assert len(alone) == 3

    def test_one_of_one_keeps_its_own_code(self, cli, tmp_path):
        ended = cli("segment", tmp_path / "none.mp4")
        assert (ended.code, len(ended.lines)) == (3, 1)
        assert ended.err == f"vidparse: {tmp_path}/none.mp4: no such file; check the path\n"


USAGE = [
    (["segment"], "inputs: is missing; see vidparse segment --help"),
    (["no-such-command"], "no-such-command: no such command; see vidparse --help"),
    (["segmnt", "x.mp4"], "did you mean segment? See vidparse --help"),
    (["models", "shw"], "shw: no such command; did you mean show? See vidparse models --help"),
    (["data", "--no-such-option"], "no such option; see vidparse data --help"),
    (["segment", "x.mp4", "--no-such-option"], "--no-such-option: no such option; see vidparse"),
    (["segment", "x.mp4", "--overwrit"], "did you mean --overwrite? See vidparse segment --help"),
    (["segment", "x.mp4", "-qz"], "-z: no such option; see vidparse segment --help"),
    (["segment", "x.mp4", "-o"], "-o: its value is missing; see vidparse segment --help"),
    (["segment", "x.mp4", "--quiet=1"], "--quiet: takes no value; write --quiet alone"),
    (["models", "show", "a", "b"], "'b': one word too many; see vidparse models show --help"),
    (["convert", "x.pth"], "--from: is missing; see vidparse convert --help"),
    (["segment", "x.mp4", "--threads", "-1"], "--threads '-1': out of range; write 0 or more"),
    (["segment", "x.mp4", "--opacity", "nan"], "--opacity 'nan': out of range; write one from 0"),
    (["segment", "x.mp4", "--opacity", "x"], "--opacity 'x': not a number; write one from 0 to 1"),
    (["segment", "x.mp4", "--stride", "0"], "--stride '0': out of range; write 1 or more"),
    (["segment", "x.mp4", "--window", "x"], "--window 'x': not a whole number; write one such"),
    (["segment", "x.mp4", "--min-score", "x"], "--min-score 'x': not a number; write one such"),
    (["segment", "x.mp4", "--save", "foo"], "no such output"),
    (["segment", "x.mp4", "--save", "mask"], "did you mean masks"),
    (["segment", "x.mp4", "y.mp4", "--save", "mask"], "did you mean masks"),
    (["segment", "x.mp4", "--save", ","], "names nothing"),
    (["segment", "x.mp4", "--classes", ""], "--classes: is empty"),
    (["segment", "x.mp4", "--classes", " , "], "names nothing"),
    (["segment", "x.mp4", "--classes", "Bicylce"], "try Bicyclist"),
    (["segment", "x.mp4", "y.mp4", "--start", "5", "--end", "2"], "not after start"),
    (["segment", "x.mp4", "--start", "now"], "not a time"),
    (["segment", "x.mp4", "--rate", "0"], "not a frame rate"),
    (["segment", "x.mp4", "--size", "640x"], "write 360 (short side) or 640x360"),
    (["segment", "x.mp4", "--size", "31"], "32..8192"),
    (["segment", "x.mp4", "--device", "cuda:x"], "use auto, cpu, cuda or cuda:N"),
    (["segment", "x.mp4", "--backend", "tf"], "use auto, torch, onnx"),
    (["segment", "x.mp4", "--precision", "fp8"], "use auto, fp32, bf16, fp16"),
    (["segment", "x.mp4", "y.mp4", "--palette", "foo"], "palette 'foo': unknown"),
    (["segment", "x.mp4", "--pipe", "avi"], "use y4m, matroska, nut, raw"),
    (["segment", "-", "--pipe", "raw"], "add --size 1280x720"),
    (["segment", "-", "--pipe", "raw", "--size", "4x4"], "add --rate 25"),
    (["segment", "x.mp4", "--pipe", "raw", "--size", "4x4", "--rate", "5"], "'-' as the only"),
    (["segment", "x.mp4", "y.mp4", "-o", "-"], "one video, not 2"),
    (["segment", "x.mp4", "y.mp4", "-o", "z.mp4"], "one file for 2 inputs"),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE, ids=lambda value: " ".join(value)[:50])
def test_usage_errors_are_one_line_and_exit_2(cli, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = cli(*arguments)
    assert (ended.code, ended.out, len(ended.lines)) == (2, b"", 1)
    assert ended.lines[0].startswith("vidparse: ")
    assert message in ended.lines[0].replace("No", "no")
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--device", "cuda:99"], 5, "use --device cpu or auto"),
        (["--precision", "bf16", "--backend", "onnx"], 5, "computes in fp32"),
        (["--precision", "fp16"], 4, "needs the .safetensors weights"),
        (["--backend", "torch"], 4, "needs the .safetensors weights"),
        (["-m", "nosuch"], 4, "model 'nosuch': unknown"),
        (["-m", "nosuch.onnx"], 4, "no such file"),
    ],
)
def test_what_can_not_be_run_is_named(cli, clips, arguments, code, message):
    ended = cli("segment", clips / "a.mp4", *arguments)
    assert (ended.code, len(ended.lines)) == (code, 1)
    assert message in ended.err
    assert listing(clips) == ["a.mp4", "b.mov"]


def test_classes_in_any_case_and_the_rest_is_void(cli, clips):
    ended = cli("segment", clips / "a.mp4", "--classes", "sky, TREE", "--save", "csv")
    assert ended.code == 0
    rows = list(csv.DictReader((clips / "a.csv").open()))
    assert list(rows[0]) == ["frame", "pts", "time", "Sky", "Tree", "void"]
    assert all(sum(Fraction(row[key]) for key in ("Sky", "Tree", "void")) == 1 for row in rows)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "person",
            "try Pedestrian; or a model that knows it: -m street19-student ('person'), "
            "-m everyday-student ('person')",
        ),
        ("sofa", "; or a model that knows it: -m everyday-student ('sofa')"),
        ("couch", "; or a model that knows it: -m everyday-student ('sofa')"),
        (
            "tram",
            "; or a model that knows it: -m street19-student ('train'), "
            "-m everyday-student ('train')",
        ),
        ("rider", "try Bicyclist; or a model that knows it: -m street19-student ('rider')"),
        ("sidewalk", "try Pavement"),
        ("unicorn", "try Sky, Building, Pole"),
    ],
)
def test_a_class_that_another_model_knows(cli, clip, tmp_path, name, message):
    ended = cli("segment", clip("x.mp4", frames=1), "-o", f"{tmp_path}/o/", "--classes", name)
    assert (ended.code, len(ended.lines)) == (2, 1)
    assert message in ended.err
    assert ("everyday" in ended.err) == ("everyday" in message)


def test_a_range_and_a_stride(cli, clip, tmp_path):
    path = clip("long.mp4", frames=50)
    ended = cli("segment", path, "--start", "0:00.4", "--end", "1.2", "--stride", "5", "-o", "-",
               "--save", "csv")  # fmt: skip
    assert ended.code == 0
    rows = list(csv.DictReader(ended.out.decode().splitlines()))
    assert [float(row["time"]) for row in rows] == pytest.approx([0.4, 0.6, 0.8, 1.0])
    past = cli("segment", path, "--start", "10")
    assert (past.code, len(past.lines)) == (3, 1)
    assert "no frame between 10 s and the end; the video is 2.00 s long" in past.err


def test_sound_is_copied_unless_an_option_leaves_it_out(cli, clip, tmp_path):
    path = clip("loud.mp4", frames=25, audio=True)
    for name, extra in (("with.mp4", []), ("without.mp4", ["--no-audio"])):
        assert cli("segment", path, "-o", tmp_path / name, *extra).code == 0
    kinds = []
    for name in ("with.mp4", "without.mp4"):
        with av.open(str(tmp_path / name)) as video:
            kinds.append([stream.type for stream in video.streams])
    assert kinds == [["video", "audio"], ["video"]]


def test_sound_behind_the_last_picture_is_in_every_output(cli, clip, tmp_path):
    path = clip("long.mp4", frames=10, audio=True, audio_s=3)
    names = "masks,overlay,background,matte,mask-video,cutout-prores,cutout-vp9"
    ended = cli("segment", path, "--save", names, "--matte", "Road", "--background", "#00f",
                "-o", f"{tmp_path}/out/")  # fmt: skip
    assert ended.code == 0, ended.err
    videos = {one for one in (tmp_path / "out").iterdir() if one.is_file()}
    videos.remove(tmp_path / "out" / "long.masks.mkv")  # which has no sound
    assert len(videos) == 5
    for one in videos:
        with av.open(str(one)) as video:
            sound = [packet for packet in video.demux(audio=0) if packet.pts is not None]
        assert float(sound[-1].pts * sound[-1].time_base) > 2.9, one.name


class TestJson:
    def test_summary(self, cli, clips, tmp_path, colour_model):
        ended = cli(
            *("segment", clips / "a.mp4", tmp_path / "none.mp4", "--json"),
            *("-o", f"{tmp_path}/out/", "--save", "csv,masks"),
        )
        assert ended.code == 1
        summary = json.loads(ended.out)
        expected = {"model": str(colour_model), "backend": "onnx", "device": "cpu"}
        expected |= {"precision": "fp32", "exit_code": 1, "schema": "vidparse-summary/1"}
        expected |= {"chosen": "the quickest to start"}
        assert summary.items() >= expected.items()
        assert summary["engine"].startswith("ONNX Runtime, fp32, ")
        assert len(summary["weights_sha256"]) == 64
        good, bad = summary["inputs"]
        assert good["frames"] == 6
        assert good["outputs"] == [str(tmp_path / "out/a.csv"), str(tmp_path / "out/a.masks")]
        stages = {"decode", "prepare", "network", "upsample", "sinks"}
        assert good["stages_ms_per_frame"].keys() == stages
        assert good["bottleneck"] in stages
        assert (bad["frames"], bad["outputs"], bad["exit_code"]) == (0, [], 3)
        assert bad["error"].startswith(str(tmp_path / "none.mp4"))
        assert len(ended.lines) == 1, "stderr holds the error and nothing else"

    def test_info(self, cli, clips):
        one = json.loads(cli("info", clips / "a.mp4", "--json").out)
        assert (one["name"], one["width"], one["height"], one["rate"]) == ("a.mp4", 64, 48, "25")
        two = cli("info", clips / "a.mp4", clips / "none.mp4", "--json")
        assert two.code == 1
        assert [record["name"] for record in json.loads(two.out)] == ["a.mp4"]
        assert two.lines == [f"vidparse: {clips}/none.mp4: no such file; check the path"]

    def test_models(self, cli):
        default = [entry for entry in json.loads(cli("models", "--json").out) if entry["default"]]
        assert [entry["name"] for entry in default] == [DEFAULT_MODEL]
        assert f"{DEFAULT_MODEL} (default)".encode() in cli("models").out


def test_quiet_prints_errors_only(cli, clips, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(2):
        pixels = np.full((32, 32, 3), 99 * index, np.uint8)
        av.VideoFrame.from_ndarray(pixels, "rgb24").save(str(pictures / f"{index}.png"))
    (pictures / "9.png").write_bytes(b"no picture")
    ended = cli("segment", clips / "a.mp4", pictures, "-q", "--save", "csv")
    assert (ended.code, ended.out, ended.err) == (0, b"", "")
    ended = cli("segment", pictures, "-o", f"{tmp_path}/out/", "--save", "csv")
    assert ended.lines[0].endswith("note: 9.png is no image that can be read; skipped")
    assert "2 frames, 1 damaged skipped" in ended.lines[1]
    ended = cli("segment", tmp_path / "none.mp4", clips / "b.mov", "-q", "--save", "csv")
    assert (ended.code, len(ended.lines)) == (1, 1)


def test_names_with_marks_that_terminals_and_parsers_read(cli, clip, tmp_path):
    name = "[red]50% {x}\n:2.mp4"
    clip(name, frames=2)
    ended = cli("segment", tmp_path / name, "-o", f"{tmp_path}/out/", "--save", "csv,jsonl")
    assert (ended.code, len(ended.lines)) == (0, 1)
    assert len(listing(tmp_path / "out")) == 2
    header = json.loads((tmp_path / "out").glob("*.jsonl").__next__().open().readline())
    assert header["source"]["name"] == name
    ended = cli("segment", tmp_path / "[/none]\n.mp4", tmp_path / name, "--save", "csv")
    assert ended.code == 1


def test_frames_to_expect_follow_the_range(clip):
    info = report_media(clip("a.mkv", frames=50)).video
    assert info.frames_between(None, None) == 50, "matroska counts no frames, its duration does"
    assert info.frames_between(0.4, 1.2, 5) == 4
    assert info.frames_between(1.0, None) == 25
    endless = replace(info, duration_s=None, frames=None)
    assert endless.frames_between(None, None) is None
    assert endless.frames_between(None, 2.0) == 50
    uneven = replace(info, rate=None, frames=30, duration_s=2.0)
    assert uneven.frames_between(None, None) == 30, "the header's own count"
    assert uneven.frames_between(None, 1.0) == 15, "by its mean rate"
    assert replace(uneven, duration_s=None).frames_between(None, None, 4) == 8


class TestProcess:
    """What only a process of its own can show."""

    def test_version_completion_and_help(self, process):
        version = process("--version").communicate()[0]
        assert version.split() == [b"vidparse", b"0.1.0"]
        script = process("--show-completion", "bash", env={
            **os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"
        }).communicate()[0]  # fmt: skip
        assert b"_VIDPARSE_COMPLETE" in script or b"COMP_WORDS" in script
        bare = process()
        assert b"segment" in bare.communicate()[0]
        assert bare.returncode == 2

    @pytest.mark.parametrize(
        "arguments", [("--debug", "info", "x.mp4"), ("info", "x.mp4", "--debug")]
    )
    def test_debug_shows_where_it_happened(self, process, arguments):
        run = process(*arguments)
        err = run.communicate()[1].decode()
        assert run.returncode == 3
        assert err.startswith("Traceback")
        assert "InputError" in err
        assert err.splitlines()[-1] == "vidparse: x.mp4: no such file; check the path"

    def test_debug_shows_errors_of_inputs_too(self, process, tmp_path):
        run = process("segment", tmp_path / "x.mp4", "--debug")
        err = run.communicate()[1].decode()
        assert run.returncode == 3
        assert "Traceback" in err
        assert err.splitlines()[-1].startswith("vidparse: ")

    def test_an_input_may_be_called_debug(self, process, clip, tmp_path):
        clip("--debug", frames=1, container="mp4")
        run = process("info", "--", "--debug", cwd=tmp_path)
        assert b"--debug" in run.communicate()[0]
        assert run.returncode == 0

    def test_warnings_are_nobodys_business(self, process, clips):
        wishes = {"env": {**os.environ, "PYTHONDEVMODE": ""}, "cwd": clips}
        run = process("segment", "a.mp4", "b.mov", python=("-W", "error"), **wishes)
        err = run.communicate(timeout=60)[1].decode()
        assert run.returncode == 0, err
        assert len(err.splitlines()) == 2 + 1, "and the totals"

    def test_without_a_home_and_with_closed_streams(self, colour_model, clips, tmp_path):
        command = (
            f"exec '{sys.executable}' -m vidparse segment -m '{colour_model}' --threads 1 "
            f"'{clips}/a.mp4' -o '{tmp_path}/out/' <&- >&- 2>&-"
        )
        done = subprocess.run(["/bin/sh", "-c", command], env={"PATH": "/bin:/usr/bin"}, timeout=60)
        assert done.returncode == 0
        assert listing(tmp_path / "out") == ["a.masks", "a.overlay.mp4"]
        with av.open(str(tmp_path / "out/a.overlay.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == 6

    @pytest.mark.parametrize("words", ["info a.mp4 --json", "models --json"])
    def test_a_record_for_a_closed_stdout_is_lost(self, clips, words):
        command = f"exec '{sys.executable}' -m vidparse {words} >&-"
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=clips, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (6, 1)
        assert "--json: stdout is closed" in done.stderr

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_a_full_or_closed_stdout(self, process, clips):
        with Path("/dev/full").open("wb") as full:
            run = process("info", clips / "a.mp4", "--json", stdout=full)
            err = run.communicate()[1].decode()
        assert (run.returncode, len(err.splitlines())) == (6, 1)
        assert "stdout: cannot be written (No space left on device)" in err
        read, write = os.pipe()
        os.close(read)
        run = process("info", clips / "a.mp4", stdout=write)
        os.close(write)
        assert run.communicate()[1] == b""
        assert run.returncode == 0, "a reader that has gone has seen enough"

    def test_the_bar_is_for_terminals(self, process, clip, tmp_path):
        path = clip("[red].mp4", frames=40)
        screen, terminal = pty.openpty()
        wishes = {"stderr": terminal, "env": {**os.environ, "TERM": "xterm", "COLUMNS": "120"}}
        run = process("segment", path, "--save", "csv", "--end", "0.8", **wishes)
        os.close(terminal)
        shown = drain(screen)
        assert run.wait(10) == 0
        assert run.stdout.read() == b""
        assert "[red].mp4" in shown
        assert "0/20" in shown, "the range is known to the bar"
        assert "20 frames in" in shown

    def test_no_video_goes_to_a_terminal(self, process, clips):
        screen, terminal = pty.openpty()
        run = process("segment", clips / "a.mp4", "-o", "-", stdout=terminal)
        os.close(terminal)
        assert drain(screen) == ""
        assert b"no video goes to a terminal" in run.communicate()[1]
        assert run.returncode == 2


def drain(terminal: int) -> str:
    """What was written to a terminal until its last writer left."""
    shown = b""
    while select.select([terminal], [], [], 30)[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # how Linux shows that nobody writes any more
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    return shown.decode()


def test_installed_command_is_the_module(process):
    if shutil.which("vidparse", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("vidparse is not installed beside this Python")
    program = Path(sys.executable).parent / "vidparse"
    out = subprocess.run([program, "--version"], capture_output=True, check=True).stdout
    assert out == process("--version").communicate()[0]
