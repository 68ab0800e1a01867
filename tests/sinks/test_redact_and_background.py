"""Redacted videos hide what was found now, just before and just after; backgrounds are replaced."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from support.clips import make_clip
from vidparse.errors import Interrupted, OutputError, TruncatedError, UsageError
from vidparse.frame import Packet
from vidparse.labels import load_labels
from vidparse.maps import Matte, Prediction, SegmentMap
from vidparse.requests.matte import MatteOptions
from vidparse.requests.redaction import Margin, RedactOptions
from vidparse.sinks import SINKS, Sink, SinkOptions, make_sinks
from vidparse.sinks.redact import report_path
from vidparse.video import VideoWriter, open_video

CAMVID = load_labels("camvid")
CAR = CAMVID.classes.index("Car")
SIZE = 96, 128
PLACE = np.s_[32:64, 48:80]


def seen(index: int, is_there: bool) -> Prediction:
    ids = np.zeros(SIZE, np.uint8)
    if is_there:
        ids[PLACE] = CAR
    return Prediction(index, SegmentMap(ids), CAMVID)


def sink_of(tmp_path: Path, name: str, **options: object) -> Sink:
    source = tmp_path / "clip.mp4"
    out = f"{tmp_path}/out/"
    (sink,) = make_sinks([name], source=source, out=out, options=SinkOptions(**options))
    return sink


def hidden_in(path: Path) -> list[bool]:
    """For each frame of a video, if the place of the car is one flat colour."""
    with av.open(str(path)) as container:
        grey = [frame.to_ndarray(format="gray")[PLACE] for frame in container.decode(video=0)]
    return [float(one.std()) < 3 for one in grey]


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def redact(tmp_path: Path, views: list[bool], *, stop: int | None = None, union: int = 3) -> Sink:
    """A clip in which a car is found or not; `stop` interrupts after so many frames."""
    make_clip(tmp_path / "clip.mp4", frames=len(views), size_hw=SIZE, audio=True)
    chosen = RedactOptions("fill", ("Car",), Margin(4), union)
    sink = sink_of(tmp_path, "redact", redaction=chosen, crf=1)
    try:
        with open_video(tmp_path / "clip.mp4") as video, sink:
            for frame in video:
                if frame.index == stop:
                    raise Interrupted("stopped")
                if not frame.index:
                    sink.open(video.info, CAMVID)
                sink.write(frame, seen(frame.index, views[frame.index]))
            sink.close(keep=True, packets=video.trailing_packets())
    except Interrupted:
        pass
    return sink


def test_frames_before_and_after_hide_what_a_frame_lost(tmp_path) -> None:
    views = [False] * 5 + [True, True, False, True] + [False] * 6
    sink = redact(tmp_path, views)
    video, report = map(Path, sink.outputs)
    assert video.name == "clip.redacted.mp4" and report.name == "clip.redact.json"
    assert hidden_in(video) == [2 <= t <= 11 for t in range(15)]  # 3 frames to both sides
    assert times_of(video) == times_of(tmp_path / "clip.mp4")
    with av.open(str(video)) as container:
        assert [one.type for one in container.streams] == ["video", "audio"]

    record = json.loads(report.read_text())
    (gap,) = record["gaps"]
    assert (gap["frame"], gap["class"], gap["hidden"]) == (7, "Car", True)
    assert abs(gap["time_s"] - 7 / 25) < 1e-6
    assert record["totals"] == [
        {"frames": 15, "frames_with_gaps": 1, "frames_with": {"Car": 3}, "complete": True}
    ]
    assert record["classes"] == ["Car"] and record["margin_px"] == 4
    assert any("voices identify speakers" in note for note in sink.notes)
    assert any("lost for 1 to 3 frames in 1 frame, hidden by the union" in n for n in sink.notes)


def test_without_a_union_the_report_names_what_shows(tmp_path) -> None:
    sink = redact(tmp_path, [True, True, False, True, True], union=0)
    video, report = map(Path, sink.outputs)
    assert hidden_in(video) == [True, True, False, True, True]
    assert json.loads(report.read_text())["gaps"][0]["hidden"] is False
    assert any("NOT all hidden" in note for note in sink.notes)


def test_a_note_names_a_video_in_which_nothing_is_hidden(tmp_path) -> None:
    notes = redact(tmp_path, [False] * 4).notes
    assert "redact: Car: in no frame, so nothing is hidden" in notes
    (tmp_path / "b").mkdir()
    assert not any("in no frame" in one for one in redact(tmp_path / "b", [False, True]).notes)


def test_an_interrupt_leaves_out_frames_whose_future_nobody_knows(tmp_path) -> None:
    sink = redact(tmp_path, [False] * 8 + [True] * 4, stop=10)
    video = Path(sink.outputs[0])
    assert hidden_in(video) == [False] * 5 + [True] * 2  # 7 of 10 frames
    (note,) = (one for one in sink.notes if "what comes after" in one)
    assert note.startswith("clip.redacted.mp4: holds the first 7 of these 10 frames: ")
    assert json.loads(Path(sink.outputs[1]).read_text())["totals"][0]["frames"] == 7


def test_the_report_of_an_interrupted_run_is_of_the_frames_that_it_holds(tmp_path) -> None:
    views = [True, False, True, True, True, True, False, True]
    sink = redact(tmp_path, [*views, False], stop=8)
    record = json.loads(Path(sink.outputs[1]).read_text())
    assert [gap["frame"] for gap in record["gaps"]] == [1]  # not that of frame 6
    assert record["totals"] == [
        {"frames": 5, "frames_with_gaps": 1, "frames_with": {"Car": 4}, "complete": False}
    ]
    assert any("in 1 frame, hidden by the union" in note for note in sink.notes)


def test_an_interrupt_before_any_frame_is_written_leaves_nothing(tmp_path) -> None:
    sink = redact(tmp_path, [True] * 6, stop=2)
    assert not list((tmp_path / "out").iterdir())
    assert any("holds none of these 2 frames, so it is not kept" in note for note in sink.notes)


def test_a_picture_has_a_report_too(cli, tmp_path) -> None:
    cv2.imwrite(str(tmp_path / "street.jpg"), np.full((*SIZE, 3), 90, np.uint8))
    ended = cli("segment", tmp_path / "street.jpg", "--redact", "fill", "-o", f"{tmp_path}/out/")
    assert ended.code == 0, ended.err
    names = {one.name for one in (tmp_path / "out").iterdir()}
    assert names == {"street.redacted.png", "street.redact.json"}
    record = json.loads((tmp_path / "out" / "street.redact.json").read_text())
    assert record["totals"] == [
        {"frames": 1, "frames_with_gaps": 0, "frames_with": {}, "complete": True}
    ]
    assert "note: redact: countable things: in no frame, so nothing is hidden" in ended.err


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("a.redacted.mp4", "a.redact.json"),
        ("a.redacted.png", "a.redact.json"),
        ("a.b.mkv", "a.b.redact.json"),
        ("x_%04d.png", "x.redact.json"),
        ("%d.png", "redact.json"),
        ("100%.mp4", "100%.redact.json"),
    ],
)
def test_the_report_lies_beside_under_the_same_name(name, report) -> None:
    suffixes = SINKS["redact"].suffix, SINKS["redact"].picture_suffix
    assert report_path(Path(name), suffixes) == Path(report)


def test_a_failure_leaves_nothing(tmp_path) -> None:
    make_clip(tmp_path / "clip.mp4", frames=6, size_hw=SIZE)
    sink = sink_of(tmp_path, "redact", redaction=RedactOptions("blur"))
    with pytest.raises(OutputError), open_video(tmp_path / "clip.mp4") as video, sink:
        for frame in video:
            if not frame.index:
                sink.open(video.info, CAMVID)
            found = seen(frame.index, True)
            if frame.index == 5:
                found = Prediction(5, SegmentMap(np.full(SIZE, 77, np.uint8)), CAMVID)
            sink.write(frame, found)
    assert not list((tmp_path / "out").iterdir())


def test_a_disk_that_is_full_at_the_last_pictures_leaves_no_report(tmp_path, monkeypatch) -> None:
    def full(self: VideoWriter, packets: Sequence[Packet] = ()) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(VideoWriter, "finish", full)
    with pytest.raises(OutputError, match="disk full"):
        redact(tmp_path, [True] * 6)
    assert not list((tmp_path / "out").iterdir())


def test_a_pipe_gets_redacted_frames_alone(tmp_path) -> None:
    stream = io.BytesIO()
    sink = SINKS["redact"](
        stream, SinkOptions(redaction=RedactOptions("fill", ("Car",)), pipe_format="raw")
    )
    make_clip(tmp_path / "clip.mp4", frames=6, size_hw=SIZE)
    with open_video(tmp_path / "clip.mp4") as video, sink:
        for frame in video:
            if not frame.index:
                sink.open(video.info, CAMVID)
            sink.write(frame, seen(frame.index, frame.index in (0, 5)))
    frames = np.frombuffer(stream.getvalue(), np.uint8).reshape(6, *SIZE, 3)
    assert all(frame[PLACE].std() < 3 for frame in frames)


def test_no_more_frames_are_held_than_the_union_looks_ahead(tmp_path) -> None:
    make_clip(tmp_path / "clip.mp4", frames=40, size_hw=SIZE)
    sink = sink_of(tmp_path, "redact", redaction=RedactOptions("blur", redact_union=4))
    with open_video(tmp_path / "clip.mp4") as video, sink:
        for frame in video:
            if not frame.index:
                sink.open(video.info, CAMVID)
            sink.write(frame, seen(frame.index, True))
            assert sum(one.frame is not None for one in sink._window) <= 4
            assert len(sink._window) <= 9


def test_the_place_of_the_camera_is_left_out_of_the_metadata(tmp_path) -> None:
    make_clip(tmp_path / "clip.mp4", frames=4, size_hw=SIZE)
    sink = sink_of(tmp_path, "redact", redaction=RedactOptions("blur"))
    with open_video(tmp_path / "clip.mp4") as video, sink:
        metadata = (("title", "walk"), ("location", "+52.5+13.4/"))
        frame = next(iter(video))
        sink.open(replace(video.info, metadata=metadata), CAMVID)
        sink.write(frame, seen(0, True))
    with av.open(sink.outputs[0]) as container:
        assert container.metadata.get("title") == "walk"
        assert "location" not in container.metadata
    assert any("left out of the metadata: location" in note for note in sink.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"redaction": RedactOptions("blur", ("Crab",))}, "class 'Crab': not in label set"),
        (
            {"redaction": RedactOptions("blur", ("Car",)), "classes": (0,)},
            "--classes leaves it out",
        ),
    ],
)
def test_classes_that_cannot_be_hidden_are_refused(options, message) -> None:
    with pytest.raises(UsageError, match=message):
        SINKS["redact"].refuse(SinkOptions(**options), CAMVID)


def with_background(
    tmp_path: Path, wish: str | None, frames: int = 3, notes: list[str] | None = None
) -> np.ndarray:
    """RGB frames (T, H, W, 3) of a clip whose right half stays; `notes` gets the output's."""
    make_clip(tmp_path / "clip.mp4", frames=frames, size_hw=SIZE)
    mattes = MatteOptions(background=wish)
    sink = sink_of(tmp_path, "background", mattes=mattes, crf=1, overwrite=True)
    alpha = np.zeros(SIZE, np.uint8)
    alpha[:, 64:] = 255
    with open_video(tmp_path / "clip.mp4") as video, sink:
        for frame in video:
            if not frame.index:
                sink.open(video.info, CAMVID)
            found = Prediction(frame.index, SegmentMap(alpha), CAMVID, (Matte("x", alpha, alpha),))
            sink.write(frame, found)
    if notes is not None:
        notes += sink.notes
    return pictures(Path(sink.outputs[0]))


def pictures(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def test_a_colour_stands_behind_and_the_front_stays(tmp_path) -> None:
    shown = with_background(tmp_path, "#10C0F0")
    before = pictures(tmp_path / "clip.mp4")
    assert np.abs(shown[:, :, :56] - np.array([0x10, 0xC0, 0xF0])).mean() < 4
    assert np.abs(shown[:, :, 68:].astype(int) - before[:, :, 68:]).mean() < 4


def test_a_short_colour_is_that_of_doubled_digits(tmp_path) -> None:
    shown = with_background(tmp_path, "#1Cf")
    assert np.abs(shown[:, :, :56] - np.array([0x11, 0xCC, 0xFF])).mean() < 4


def test_a_picture_covers_the_frame_and_a_video_plays_and_begins_anew(tmp_path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((50, 200, 3), (40, 80, 160), np.uint8))
    shown = with_background(tmp_path, str(tmp_path / "wall.png"))
    assert np.abs(shown[:, :, :56].astype(int) - np.array([160, 80, 40])).mean() < 4

    make_clip(tmp_path / "loop.mp4", frames=4, size_hw=SIZE)
    shown = with_background(tmp_path, str(tmp_path / "loop.mp4"), frames=10)
    loop = pictures(tmp_path / "loop.mp4")
    for t, picture in enumerate(shown):
        wrong = [np.abs(picture[:, :56].astype(int) - one[:, :56]).mean() for one in loop]
        assert int(np.argmin(wrong)) == t % 4


def test_a_background_that_is_cut_off_begins_anew_and_a_note_names_it(tmp_path) -> None:
    whole = make_clip(tmp_path / "whole.mkv", frames=12, size_hw=SIZE).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) * 7 // 10])
    good: list[np.ndarray] = []
    with pytest.raises(TruncatedError), open_video(cut) as video:
        good.extend(frame.image.rgb().astype(int) for frame in video)
    assert 1 < len(good) < 12

    notes: list[str] = []
    shown = with_background(tmp_path, str(cut), frames=14, notes=notes)
    assert len(shown) == 14
    for t, picture in enumerate(shown):
        wrong = [np.abs(picture[:, :56] - one[:, :56]).mean() for one in good]
        assert int(np.argmin(wrong)) == t % len(good)
    assert notes == [f"background: {cut} is cut off, and begins anew behind its last frame"]


def test_a_note_names_a_background_with_nothing_before_it(tmp_path) -> None:
    clip = make_clip(tmp_path / "x.mp4", frames=1, size_hw=SIZE)
    sink = sink_of(tmp_path, "background", mattes=MatteOptions(("Car", "Pole")))
    with open_video(clip) as video:
        sink.open(video.info, CAMVID)
        for frame in video:
            nothing = np.zeros(SIZE, np.uint8)
            found = replace(seen(0, False), mattes=(Matte("Car+Pole", nothing, nothing),))
            sink.write(frame, found)
    sink.close(keep=True)
    assert sink.notes == ["background: Car,Pole: in no frame, so the background is all there is"]


def test_one_background_is_not_behind_each(tmp_path) -> None:
    with pytest.raises(UsageError, match="name the classes in front of it"):
        SINKS["background"].refuse(SinkOptions(mattes=MatteOptions(("each",))), CAMVID)


def test_a_blurred_background_has_none_of_the_front_in_it(tmp_path) -> None:
    from vidparse.sinks.background import _Blurred

    picture = np.full((*SIZE, 3), 40, np.uint8)
    picture[:, 64:] = 250
    alpha = np.zeros(SIZE, np.uint8)
    alpha[:, 64:] = 255
    behind = _Blurred().at(0.0, picture, alpha)
    assert behind[:, :60].max() <= 45
    assert with_background(tmp_path, None).shape == (3, *SIZE, 3)


@pytest.mark.parametrize("wish", ["green", "#12", "nowhere.png", ""])
def test_backgrounds_that_are_none_are_refused(wish) -> None:
    with pytest.raises(UsageError, match="write blur, a colour such as #00FF00"):
        SINKS["background"].refuse(SinkOptions(mattes=MatteOptions(background=wish)), CAMVID)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ("#ffff", "no colour of 3 or 6 hexadecimal digits"),
        ("{folder}", "a folder"),
        ("nowhere.png", "no such file"),
    ],
)
def test_backgrounds_that_are_none(cli, clip, tmp_path, wish, why):
    wish = wish.format(folder=tmp_path)
    words = ("--classes", "Car", "--matte", "Car", "--background", wish, "-o", tmp_path / "b.mp4")
    ended = cli("segment", clip("a.mp4", frames=2), *words)
    assert (ended.code, why in ended.err) == (2, True), ended.err
