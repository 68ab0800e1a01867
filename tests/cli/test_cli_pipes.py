"""`vidparse segment` between other programs: what goes in on stdin, what comes out on stdout."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vidparse.video import open_video

RAW = ("--pipe", "raw", "--size", "64x48", "--rate", "30000/1001")
FRAME_BYTES = 64 * 48 * 3


def rgb_of(path: Path) -> bytes:
    """All frames of a clip as raw rgb24."""
    return b"".join(frame.image.rgb().tobytes() for frame in open_video(path))


def ids_in(folder: Path) -> np.ndarray:
    """uint8 (T, H, W) of a folder of masks."""
    pictures = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            pictures.append(np.asarray(image))
    return np.stack(pictures)


@pytest.fixture
def path(clip) -> Path:
    return clip("x.mp4", frames=9)


@pytest.fixture
def ids(cli, path, tmp_path) -> np.ndarray:
    """What the masks of `path` are when written to a folder."""
    assert cli("segment", path, "--save", "masks", "-o", f"{tmp_path}/expected/").code == 0
    return ids_in(tmp_path / "expected/x.masks")


class TestOut:
    def test_masks_as_y4m(self, cli, path, ids):
        ended = cli("segment", path, "-o", "-", "--save", "masks")
        assert (ended.code, ended.err) == (0, "")
        head, *frames = ended.out.split(b"FRAME\n")
        assert head.split()[:4] == [b"YUV4MPEG2", b"W64", b"H48", b"F25:1"]
        assert b"Cmono" in head
        assert b"".join(frames) == ids.tobytes()

    def test_masks_as_raw_frames(self, cli, path, ids):
        ended = cli("segment", "-", *RAW, "-o", "-", "--save", "masks", stdin=rgb_of(path))
        assert ended.code == 0
        got = np.frombuffer(ended.out, np.uint8).reshape(ids.shape)
        # RGB in is not the YUV of the file: a pixel here or there lies on the other side.
        assert (got == ids).mean() > 0.99

    def test_mask_video_in_matroska(self, cli, path, ids):
        ended = cli("segment", path, "-o", "-", "--save", "mask-video")
        with av.open(io.BytesIO(ended.out)) as video:
            got = [frame.to_ndarray() for frame in video.decode(video=0)]
        np.testing.assert_array_equal(got, ids)

    @pytest.mark.parametrize("pipe", ["y4m", "matroska", "nut"])
    def test_overlay(self, cli, path, pipe, tmp_path):
        ended = cli("segment", path, "-o", "-", "--pipe", pipe, "--crf", "0")
        assert ended.code == 0
        assert cli("segment", path, "-o", tmp_path / "file.mkv", "--crf", "0").code == 0
        pictures = []
        for source in (io.BytesIO(ended.out), str(tmp_path / "file.mkv")):
            with av.open(source) as video:
                frames = [f.to_ndarray(format="yuv420p") for f in video.decode(video=0)]
                pictures.append(np.stack(frames))
        np.testing.assert_array_equal(pictures[0], pictures[1])

    def test_overlay_as_raw_rgb(self, cli, path):
        opaque = ("--opacity", "0", "--save", "overlay")
        ended = cli("segment", "-", *RAW, "-o", "-", *opaque, stdin=rgb_of(path))
        assert len(ended.out) == 9 * FRAME_BYTES
        off = np.frombuffer(ended.out, np.uint8).astype(int) - np.frombuffer(rgb_of(path), np.uint8)
        assert np.abs(off).mean() < 8, "nothing drawn: the picture itself, by way of 4:2:0"

    def test_records(self, cli, path):
        rows = list(
            csv.DictReader(
                cli("segment", path, "-o", "-", "--save", "csv").out.decode().splitlines()
            )
        )
        lines = cli("segment", path, "-o", "-", "--save", "jsonl").out.splitlines()
        assert len(rows) == 9
        header, *records = map(json.loads, lines)
        assert header["schema"] == "vidparse/1"
        assert header["argv"][-4:] == ["-o", "-", "--save", "jsonl"]
        assert [record["pts"] for record in records] == [int(row["pts"]) for row in rows]

    def test_notes_go_to_stderr(self, cli, clip):
        path = clip("uneven.mp4", pts=[0, 3000, 9000, 9500])
        ended = cli("segment", path, "-o", "-")
        assert ended.code == 0
        assert ended.out.count(b"FRAME\n") == 4
        assert len(ended.lines) == 1
        assert "y4m carries no timestamps" in ended.err


class TestIn:
    def test_formats_that_describe_themselves(self, cli, clip, ids, path):
        for name in ("x.mkv", "x.nut", "x.y4m"):
            wishes = {"codec": "rawvideo"} if name != "x.mkv" else {}
            if name == "x.y4m":
                wishes = {"codec": "wrapped_avframe", "container": "yuv4mpegpipe"}
            piped = clip(name, frames=9, **wishes)
            ended = cli("segment", "-", "-o", "-", "--save", "masks", stdin=piped)
            assert ended.code == 0, ended.err
            got = b"".join(ended.out.split(b"FRAME\n")[1:])
            assert (np.frombuffer(got, np.uint8) == ids.ravel()).mean() > 0.99, name

    def test_files_are_named_stdin(self, cli, path, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        ended = cli("segment", "-", *RAW, stdin=rgb_of(path))
        assert ended.code == 0
        assert {"stdin.masks", "stdin.overlay.mp4"} <= {p.name for p in tmp_path.iterdir()}
        assert ended.err.startswith("stdin: 9 frames in ")

    def test_raw_times_are_exact(self, cli, path):
        ended = cli("segment", "-", *RAW, "-o", "-", "--save", "jsonl", stdin=rgb_of(path))
        header, *records = map(json.loads, ended.out.splitlines())
        assert Fraction(header["source"]["time_base"]) == Fraction(1001, 30000)
        assert [record["pts"] for record in records] == list(range(9))

    @pytest.mark.parametrize("out", ["-", "folder/"])
    def test_a_pipe_that_ends_inside_a_frame(self, cli, path, tmp_path, monkeypatch, out):
        monkeypatch.chdir(tmp_path)
        whole = rgb_of(path)
        cut = whole[: 5 * FRAME_BYTES + 100]
        ended = cli("segment", "-", *RAW, "-o", out, "--save", "masks", stdin=cut)
        assert ended.code == 3
        assert ended.lines[0] == (
            "vidparse: stdin: the pipe ended inside frame 5 (100 of 9216 bytes); "
            "5 whole frames were read, check --size and --pixel-format"
        )
        assert ended.lines[1:] == [
            f"stdin: kept {'stdout' if out == '-' else 'folder/stdin.masks'}"
        ]
        if out == "-":
            assert len(ended.out) == 5 * 64 * 48
        else:
            assert len(ids_in(tmp_path / "folder/stdin.masks")) == 5

    @pytest.mark.parametrize(
        ("data", "arguments", "message"),
        [
            (b"", RAW, "the pipe held no frame"),
            (b"x" * 100, RAW, "the pipe ended inside frame 0"),
            (b"", (), "nothing came through the pipe"),
            (b"just text\n" * 100, (), "the pipe holds no known format"),
        ],
    )
    def test_a_pipe_without_a_frame_leaves_nothing(self, cli, tmp_path, data, arguments, message):
        ended = cli("segment", "-", *arguments, "-o", f"{tmp_path}/out/", stdin=data)
        assert (ended.code, len(ended.lines)) == (3, 1)
        assert message in ended.err
        assert not list(tmp_path.rglob("*.*"))

    def test_a_terminal_is_no_input(self, process):
        screen, terminal = os.openpty()
        run = process("segment", "-", stdin=terminal)
        assert b"nothing is piped in" in run.communicate(timeout=30)[1]
        assert run.returncode == 3
        os.close(screen)
        os.close(terminal)


class TestBetweenPrograms:
    def test_ffmpeg_to_vidparse_to_ffmpeg(self, process, ffmpeg, ffprobe, clip, tmp_path):
        path = clip("x.mp4", frames=30, rate=Fraction(30000, 1001), size_hw=(47, 63),
                    pixel_format="yuv444p")  # fmt: skip
        y4m = ffmpeg("-i", path, "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-")
        run = process("segment", "-", "-o", "-", "--save", "overlay", stdin=subprocess.PIPE)
        overlay, err = run.communicate(y4m, timeout=60)
        assert (run.returncode, err) == (0, b"")
        ffmpeg("-i", "-", "-c:v", "ffv1", tmp_path / "out.mkv", stdin=overlay)
        entries = "stream=width,height,r_frame_rate,nb_read_frames"
        shown = ffprobe(tmp_path / "out.mkv", "-count_frames", "-show_entries", entries)
        assert shown == ["63,47,30000/1001,30"]

    def test_matroska_through_with_uneven_times_and_sound(self, process, ffmpeg, ffprobe, clip):
        stamps = [0, 40, 50, 200, 1000]
        path = clip("x.mkv", pts=stamps, time_base=Fraction(1, 1000), audio=True)
        run = process(*("segment", "-", "-o", "-", "--pipe", "matroska"), stdin=subprocess.PIPE)
        out, err = run.communicate(path.read_bytes(), timeout=60)
        assert (run.returncode, err) == (0, b"")
        with av.open(io.BytesIO(out)) as video:
            assert [stream.type for stream in video.streams] == ["video", "audio"]
            base = video.streams.video[0].time_base
            times = [frame.pts * base for frame in video.decode(video=0)]
        assert times == [Fraction(stamp, 1000) for stamp in stamps]
        assert (
            ffmpeg("-i", "-", "-map", "0:v", "-f", "framecrc", "-", stdin=out).count(b"\n0, ") == 5
        )

    def test_a_reader_that_has_seen_enough(self, process, clip):
        run = process("segment", clip("x.mp4", frames=2000), "-o", "-", bufsize=0)
        assert run.stdout.read(9) == b"YUV4MPEG2"
        run.stdout.close()
        assert run.wait(30) == 0
        assert run.stderr.read() == b""
