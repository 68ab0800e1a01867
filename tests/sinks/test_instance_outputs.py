"""`coco` and `ytvis`: things alone, as pycocotools and YouTube-VIS's own code read them."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from support.object_outputs import TOY, crowd, info_of, objects, scenes, write
from vidparse.errors import Interrupted, OutputError
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.maps import Prediction, SegmentMap
from vidparse.sinks import SinkOptions
from vidparse.sinks.coco import Coco, YouTubeVis


def scored(found: SegmentMap, score: float = 0.75) -> SegmentMap:
    segments = tuple(replace(one, score=score) for one in found.segments or ())
    return SegmentMap(found.ids, segments)


def things_of(found: SegmentMap) -> set[int]:
    return {one.id for one in found.segments or () if one.is_thing and one.area}


@contextlib.contextmanager
def quiet():
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def test_rendered_scenes_in_pycocotools(tmp_path: Path) -> None:
    dataset, videos = scenes()
    for name, maps in videos.items():
        path = tmp_path / f"{name}.json"
        write("coco", path, [scored(found) for found in maps], dataset.labels)
        with quiet():
            coco = COCO(str(path))
        assert {one["name"] for one in coco.dataset["categories"]} == {
            dataset.labels.classes[i] for i in dataset.labels.things
        }
        assert coco.getImgIds() == [0, 1, 2, 3]
        for i, found in enumerate(maps):
            annotations = coco.loadAnns(coco.getAnnIds(imgIds=[i]))
            assert {one["track_id"] for one in annotations} == things_of(found)
            for one in annotations:
                assert (coco.annToMask(one) == (found.ids == one["track_id"])).all()
                assert coco_mask.toBbox(one["segmentation"]).tolist() == one["bbox"]
                assert coco_mask.area(one["segmentation"]) == one["area"]

        # Against itself as the truth, by COCO's own evaluator.
        with quiet():
            results = coco.loadRes(coco.dataset["annotations"])
            score = COCOeval(coco, results, "segm")
            score.evaluate()
            score.accumulate()
            score.summarize()
        assert score.stats[0] == pytest.approx(1)


def ytvis_masks(table: dict, row: dict) -> np.ndarray:
    """bool (T, H, W), as the API of YouTube-VIS decodes them."""
    (video,) = table["videos"]
    assert row["video_id"] == video["id"]
    assert len(row["segmentations"]) == len(row["bboxes"]) == len(row["areas"]) == video["length"]
    masks = np.zeros((video["length"], video["height"], video["width"]), bool)
    for i, (mask, box, area) in enumerate(
        zip(row["segmentations"], row["bboxes"], row["areas"], strict=True)
    ):
        if mask is None:
            assert box is None and area is None
            continue
        masks[i] = coco_mask.decode(mask)
        assert (masks[i].sum(), coco_mask.toBbox(mask).tolist()) == (area, box)
    return masks


def test_rendered_scenes_in_youtube_vis(tmp_path: Path) -> None:
    dataset, videos = scenes()
    for name, maps in videos.items():
        path = tmp_path / f"{name}.json"
        write("ytvis", path, maps, dataset.labels)
        table = json.loads(path.read_text())
        assert table["videos"][0]["file_names"] == [f"{i:06d}.png" for i in range(4)]
        ids = np.stack([found.ids for found in maps])
        assert {row["id"] for row in table["annotations"]} == set().union(*map(things_of, maps))
        for row in table["annotations"]:
            assert (ytvis_masks(table, row) == (ids == row["id"])).all()


def test_youtube_vis_of_things_that_come_and_go(tmp_path: Path) -> None:
    """First, last and middle frames without it, its class by votes, its mean score."""
    ids = np.array([[1, 2, 2], [1, 0, 0]], np.uint16)
    seen = {0: {1: 0}, 1: {1: 0, 2: 1}, 2: {1: 0, 2: 2}, 3: {1: 0}, 4: {1: 0, 2: 2}, 5: {1: 0}}
    maps = [scored(objects(ids, class_of), 0.1 * i) for i, class_of in seen.items()]
    write("ytvis", tmp_path / "x.json", maps)
    table = json.loads((tmp_path / "x.json").read_text())
    (row,) = table["annotations"]  # the road is stuff
    assert (row["id"], row["category_id"], row["score"]) == (2, 2, pytest.approx(0.2333))
    assert [area is not None for area in row["areas"]] == [0, 1, 1, 0, 1, 0]
    assert ytvis_masks(table, row).any(axis=(1, 2)).tolist() == [0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize("name", ["coco", "ytvis"])
def test_nothing_to_list(tmp_path: Path, name: str) -> None:
    empty = objects(np.zeros((4, 4), np.uint16), {})
    road = objects(np.ones((4, 4), np.uint16), {1: 0})
    for maps in ([empty], [road, road]):
        write(name, tmp_path / f"{len(maps)}.json", maps)
        table = json.loads((tmp_path / f"{len(maps)}.json").read_text())
        assert table["annotations"] == []
        assert [one["id"] for one in table["categories"]] == [1, 2]
        images = table["images"] if name == "coco" else table["videos"][0]["file_names"]
        assert len(images) == len(maps)


def test_more_than_1000_of_one_class(tmp_path: Path) -> None:
    maps = [crowd(1200), crowd(1200, 70_000)]
    write("coco", tmp_path / "c.json", maps)
    with quiet():
        coco = COCO(str(tmp_path / "c.json"))
    assert len(coco.getAnnIds(catIds=[1])) == 2400
    write("ytvis", tmp_path / "y.json", maps)
    table = json.loads((tmp_path / "y.json").read_text())
    assert [row["id"] for row in table["annotations"]] == [*range(1, 1201), *range(70_000, 71_200)]


def test_semantic_maps_have_a_thing_per_class(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2], [0, 1, 255]], np.uint8)
    (note,) = write("coco", tmp_path / "x.json", [SegmentMap(ids)])
    assert "coco: objects are not known" in note
    table = json.loads((tmp_path / "x.json").read_text())
    assert [row["category_id"] for row in table["annotations"]] == [1, 2]


def test_one_size_per_video(tmp_path: Path) -> None:
    small = objects(np.ones((3, 4), np.uint16), {1: 1})
    write("coco", tmp_path / "x.json", [crowd(4), small])
    with pytest.raises(OutputError, match="one size per video"):
        write("ytvis", tmp_path / "y.json", [crowd(4), small])


@pytest.mark.parametrize("kind", [Coco, YouTubeVis])
@pytest.mark.parametrize("frames", [0, 3])
def test_interrupts_and_errors(tmp_path: Path, kind: type, frames: int) -> None:
    for error, kept in ((Interrupted("x"), True), (ValueError("x"), False)):
        path = tmp_path / f"{kept}.json"
        with pytest.raises(type(error)), kind(path, SinkOptions()) as sink:
            sink.open(info_of((8, 8)), TOY)
            for i in range(frames):
                picture = Rgb(np.zeros((8, 8, 3), np.uint8))
                sink.write(Frame(i, i, picture), Prediction(i, crowd(4), TOY))
            raise error
        assert path.exists() is kept
    table = json.loads((tmp_path / "True.json").read_text())
    per_frame = kind is Coco
    assert len(table["annotations"]) == 4 * (frames if per_frame else min(frames, 1))
    assert [one.name for one in tmp_path.iterdir()] == ["True.json"]


def test_a_frame_that_is_cut_off_leaves_the_ones_before(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(Interrupted), YouTubeVis(tmp_path / "x", SinkOptions()) as sink:
        sink.open(info_of((12, 12)), TOY)
        for i in range(3):
            found = crowd(9, 1 + 2 * i)  # some leave, some come
            if i == 2:
                add, calls = sink._masks.add, []

                def stop(key: int, line: bytes, *, add=add, calls=calls) -> object:
                    calls.append(add(key, line))
                    if len(calls) == 8:  # after some that were seen before, and one that was not
                        raise Interrupted("x")
                    return calls[-1]

                monkeypatch.setattr(sink._masks, "add", stop)
            picture = Rgb(np.zeros((12, 12, 3), np.uint8))
            sink.write(Frame(i, i, picture), Prediction(i, found, TOY))
    table = json.loads((tmp_path / "x").read_text())
    assert table["videos"][0]["length"] == len(table["videos"][0]["file_names"]) == 2
    assert [row["id"] for row in table["annotations"]] == list(range(1, 12))
    for row in table["annotations"]:
        masks = ytvis_masks(table, row)
        expected = [1 + 2 * i <= row["id"] < 10 + 2 * i for i in range(2)]
        assert masks.any(axis=(1, 2)).tolist() == expected


@pytest.mark.parametrize("kind", [Coco, YouTubeVis])
def test_a_stream(kind: type) -> None:
    out = io.BytesIO()
    sink = kind(out, SinkOptions())
    sink.open(info_of((8, 8)), TOY)
    sink.write(Frame(0, 0, Rgb(np.zeros((8, 8, 3), np.uint8))), Prediction(0, crowd(4), TOY))
    sink.close(keep=True)
    assert len(json.loads(out.getvalue())["annotations"]) == 4
