"""What challenges are sent: the layout they want, and exactly what was predicted."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from vidparse.data.pictures import read_indices
from vidparse.errors import Interrupted, OutputError, UsageError
from vidparse.evaluation import video_panoptic_quality
from vidparse.evaluation.metrics.semantic import ConfusionMatrix
from vidparse.evaluation.metrics.tracking import segmentation_tracking_quality
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.labels import load_labels
from vidparse.maps import (
    Prediction,
    Segment,
    SegmentIds,
    SegmentMap,
    read_panoptic_json,
    read_panoptic_png,
)
from vidparse.sinks import SinkOptions, VipSegFolder, VspwFolder, make_sinks
from vidparse.video import expand_inputs

VSPW = load_labels("vspw")
SIZE_HW = (24, 40)
OPTIONS = SinkOptions()


def feed(sink: Any, predictions: Sequence[Prediction], names: Sequence[str] | None = None) -> None:
    info = VideoInfo(
        name="clip.mp4",
        size_hw=SIZE_HW,
        time_base=Fraction(1, 25),
        rate=Fraction(25),
        frames=None,
        duration_s=None,
        sample_aspect_ratio=Fraction(1),
        colour=ColourTags(),
    )
    sink.open(info, VSPW)
    picture = Rgb(np.zeros((*SIZE_HW, 3), np.uint8))
    for i, prediction in enumerate(predictions):
        sink.write(Frame(i, i, picture, name=names[i] if names else None), prediction)


def write(sink: Any, predictions: Sequence[Prediction], names: Sequence[str] | None = None) -> None:
    feed(sink, predictions, names)
    sink.close(keep=True)


def semantic(frames: int, seed: int = 0) -> list[Prediction]:
    random = np.random.default_rng(seed)
    maps = random.choice([0, 6, 61, 84, 123, 255], (frames, *SIZE_HW)).astype(np.uint8)
    return [Prediction(i, SegmentMap(ids), VSPW) for i, ids in enumerate(maps)]


def panoptic(frames: int, seed: int = 0) -> list[Prediction]:
    """Objects 1..9 of a few categories, coming and going; 0 is nothing."""
    random = np.random.default_rng(seed)
    things, stuff = sorted(VSPW.things), sorted(set(range(124)) - VSPW.things)
    category = {i: things[i * 5 % 7] for i in range(1, 7)} | {7: stuff[0], 8: stuff[9], 9: stuff[9]}
    predictions = []
    for index in range(frames):
        present = random.permutation(10)[:7]
        ids = random.choice(present, (SIZE_HW[0] // 4, SIZE_HW[1] // 4)).astype(np.uint16)
        ids = ids.repeat(4, 0).repeat(4, 1)
        segments = tuple(
            Segment(i, category[i], category[i] in VSPW.things, 0.9, 0, (0, 0, 0, 0))
            for i in category
            if i in present
        )
        predictions.append(Prediction(index, SegmentMap(ids, segments), VSPW))
    return predictions


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def read_back(root: Path, video: str) -> tuple[np.ndarray, np.ndarray]:
    """Segment ids (T, H, W) and rows (N, 4): frame, segment id, category, iscrowd."""
    frames = read_panoptic_json(root / "pred.json").videos[video]
    ids = [read_panoptic_png(root / "pan_pred" / video / frame.file_name) for frame in frames]
    rows = [
        (t, row.id, row.class_id, row.is_crowd)
        for t, frame in enumerate(frames)
        for row in frame.segments
    ]
    return np.stack(ids), np.array(rows, np.int64).reshape(-1, 4)


# VSPW


def test_vspw_is_a_folder_of_index_pictures(tmp_path):
    predictions = semantic(3)
    write(VspwFolder(tmp_path / "sub", OPTIONS, video="12_a-b_C"), predictions)
    files = [f"12_a-b_C/{i:08d}.png" for i in range(3)]
    assert listing(tmp_path / "sub") == files
    for file, prediction in zip(files, predictions, strict=True):
        path = tmp_path / "sub" / file
        np.testing.assert_array_equal(read_indices(path), prediction.ids)
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.pix_fmt == "pal8"
        colours = cv2.imread(str(path))[..., ::-1]
        np.testing.assert_array_equal(colours, VSPW.palette()[prediction.ids])


def test_vspw_in_raw_ids_reads_as_ground_truth(tmp_path):
    predictions = semantic(2)
    write(VspwFolder(tmp_path, SinkOptions(raw_ids=True), video="v"), predictions)
    for i, prediction in enumerate(predictions):
        path = tmp_path / "v" / f"{i:08d}.png"
        raw = read_indices(path)
        assert set(np.unique(raw)) == {0, 1, 7, 62, 85, 124}
        np.testing.assert_array_equal(raw - np.uint8(1), prediction.ids)  # void: 0 to 255
        colours = cv2.imread(str(path))[..., ::-1]
        np.testing.assert_array_equal(colours, VSPW.palette()[prediction.ids])


def test_vspw_of_objects_holds_their_classes(tmp_path):
    (prediction,) = panoptic(1)
    write(VspwFolder(tmp_path, OPTIONS, video="v"), [prediction], ["00000166"])
    ids = read_indices(tmp_path / "v" / "00000166.png")
    for segment in prediction.segments or ():
        assert (ids[prediction.ids == segment.id] == segment.class_id).all()
    assert (ids[prediction.ids == 0] == 255).all()


def test_vspw_scores_one_against_what_was_predicted(tmp_path):
    predictions = semantic(4)
    write(VspwFolder(tmp_path, OPTIONS, video="v"), predictions)
    confusion = ConfusionMatrix(124)
    for prediction in predictions:
        stored = read_indices(tmp_path / "v" / f"{prediction.index:08d}.png")
        confusion.update(prediction.ids, stored)
    assert confusion.compute().miou == 1


def test_vspw_refuses_more_classes_than_a_byte_holds(tmp_path):
    names = tuple(f"class {i}" for i in range(255))
    labels = replace(VSPW, name="of255", classes=names, colours=((1, 2, 3),) * 255)
    info = VideoInfo("v", SIZE_HW, Fraction(1), None, None, None, Fraction(1), ColourTags())
    VspwFolder(tmp_path / "a", OPTIONS, video="v").open(info, labels)
    sink = VspwFolder(tmp_path / "b", SinkOptions(raw_ids=True), video="v")
    with pytest.raises(OutputError, match="hold 254 classes and 'of255' has 255; use --save masks"):
        sink.open(info, labels)
    sink.close(keep=True)
    assert not (tmp_path / "b").exists()


# VIPSeg


def test_vipseg_gives_every_class_or_object_one_id(tmp_path):
    classes, objects = semantic(3), panoptic(12)
    write(VipSegFolder(tmp_path, OPTIONS, video="classes"), classes)
    write(VipSegFolder(tmp_path, OPTIONS, video="objects"), objects)
    ids, rows = read_back(tmp_path, "classes")
    expected = SegmentIds(VSPW, "classes")
    for category in (0, 6, 61, 84, 123):
        mine = np.stack([p.ids for p in classes]) == category
        assert set(ids[mine]) == {expected(category)}
    assert (ids[np.stack([p.ids for p in classes]) == 255] == 0).all()
    ids, rows = read_back(tmp_path, "objects")
    given = np.stack([p.ids for p in objects])
    found = {number: set(ids[given == number].tolist()) for number in range(10)}
    assert found[0] == {0} and found[8] == found[9]  # all stuff of a class is one
    assert all(len(same) == 1 for same in found.values())
    assert len(set.union(*found.values())) == 9
    assert 0 not in rows[:, 1]
    category_of = {}
    for _, segment, category, _ in rows.tolist():
        assert category_of.setdefault(segment, category) == category


def test_vipseg_record_describes_every_picture(tmp_path):
    names = [f"{i:08d}" for i in (166, 167, 169)]
    write(VipSegFolder(tmp_path, OPTIONS, video="7_x"), panoptic(3), names)
    record = json.loads((tmp_path / "pred.json").read_text())
    assert record["categories"][6] == {
        "id": 6,
        "name": "Playground_slide",
        "isthing": 0,
        "color": [140, 140, 140],
    }
    (images,), (annotations,) = record["videos"], record["annotations"]
    assert images["video_id"] == annotations["video_id"] == "7_x"
    for name, image, frame in zip(names, images["images"], annotations["annotations"], strict=True):
        file = f"{name}.png"
        assert image == {"id": name, "width": 40, "height": 24, "file_name": file}
        assert (frame["file_name"], frame["image_id"]) == (file, name)
        ids = read_panoptic_png(tmp_path / "pan_pred" / "7_x" / file)
        assert {row["id"] for row in frame["segments_info"]} == set(np.unique(ids)) - {0}
        for row in frame["segments_info"]:
            y, x = np.nonzero(ids == row["id"])
            box = [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
            assert (row["area"], row["bbox"], row["iscrowd"]) == (len(x), box, 0)


def truth_of(predictions: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray]:
    """As `read_back`, of what went in; objects 8 and 9 are stuff of one class, so one segment."""
    ids = np.stack([prediction.ids.astype(np.int64) for prediction in predictions])
    ids[ids == 9] = 8
    rows = {
        (prediction.index, min(segment.id, 8), segment.class_id, 0)
        for prediction in predictions
        for segment in prediction.segments or ()
        if (prediction.ids == segment.id).any()
    }
    return ids, np.array(sorted(rows), np.int64)


def test_vipseg_scores_one_against_what_was_predicted(tmp_path):
    videos = {"a": panoptic(9, 0), "b": panoptic(7, 1)}
    for video, predictions in videos.items():
        write(VipSegFolder(tmp_path, OPTIONS, video=video), predictions)
    true, true_rows = zip(*map(truth_of, videos.values()), strict=True)
    predicted, predicted_rows = zip(*(read_back(tmp_path, video) for video in videos), strict=True)
    things, stuff = sorted(VSPW.things), sorted(set(range(124)) - VSPW.things)
    quality = video_panoptic_quality(
        true, predicted, true_rows, predicted_rows, thing_ids=things, stuff_ids=stuff
    )
    assert quality.vpq == quality.things == quality.stuff == 1
    tracking = segmentation_tracking_quality(
        true, predicted, true_rows, predicted_rows, num_classes=124, thing_ids=things, mode="clean"
    )
    assert tracking.stq == pytest.approx(1) and tracking.aq == pytest.approx(1)
    itself = segmentation_tracking_quality(
        predicted,
        predicted,
        predicted_rows,
        predicted_rows,
        num_classes=124,
        thing_ids=things,
        mode="clean",
    )
    assert itself.stq == pytest.approx(1)


def test_vipseg_is_the_same_every_time(tmp_path):
    for folder in ("one", "two"):
        write(VipSegFolder(tmp_path / folder, OPTIONS, video="v"), panoptic(5))
    one, two = tmp_path / "one", tmp_path / "two"
    assert listing(one) == listing(two)
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in listing(one))


def test_pred_json_takes_a_video_in_place_of_its_older_self(tmp_path):
    for video, frames in (("b", 2), ("c", 3), ("a", 1)):
        write(VipSegFolder(tmp_path, OPTIONS, video=video), panoptic(frames))
    before = json.loads((tmp_path / "pred.json").read_text())
    assert [video["video_id"] for video in before["annotations"]] == ["a", "b", "c"]
    write(VipSegFolder(tmp_path, SinkOptions(overwrite=True), video="b"), panoptic(5, seed=4))
    after = json.loads((tmp_path / "pred.json").read_text())
    for section, inner in (("annotations", "annotations"), ("videos", "images")):
        assert after[section][0] == before[section][0]
        assert after[section][2] == before[section][2]
        assert [len(video[inner]) for video in after[section]] == [1, 5, 3]
    assert len(listing(tmp_path / "pan_pred" / "b")) == 5
    assert not [name for name in listing(tmp_path) if "part" in name]


def test_pred_json_of_another_tool_is_kept_and_extended(tmp_path):
    theirs = {
        "info": {"by": "them"},
        "annotations": [
            {"video_id": "z", "annotations": [{"file_name": "1.png", "segments_info": []}]}
        ],
    }
    (tmp_path / "pred.json").write_text(json.dumps(theirs, indent=2))
    for video in "ab":
        write(VipSegFolder(tmp_path, OPTIONS, video=video), panoptic(1))
    record = json.loads((tmp_path / "pred.json").read_text())
    assert record["info"] == theirs["info"]
    assert [video["video_id"] for video in record["annotations"]] == ["a", "b", "z"]
    assert record["annotations"][2] == theirs["annotations"][0]
    assert [video["video_id"] for video in record["videos"]] == ["a", "b"]


def test_many_writers_lose_no_video(tmp_path):
    def work(video: str) -> None:
        write(VipSegFolder(tmp_path, OPTIONS, video=video), panoptic(2))

    videos = [f"v{i}" for i in range(12)]
    threads = [threading.Thread(target=work, args=(video,)) for video in videos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(videos) == list(read_panoptic_json(tmp_path / "pred.json").videos)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "Expecting value"),
        ("[1, 2]", "not a json of videos"),
        ('{"annotations": [{"image_id": 1, "segments_info": []}]}', "not a json of videos"),
        ("half", "damaged: it ends early"),
        ("spoilt", "damaged"),
    ],
)
def test_a_pred_json_that_can_not_be_extended_is_left_alone(tmp_path, content, why):
    path = tmp_path / "pred.json"
    if content in ("half", "spoilt"):
        write(VipSegFolder(tmp_path, OPTIONS, video="a"), panoptic(3))
        whole = path.read_text()
        half = whole[: whole.rindex('{"file_name"')]
        content = half if content == "half" else whole.replace('"annotations": [\n{"v', "{", 1)
    path.write_text(content)
    before = listing(tmp_path)
    with pytest.raises(OutputError, match=rf"pred\.json: .*{why}.*move it away"):
        make_sinks(["vipseg"], source="b.mp4", out=f"{tmp_path}/", options=OPTIONS)
    sink = VipSegFolder(tmp_path, OPTIONS, video="b")
    with pytest.raises(OutputError, match=r"pred\.json"):
        feed(sink, panoptic(1))
    sink.close(keep=True)
    assert listing(tmp_path) == before and path.read_text() == content
    assert not (tmp_path / "pan_pred" / "b").exists()


@pytest.mark.parametrize("place", [1, 3, 4, 9, 11])  # head, a video, a picture, an annotation
def test_one_damaged_byte_of_pred_json_is_found_before_anything_is_written(tmp_path, place):
    path = tmp_path / "pred.json"
    write(VipSegFolder(tmp_path, OPTIONS, video="a"), panoptic(3))
    lines = path.read_bytes().splitlines(keepends=True)
    line = bytearray(lines[place - 1])
    line[line.index(b":")] = 0xE9
    path.write_bytes(b"".join([*lines[: place - 1], bytes(line), *lines[place:]]))
    with pytest.raises(OutputError, match=rf"pred\.json: damaged in line {place}.*move it away"):
        make_sinks(["vipseg"], source="b.mp4", out=f"{tmp_path}/", options=OPTIONS)


def test_a_pred_json_of_other_classes_is_left_alone(tmp_path):
    record = {"annotations": [], "categories": [{"id": 0, "name": "road"}]}
    (tmp_path / "pred.json").write_text(json.dumps(record))
    with pytest.raises(OutputError, match="not the classes of 'vspw'; use another -o"):
        feed(VipSegFolder(tmp_path, OPTIONS, video="v"), panoptic(1))
    assert listing(tmp_path) == ["pred.json"]


def test_an_interrupted_video_keeps_its_frames(tmp_path, monkeypatch):
    sink = VipSegFolder(tmp_path, OPTIONS, video="v")
    feed(sink, panoptic(2))

    def interrupted(*_: object) -> bytes:
        raise Interrupted("stopped")

    monkeypatch.setattr("vidparse.sinks.submission.annotation_line", interrupted)
    with pytest.raises(Interrupted):
        sink.write(Frame(2, 2, Rgb(np.zeros((*SIZE_HW, 3), np.uint8))), panoptic(3)[2])
    sink.close(keep=True)
    assert listing(tmp_path / "pan_pred" / "v") == ["00000000.png", "00000001.png"]
    assert len(read_panoptic_json(tmp_path / "pred.json").videos["v"]) == 2


@pytest.mark.parametrize("kind", [VspwFolder, VipSegFolder])
@pytest.mark.parametrize("frames", [0, 2])
def test_dropped_submissions_leave_nothing(tmp_path, kind, frames):
    sink = kind(tmp_path / "deep" / "sub", OPTIONS, video="v")
    if frames:
        feed(sink, semantic(frames))
    sink.close(keep=False)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


# Where they go


@pytest.fixture
def at_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outputs(name: str, source: str, out: str | None = None, **wishes: Any) -> list[str]:
    (sink,) = make_sinks([name], source=source, out=out, options=OPTIONS, **wishes)
    return list(sink.outputs)


def test_videos_share_a_folder(at_tmp):
    Path("have").mkdir()
    for out in ("sub", "sub/", "have"):
        root = out.rstrip("/")
        assert outputs("vspw", "x/a.mp4", out) == [f"{root}/a"]
        assert outputs("vipseg", "b.mp4", out) == [f"{root}/pan_pred/b", f"{root}/pred.json"]
    assert outputs("vspw", "a.mp4", "sub", video="12_x.y") == ["sub/12_x.y"]
    assert listing(at_tmp) == [] and not Path("sub").exists()


def test_without_out_they_lie_beside_the_input(at_tmp):
    assert outputs("vspw", "x/a.mp4") == ["x/a.vspw/a"]
    assert outputs("vipseg", "a.b.mp4") == ["a.b.vipseg/pan_pred/a.b", "a.b.vipseg/pred.json"]


def test_a_second_run_does_not_take_them_for_inputs(at_tmp):
    Path("clips").mkdir()
    for name in ("a.mp4", "a.vspw/a/00000000.png", "a.vipseg/pred.json"):
        path = Path("clips", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    for pattern in ("clips/*", "clips"):
        assert [one.name for one in expand_inputs([pattern])] == ["clips/a.mp4"]


@pytest.mark.parametrize("source", ["data/v1/origin", "data/v1/origin/", "data/v1/origin/*.jpg"])
def test_a_folder_called_origin_is_named_by_its_parent(at_tmp, source):
    Path("data/v1/origin").mkdir(parents=True)
    assert outputs("vspw", source, "sub/") == ["sub/v1"]
    assert outputs("vspw", "origin.mp4", "sub/") == ["sub/origin"]
    assert outputs("csv", source, "sub/") == ["sub/origin.csv"]


def test_where_they_can_not_go(at_tmp):
    Path("file").write_text("mine")
    for name in ("vspw", "vipseg"):
        with pytest.raises(UsageError, match=rf"-o -: {name} is a folder.*use -o DIR/"):
            make_sinks([name], source="a", out="-", options=OPTIONS, stdout=io.BytesIO())
        with pytest.raises(OutputError, match="file: is a file"):
            outputs(name, "a.mp4", "file")
        with pytest.raises(UsageError, match=r"name one without \.mp4"):
            outputs(name, "a.mp4", "x.mp4")
        taken = {path: "x/a.mp4" for path in outputs(name, "a.mp4", "sub")}
        with pytest.raises(OutputError, match=r"a\.mp4: would overwrite .*a of x/a\.mp4"):
            outputs(name, "a.mp4", "sub", taken=taken)
    Path("frames").mkdir()
    with pytest.raises(OutputError, match="is the input itself"):
        outputs("vspw", "frames", ".")
    with pytest.raises(ValueError, match="no name of a video"):
        VspwFolder(at_tmp, OPTIONS, video="../x")


@pytest.mark.parametrize("name", ["vspw", "vipseg"])
def test_existing_videos_are_kept_without_overwrite(at_tmp, name):
    def sink(**wishes: Any) -> Any:
        options = SinkOptions(**wishes)
        return make_sinks([name], source="a.mp4", out="sub", options=options)[0]

    write(sink(), semantic(3))
    with pytest.raises(OutputError, match="a: exists; use --overwrite or -o"):
        sink()
    assert outputs(name, "b.mp4", "sub")  # another video goes beside it
    write(sink(overwrite=True), semantic(2))
    assert len([file for file in listing(at_tmp) if file.endswith(".png")]) == 2


def test_the_command_writes_them(cli, clip, tmp_path):
    first, second = clip("a.mp4", frames=3), clip("b.mp4", frames=2)
    ended = cli("segment", first, second, "-o", tmp_path / "sub", "--save", "vspw,vipseg")
    assert ended.code == 0, ended.err
    pictures = ["a/00000000", "a/00000001", "a/00000002", "b/00000000", "b/00000001"]
    expected = [f"{shelf}{name}.png" for shelf in ("", "pan_pred/") for name in pictures]
    assert listing(tmp_path / "sub") == sorted([*expected, "pred.json"])
    camvid = load_labels("camvid")
    for video in "ab":
        ids = SegmentIds(camvid, video)
        for frame in read_panoptic_json(tmp_path / "sub" / "pred.json").videos[video]:
            classes = read_indices(tmp_path / "sub" / video / frame.file_name)
            segments = read_panoptic_png(tmp_path / "sub" / "pan_pred" / video / frame.file_name)
            known = np.array([ids(category) for category in range(len(camvid))])
            np.testing.assert_array_equal(segments, known[classes])


def test_classes_of_another_data_set_are_noted(cli, clip, tmp_path):
    path = clip("a.mp4", frames=2)
    for name, what in (("vspw", "not of VSPW's 124"), ("vipseg", "not VIPSeg's 124")):
        ended = cli("segment", path, "--save", name, "-o", f"{tmp_path}/o/{name}/")
        assert ended.code == 0
        assert what in ended.err
    assert "objects are not known" in ended.err


def test_a_submission_of_the_right_classes_has_no_note(tmp_path):
    submissions = (VspwFolder(tmp_path / "a", OPTIONS), VipSegFolder(tmp_path / "b", OPTIONS))
    for sink, predictions in zip(submissions, (semantic(2), panoptic(2)), strict=True):
        write(sink, predictions)
        assert sink.notes == []
