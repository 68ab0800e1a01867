"""Video through pipes, in and out, with the real ffmpeg at the other end."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from support.clips import picture
from vidparse.errors import InputError, TruncatedError, UsageError
from vidparse.image import Rgb, Yuv420
from vidparse.sinks.stream import ByteStream
from vidparse.video import RawPipe, VideoWriter, open_video
from vidparse.video.outfile import OutFile


class OneWay(io.RawIOBase):
    """Bytes as from a pipe: in pieces, with no way back."""

    def __init__(self, data: bytes, piece: int = 1000) -> None:
        self._data, self._piece = io.BytesIO(data), piece

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, self._piece) if size >= 0 else self._piece)


def luma(frames):
    return [np.ascontiguousarray(frame.image.y).tobytes() for frame in frames]


@pytest.mark.parametrize(
    ("name", "wishes"),
    [
        ("a.y4m", {"codec": "wrapped_avframe", "container": "yuv4mpegpipe"}),
        ("a.mkv", {"pts": [0, 90, 900, 4500, 90000]}),
        ("a.nut", {"pts": [0, 90, 900, 4500, 90000]}),
        ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.ts", {}),
    ],
)
def test_formats_that_describe_themselves(clip, name, wishes):
    path = clip(name, frames=20, **wishes)
    from_file = list(open_video(path))
    source = open_video("-", stdin=OneWay(path.read_bytes()))
    piped = list(source)
    assert source.info.name == "stdin"
    assert [f.pts for f in piped] == [f.pts for f in from_file]
    assert luma(piped) == luma(from_file)


def test_a_range_of_a_pipe(clip):
    data = clip("a.mkv", frames=50, audio=True).read_bytes()
    source = open_video("-", stdin=OneWay(data), start_s=1, end_s=1.2, stride=2)
    assert [(f.index, f.pts) for f in source] == [(25, 1000), (27, 1080), (29, 1160)]


@pytest.mark.parametrize(
    ("name", "wishes"),
    [("a.y4m", {"codec": "wrapped_avframe", "container": "yuv4mpegpipe"}), ("a.mkv", {})],
)
def test_a_pipe_that_ends_early(clip, name, wishes):
    data = clip(name, frames=40, **wishes).read_bytes()
    source = open_video("-", stdin=OneWay(data[: len(data) // 2 + 7]))
    frames = []
    with pytest.raises(TruncatedError, match="the pipe ends early") as caught:
        collect(source, frames)
    assert f"after {len(frames)} frames" in str(caught.value)
    assert 10 < len(frames) < 30


def collect(source, frames):
    """The frames up to an error."""
    for frame in source:
        frames.append(frame)


def test_an_mp4_with_its_index_at_the_end_is_explained(clip):
    data = clip("a.mp4", frames=200).read_bytes()
    with pytest.raises(InputError, match=r"-f matroska.*frag_keyframe"):
        open_video("-", stdin=OneWay(data))


@pytest.mark.parametrize(
    ("data", "why"), [(b"", "nothing came through"), (b"hello " * 999, "holds no known format")]
)
def test_pipes_without_video(data, why):
    with pytest.raises(InputError, match=why):
        open_video("-", stdin=OneWay(data))


SIZE = (35, 51)  # odd on purpose


def raw_frame(index: int, pixel_format: str) -> bytes:
    rgb = picture(index, SIZE)
    yuv = Rgb(rgb).yuv420(6, False)
    alpha = np.full((*SIZE, 1), 255, np.uint8)
    return {
        "rgb24": lambda: rgb.tobytes(),
        "bgr24": lambda: rgb[..., ::-1].tobytes(),
        "rgba": lambda: np.concatenate([rgb, alpha], -1).tobytes(),
        "bgra": lambda: np.concatenate([rgb[..., ::-1], alpha], -1).tobytes(),
        "gray": lambda: yuv.y.tobytes(),
        "yuv420p": lambda: yuv.y.tobytes() + yuv.u.tobytes() + yuv.v.tobytes(),
        "nv12": lambda: yuv.y.tobytes() + np.stack([yuv.u, yuv.v], -1).tobytes(),
    }[pixel_format]()


@pytest.mark.parametrize(
    "pixel_format", ["rgb24", "bgr24", "rgba", "bgra", "gray", "yuv420p", "nv12"]
)
def test_raw_frames(pixel_format):
    data = b"".join(raw_frame(i, pixel_format) for i in range(5))
    pipe = RawPipe(SIZE, Fraction(30000, 1001), pixel_format)
    source = open_video("-", stdin=OneWay(data, 777), pipe=pipe)
    frames = list(source)
    assert [f.pts * source.info.time_base for f in frames] == [
        Fraction(1001 * i, 30000) for i in range(5)
    ]
    for index, frame in enumerate(frames):
        yuv = Rgb(picture(index, SIZE)).yuv420(6, False)
        if isinstance(frame.image, Rgb):
            assert np.array_equal(frame.image.rgb(), picture(index, SIZE))
        else:
            assert np.array_equal(frame.image.y, yuv.y)
            if pixel_format != "gray":
                assert np.array_equal(frame.image.u, yuv.u)
                assert np.array_equal(frame.image.v, yuv.v)


def test_a_raw_pipe_that_ends_inside_a_frame():
    data = b"".join(raw_frame(i, "rgb24") for i in range(3))[:-10]
    source = open_video("-", stdin=OneWay(data), pipe=RawPipe(SIZE, Fraction(25)))
    frames = []
    with pytest.raises(TruncatedError, match=r"ended inside frame 2 .*; 2 whole frames were read"):
        collect(source, frames)
    assert len(frames) == 2


@pytest.mark.parametrize("name", ["raw", "y4m"])
def test_a_pipe_that_does_not_block_is_waited_for(clip, name):
    """As some programs leave what they share with others."""
    clip = clip("a.y4m", frames=4, codec="wrapped_avframe", container="yuv4mpegpipe").read_bytes()
    data = bytes(4 * 48 * 64 * 3) if name == "raw" else clip
    reader, writer = os.pipe()
    os.set_blocking(reader, False)

    def feed() -> None:
        for part in range(0, len(data), 9000):
            time.sleep(0.02)
            os.write(writer, data[part : part + 9000])
        os.close(writer)

    feeding = threading.Thread(target=feed)
    feeding.start()
    raw = RawPipe((48, 64), Fraction(25), "rgb24") if name == "raw" else None
    with os.fdopen(reader, "rb") as stream:
        assert len(list(open_video("-", stdin=stream, pipe=raw))) == 4
    feeding.join()


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("kind", [OutFile, ByteStream])
def test_a_reader_that_is_behind_is_waited_for_where_a_pipe_does_not_block(kind, buffering):
    data = bytes(range(250)) * 2000
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    got = bytearray()

    def read() -> None:
        time.sleep(0.2)
        while part := os.read(reader, 40_000):
            got.extend(part)
        os.close(reader)

    reading = threading.Thread(target=read)
    reading.start()
    with os.fdopen(writer, "wb", buffering=buffering) as stream:
        out = kind(stream)
        for _ in range(2):
            out.write(data)
        if kind is ByteStream:
            out.write(flush=True)
    reading.join()
    assert got == data * 2


def test_raw_pipes_that_make_no_sense():
    for pipe in (RawPipe(SIZE, Fraction(25), "yuv410p"), RawPipe((0, 5), Fraction(25))):
        with pytest.raises(UsageError):
            open_video("-", stdin=OneWay(b""), pipe=pipe)
    with pytest.raises(InputError, match="held no frame"):
        list(open_video("-", stdin=OneWay(b""), pipe=RawPipe(SIZE, Fraction(25))))


ECHO = """
import sys
from vidparse.video import VideoWriter, open_video
source = open_video("-")
writer = VideoWriter(sys.stdout.buffer, source.info, codec=sys.argv[1], container=sys.argv[2],
                     pixel_format="yuv420p", copy_streams=True)
for frame in source:
    writer.write(frame.image, frame.pts, frame.packets)
writer.finish(source.trailing_packets())
source.close()
"""


def echo(data: bytes, codec: str, container: str) -> bytes:
    result = subprocess.run(
        [sys.executable, "-c", ECHO, codec, container],
        input=data, capture_output=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert result.stderr == b""
    assert result.returncode == 0
    return result.stdout


@pytest.mark.parametrize("size_hw", [(48, 64), (35, 51)])
def test_y4m_in_and_out_of_ffmpeg(clip, ffmpeg, size_hw):
    path = clip("a.mkv", codec="ffv1", frames=12, size_hw=size_hw, rate=Fraction(30000, 1001))
    sent = ffmpeg("-i", path, "-f", "yuv4mpegpipe", "-")
    returned = echo(sent, "wrapped_avframe", "yuv4mpegpipe")
    assert b"F30000:1001" in returned[:80]
    pixels = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
    assert ffmpeg("-f", "yuv4mpegpipe", "-i", "-", *pixels, stdin=returned) == ffmpeg(
        "-i", path, *pixels
    )


def test_matroska_in_and_out_keeps_uneven_times_and_sound(clip, ffmpeg, tmp_path):
    path = clip("a.mkv", pts=[0, 90, 900, 4500, 90000, 180000], audio=True)
    (tmp_path / "out.mkv").write_bytes(echo(path.read_bytes(), "libx264", "matroska"))
    before, after = list(open_video(path)), list(open_video(tmp_path / "out.mkv"))
    assert [f.pts for f in after] == [f.pts for f in before] == [0, 1, 10, 50, 1000, 2000]
    assert [bytes(p) for f in after for p in f.packets] == [
        bytes(p) for f in before for p in f.packets
    ]


def test_mp4_out_of_a_pipe_is_fragmented(clip, tmp_path):
    path = clip("a.mkv", frames=60)
    (tmp_path / "out.mp4").write_bytes(echo(path.read_bytes(), "libx264", "mp4"))
    assert [f.pts for f in open_video(tmp_path / "out.mp4")] == [40 * i for i in range(60)]


def test_raw_out():
    target = io.BytesIO()
    source = open_video(
        "-", stdin=OneWay(raw_frame(0, "rgb24") * 3), pipe=RawPipe(SIZE, Fraction(5))
    )
    writer = VideoWriter(
        target, source.info, codec="rawvideo", container="rawvideo", pixel_format="rgb24"
    )
    for frame in source:
        writer.write(frame.image.rgb(), frame.pts)
    writer.finish()
    assert target.getvalue() == raw_frame(0, "rgb24") * 3
    assert isinstance(Rgb(picture(0)).yuv420(6, False), Yuv420)
