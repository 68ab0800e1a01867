"""What is written can be read back: same pixels, same times, same sound, even after kill -9."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from support.clips import picture
from vidparse.errors import ClosedPipe, InputError, OutputError
from vidparse.image import ColourTags, Rgb
from vidparse.video import VideoWriter, open_video, report_media
from vidparse.video.remux import Opus

H264 = {"codec": "libx264", "container": "mp4", "pixel_format": "yuv420p"}
ROOT = Path(__file__).parents[2]


def rewrite(source_path, target, *, copy_streams=True, read=None, **wishes):
    """Pass a clip through source and writer; (times written in seconds, writer)."""
    source = open_video(source_path, **(read or {}))
    writer = VideoWriter(target, source.info, copy_streams=copy_streams, **{**H264, **wishes})
    times = []
    for frame in source:
        writer.write(frame.image, frame.pts, frame.packets, frame.duration)
        times.append(frame.pts * source.info.time_base)
    writer.finish(source.trailing_packets())
    source.close()
    return times, writer


def times_of(path):
    source = open_video(path)
    times = [frame.pts * source.info.time_base for frame in source]
    source.close()
    return times


def packets_of(path, kind):
    """(bytes, seconds) of each packet of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [(bytes(p), p.pts * p.time_base) for p in container.demux(stream) if p.size]


STAMPS = {
    "even, 30000/1001": ([i * 1001 for i in range(40)], Fraction(1, 30000)),
    "uneven": ([0, 1, 2000, 2100, 90000, 90001, 400000], Fraction(1, 90000)),
    "not from zero": ([54321 + 3000 * i for i in range(30)], Fraction(1, 90000)),
    "one frame": ([7], Fraction(1, 25)),
    "microseconds": ([33367 * i + i % 3 for i in range(30)], Fraction(1, 1000000)),
    "odd unit": ([5 * i for i in range(10)], Fraction(66667, 1000000)),
}


@pytest.mark.parametrize("name", STAMPS)
def test_times_are_exact(clip, tmp_path, ffprobe, name):
    stamps, base = STAMPS[name]
    path = tmp_path / "out.mp4"
    info = replace(open_video(clip("a.mp4", frames=1)).info, time_base=base, rate=None)
    writer = VideoWriter(path, info, **H264)
    for index, stamp in enumerate(stamps):
        writer.write(Rgb(picture(index)).yuv420(6, False), stamp)
    writer.finish()
    wanted = [(stamp - stamps[0]) * base for stamp in stamps]  # an mp4 begins at 0
    assert times_of(path) == wanted
    unit = Fraction(*map(int, ffprobe(path, "-show_entries", "stream=time_base")[0].split("/")))
    shown = [int(line) * unit for line in ffprobe(path, "-show_entries", "frame=pts")]
    assert shown == wanted
    if base.numerator == 1:
        assert unit == base


def test_a_finished_mp4_is_an_ordinary_one(clip, tmp_path):
    path = tmp_path / "out.mp4"
    rewrite(clip("a.mp4", frames=80, audio=True), path)
    data = path.read_bytes()
    boxes, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        boxes.append(data[at + 4 : at + 8])
        at += size if size > 1 else int.from_bytes(data[at + 8 : at + 16], "big")
    assert b"moov" in boxes
    assert b"moof" not in boxes
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 80


def test_audio_is_copied_bit_for_bit_with_its_times(clip, tmp_path):
    path = clip("a.mp4", frames=100, audio=True)
    _, writer = rewrite(path, tmp_path / "out.mp4")
    assert packets_of(tmp_path / "out.mp4", "audio") == packets_of(path, "audio")
    assert writer.notes == []


def test_real_audio_is_copied_bit_for_bit(real_clips, tmp_path):
    for name in ("udacity_solidWhiteRight.mp4",):
        times, _ = rewrite(real_clips / name, tmp_path / name)
        assert packets_of(tmp_path / name, "audio") == packets_of(real_clips / name, "audio")
        assert times_of(tmp_path / name) == times


def test_a_range_keeps_its_times_and_its_sound(clip, tmp_path):
    path = clip("a.mp4", frames=100, audio=True)
    times, _ = rewrite(path, tmp_path / "out.mp4", read={"start_s": 1, "end_s": 2})
    assert times[0] == 1
    assert times_of(tmp_path / "out.mp4") == [time - 1 for time in times]
    kept = packets_of(tmp_path / "out.mp4", "audio")
    assert kept == [(data, at - 1) for data, at in packets_of(path, "audio") if 1 <= at < 2]
    times, _ = rewrite(
        path, tmp_path / "out.mkv", container="matroska", read={"start_s": 1, "end_s": 2}
    )
    assert times_of(tmp_path / "out.mkv") == times  # this one holds when it begins


def starts_of(path):
    """(seconds, edits) with which the streams of an mp4 begin; an empty edit is time to wait."""
    data = path.read_bytes()
    edits, at = [], data.find(b"elst")
    while at >= 0:
        count = int.from_bytes(data[at + 8 : at + 12], "big")
        wide = data[at + 4]  # version
        size = 20 if wide else 12
        for k in range(count):
            entry = data[at + 12 + k * size :][:size]
            media = entry[8:16] if wide else entry[4:8]
            edits.append(int.from_bytes(media, "big", signed=True))
        at = data.find(b"elst", at + 4)
    with av.open(str(path)) as container:
        return [float(s.start_time * s.time_base) for s in container.streams], edits


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize("target", ["file", "pipe"])
def test_a_late_clock_does_not_make_players_wait(clip, tmp_path, sound, container, target):
    """A camera's transport stream stands at 26 hours (33 bits at 90 kHz)."""
    base = Fraction(1, 90000)
    stamps = [26 * 3600 * 90000 - 100000 + i * 3600 for i in range(60)]
    path = clip("late.mkv", pts=[i * 3600 for i in range(60)], time_base=base, audio=sound)
    source = open_video(path)
    out = tmp_path / "out.mp4"
    info = replace(source.info, time_base=base)
    with out.open("wb") as file:
        goal = file if target == "pipe" else out
        writer = VideoWriter(goal, info, copy_streams=True, **{**H264, "container": container})
        for frame, stamp in zip(source, stamps, strict=True):
            for packet in frame.packets:
                packet.pts = packet.dts = packet.pts + round(stamps[0] * base / packet.time_base)
            writer.write(frame.image, stamp, frame.packets, 3600)
        writer.finish()
    source.close()
    times = times_of(out)
    assert [time - times[0] for time in times] == [(stamp - stamps[0]) * base for stamp in stamps]
    starts, edits = starts_of(out)
    assert max(starts) < 0.05
    assert -1 not in edits or sound  # the first sound may be some milliseconds late
    if target == "file":
        with av.open(str(out)) as opened:
            assert opened.duration == pytest.approx(60 * 40000, abs=50000)


@pytest.mark.parametrize("name", ["o.mp4", "o.mov", "o.mkv"])
def test_the_last_picture_lasts_as_long_as_in_the_input(clip, tmp_path, ffmpeg, name):
    """Slides with sound: four pictures in 21 s, the last one for one second."""
    path = clip("s.mp4", pts=[0, 540000, 1170000, 1800000], audio=True, options={"bf": "0"})
    with av.open(str(path)) as container:
        sound_s = container.streams.audio[0].duration * container.streams.audio[0].time_base
    container = {"mkv": "matroska"}.get(name[2:], name[2:])
    rewrite(path, tmp_path / name, container=container)
    with av.open(str(tmp_path / name)) as opened:
        assert opened.duration / 1e6 == pytest.approx(float(sound_s), abs=0.06)
        lasts = [p.duration * p.time_base for p in opened.demux(video=0) if p.size]
    if name != "o.mkv":
        assert [float(one) for one in lasts[:3]] == [6, 7, 7]
        assert float(lasts[3]) == pytest.approx(float(sound_s) - 20, abs=0.06)


@pytest.mark.parametrize(
    ("options", "lasts_s"),
    [({}, 2.4), ({"stride": 7}, 2.4), ({"end_s": 1.5}, 1.5), ({"stride": 4, "end_s": 1.5}, 1.5)],
)
def test_even_video_ends_where_the_input_ends(clip, tmp_path, options, lasts_s):
    path = clip("a.mp4", frames=60)
    rewrite(path, tmp_path / "o.mp4", read=options)
    with av.open(str(tmp_path / "o.mp4")) as opened:
        video = opened.streams.video[0]
        assert float(video.duration * video.time_base) == pytest.approx(lasts_s, abs=1e-4)


def test_sound_comes_with_its_picture_and_not_before(clip, tmp_path, ffmpeg):
    """So that a run which is interrupted ends with both; many files hold the sound far ahead."""
    path = clip("a.mp4", frames=75, audio=True)
    ffmpeg("-i", path, "-c", "copy", "-frag_duration", "2000000", tmp_path / "ahead.mp4")
    source = open_video(tmp_path / "ahead.mp4")
    for frame in source:
        times = [packet.pts * packet.time_base for packet in frame.packets]
        over = (frame.pts + frame.duration) * source.info.time_base
        assert all(over - Fraction(1, 25) - Fraction(1, 20) < at < over for at in times[1:])
        if frame.index == 24:
            break
    source.close()


@pytest.mark.parametrize(
    ("name", "wishes"),
    [
        ("a.ts", {"codec": "mpeg2video", "audio": "mp2"}),
        ("a.mpg", {"codec": "mpeg2video", "audio": "mp2"}),
        ("a.avi", {"codec": "mpeg4", "audio": "mp2"}),
    ],
    ids=["ts", "mpg", "avi"],
)
@pytest.mark.parametrize("start_s", [0.2, 1.0])
def test_a_range_of_a_file_without_a_good_index(clip, tmp_path, name, wishes, start_s):
    """Seeking fails or lands too late there, so that the file is opened again."""
    path = clip(name, frames=50, **wishes)
    whole = times_of(path)
    times, writer = rewrite(
        path, tmp_path / "o.mkv", container="matroska", read={"start_s": start_s}
    )
    assert times == [time for time in whole if time >= whole[0] + Fraction(str(start_s))]
    assert writer.notes == []
    sound = packets_of(tmp_path / "o.mkv", "audio")
    assert [data for data, _ in sound] == [
        data for data, at in packets_of(path, "audio") if at >= whole[0] + Fraction(str(start_s))
    ]


def test_streams_outlive_the_file_they_describe(clip, tmp_path):
    source = open_video(clip("a.mp4", frames=10, audio=True))
    frames = list(source)
    packets = [packet for frame in frames for packet in frame.packets]
    source.close()
    writer = VideoWriter(tmp_path / "out.mp4", source.info, copy_streams=True, **H264)
    for frame in frames:
        writer.write(frame.image, frame.pts, frame.packets, frame.duration)
    writer.finish()
    assert len(packets_of(tmp_path / "out.mp4", "audio")) == len(packets) > 10


def test_a_closed_source_is_an_error_and_no_crash(clip):
    source = open_video(clip("a.mp4", frames=10, audio=True), start_s=0.1, end_s=0.3)
    frames = iter(source)
    next(frames)
    source.close()
    with pytest.raises(InputError, match="was closed before its end"):
        next(frames)
    with pytest.raises(InputError, match="was closed before its end"):
        list(source)
    source.trailing_packets()
    source.close()


def samples_of(path, ffmpeg):
    """Sound as an older FFmpeg decodes it: float32 (samples,), mono at 48 kHz."""
    wishes = ["-map", "0:a:0", "-f", "f32le", "-ac", "1", "-ar", "48000", "-"]
    return np.frombuffer(ffmpeg("-i", path, *wishes), np.float32)


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
@pytest.mark.parametrize("start_s", [None, 0.5])
def test_aac_of_a_transport_stream_fits_everywhere(clip, ffmpeg, tmp_path, name, start_s):
    path = clip("a.ts", frames=60, audio=True)
    container = {"mkv": "matroska"}.get(name[-3:], name[-3:])
    read = {} if start_s is None else {"start_s": start_s}
    _, writer = rewrite(path, tmp_path / name, container=container, read=read)
    assert writer.notes == []
    kept = packets_of(tmp_path / name, "audio")
    start = times_of(path)[0] + Fraction(1, 2) if start_s else 0
    wanted = [(data, at) for data, at in packets_of(path, "audio") if at >= start]
    assert [data for data, _ in kept] == [data[7:] for data, _ in wanted]  # without ADTS heads
    steps = [b - a for a, b in itertools.pairwise(at for _, at in wanted)]
    kept_steps = [b - a for a, b in itertools.pairwise(at for _, at in kept)]
    assert max(abs(a - b) for a, b in zip(steps, kept_steps, strict=True)) <= Fraction(1, 1000)
    ahead = times_of(path)[0] - packets_of(path, "audio")[0][1] if start_s is None else None
    if ahead is not None:  # the distance from sound to picture is what it was
        gap = times_of(tmp_path / name)[0] - kept[0][1]
        assert abs(gap - ahead) <= Fraction(1, 1000)
    assert np.abs(samples_of(tmp_path / name, ffmpeg)).max() > 0.2


@pytest.mark.parametrize(
    ("codec", "error"),
    [
        ("pcm_s16le", 0), ("pcm_s24le", 0), ("pcm_s24be", 0), ("pcm_s32le", 1e-6), ("pcm_u8", 0),
        ("pcm_f32le", 1e-6), ("pcm_f64le", 1e-6), ("pcm_alaw", 0), ("pcm_mulaw", 0),
    ],
)  # fmt: skip
def test_pcm_becomes_what_players_of_mp4_read(clip, ffmpeg, tmp_path, codec, error):
    path = clip("a.mov", frames=40, audio=codec)
    _, writer = rewrite(path, tmp_path / "out.mp4")
    (note,) = writer.notes
    assert f"({codec}) is written as ALAC" in note
    before, after = samples_of(path, ffmpeg), samples_of(tmp_path / "out.mp4", ffmpeg)
    assert len(before) == len(after) > 48000
    assert np.abs(before - after).max() <= error
    _, writer = rewrite(path, tmp_path / "out.mov", container="mov")
    assert writer.notes == []
    assert np.array_equal(samples_of(tmp_path / "out.mov", ffmpeg), before)


def test_pcm_of_a_range_keeps_its_place_and_its_gaps(clip, tmp_path):
    path = clip("a.mov", frames=75, audio="pcm_s24le")
    source = open_video(path, start_s=1)
    writer = VideoWriter(tmp_path / "out.mp4", source.info, copy_streams=True, **H264)
    for frame in source:
        gone = [p for p in frame.packets if not 1.5 <= p.pts * p.time_base < 2]
        writer.write(frame.image, frame.pts, gone)
    writer.finish(source.trailing_packets())
    sound = packets_of(tmp_path / "out.mp4", "audio")
    assert sound[0][1] == pytest.approx(0, abs=0.025)
    assert not [at for _, at in sound if 0.53 < at < 0.97]
    with av.open(str(path)) as one, av.open(str(tmp_path / "out.mp4")) as other:
        before, after = (
            {f.pts * f.time_base: f.to_ndarray() for f in c.decode(audio=0)} for c in (one, other)
        )
    whole = np.concatenate([part.reshape(-1) for part in before.values()])
    for at, part in after.items():
        place = round((at + 1) * 48000)
        assert np.array_equal(part.reshape(-1), whole[place : place + part.size])


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_opus_has_the_samples_that_a_change_of_the_rate_holds_back(tmp_path, rate):
    second = np.arange(rate)
    tone = (np.sin(second * 600 / rate) * 9000).astype(np.int16)[None]
    with av.open(str(tmp_path / "a.wav"), "w") as sound:
        stream = sound.add_stream("pcm_s16le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        sound.mux(stream.encode(frame))

    with av.open(str(tmp_path / "a.wav")) as sound, av.open(io.BytesIO(), "w", "webm") as film:
        opus = Opus(film, sound.streams.audio[0])
        for packet in sound.demux(audio=0):
            opus.change(packet)
        opus.flush()
    assert opus._next == 48000


@pytest.mark.parametrize(
    ("codec", "container", "note"),
    [
        ("libopus", "mp4", None),
        ("flac", "mp4", None),
        ("ac3", "mp4", None),
        ("eac3", "mp4", None),
        ("libmp3lame", "mp4", None),
        ("alac", "mp4", None),
        ("vorbis", "mp4", "is copied, but few mp4 players read it"),
        ("wavpack", "mp4", "left out: mp4 cannot hold it"),
        ("libopus", "mov", "left out: mov cannot hold it"),
        ("libopus", "matroska", None),
        ("vorbis", "matroska", None),
    ],
)
def test_other_sound_is_copied_or_named(clip, ffmpeg, tmp_path, codec, container, note):
    path = clip("a.mkv", frames=40, audio=codec)
    _, writer = rewrite(path, tmp_path / "out.bin", container=container)
    assert [note in message for message in writer.notes] == ([True] if note else [])
    if note is None or "copied" in note:
        kept = packets_of(tmp_path / "out.bin", "audio")
        assert [data for data, _ in kept] == [data for data, _ in packets_of(path, "audio")]
        assert np.abs(samples_of(tmp_path / "out.bin", ffmpeg)).max() > 0.2


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska"])
@pytest.mark.parametrize("number", [0, 5, 40])
def test_a_damaged_sound_packet_costs_nothing_else(clip, tmp_path, container, number):
    path = clip("a.ts", frames=60, audio=True)
    source = open_video(path)
    writer = VideoWriter(
        tmp_path / "out.bin", source.info, copy_streams=True, **{**H264, "container": container}
    )
    count = frames = 0
    for frame in source:
        packets = []
        for packet in frame.packets:
            broken = av.Packet(b"no ADTS head at all")
            broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
            broken.stream = packet.stream
            packets.append(broken if count == number else packet)
            count += 1
        writer.write(frame.image, frame.pts, packets, frame.duration)
        frames += 1
    writer.finish(source.trailing_packets())
    assert writer.notes == ["some damaged audio or subtitle packets were left out"]
    assert len(times_of(tmp_path / "out.bin")) == frames
    assert len(packets_of(tmp_path / "out.bin", "audio")) == len(packets_of(path, "audio")) - 1


def test_a_refusal_of_ffmpeg_is_no_missing_permission(clip, tmp_path, monkeypatch):
    path = clip("a.ts", frames=20, audio=True)
    monkeypatch.setattr("vidparse.video.remux.AacHeads.change", lambda self, packet: [packet])
    with pytest.raises(OutputError, match=r"mp4 does not take one of the streams; use another"):
        rewrite(path, tmp_path / "out.mp4")


def subtitled(path, ffmpeg, tmp_path, codec, name):
    (tmp_path / "a.srt").write_text(
        "1\n00:00:00,200 --> 00:00:01,000\nhello\n\n2\n00:00:01,500 --> 00:00:02,000\nworld\n"
    )
    target = tmp_path / name
    ffmpeg("-i", path, "-i", tmp_path / "a.srt", "-map", "0", "-map", "1", "-c", "copy",
           "-c:s", codec, "-metadata:s:s:0", "language=fra", target)  # fmt: skip
    return target


@pytest.mark.parametrize(
    ("codec", "name", "container"),
    [("mov_text", "s.mp4", "mp4"), ("srt", "s.mkv", "matroska"), ("ass", "t.mkv", "matroska")],
)
def test_subtitles_are_copied(clip, ffmpeg, tmp_path, codec, name, container):
    path = subtitled(clip("a.mp4", frames=60, audio=True), ffmpeg, tmp_path, codec, name)
    out = tmp_path / f"out.{'mp4' if container == 'mp4' else 'mkv'}"
    rewrite(path, out, container=container)
    texts = [(data, at) for data, at in packets_of(path, "subtitle") if len(data) > 2]
    assert [(d, at) for d, at in packets_of(out, "subtitle") if len(d) > 2] == texts
    assert len(texts) == 2
    with av.open(str(out)) as opened:
        assert opened.streams.subtitles[0].language == "fra"


def test_what_the_container_can_not_hold_is_left_out_with_a_note(clip, ffmpeg, tmp_path):
    path = subtitled(clip("a.mp4", frames=30, audio=True), ffmpeg, tmp_path, "ass", "s.mkv")
    times, writer = rewrite(path, tmp_path / "out.mp4")
    assert len(times) == 30
    assert writer.notes == ["subtitle stream 2 (ass) left out: mp4 cannot hold it"]
    assert packets_of(tmp_path / "out.mp4", "audio")


def test_colour_aspect_and_metadata_are_copied(clip, tmp_path, ffprobe):
    path = clip(
        "a.mp4", frames=3, colour=(1, 1, 1, 2), aspect=Fraction(4, 3),
        metadata={"title": "A walk", "comment": "slow"},
    )  # fmt: skip
    rewrite(path, tmp_path / "out.mp4")
    fields = "stream=color_range,color_space,color_transfer,color_primaries,sample_aspect_ratio"
    assert ffprobe(tmp_path / "out.mp4", "-show_entries", fields) == ["4:3,pc,bt709,bt709,bt709"]
    info = open_video(tmp_path / "out.mp4").info
    assert info.colour == ColourTags(1, 1, 1, 2)
    assert dict(info.metadata) == {"title": "A walk", "comment": "slow"}


def test_a_title_that_is_no_utf8_is_no_hindrance(clip, tmp_path):
    path = clip("a.mkv", frames=3, audio=True, metadata={"title": "A walk"})
    path.write_bytes(path.read_bytes().replace(b"A walk", b"\xe9 walk"))
    rewrite(path, tmp_path / "out.mkv")
    title = dict(open_video(tmp_path / "out.mkv").info.metadata)["title"]
    assert title in ("\ufffd walk", "\udce9 walk")  # PyAV 18, and from 19 on
    assert report_media(path).video.metadata == open_video(path).info.metadata


def test_pixels_survive(clip, tmp_path):
    path = clip("a.mp4", frames=3)
    rewrite(path, tmp_path / "out.mp4", options={"qp": "0", "preset": "ultrafast"})
    before, after = (list(open_video(p)) for p in (path, tmp_path / "out.mp4"))
    for a, b in zip(before, after, strict=True):
        assert np.array_equal(a.image.y, b.image.y)
        assert np.array_equal(a.image.u, b.image.u)


def test_odd_sizes_are_padded_with_the_edge(tmp_path, clip):
    path = clip("a.mkv", codec="ffv1", size_hw=(35, 51), frames=2)
    rewrite(path, tmp_path / "out.mp4", options={"qp": "0", "preset": "ultrafast"})
    image = next(iter(open_video(tmp_path / "out.mp4"))).image
    before = next(iter(open_video(path))).image
    assert image.size_hw == (36, 52)
    assert np.array_equal(image.y[:35, :51], before.y)
    assert np.array_equal(image.y[35, :51], before.y[34])
    assert np.array_equal(image.y[:35, 51], before.y[:, 50])
    assert np.array_equal(image.v, before.v)


@pytest.mark.parametrize(
    ("pixel_format", "dtype", "size_hw"),
    [("gray", np.uint8, (35, 51)), ("gray16le", np.uint16, (48, 64))],
)
@pytest.mark.parametrize("container", ["matroska", "nut"])
def test_ids_come_back_exactly_from_ffv1(clip, tmp_path, pixel_format, dtype, size_hw, container):
    info = replace(open_video(clip("a.mp4", frames=1)).info, size_hw=size_hw)
    info = replace(info, time_base=Fraction(1, 30000))
    random = np.random.default_rng(0)
    maps = [random.integers(0, np.iinfo(dtype).max, size_hw, dtype, True) for _ in range(4)]
    path = tmp_path / "ids.bin"
    wishes = {"codec": "ffv1", "container": container, "pixel_format": pixel_format}
    writer = VideoWriter(path, info, **wishes)
    for index, ids in enumerate(maps):
        writer.write(ids, 1001 * index)
    writer.finish()
    with av.open(str(path)) as opened:
        frames = list(opened.decode(video=0))
        times = [frame.pts * frame.time_base for frame in frames]
        assert all(np.array_equal(f.to_ndarray(), m) for f, m in zip(frames, maps, strict=True))
    error_s = max(abs(t - Fraction(1001 * i, 30000)) for i, t in enumerate(times))
    assert error_s <= (Fraction(1, 2000) if container == "matroska" else 0)


def test_impossible_outputs_are_named(clip, tmp_path):
    info = open_video(clip("a.mp4", frames=1)).info
    (tmp_path / "folder").mkdir()
    for target, why in [
        (tmp_path / "none" / "out.mp4", "create it"),
        (tmp_path / "folder", "name a file inside"),
    ]:
        with pytest.raises(OutputError, match=why) as caught:
            VideoWriter(target, info, **H264)
        assert caught.value.exit_code == 6
    with pytest.raises(OutputError, match="codec 'h999': not known"):
        VideoWriter(tmp_path / "x.mp4", info, **{**H264, "codec": "h999"})
    with pytest.raises(OutputError, match=r"x\.mp4: .*; "):
        VideoWriter(tmp_path / "x.mp4", info, **{**H264, "options": {"preset": "warp"}})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("container", ["mp4", "matroska", "rawvideo"])
def test_a_full_disk_is_an_error(clip, container):
    info = open_video(clip("a.mp4", frames=1)).info
    wishes = {**H264, "container": container}
    if container == "rawvideo":
        wishes["codec"] = "rawvideo"
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        writer = VideoWriter("/dev/full", info, **wishes)
        for index in range(200):
            writer.write(Rgb(picture(index)).yuv420(6, False), index * 512)
        writer.finish()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of open files here")
def test_a_writer_that_cannot_finish_lets_go_of_its_file(clip, tmp_path, monkeypatch):
    def full(packets):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    info = open_video(clip("a.mp4", frames=1)).info
    writer = VideoWriter(tmp_path / "out.mp4", info, **H264)
    writer.write(Rgb(picture(0)).yuv420(6, False), 0)
    monkeypatch.setattr(writer._remuxer, "write", full)
    with pytest.raises(OutputError, match="No space left on device"):
        writer.finish()
    opened = [one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert tmp_path / "out.mp4" not in opened


def test_abort_leaves_no_trailer_and_may_be_repeated(clip, tmp_path):
    info = open_video(clip("a.mp4", frames=1)).info
    writer = VideoWriter(tmp_path / "out.mp4", info, **H264)
    writer.write(Rgb(picture(0)).yuv420(6, False), 0)
    writer.abort()
    writer.abort()
    assert b"moov" not in (tmp_path / "out.mp4").read_bytes()


KILLED = """
import sys, time
from vidparse.video import VideoWriter, open_video
source = open_video(sys.argv[1])
writer = VideoWriter(sys.argv[2], source.info, codec="libx264", container="mp4",
                     pixel_format="yuv420p", copy_streams=True)
for frame in source:
    writer.write(frame.image, frame.pts, frame.packets)
    if frame.index == 199:
        print("ready", flush=True)
        time.sleep(60)
"""


def test_an_mp4_of_a_killed_writer_plays_to_its_last_fragment(clip, tmp_path, ffprobe):
    path = clip("a.mp4", frames=300, audio=True)
    out = tmp_path / "out.mp4"
    program = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(out)], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert program.stdout.readline() == b"ready\n"
    os.kill(program.pid, signal.SIGKILL)
    program.wait()
    program.stdout.close()
    wanted = times_of(path)[:200]
    saved = times_of(out)
    assert 200 - 25 * 2 <= len(saved) <= 200  # at most two seconds are lost
    assert saved == wanted[: len(saved)]
    assert len(ffprobe(out, "-select_streams", "v", "-show_entries", "frame=pts")) == len(saved)
    assert packets_of(out, "audio") == packets_of(path, "audio")[: len(packets_of(out, "audio"))]
    assert len(packets_of(out, "audio")) > 200


def test_a_closed_pipe_is_its_own_error(clip):
    info = open_video(clip("a.mp4", frames=1)).info
    reader, sender = os.pipe()
    os.close(reader)
    pipe = os.fdopen(sender, "wb")
    writer = VideoWriter(pipe, info, codec="rawvideo", container="rawvideo", pixel_format="yuv420p")
    with pytest.raises(ClosedPipe, match="the reading program has gone"):
        for index in range(100):
            writer.write(Rgb(picture(index)).yuv420(6, False), index)
    writer.abort()
    with contextlib.suppress(BrokenPipeError):
        pipe.close()


def test_sound_that_begins_late_is_kept(clip, tmp_path):
    path = clip("a.mp4", frames=100, audio=True)
    source = open_video(path)
    frames = list(source)
    packets = [p for f in frames for p in f.packets] + list(source.trailing_packets())
    late = [p for p in packets if p.pts * p.time_base >= 3]
    writer = VideoWriter(tmp_path / "out.mp4", source.info, copy_streams=True, **H264)
    for frame in frames:
        writer.write(frame.image, frame.pts, late if frame.index == 75 else ())
    writer.finish()
    source.close()
    assert times_of(tmp_path / "out.mp4") == times_of(path)
    kept = packets_of(tmp_path / "out.mp4", "audio")
    assert kept == [p for p in packets_of(path, "audio") if p[1] >= 3]


def test_memory_does_not_grow_with_silence(clip, tmp_path):
    """A sound track that never gets a packet must not hold the video back in memory."""
    source = open_video(clip("a.mp4", frames=10, audio=True))
    writer = VideoWriter(tmp_path / "out.mp4", source.info, copy_streams=True, **H264)
    picture_ = Rgb(picture(0)).yuv420(6, False)
    for index in range(25 * 8):
        writer.write(picture_, index * 512)
    assert (tmp_path / "out.mp4").stat().st_size > 4000
    writer.finish()
    source.close()
    assert len(times_of(tmp_path / "out.mp4")) == 200
