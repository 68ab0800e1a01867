"""Frames are called by their number in the input, wherever a run begins and whatever it takes."""

from __future__ import annotations

import csv
import itertools
import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.clips import make_clip
from vidparse.video import RawPipe, decode, open_video

UNEVEN = list(itertools.accumulate([0, *([3000, 4500, 9000, 1500] * 15)]))  # at 90 kHz


def numbers(source: object, **options: object) -> list[int]:
    with open_video(source, **options) as video:
        return [frame.index for frame in video]


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("even.mp4", {"frames": 60, "options": {"g": "12", "bf": "3"}}),
        ("even.mkv", {"frames": 60, "options": {"g": "12"}}),
        ("even.avi", {"frames": 60, "codec": "mpeg4", "options": {"g": "12"}}),
        ("even.ts", {"frames": 60, "options": {"g": "12", "bf": "2"}}),
        ("ntsc.mp4", {"frames": 60, "rate": Fraction(30000, 1001), "options": {"g": "15"}}),
        ("uneven.mp4", {"pts": UNEVEN, "options": {"g": "10", "bf": "3"}}),
        ("uneven.mkv", {"pts": UNEVEN, "options": {"g": "10", "bf": "2"}}),
        ("late.mp4", {"pts": [90000 + stamp for stamp in UNEVEN], "options": {"g": "10"}}),
    ],
)
def test_after_a_seek(tmp_path: Path, name: str, options: dict, stride: int) -> None:
    path = make_clip(tmp_path / name, **options)
    with open_video(path) as video:
        begin_s = None
        times = []
        for frame in video:
            begin_s = frame.time_s if begin_s is None else begin_s
            times.append(frame.time_s - begin_s)
    for start_s in (0.01, 0.5, 1.0, 1.45):
        wanted = [i for i, time_s in enumerate(times) if time_s >= start_s - 1e-9]
        assert numbers(path, start_s=start_s, stride=stride) == wanted[::stride]


def test_a_long_even_file_is_not_read_through(tmp_path: Path, monkeypatch) -> None:
    """300 frames: the first packets show that the rate holds."""
    path = make_clip(tmp_path / "long.mp4", frames=300, size_hw=(16, 16), options={"g": "12"})
    read = []
    whole = decode.frames_between

    def counting(packets, *rest):
        return whole((read.append(one) or one for one in packets), *rest)

    monkeypatch.setattr("vidparse.video.container.frames_between", counting)
    assert numbers(path, start_s=11.0)[0] == 275
    assert len(read) == 100


def test_of_pipes_folders_and_samples(tmp_path: Path) -> None:
    for i in range(9):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((8, 8, 3), i, np.uint8))
    rate = Fraction(10)
    assert numbers(tmp_path, image_rate=rate, start_s=0.3) == [3, 4, 5, 6, 7, 8]
    assert numbers(tmp_path, image_rate=rate, start_s=0.3, stride=2) == [3, 5, 7]
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(8 * 8 * 3 * 9))
    with raw.open("rb") as stdin:
        pipe = RawPipe((8, 8), rate, "rgb24")
        assert numbers("-", stdin=stdin, pipe=pipe, start_s=0.3, stride=2) == [3, 5, 7]
    clip = make_clip(tmp_path / "x.mkv", frames=25)
    with clip.open("rb") as stdin:
        assert numbers("-", stdin=stdin, start_s=0.8) == [20, 21, 22, 23, 24]
    assert numbers("sample://street?frames=9", start_s=0.2, stride=2) == [6, 8]


def test_every_output_uses_them(cli, clip, tmp_path: Path) -> None:
    path = clip("x.mp4", frames=25)
    kinds = "masks,jsonl,csv,vspw,vipseg"
    ended = cli("segment", path, "-o", f"{tmp_path}/o/", "--save", kinds, "--start", "0.8")
    assert ended.code == 0, ended.err
    expected = [20, 21, 22, 23, 24]
    records = [json.loads(line) for line in (tmp_path / "o/x.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records[1:]] == expected
    assert [record["time"] for record in records[1:]] == [number / 25 for number in expected]
    with (tmp_path / "o/x.csv").open() as file:
        assert [int(row["frame"]) for row in csv.DictReader(file)] == expected
    for folder, digits in (("x.masks", 6), ("x", 8), ("pan_pred/x", 8)):
        found = sorted(one.name for one in (tmp_path / "o" / folder).iterdir())
        assert found == [f"{number:0{digits}d}.png" for number in expected]
    tracks = json.loads((tmp_path / "o/pred.json").read_text())["annotations"]
    named = [one["file_name"] for one in tracks[0]["annotations"]]
    assert [Path(one).stem for one in named] == [f"{number:08d}" for number in expected]
