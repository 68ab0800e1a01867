"""Mattes as files: what is read back is the alpha, at the times of the frames, with the sound."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from support.clips import make_clip
from vidparse.errors import OutputError, UsageError
from vidparse.frame import Frame
from vidparse.image import ColourTags
from vidparse.labels import load_labels
from vidparse.maps import Matte, Prediction, SegmentMap
from vidparse.requests.matte import MatteOptions
from vidparse.sinks import SINKS, SinkOptions, make_sinks
from vidparse.sinks.mattes import MOST_FILES
from vidparse.video import open_video

CAMVID = load_labels("camvid")
SIZE = 48, 64
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")


def matte(index: int, name: str = "Car") -> Matte:
    """A soft disc that moves a pixel per frame."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    alpha = np.clip(14 - np.hypot(y - 24, x - 24 - index), 0, 1) * 255
    alpha = np.rint(cv2.GaussianBlur(alpha, (0, 0), 1)).astype(np.uint8)
    return Matte(name, alpha, alpha[::2, ::2])


def predicted(frame: Frame, *mattes: Matte) -> Prediction:
    return Prediction(frame.index, SegmentMap(np.zeros(SIZE, np.uint8)), CAMVID, mattes)


def saved(tmp_path: Path, name: str, **clip: object) -> tuple[Path, list[str]]:
    """One output of a clip with a moving disc, and its notes."""
    source = make_clip(tmp_path / "clip.mp4", frames=8, **clip)
    options = SinkOptions(mattes=MatteOptions(("Car",)))
    (sink,) = make_sinks([name], source=source, out=f"{tmp_path}/out/", options=options)
    with open_video(source) as video, sink:
        for frame in video:
            if not frame.index:
                sink.open(video.info, CAMVID)
            sink.write(frame, predicted(frame, matte(frame.index)))
        sink.close(keep=True, packets=video.trailing_packets())
    (path,) = sink.outputs
    return Path(path), sink.notes


def shown_by_ffmpeg(
    path: Path, pixel_format: str, *before: str, filters: str = "null"
) -> np.ndarray:
    """All frames as FFmpeg's own program shows them, uint8 (T, H, W, C)."""
    words = ["ffmpeg", "-v", "error", *before, "-i", str(path), "-vf", filters, "-fps_mode"]
    words += ["passthrough", "-f", "rawvideo", "-pix_fmt", pixel_format, "-"]
    data = subprocess.run(words, capture_output=True, check=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, *SIZE, 4 if pixel_format == "rgba" else 1)


def streams_of(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return {one.type: one.codec_context.name for one in container.streams}


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


@needs_ffmpeg
@pytest.mark.parametrize("full_range", [False, True])
def test_a_gray_video_shows_alpha_and_keeps_sound_and_times(tmp_path, full_range) -> None:
    colour = (1, 1, 1, 2) if full_range else None
    pts = [0, 1, 2, 4, 5, 6, 9, 10]
    path, _ = saved(
        tmp_path, "matte", audio=True, colour=colour, pts=pts, time_base=Fraction(1, 25)
    )
    assert path.name == "clip.matte.mp4"
    shown = shown_by_ffmpeg(path, "gray")
    wanted = np.stack([matte(t).alpha for t in range(8)])
    assert np.abs(shown[..., 0].astype(int) - wanted).max() <= 12
    assert times_of(path) == [Fraction(one, 25) for one in pts]
    assert streams_of(path) == {"video": "h264", "audio": "aac"}


@needs_ffmpeg
def test_prores_4444_holds_alpha_exactly_and_sound(tmp_path) -> None:
    path, notes = saved(tmp_path, "cutout-prores", audio=True)
    assert path.name == "clip.cutout.mov" and notes == []
    shown = shown_by_ffmpeg(path, "rgba")
    wanted = np.stack([matte(t).alpha for t in range(8)])
    assert np.abs(shown[..., 3].astype(int) - wanted).max() <= 1
    assert streams_of(path) == {"video": "prores", "audio": "aac"}
    assert times_of(path) == times_of(tmp_path / "clip.mp4")


@pytest.mark.parametrize("name", ["matte", "cutout-prores", "cutout-vp9"])
def test_colour_tags_and_the_shape_of_pixels_are_kept_or_noted(tmp_path, name, ffprobe) -> None:
    path, notes = saved(tmp_path, name, colour=(1, 1, 1, 1), aspect=Fraction(4, 3))
    fields = "stream=color_range,color_space,color_transfer,color_primaries"
    assert ffprobe(path, "-show_entries", fields) == ["tv,bt709,bt709,bt709"]
    shape = ffprobe(path, "-show_entries", "stream=sample_aspect_ratio")
    if path.suffix == ".webm":
        assert shape == ["1:1"] and any("4/3 as wide as high" in note for note in notes)
    else:
        assert shape == ["4:3"] and notes == []


@needs_ffmpeg
def test_vp9_holds_alpha_and_sound_as_opus(tmp_path) -> None:
    path, notes = saved(tmp_path, "cutout-vp9", audio=True)
    assert path.name == "clip.cutout.webm"
    assert any("written as Opus" in note for note in notes)
    shown = shown_by_ffmpeg(path, "rgba", "-c:v", "libvpx-vp9")
    wanted = np.stack([matte(t).alpha for t in range(8)])
    difference = np.abs(shown[..., 3].astype(int) - wanted)
    assert difference.mean() < 2 and difference.max() < 48
    assert streams_of(path) == {"video": "vp9", "audio": "opus"}
    seconds = [float(one) for one in times_of(path)]
    np.testing.assert_allclose(
        seconds, [float(t) for t in times_of(tmp_path / "clip.mp4")], atol=1e-3
    )


@pytest.mark.parametrize("audio", [False, True])
def test_layers_of_one_run_lie_on_each_other(cli, tmp_path, audio) -> None:
    """Whatever the container: with a start, too, the same frame is at the same time in all."""
    make_clip(tmp_path / "clip.mp4", frames=40, size_hw=SIZE, audio=audio)
    layers = "overlay,matte,cutout-prores,cutout-vp9,background"
    words = ("--matte", "Car", "--start", "0.7", "--save", layers, "-o", f"{tmp_path}/out/")
    ended = cli("segment", tmp_path / "clip.mp4", *words)
    assert ended.code == 0, ended.err

    times = [times_of(path) for path in sorted((tmp_path / "out").iterdir())]
    assert len(times) == 5 and all(one[0] < 0.05 for one in times)
    for one in times[1:]:
        np.testing.assert_allclose([float(t) for t in one], [float(t) for t in times[0]], atol=1e-3)


@needs_ffmpeg
def test_sound_made_opus_is_the_same_sound(tmp_path) -> None:
    path, _ = saved(tmp_path, "cutout-vp9", audio=True)

    def tone(source: Path) -> np.ndarray:
        words = ["ffmpeg", "-v", "error", "-i", str(source), "-f", "f32le", "-ac", "1", "-ar"]
        data = subprocess.run([*words, "48000", "-"], capture_output=True, check=True).stdout
        return np.frombuffer(data, np.float32)[4000:12000]

    ours, theirs = tone(path), tone(tmp_path / "clip.mp4")
    fit = np.correlate(ours, theirs[100:-100], "valid") / (
        np.linalg.norm(ours[100:-100]) * np.linalg.norm(theirs[100:-100])
    )
    assert fit.max() > 0.98
    assert abs(int(fit.argmax()) - 100) < 100  # 2 ms


@pytest.mark.parametrize("name", ["matte-png", "trimap", "cutout-png"])
def test_pictures_of_mattes(tmp_path, name) -> None:
    path, _ = saved(tmp_path, name)
    assert path.is_dir() and len(list(path.iterdir())) == 8
    first = cv2.imread(str(path / "000003.png"), cv2.IMREAD_UNCHANGED)
    if name == "matte-png":
        np.testing.assert_array_equal(first, matte(3).alpha)
    elif name == "trimap":
        assert set(np.unique(first)) <= {0, 128, 255}
    else:
        np.testing.assert_array_equal(first[..., 3], matte(3).alpha)


def each(tmp_path: Path, name: str, views: list[tuple[str, ...]], **options: object) -> list[Path]:
    source = make_clip(tmp_path / "clip.mp4", frames=len(views))
    chosen = SinkOptions(mattes=MatteOptions("each"), **options)
    (sink,) = make_sinks([name], source=source, out=f"{tmp_path}/out/", options=chosen)
    with open_video(source) as video, sink:
        for frame, names in zip(video, views, strict=True):
            if not frame.index:
                sink.open(video.info, CAMVID)
            sink.write(frame, predicted(frame, *(matte(frame.index, one) for one in names)))
    return [Path(one) for one in sink.outputs]


def test_each_object_has_a_file_that_fits_the_video_from_its_first_frame(tmp_path) -> None:
    paths = each(tmp_path, "matte", [("car-1",), ("car-1", "car-7"), ("car-7",), ()])
    assert [one.name for one in paths] == ["clip.car-1.matte.mp4", "clip.car-7.matte.mp4"]
    for path, seen in zip(paths, [(0, 1), (1, 2)], strict=True):
        assert times_of(path) == times_of(tmp_path / "clip.mp4")
        with av.open(str(path)) as container:
            bright = [f.to_ndarray(format="gray").max() > 100 for f in container.decode(video=0)]
        assert [t for t, one in enumerate(bright) if one] == list(seen)


def test_pictures_of_each_object_begin_with_the_first_frame(tmp_path) -> None:
    paths = each(tmp_path, "matte-png", [(), ("traffic light",)])
    assert [one.name for one in paths] == ["clip.traffic-light.matte"]
    blank, seen = (cv2.imread(str(one), -1) for one in sorted(paths[0].iterdir()))
    assert not blank.any() and seen.any()


@pytest.mark.parametrize("name", ["matte", "matte-png", "trimap", "cutout-png"])
def test_a_matte_named_by_itself_has_the_pictures_of_each(tmp_path, name) -> None:
    """Faint, clear, gone, faint: what comes before the first clear frame is left out of both."""
    strengths, written = (0.3, 1, 0, 0.3), {}
    source = make_clip(tmp_path / "clip.mp4", frames=4)
    for words in ("Car", "each"):
        options = SinkOptions(mattes=MatteOptions(words), audio=False)
        out = f"{tmp_path}/{words}/"
        (sink,) = make_sinks([name], source=source, out=out, options=options)
        with open_video(source) as video, sink:
            for frame, strength in zip(video, strengths, strict=True):
                if not frame.index:
                    sink.open(video.info, CAMVID)
                one = matte(frame.index)
                faint = replace(one, alpha=np.rint(one.alpha * strength).astype(np.uint8))
                shown = () if words == "each" and not strength else (faint,)
                sink.write(frame, predicted(frame, *shown))
        (path,) = sink.outputs
        files = sorted(Path(path).iterdir()) if Path(path).is_dir() else [Path(path)]
        written[words] = [one.read_bytes() for one in files]

    assert written["Car"] == written["each"]
    if name == "matte-png":
        pictures = [cv2.imread(str(one), -1) for one in files]
        assert [int(one.max()) for one in pictures] == [0, 255, 0, 76]  # 0.3 * 255, to even


def test_files_of_each_are_not_replaced_nor_skipped_by_guess(tmp_path) -> None:
    each(tmp_path, "matte", [("car-1",)])
    with pytest.raises(OutputError, match="exists; use --overwrite"):
        each(tmp_path, "matte", [("car-1",)])
    with pytest.raises(UsageError, match="nobody knows its files before"):
        each(tmp_path, "matte", [("car-1",)], skip_existing=True)
    assert len(each(tmp_path, "matte", [("car-1",)], overwrite=True)) == 1


def test_there_are_only_so_many_files_of_each(tmp_path) -> None:
    names = tuple(f"car-{i}" for i in range(MOST_FILES + 3))
    assert len(each(tmp_path, "trimap", [names])) == MOST_FILES


def test_an_interrupted_run_keeps_the_frames_so_far(tmp_path) -> None:
    source = make_clip(tmp_path / "clip.mp4", frames=4)
    options = SinkOptions(mattes=MatteOptions(("Car",)))
    (sink,) = make_sinks(["cutout-vp9"], source=source, out=f"{tmp_path}/out/", options=options)
    with open_video(source) as video:
        frame = next(iter(video))
        sink.open(video.info, CAMVID)
        sink.write(frame, predicted(frame, matte(0)))
        sink.close(keep=True, complete=False)
    assert len(times_of(Path(sink.outputs[0]))) == 1


def test_a_pipe_cannot_hold_mov(tmp_path) -> None:
    import io

    with pytest.raises(OutputError, match="pipe cannot hold mov"):
        SINKS["cutout-prores"](io.BytesIO(), SinkOptions())


def test_odd_sizes_stay(tmp_path) -> None:
    info_size = (47, 63)
    source = make_clip(tmp_path / "clip.mp4", frames=1)
    with open_video(source) as video:
        info = replace(video.info, size_hw=info_size, colour=ColourTags())
    alpha = np.full(info_size, 200, np.uint8)
    picture = Frame.from_rgb(np.full((*info_size, 3), 90, np.uint8))
    for name in ("cutout-prores", "cutout-vp9"):
        options = SinkOptions(mattes=MatteOptions(("Car",)), audio=False)
        (sink,) = make_sinks([name], source=source, out=f"{tmp_path}/out/", options=options)
        with sink:
            sink.open(info, CAMVID)
            found = Matte("Car", alpha, alpha)
            sink.write(picture, Prediction(0, SegmentMap(alpha), CAMVID, (found,)))
        with av.open(sink.outputs[0]) as container:
            stream = container.streams.video[0]
            assert (stream.height, stream.width) == info_size


def test_quiet_leaves_the_note_on_an_empty_matte_to_json(cli, tmp_path) -> None:
    make_clip(tmp_path / "clip.mp4", frames=2, size_hw=SIZE)
    words = ("segment", tmp_path / "clip.mp4", "--matte", "Bicyclist", "--overwrite")
    ended = cli(*words)
    assert ended.code == 0 and "clip.matte.mp4: Bicyclist: in no frame" in ended.err
    assert (quiet := cli(*words, "-q")).code == 0 and (quiet.out, quiet.err) == (b"", "")
    record = json.loads(cli(*words, "-q", "--json").out)
    assert any("Bicyclist: in no frame" in note for note in record["inputs"][0]["notes"])


def test_a_matte_of_nothing_is_a_note(tmp_path) -> None:
    options = SinkOptions(mattes=MatteOptions(("Car",)))
    (sink,) = make_sinks(["matte"], source=tmp_path / "a.mp4", out=None, options=options)
    with open_video(make_clip(tmp_path / "a.mp4", frames=2)) as video, sink:
        sink.open(video.info, CAMVID)
        for frame in video:
            nothing = np.zeros(SIZE, np.uint8)
            sink.write(frame, predicted(frame, Matte("Car", nothing, nothing)))
        sink.close(keep=True)
    assert [note for note in sink.notes if "Car: in no frame, so the matte is empty" in note]
