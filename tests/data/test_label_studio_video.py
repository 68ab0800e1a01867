"""Boxes in Label Studio's videos, as the tool draws and counts them, good and bad."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.clips import make_clip
from support.made_labels import LABELS, made_dataset
from vidparse.data import Dataset, open_dataset
from vidparse.data import convert as converting
from vidparse.data.convert import convert_dataset
from vidparse.data.dataset import ALL, Format
from vidparse.errors import InputError, OutputError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.maps import Prediction, Segment, SegmentMap
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks import SINKS

HEIGHT, WIDTH = 48, 64


def key(frame: int, x: float, enabled: bool = True, **more: float) -> dict[str, object]:
    """A box of a quarter of the sides, `x` percent from the left."""
    box = {"x": x, "y": 25, "width": 25, "height": 25, "rotation": 0, **more}
    return {"frame": frame, "enabled": enabled, "time": frame / 25, **box}


def box(*keys: dict[str, object], **more: Any) -> dict[str, object]:
    value = {"framesCount": 6, "duration": 0.24, "labels": ["car"], "sequence": list(keys)}
    value |= more.pop("value", {})
    return {"id": "a", "type": "videorectangle", "value": value, **more}


def opened(root: Path, *regions: object, frames: int = 6, fps: int = 25, **data: str) -> Dataset:
    root.mkdir(exist_ok=True)
    make_clip(root / "clip.mp4", frames=frames, size_hw=(HEIGHT, WIDTH), rate=fps)
    task = {"data": data or {"video": "/data/upload/1/0a1b2c3d-clip.mp4"}}
    record = [{**task, "annotations": [{"result": list(regions)}]}]
    (root / "export.json").write_text(json.dumps(record))
    return open_dataset("label-studio", root, ALL)


def lefts(dataset: Dataset, number: int | None = None) -> list[int | None]:
    """The first column of an object in every frame; None where it is not."""
    found = []
    for frame in dataset.videos[0].frames:
        truth = dataset.load_truth(frame)
        places = [one.box[0] for one in truth.segments or () if number in (None, one.id)]
        found.append(places[0] if places else None)
    return found


def test_boxes_move_in_straight_lines_and_end(tmp_path: Path) -> None:
    """Frames count from 1; a disabled key frame is the last that shows the box."""
    dataset = opened(tmp_path, box(key(2, 0), key(4, 50, False)), box(key(6, 25)))
    assert [frame.labelled for frame in dataset.videos[0].frames] == [0, 1, 1, 1, 0, 1]
    assert lefts(dataset) == [None, 0, 16, 32, None, 16]
    assert dataset.videos[0].interval_s == pytest.approx(1 / 25)
    assert dataset.notes == (
        "label-studio: boxes in videos are read as masks that fill them, each with an id",
    )
    ids = {s.id for f in dataset.videos[0].frames for s in dataset.load_truth(f).segments or ()}
    assert len(ids) == 2
    mask = dataset.load_truth(dataset.videos[0].frames[2]).classes()
    assert (mask[12:24, 16:32] == 0).all() and (mask == 0).sum() == 12 * 16


def test_a_box_stays_behind_its_last_key_frame(tmp_path: Path) -> None:
    dataset = opened(tmp_path, box(key(3, 25), meta={"text": ["id 41"]}))
    assert lefts(dataset, 41) == [None, None, 16, 16, 16, 16]


def test_small_boxes_lie_on_large_ones_and_turn_round_their_corner(tmp_path: Path) -> None:
    large = box(key(1, 0, y=0, width=100, height=100))
    small = box(key(1, 50, rotation=90), value={"labels": ["bus"]})
    dataset = opened(tmp_path, small, large)
    assert dataset.labels.classes == ("bus", "car")
    mask = dataset.load_truth(dataset.videos[0].frames[0]).classes()
    wanted = np.ones((HEIGHT, WIDTH))
    wanted[12:28, 20:32] = 0  # 16x12 pixels, turned clockwise round (32, 12)
    assert (mask == wanted).all()


def test_frames_of_another_rate_are_found_by_their_times(tmp_path: Path) -> None:
    """The tool counts 24 per second by default: 2 s of 12 frames per second are 48 to it."""
    value = {"framesCount": 48, "duration": 2.0}
    dataset = opened(tmp_path, box(key(1, 0), key(41, 50, False), value=value), frames=24, fps=12)
    assert len(dataset.videos[0].frames) == 24
    assert lefts(dataset)[:21] == [round(32 * i / 20) for i in range(21)]
    assert lefts(dataset)[21:] == [None] * 3


def test_one_frame_too_many_of_the_browser_is_let_go(tmp_path: Path) -> None:
    dataset = opened(tmp_path, box(key(1, 0), value={"framesCount": 7, "duration": 0.25}))
    assert lefts(dataset) == [0] * 6
    for frame in dataset.videos[0].frames:
        assert dataset.load_image(frame).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("region", "data", "why"),
    [
        (box(), {"video": "/data/upload/1/gone.mp4"}, "no video gone.mp4 beside it; put it there"),
        (box(key(1, 0), value={"labels": []}), {}, "box a has no label"),
        (box({"frame": 1}), {}, "lacks 'x'"),
        (box({**key(1, 0), "frame": "1"}), {}, "frame is to be a whole number"),
        (box(key(0, 0)), {}, "frame is to be a whole number"),
        (box(key(1, 0), key(9, 0)), {}, "a box at frame 9, but its video ends with frame 6"),
        (box({**key(1, 0), "enabled": 1}), {}, "enabled is to be true or false"),
        (box(value={"sequence": 5}), {}, "sequence is to be a list"),
        (box(value={"framesCount": 10**12}), {}, "framesCount is to be a whole number"),
        ({"type": "videorectangle"}, {}, "lacks 'value'"),
    ],
)
def test_bad_boxes_are_named(
    tmp_path: Path, region: object, data: dict[str, str], why: str
) -> None:
    # Name the class by another region, so that it is known.
    with pytest.raises(InputError, match=why) as caught:
        opened(tmp_path, box(key(1, 0)), region, **data)
    assert "export.json" in str(caught.value) and "; " in str(caught.value)


def test_an_empty_or_broken_video_is_named(tmp_path: Path) -> None:
    opened(tmp_path, box(key(1, 0)))
    for data in (b"", b"no video at all"):
        (tmp_path / "clip.mp4").write_bytes(data)
        with pytest.raises(InputError, match=r"clip\.mp4"):
            open_dataset("label-studio", tmp_path, ALL)


def test_pictures_take_the_place_of_the_video(tmp_path: Path) -> None:
    made = made_dataset(tmp_path / "images", videos=1)  # images/v0/, of 64x40
    task = {"data": {"film": "s3://mine/v0.mp4"}, "annotations": [{"result": [box(key(2, 50))]}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    dataset = open_dataset("label-studio", tmp_path, ALL)
    assert lefts(dataset) == [None, 32, 32]
    frames = zip(made.videos[0].frames, dataset.videos[0].frames, strict=True)
    assert all((made.load_image(a) == dataset.load_image(b)).all() for a, b in frames)


def write(
    root: Path, boxes: list[dict[int, tuple[int, int, int, int]]], size_hw: tuple[int, int]
) -> Path:
    """A task of frames with boxes by id; ids below 10 are cars, others dogs."""
    one = Fraction(1, 30)
    info = VideoInfo(
        "caf\u00e9 1.mp4", size_hw, one, 1 / one, None, None, Fraction(1), ColourTags()
    )
    sink = SINKS["label-studio-video"](root, SinkOptions())
    with sink:
        sink.open(info, LABELS)
        for i, row in enumerate(boxes):
            ids = np.zeros(size_hw, np.uint16)
            found = []
            for number, (x, y, w, h) in row.items():
                ids[y : y + h, x : x + w] = number
                found.append(
                    Segment(number, 1 if number < 10 else 2, True, 0.5, w * h, (x, y, w, h))
                )
            picture = Rgb(np.full((*size_hw, 3), 40 * (i % 5), np.uint8))
            map_ = SegmentMap(ids, tuple(found))
            sink.write(Frame(i, i, picture), Prediction(i, map_, LABELS))
    return root


def result_of(root: Path) -> list[dict[str, Any]]:
    (task,) = json.loads((root / "tasks.json").read_text())
    return task["annotations"][0]["result"]  # type: ignore[no-any-return]


def test_only_key_frames_that_say_something_are_written(tmp_path: Path) -> None:
    """A straight way, a stop, a gap, and a way that is no straight line."""
    ways = [(0, 2), (4, 2), (8, 2), (8, 2), (8, 2), None, None, (20, 2), (21, 2), (23, 2)]
    boxes = [{} if way is None else {7: (*way, 10, 6)} for way in ways]
    boxes[4] = {**boxes[4], 12: (40, 20, 3, 3)}
    root = write(tmp_path / "out", boxes, (HEIGHT, WIDTH))
    car, dog = result_of(root)
    keys = [(one["frame"], one["enabled"]) for one in car["value"]["sequence"]]
    assert keys == [(1, True), (3, True), (5, False), (8, True), (9, True), (10, False)]
    assert [one["x"] * WIDTH / 100 for one in car["value"]["sequence"]] == [0, 8, 8, 20, 21, 23]
    assert [(one["frame"], one["enabled"]) for one in dog["value"]["sequence"]] == [(5, False)]
    assert (car["value"]["framesCount"], car["value"]["labels"]) == (10, ["car"])
    assert dog["value"]["labels"] == ["dog & <cat>"] and dog["meta"] == {"text": ["id 12"]}
    assert car["score"] == 0.5

    dataset = open_dataset("label-studio", root, ALL)
    assert lefts(dataset, 7) == [None if way is None else way[0] for way in ways]
    assert dataset.load_image(dataset.videos[0].frames[3]).mean() == pytest.approx(120, abs=3)


def test_label_studios_own_code_finds_the_same_boxes(tmp_path: Path) -> None:
    reason = "label_studio_sdk, the tool's own code, is not installed"
    tool = pytest.importorskip(
        "label_studio_sdk._extensions.label_studio_tools.postprocessing.video", reason=reason
    )
    tags = pytest.importorskip("label_studio_sdk.label_interface.control_tags", reason=reason)
    rng = np.random.default_rng(5)
    boxes: list[dict[int, tuple[int, int, int, int]]] = []
    for i in range(40):
        way = (i, 3, 8, 9) if i < 20 else (*(int(one) for one in rng.integers(0, 20, 2)), 8, 9)
        boxes.append({7: way} if i % 11 else {})
    root = write(tmp_path / "out", boxes, (HEIGHT, WIDTH))
    result = result_of(root)
    for region in result:
        tags.VideoRectangleValue(**region["value"])  # raises on anything that it does not know
    interface = pytest.importorskip("label_studio_sdk.label_interface", reason=reason)
    labelling = interface.LabelInterface((root / "config.xml").read_text())
    assert labelling.validate_annotation({"result": result})
    (every,) = tool.extract_key_frames(result)
    found = {one["frame"]: one for one in every["value"]["sequence"]}
    assert sorted(found) == [i + 1 for i, row in enumerate(boxes) if row]
    for frame, one in found.items():
        sides = (WIDTH, HEIGHT, WIDTH, HEIGHT)
        names = ("x", "y", "width", "height")
        place = [one[name] * side / 100 for name, side in zip(names, sides, strict=True)]
        assert place == pytest.approx(boxes[frame - 1][7], abs=1e-9)


def test_every_box_comes_back_from_random_ways(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    boxes = []
    for _ in range(60):
        row = {}
        for number in (3, 11):
            if rng.random() < 0.8:
                x = 30 * (number > 10) + int(rng.integers(0, 4))
                row[number] = (x, int(rng.integers(0, 3)), int(rng.integers(1, 20)), 5)
        boxes.append(row)
    root = write(tmp_path / "out", boxes, (HEIGHT, WIDTH))
    dataset = open_dataset("label-studio", root, ALL)
    frames = dataset.videos[0].frames
    assert len(frames) == 60
    for row, frame in zip(boxes, frames, strict=True):
        assert frame.labelled == bool(row)
        truth = dataset.load_truth(frame)
        assert {s.id: (s.class_id, s.box) for s in truth.segments or ()} == {
            number: (1 if number < 10 else 2, place) for number, place in row.items()
        }


def test_odd_sides_are_made_even(tmp_path: Path) -> None:
    root = write(tmp_path / "out", [{7: (1, 1, 40, 30)}], (41, 63))
    dataset = open_dataset("label-studio", root, ALL)
    (frame,) = dataset.videos[0].frames
    assert dataset.load_truth(frame).size_hw == (42, 64)
    assert dataset.load_truth(frame).segments[0].box == (1, 1, 40, 30)  # type: ignore[index]


def test_data_sets_keep_boxes_ids_and_videos(tmp_path: Path) -> None:
    to, made = "label-studio-video", made_dataset(tmp_path / "in", frames=4)
    layout = Format(
        open=lambda root, split, on_missing=None: made,
        sign="",
        matches=lambda root: True,
        splits=lambda root: (ALL,),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converting, "format_of", lambda name: layout)
        done = convert_dataset(tmp_path / "in", tmp_path / "out", to=to, dataset="made")
    assert any("holds boxes" in note for note in done.notes)
    assert (done.read_as, done.videos, done.frames) == ("label-studio", 2, 8)
    after = open_dataset(done.read_as, tmp_path / "out", ALL)
    assert [video.name for video in after.videos] == ["v0", "v1"]
    assert after.labels == LABELS
    for one, other in zip(made.videos, after.videos, strict=True):
        for frame, again in zip(one.frames, other.frames, strict=True):
            wanted = {s.id: s.box for s in made.load_truth(frame).segments or () if s.is_thing}
            found = {s.id: s.box for s in after.load_truth(again).segments or ()}
            assert found == wanted

    # And on to a format of masks, with a note on what they are.
    done = convert_dataset(tmp_path / "out", tmp_path / "ytvis", to="ytvis")
    assert any("boxes in videos are read as masks that fill them" in note for note in done.notes)


def test_frames_of_several_sizes_are_refused(tmp_path: Path) -> None:
    one = Fraction(1, 25)
    info = VideoInfo("a", (HEIGHT, WIDTH), one, 1 / one, None, None, Fraction(1), ColourTags())
    sink = SINKS["label-studio-video"](tmp_path / "out", SinkOptions())
    with pytest.raises(OutputError, match="a frame of 16x16 in a video of 64x48"), sink:
        sink.open(info, LABELS)
        for i, size_hw in enumerate(((HEIGHT, WIDTH), (16, 16))):
            empty = SegmentMap(np.zeros(size_hw, np.uint16), ())
            picture = Rgb(np.zeros((*size_hw, 3), np.uint8))
            sink.write(Frame(i, i, picture), Prediction(i, empty, LABELS))
    assert list(tmp_path.iterdir()) == []


def test_no_frame_at_all_is_an_empty_list(tmp_path: Path) -> None:
    root = write(tmp_path / "out", [], (HEIGHT, WIDTH))
    assert json.loads((root / "tasks.json").read_text()) == []
