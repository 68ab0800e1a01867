"""Enormous pictures are refused before memory is taken for them, by every reader."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import av
import cv2
import pytest

from support.clips import picture
from vidparse import limits
from vidparse.data.pictures import read_rgb
from vidparse.errors import DeviceError, InputError, UsageError
from vidparse.maps.ids import read_panoptic_png
from vidparse.video import open_video
from vidparse.video.container import ContainerSource
from vidparse.video.demux import Demuxer


@pytest.fixture
def allow():
    """`allow(100)`: the limit, for one test."""
    return limits.allow_pixels


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, depth: int, colour: int) -> bytes:
    """A PNG of zeros; 2 MB are 16000 x 16000 of 16 bits."""
    row = 1 + width * {0: 1, 2: 3, 6: 4}[colour] * depth // 8
    packer, rows = zlib.compressobj(9), bytes(row)
    packed = b"".join(packer.compress(rows) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", packed), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def gif_of(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6)
    picture_ = b"\x2c" + bytes(4) + struct.pack("<HH", 16, 16) + b"\0\x02\x02\x4c\x01\0"
    return screen + picture_ + b"\x3b"


CODE = """
import resource, sys
from vidparse.errors import InputError
from vidparse.video import open_video
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    list(open_video(sys.argv[1]))
except InputError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("name", "make", "header"),
    [
        ("bomb.gif", gif_of, (16000, 16000)),
        ("bomb.png", png_of, (16000, 16000, 8, 0)),
        ("deep.png", png_of, (9000, 15000, 16, 0)),
        ("video.mkv", png_of, (13000, 13000, 8, 0)),  # by its content
    ],
    ids=["gif", "png", "16 bits", "other name"],
)
def test_small_files_of_huge_pictures_take_no_memory(tmp_path, name, make, header):
    (tmp_path / name).write_bytes(make(*header))
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / name)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    message, grown_mb = done.stdout.splitlines()
    assert "pixels" in message
    assert "--max-pixels" in message
    assert int(grown_mb) < 150


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "a.webp"])
def test_the_limit_is_the_users(tmp_path, allow, name):
    cv2.imwrite(str(tmp_path / name), picture(0, (48, 64)))
    allow(48 * 64 - 1)
    with pytest.raises(InputError, match=f"64x48 pixels are more than {48 * 64 - 1}"):
        list(open_video(tmp_path / name))
    with pytest.raises(InputError, match="64x48 pixels are more than"):
        read_rgb(tmp_path / name)
    allow(48 * 64)
    assert len(list(open_video(tmp_path / name))) == 1
    assert read_rgb(tmp_path / name).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "ffv1"), ("a.ts", "mpeg2video"),
                        ("a.h264", "libx264"), ("a.y4m", "wrapped_avframe")],
)  # fmt: skip
def test_videos_have_the_same_limit(clip, allow, name, codec):
    container = {"container": "yuv4mpegpipe"} if name == "a.y4m" else {}
    path = clip(name, frames=30, codec=codec, **container)
    allow(48 * 64 - 1)
    with pytest.raises(InputError):
        list(open_video(path))
    if name != "a.y4m":
        with pytest.raises(InputError):
            list(open_video("-", stdin=io.BytesIO(path.read_bytes())))
    allow(48 * 64)
    assert len(list(open_video(path))) == 30


def test_a_picture_that_is_too_large_among_others_is_named(tmp_path, allow):
    for number, side in enumerate((32, 64, 32)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(0, (side, side)))
    allow(2000)
    source = open_video(tmp_path)
    assert [frame.name for frame in source] == ["0", "2"]
    (note,) = source.notes
    assert note.startswith("1.png: 64x64 pixels are more than 2000")


def test_panoptic_pictures_have_the_same_limit(tmp_path, allow):
    (tmp_path / "ids.png").write_bytes(png_of(64, 48, 8, 2))
    assert read_panoptic_png(tmp_path / "ids.png").shape == (48, 64)
    allow(3000)
    with pytest.raises(InputError, match=r"ids\.png: 64x48 pixels are more than 3000"):
        read_panoptic_png(tmp_path / "ids.png")


def test_the_option(cli, clip, tmp_path, allow):
    path = clip("a.mp4", frames=2)
    ended = cli("segment", path, "--max-pixels", "3000", "--save", "csv")
    assert ended.code == 3
    assert ended.err.endswith("or allow them with --max-pixels 3072\n")
    assert cli("segment", path, "--max-pixels", "3072", "--save", "csv").code == 0
    assert cli("info", path, "--max-pixels", "3000").code == 3
    assert cli("info", path, "--max-pixels", "9223372036854775807").code == 0
    assert cli("info", path).code == 0  # the limit is that of one call
    with pytest.raises(UsageError):
        allow(0)


def test_a_lack_of_memory_is_no_damage(clip, monkeypatch):
    path = clip("a.mp4", frames=5)
    source = open_video(path)
    frames = iter(source)
    next(frames)

    class Full:
        def decode(self, packet):
            raise av.error.MemoryError(12, "Cannot allocate memory")

    source._head.decoder._context = Full()
    with pytest.raises(MemoryError):
        list(frames)

    def refuse(*_, **__):
        raise av.error.MemoryError(12, "Cannot allocate memory")

    monkeypatch.setattr("vidparse.video.access.av.open", refuse)
    monkeypatch.setattr("vidparse.video.demux.has_room", lambda: False)
    with pytest.raises(DeviceError, match="out of memory"):
        open_video(path)


@pytest.mark.parametrize(("has_room", "kind"), [(True, InputError), (False, DeviceError)])
def test_memory_that_a_file_needs_on_the_way(clip, monkeypatch, has_room, kind):
    source = open_video(clip("a.mp4", frames=5))

    class Greedy:
        name, format = "a.mp4", source._head.container.format

        def demux(self, streams):
            raise av.error.MemoryError(12, "Cannot allocate memory")

    monkeypatch.setattr("vidparse.video.demux.has_room", lambda: has_room)
    demuxer = Demuxer(Greedy(), [], "a.mp4")
    with pytest.raises(kind, match=r"a\.mp4: .*memory"):
        list(demuxer)
    source.close()


def test_a_table_that_needs_no_end_of_memory_is_damage(cli, clip):
    """FFmpeg calls it a lack of memory, which `--size` or `ulimit` would not help."""
    path = clip("a.mp4", frames=5)
    data = bytearray(path.read_bytes())
    where = data.index(b"stsz") + 12
    data[where : where + 4] = (2**29 - 8).to_bytes(4, "big")  # so many frames
    path.write_bytes(data)
    ended = cli("info", path)
    assert ended.code == 3, ended.err
    assert len(ended.lines) == 1


def test_an_enormous_stride_takes_the_first_frame(clip):
    source = open_video(clip("a.avi", codec="mpeg4", frames=5), stride=10**30)
    (frame,) = source
    assert isinstance(source, ContainerSource)
    assert frame.duration * source.info.time_base == pytest.approx(0.2)


class TestMaxFrames:
    def test_the_first_frames_are_taken_with_their_sound(self, cli, clip, tmp_path):
        path = clip("a.mp4", frames=60, audio=True)
        ended = cli("segment", path, "--max-frames", "10", "--save", "overlay,csv", "--json")
        assert ended.code == 0
        (one,) = json.loads(ended.out)["inputs"]
        assert one["frames"] == 10
        assert one["notes"] == ["ended after 10 frames, by --max-frames"]
        assert len((tmp_path / "a.csv").read_text().splitlines()) == 11
        with av.open(str(tmp_path / "a.overlay.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == 10
        with av.open(str(tmp_path / "a.overlay.mp4")) as video:
            sound = [packet for packet in video.demux(audio=0) if packet.size]
            assert 0.3 < max(float(p.pts * p.time_base) for p in sound) < 0.4

    @pytest.mark.parametrize("most", [60, 61])
    def test_a_limit_that_is_not_met_changes_nothing(self, cli, clip, tmp_path, most):
        path = clip("a.mp4", frames=60, audio=True)
        assert cli("segment", path, "--save", "overlay").code == 0
        whole = (tmp_path / "a.overlay.mp4").read_bytes()
        ended = cli("segment", path, "--save", "overlay", "--overwrite", "--max-frames", most)
        assert (ended.code, "max-frames" in ended.err) == (0, False)
        assert (tmp_path / "a.overlay.mp4").read_bytes() == whole

    def test_frames_are_counted_behind_start_and_stride(self, cli, clip, tmp_path):
        path = clip("a.mkv", frames=60)
        words = ("--start", "1", "--stride", "3", "--max-frames", "2", "--save", "csv")
        assert cli("segment", path, *words).code == 0
        rows = (tmp_path / "a.csv").read_text().splitlines()[1:]
        assert [row.split(",")[0] for row in rows] == ["25", "28"]

    def test_each_input_has_it_and_an_endless_pipe_ends(self, cli, process, clip, tmp_path):
        paths = [clip(f"{name}.mkv", frames=9) for name in "ab"]
        ended = cli("segment", *paths, "--max-frames", "4", "--save", "csv", "--json")
        assert [one["frames"] for one in json.loads(ended.out)["inputs"]] == [4, 4]
        raw = ("--pipe", "raw", "--size", "64x48", "--rate", "25", "--max-frames", "30")
        with Path("/dev/zero").open("rb") as endless:
            run = process("segment", "-", *raw, "-o", f"{tmp_path}/o/", stdin=endless)
            err = run.communicate(timeout=60)[1].decode()
        assert (run.returncode, len(list((tmp_path / "o/stdin.masks").iterdir()))) == (0, 30), err

    def test_tests_leave_no_limit_to_the_next_one(self):
        usual = limits.Limits(limits.MAX_PIXELS, None, frozenset())
        assert limits.Limits.of_this_process() == usual

    def test_less_than_one_is_refused(self, cli, clip, allow):
        assert cli("segment", clip("a.mkv", frames=2), "--max-frames", "0").code == 2
        with pytest.raises(UsageError):
            limits.allow_frames(0)
