"""Outputs in pieces: whole files with the time of their first frame, none of them overwritten."""

from __future__ import annotations

import json
import math
import re
import signal
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from support.clips import make_clip
from vidparse.sinks.rotating import with_stamp
from vidparse.video.demux import CopiedPackets

STAMP = r"\d{8}T\d{6}\.\d{3}Z"


def frames_of(path: Path) -> list[int]:
    """The numbers of the frames in a jsonl file, which must be whole."""
    head, *lines = path.read_text().splitlines()
    assert json.loads(head)["schema"] == "vidparse/1"
    return [json.loads(line)["frame"] for line in lines]


def pieces(folder: Path, ending: str) -> list[Path]:
    """By their first frame, as their names sort."""
    found = [path for path in folder.iterdir() if path.name.endswith(ending)]
    assert all(re.fullmatch(rf"[\w-]+\.{STAMP}{re.escape(ending)}", one.name) for one in found)
    return sorted(found)


def test_pieces_by_time_hold_every_frame_once_and_play(cli, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=110, audio=True)
    out = tmp_path / "out"
    ended = cli("segment", clip, "-o", f"{out}/", "--save", "overlay,jsonl,masks", "--rotate", "1s")
    assert ended.code == 0, ended.err
    assert "5 pieces" in ended.err

    lists = [frames_of(path) for path in pieces(out, ".jsonl")]
    assert [len(one) for one in lists] == [25, 25, 25, 25, 10]
    assert [number for one in lists for number in one] == list(range(110))
    for path, numbers in zip(pieces(out, ".overlay.mp4"), lists, strict=True):
        with av.open(str(path)) as video:
            times = [frame.time for frame in video.decode(video=0)]
            video.seek(0)
            sound_s = sum(frame.samples for frame in video.decode(audio=0)) / 48_000
        assert times == [pytest.approx(i / 25, abs=1e-4) for i in range(len(numbers))]
        assert sound_s == pytest.approx(len(numbers) / 25, abs=0.06)
    for path, numbers in zip(pieces(out, ".masks"), lists, strict=True):
        names = sorted(one.name for one in path.iterdir() if one.suffix == ".png")
        assert names == [f"{number:06d}.png" for number in numbers]
    assert not [path for path in out.iterdir() if ".vidparse-part" in path.name]


@pytest.mark.parametrize("late_s", [0.04, 0.4])
def test_sound_that_comes_late_lies_in_its_own_piece(cli, tmp_path, monkeypatch, late_s):
    """Files and cameras hand sound over behind the pictures of its time."""
    taken = CopiedPackets.taken

    def lagging(self, before_s=None):
        return taken(self, None if before_s is None else before_s - Fraction(late_s))

    monkeypatch.setattr(CopiedPackets, "taken", lagging)
    clip = make_clip(tmp_path / "clip.mp4", frames=110, audio=True)
    ended = cli("segment", clip, "-o", f"{tmp_path}/out/", "--save", "overlay", "--rotate", "1s")
    assert ended.code == 0, ended.err

    # Each packet of 1024 samples lies in the piece in which it begins.
    held = []
    for path in pieces(tmp_path / "out", ".overlay.mp4"):
        with av.open(str(path)) as video:
            assert next(video.decode(video=0)).time == pytest.approx(0.0, abs=1e-4)
            video.seek(0)
            packets = [one for one in video.demux(audio=0) if one.pts is not None]
            assert all(one.pts >= 0 for one in packets)
            held.append(len(packets))
    with av.open(str(clip)) as video:
        begins_s = [
            float(one.pts * one.time_base) for one in video.demux(audio=0) if one.pts is not None
        ]
    assert held == [sum(math.floor(at) == piece for at in begins_s) for piece in range(5)]


def test_pieces_by_size_stay_near_it(cli, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=300)
    out = tmp_path / "out"
    ended = cli("segment", clip, "-o", f"{out}/", "--save", "jsonl", "--rle", "--rotate", "20kB")
    assert ended.code == 0, ended.err
    found = pieces(out, ".jsonl")
    assert len(found) > 2
    numbers = [number for path in found for number in frames_of(path)]
    assert numbers == list(range(300))
    most = 20_000 + 25 * max(len(line) for path in found for line in path.open("rb"))
    assert all(path.stat().st_size <= most for path in found)
    assert all(path.stat().st_size >= 20_000 for path in found[:-1])


def whole_size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(one.stat().st_size for one in files if one.is_file())


@pytest.mark.parametrize(
    ("name", "ending", "limit"),
    [
        ("overlay", ".overlay.mp4", 30_000),
        ("mask-video", ".masks.mkv", 15_000),
        ("masks", ".masks", 20_000),
        ("yolo-seg", ".yolo-seg", 150_000),
        ("folder", ".folder", 150_000),
    ],
)
def test_encoders_that_write_late_and_folders_within_folders_have_pieces_by_size(
    cli, tmp_path, name, ending, limit
):
    """An mp4 of 25 frames per second has no more than a header when its size is first read."""
    clip = make_clip(tmp_path / "clip.mp4", frames=400)
    out = tmp_path / "out"
    ended = cli("segment", clip, "-o", f"{out}/", "--save", name, "--rotate", f"{limit / 1000}kB")
    assert ended.code == 0, ended.err
    sizes = [whole_size(path) for path in pieces(out, ending)]
    per_frame = sum(sizes) / 400
    assert len(sizes) > 2 and min(sizes[:-1]) >= limit
    behind = 130 if ending.endswith(".mkv") else 30  # frames: Matroska is written by 5 s
    assert max(sizes) <= 1.25 * limit + (behind + 25) * per_frame, sizes


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (("--save", "overlay"), "x_%04d.png"),
        (("--save", "matte", "--matte", "each"), ""),
        (("--save", "matte-png", "--matte", "each"), ""),
    ],
)
def test_numbered_pictures_and_mattes_of_each_have_pieces_by_size(cli, tmp_path, words, out):
    clip = make_clip(tmp_path / "clip.mp4", frames=80, size_hw=(96, 128))
    place = f"{tmp_path}/out/{out}"
    ended = cli("segment", clip, "-o", place, "--size", "96", *words, "--rotate", "30kB")
    assert ended.code == 0, ended.err
    names = {re.search(STAMP, one.name)[0] for one in (tmp_path / "out").iterdir()}
    assert len(names) > 1


def test_a_piece_never_takes_the_place_of_another_file(cli, tmp_path, monkeypatch):
    """Also with --overwrite, and where the clock is set back."""
    monkeypatch.setattr("vidparse.sinks.rotating.time.time", lambda: 1_796_000_000.0)
    clip = make_clip(tmp_path / "clip.mp4", frames=60)
    for _ in range(2):
        ended = cli(
            *("segment", clip, "-o", tmp_path / "a.jsonl", "--rotate", "1s", "--overwrite"),
        )
        assert ended.code == 0, ended.err
    found = sorted(tmp_path.glob("a.*"))
    assert [path.name for path in found] == [
        f"a.20261130T005320.{ms:03d}Z.jsonl" for ms in range(6)
    ]
    assert [number for path in found for number in frames_of(path)] == 2 * list(range(60))


def test_an_interrupt_completes_the_piece_under_way(process, tmp_path):
    """The line of each frame is on the disk before the next one comes."""
    running = process(
        *("segment", "-", "-o", f"{tmp_path}/", "--save", "jsonl", "--rotate", "400ms"),
        *("--pipe", "raw", "--size", "32x32", "--rate", "25"),
        stdin=-1,
    )
    picture = np.zeros((32, 32, 3), np.uint8).tobytes()
    running.stdin.write(picture * 15)
    running.stdin.flush()

    def lines() -> int:
        return sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("*.jsonl"))

    end_s = time.monotonic() + 60
    while lines() < 15 + 2:  # with the heads of two pieces
        assert time.monotonic() < end_s
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    found = pieces(tmp_path, ".jsonl")
    assert [len(frames_of(path)) for path in found] == [10, 5]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("-o", "-", "--save", "jsonl", "--rotate", "1m"), "is a stream"),
        (("--ledger", "a.db", "--rotate", "1m"), "--rotate and --ledger: give one"),
        (("--skip-existing", "--rotate", "1m"), "--rotate and --skip-existing: give one"),
        (("--resume", "--rotate", "1m"), "--rotate and --resume: give one"),
        (("--save", "vspw", "--rotate", "1m"), "vspw collects whole videos"),
        (("--rotate", "soon"), "neither a time nor a size"),
        (("--rotate", "1kB"), "pieces are too small"),
        (("--rotate", "1ms"), "pieces are too short"),
    ],
)
def test_what_has_no_pieces_is_refused(cli, tmp_path, monkeypatch, words, why):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "clip.mp4", frames=2)
    ended = cli("segment", "clip.mp4", *words)
    assert (ended.code, len(ended.lines)) == (2, 1)
    assert why in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("out", "place", "stem"),
    [
        (None, None, "cam.S"),
        ("out/", "out/", "cam.S"),
        ("out", "out/", "cam.S"),
        ("a/x.mp4", "a/x.S.mp4", "cam"),
        ("a/x_%04d.png", "a/x.S_%04d.png", "cam"),
    ],
)
def test_names_of_pieces(out, place, stem):
    assert with_stamp(out, "cam", "S") == (place, stem)
