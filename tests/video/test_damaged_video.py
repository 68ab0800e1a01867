"""Cut, broken and impossible inputs: what can be read is delivered; the error has the reason."""

from __future__ import annotations

import io
import itertools
import os
import random
import re
import struct
from fractions import Fraction

import av
import pytest

from vidparse.errors import InputError, TruncatedError
from vidparse.video import open_video


def drain(path):
    """(frames, error, source) where the error is what the iteration ended with, or None."""
    source = open_video(path)
    frames = []
    try:
        for frame in source:
            frames.append(frame)  # noqa: PERF402
    except InputError as error:
        return frames, error, source
    finally:
        source.close()
    return frames, None, source


CONTAINERS = [
    ("whole.mp4", {"movflags": "faststart"}),
    ("fragments.mp4", {"movflags": "frag_keyframe+empty_moov"}),
    ("clusters.mkv", {}),
    ("old.avi", {"codec": "mpeg4", "options": {"qmin": "2", "qmax": "2"}}),
    ("bare.y4m", {"codec": "wrapped_avframe", "container": "yuv4mpegpipe"}),
]


@pytest.mark.parametrize(("name", "wishes"), CONTAINERS, ids=[c[0] for c in CONTAINERS])
def test_a_cut_file_is_delivered_to_its_last_good_frame(clip, name, wishes):
    path = clip(name, frames=60, **wishes)
    whole, error, _ = drain(path)
    assert error is None
    assert len(whole) == 60
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    frames, error, source = drain(path)
    assert isinstance(error, TruncatedError)
    assert error.exit_code == 3
    assert f"after {len(frames)} frames" in str(error)
    assert 10 < len(frames) < 50
    assert [f.pts for f in frames] == [f.pts for f in whole[: len(frames)]]
    assert source.skipped == 0


STREAMS = [
    ("a.nut", {}),
    ("ids.nut", {"codec": "ffv1", "pixel_format": "gray"}),
    ("a.ogv", {"codec": "libvpx", "container": "ogg"}),
    ("a.wmv", {"codec": "wmv2"}),
    ("a.mpg", {"codec": "mpeg2video", "options": {"qmin": "2", "qmax": "2"}}),
    (
        "one.mpg",
        {"codec": "mpeg1video", "options": {"qmin": "2", "qmax": "2"}, "container": "mpeg"},
    ),
    ("a.ts", {"audio": "mp2"}),
    ("a.dv", {"codec": "dvvideo", "size_hw": (576, 720), "frames": 20}),
    ("a.h264", {}),
    ("b.h264", {"options": {"bf": "2", "qp": "10"}}),
    ("a.m2v", {"codec": "mpeg2video", "options": {"qmin": "2", "qmax": "2"}}),
    ("a.mjpeg", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
    ("a.gif", {"codec": "gif", "pixel_format": "rgb8"}),
]


@pytest.mark.parametrize(("name", "wishes"), STREAMS, ids=[c[0] for c in STREAMS])
def test_formats_without_an_index_say_when_they_are_cut(clip, name, wishes):
    path = clip(name, **({"frames": 60} | wishes))
    whole, error, source = drain(path)
    assert (error, source.notes, source.skipped) == (None, [], 0)
    data = path.read_bytes()
    for share in (0.6, 0.613):  # of these one is no border between packets or frames
        path.write_bytes(data[: int(len(data) * share)])
        frames, error, _ = drain(path)
        if error is not None:
            break
    assert isinstance(error, TruncatedError)
    assert "the file ends early, after" in str(error)
    assert len(whole) * 0.1 < len(frames) < len(whole)
    whole_frames = len(frames) - 1  # of the last one the time may be missing, too
    assert [f.pts for f in frames[:-1]] == [f.pts for f in whole[:whole_frames]]


@pytest.mark.parametrize("name", ["a.nut", "a.ogv", "a.wmv", "a.mpg", "a.ts", "a.gif"])
def test_pipes_of_these_formats_say_it_too(clip, name):
    path = clip(name, frames=60, **dict(STREAMS)[name])
    data = path.read_bytes()
    assert len(list(open_video("-", stdin=io.BytesIO(data)))) == 60
    source = open_video("-", stdin=io.BytesIO(data[: int(len(data) * 0.613)]))
    with pytest.raises(TruncatedError, match="the pipe ends early, after"):
        list(source)


@pytest.mark.parametrize(("name", "wishes"), CONTAINERS[2:], ids=[c[0] for c in CONTAINERS[2:]])
def test_even_one_lost_byte_is_noticed(clip, name, wishes):
    path = clip(name, frames=10, **wishes)
    path.write_bytes(path.read_bytes()[:-1])
    assert isinstance(drain(path)[1], TruncatedError)


FINE = {"qmin": "2", "qmax": "2"}
BROADCAST = [
    ("mpeg2.ts", {"codec": "mpeg2video", "options": {"bf": "2"} | FINE}),
    ("h264.ts", {"options": {"qp": "5"}, "audio": "mp2"}),
    ("hevc.ts", {"codec": "libx265", "options": {"x265-params": "log-level=none"}, "audio": True}),
    ("h264.m2ts", {"options": {"qp": "5", "bf": "2"}}),
    ("mpeg2.m2ts", {"codec": "mpeg2video", "options": FINE, "audio": "mp2"}),
    ("mpeg2.mpg", {"codec": "mpeg2video", "options": {"bf": "2"} | FINE, "audio": "mp2"}),
    ("h264.vob", {"options": {"qp": "5"}}),
    ("sound.flv", {"codec": "flv", "options": FINE, "audio": True}),
]


@pytest.mark.parametrize(("name", "wishes"), BROADCAST, ids=[c[0] for c in BROADCAST])
def test_damage_is_not_taken_for_a_cut(clip, name, wishes):
    """Bytes change anywhere behind the first tenth, or are missing at the end."""
    path = clip(name, frames=50, size_hw=(192, 256), **wishes)
    data, unit = path.read_bytes(), 192 if name.endswith("m2ts") else 188
    for seed in range(12):
        rng = random.Random(seed)
        bad = bytearray(data)
        low = len(data) * (1, 9)[seed % 2] // 10  # every other time in the last tenth alone
        for _ in range((1, 10, 40)[seed // 2 % 3]):
            bad[rng.randrange(low, len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        frames, error, _ = drain(path)
        assert (seed, error) == (seed, None)
        assert len(frames) > 5

        # Not at the border of a packet: what is there may be whole, then.
        end = rng.randrange(len(data) * 3 // 10, len(data) - unit)
        path.write_bytes(data[: end + (end % unit == 0)])
        assert isinstance(drain(path)[1], TruncatedError), (seed, end)


@pytest.mark.parametrize("name", ["h264.ts", "mpeg2.m2ts"])
def test_a_cut_between_two_transport_packets_is_noticed(clip, name):
    path = clip(name, frames=50, size_hw=(192, 256), **dict(BROADCAST)[name])
    data, unit = path.read_bytes(), 192 if name.endswith("m2ts") else 188
    noticed = 0
    for seed in range(20):
        end = random.Random(seed).randrange(len(data) * 3 // 10, len(data) - unit)
        path.write_bytes(data[: end // unit * unit])
        noticed += isinstance(drain(path)[1], TruncatedError)
    assert noticed >= 12  # the others end with a whole picture


@pytest.mark.parametrize("name", ["mpeg2.ts", "mpeg2.mpg", "h264.m2ts"])
def test_a_damaged_pipe_is_not_a_cut_one(clip, name):
    data = bytearray(
        clip(name, frames=50, size_hw=(192, 256), **dict(BROADCAST)[name]).read_bytes()
    )
    rng = random.Random(4)
    for _ in range(20):
        data[rng.randrange(len(data) * 8 // 10, len(data))] ^= 1 << rng.randrange(8)
    assert len(list(open_video("-", stdin=io.BytesIO(data)))) > 40
    with pytest.raises(TruncatedError, match="the pipe ends early, after"):
        list(open_video("-", stdin=io.BytesIO(data[: len(data) * 7 // 10 // 188 * 188 + 50])))


def test_damaged_page_lengths_of_ogg_are_no_cut(clip):
    path = clip("a.ogv", frames=60, codec="libvpx", container="ogg")
    data = bytearray(path.read_bytes())
    pages = [m.start() for m in re.finditer(b"OggS", data)]
    data[pages[-3] + 26] = 255  # the number of lengths: far behind the end of the file
    path.write_bytes(data)
    assert drain(path)[1] is None
    path.write_bytes(data[:-10])
    assert isinstance(drain(path)[1], TruncatedError)


def spoil(path, number, share=0.5, width=24):
    """Overwrite some bytes in the middle of a packet; the pts of that packet."""
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size]
    position, size, pts = spans[number]
    data = bytearray(path.read_bytes())
    at = position + int(size * share)
    data[at : at + width] = bytes(37 * i % 256 for i in range(width))
    path.write_bytes(data)
    return pts


@pytest.mark.parametrize(
    "wishes",
    [
        {"options": {"qp": "20", "bf": "0"}},
        {"codec": "mpeg4", "options": {"qmin": "2", "qmax": "2"}},
        {"codec": "ffv1", "options": {"level": "3", "slicecrc": "1"}},
    ],
    ids=["h264", "mpeg4", "ffv1"],
)
def test_pictures_that_the_decoder_fills_in_are_counted(clip, wishes):
    path = clip("a.mkv", frames=40, **wishes)
    assert drain(path)[2].notes == []
    pts = spoil(path, 20, 0.9 if wishes.get("codec") == "ffv1" else 0.5)
    frames, error, source = drain(path)
    assert error is None
    assert (len(frames), source.skipped) == (40, 0)
    (note,) = source.notes
    assert note.startswith("damaged pictures: ")
    assert f"the first at {pts / 1000:.2f} s" in note
    early = open_video(path, end_s=0.4)
    assert (len(list(early)), early.notes) == (10, [])
    late = open_video(path, start_s=0.7, end_s=0.9)
    assert len(list(late)) == 5
    assert late.notes == [note]


@pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
def test_a_damaged_picture_before_the_range_is_not_counted_in_it(clip, name):
    whole = {"level": "3", "slicecrc": "1", "g": "1"}  # each picture stands alone
    path = clip(name, frames=40, codec="ffv1", options=whole)
    spoil(path, 2, 0.9)
    late = open_video(path, start_s=0.8, end_s=1)
    assert (len(list(late)), late.notes) == (5, [])
    early = open_video(path, end_s=0.4)
    assert len(list(early)) == 10
    (note,) = early.notes
    assert note.startswith("damaged pictures: 1, the first at 0.08 s")


@pytest.mark.parametrize("name", ["a.avi", "a.mov", "a.mkv"])
def test_half_a_jpeg_in_a_video_is_skipped_as_in_a_folder(clip, name):
    path = clip(name, frames=20, codec="mjpeg", pixel_format="yuvj420p", size_hw=(96, 128))
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    position, size = spans[9]
    data[position + size * 6 // 10 : position + size] = bytes(size - size * 6 // 10)
    path.write_bytes(data)
    frames, error, source = drain(path)
    assert error is None
    assert (len(frames), source.skipped) == (19, 1)


@pytest.mark.parametrize("rate", [Fraction(1), Fraction(1, 10), Fraction(2)])
@pytest.mark.parametrize("name", ["slow.mp4", "slow.mkv", "slow.avi"])
def test_slow_video_is_not_damaged(clip, name, rate):
    codec = {"codec": "mpeg4"} if name.endswith("avi") else {}
    frames, error, source = drain(clip(name, frames=20, rate=rate, **codec))
    assert (len(frames), error, source.notes) == (20, None, [])


def test_a_range_before_the_damage_is_no_error(clip):
    path = clip("a.mkv", frames=50)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    source = open_video(path, end_s=0.4)
    assert len(list(source)) == 10


def test_padding_behind_the_last_box_is_not_damage(clip):
    path = clip("a.mp4", frames=5)
    path.write_bytes(path.read_bytes() + bytes(1000))
    assert drain(path)[1] is None


def test_a_header_that_claims_too_many_frames(clip):
    path = clip("a.avi", frames=12, codec="mpeg4")
    data = bytearray(path.read_bytes())
    data[48:52] = struct.pack("<I", 5000)  # avih dwTotalFrames
    stream = data.index(b"vids", data.index(b"strh"))
    data[stream + 32 : stream + 36] = struct.pack("<I", 5000)  # dwLength
    path.write_bytes(data)
    frames, error, source = drain(path)
    assert source.info.frames == 5000
    assert len(frames) == 12
    assert error is None


def test_an_end_that_the_demuxer_hides_is_noted(clip):
    path = clip("a.mkv", frames=100, options={"qp": "20", "bf": "0"})
    with av.open(str(path)) as container:
        positions = [p.pos for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    data[positions[40] : positions[40] + 2000] = bytes(2000)
    path.write_bytes(data)
    frames, error, source = drain(path)
    assert error is None
    assert len(frames) < 60
    assert any("though the header has 4.00 s" in note for note in source.notes)


@pytest.mark.parametrize("begins", [0, 125])
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.nut", "mpeg4"), ("a.asf", "msmpeg4v3"),
        ("a.mp4", "libx264"), ("a.ts", "libx264"),
    ],
)  # fmt: skip
def test_a_file_that_begins_late_is_as_long_as_its_pictures(clip, name, codec, begins):
    """Some formats count their length from 0, wherever the first picture lies."""
    stamps = [begins + i for i in range(10)]
    path = clip(name, codec=codec, pts=stamps, time_base=Fraction(1, 25))
    frames, error, source = drain(path)
    assert (len(frames), error, source.notes) == (10, None, [])
    assert source.info.duration_s == pytest.approx(0.4, abs=0.05)  # NUT ends where a frame begins
    with open_video(path, stride=4) as source:
        *_, last = source
    shown_s = last.time_s - frames[0].time_s + float(last.duration * last.time_base)
    assert shown_s == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.mp4", b"", "the file is empty"),
        ("text.mp4", b"not a video at all\n" * 40, "not a video or image"),
        ("noise.mkv", bytes(range(256)) * 40, "not a video or image"),
        ("listing.txt", b"line\n" * 40, "not a video"),
        ("cut.png", b"\x89PNG\r\n\x1a\n" + bytes(30), "none of 1 images can be read"),
    ],
)
def test_files_that_are_no_video(tmp_path, name, content, why):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^[^:]*{name}: .*{why}.*; ") as caught:
        open_video(path)
    assert "\n" not in str(caught.value)


def test_missing_forbidden_and_folder_inputs(clip, tmp_path):
    with pytest.raises(InputError, match=r"none.mp4: no such file; check the path"):
        open_video(tmp_path / "none.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        open_video(tmp_path / "empty")
    path = clip("a.mp4", frames=1)
    path.chmod(0)
    if not os.access(path, os.R_OK):  # root may read anything
        with pytest.raises(InputError, match="may not be read"):
            open_video(path)


def test_an_mp4_without_its_index(clip, tmp_path):
    data = clip("a.mp4", frames=20).read_bytes()
    (tmp_path / "unfinished.mp4").write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(InputError, match=r"index \(moov\) is missing"):
        open_video(tmp_path / "unfinished.mp4")


def test_sound_without_pictures(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame(format="s16", layout="stereo", samples=800)
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(InputError, match="holds audio but no video"):
        open_video(tmp_path / "a.wav")


def test_a_stream_of_which_nothing_decodes(clip):
    path = clip("a.mp4", frames=8)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[start:end] = b"\xff" * (end - start)
    path.write_bytes(data)
    with pytest.raises(InputError, match="not one frame can be decoded"):
        open_video(path)


def test_a_header_with_a_gigantic_size(tmp_path):
    head = b"YUV4MPEG2 W1000000 H1000000 F25:1 C420\nFRAME\n" + bytes(1000)
    (tmp_path / "lie.y4m").write_bytes(head)
    with pytest.raises(InputError, match=r"lie.y4m: "):
        open_video(tmp_path / "lie.y4m")
    (tmp_path / "wide.y4m").write_bytes(b"YUV4MPEG2 W20000 H2 F25:1 C420\nFRAME\n" + bytes(60000))
    with pytest.raises(InputError, match="20000x2 pixels; scale it to at most 16384"):
        open_video(tmp_path / "wide.y4m")


def test_times_that_run_backwards_are_repaired_and_noted(clip, tmp_path):
    """Two recordings glued together as raw transport streams: the clock is set back."""
    one = clip("one.ts", frames=30, codec="mpeg2video", options={"bf": "0"})
    (tmp_path / "glued.ts").write_bytes(one.read_bytes() * 2)
    frames, _, source = drain(tmp_path / "glued.ts")
    assert len(frames) == 60
    stamps = [f.pts for f in frames]
    assert all(a < b for a, b in itertools.pairwise(stamps))
    assert stamps[-1] - stamps[0] == pytest.approx(59 * 3600, rel=0.05)
    assert any("backwards" in note for note in source.notes)
