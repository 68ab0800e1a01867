"""`panoptic`: what public evaluators and this project's own read, exactly the ids that went in."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from support.object_outputs import TOY, coco_panoptic, crowd, info_of, objects, scenes, write
from vidparse.data import Dataset, FrameRecord, Video
from vidparse.errors import Interrupted, OutputError, UsageError
from vidparse.evaluation.entries import open_predictions
from vidparse.evaluation.evaluate import EvaluationOptions, evaluate
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.maps import Prediction, SegmentMap
from vidparse.sinks import SinkOptions, make_sinks
from vidparse.sinks.coco import CocoPanoptic


def test_rendered_scenes_score_all_against_themselves(tmp_path: Path) -> None:
    dataset, videos = scenes()
    for name, maps in videos.items():
        write("panoptic", tmp_path / f"{name}.panoptic", maps, dataset.labels)
        for (row, ids), truth in zip(
            coco_panoptic(tmp_path / f"{name}.panoptic"), maps, strict=True
        ):
            assert (ids == truth.ids).all()
            assert row["segments_info"]
    result = evaluate(
        dataset,
        [open_predictions(tmp_path)],
        EvaluationOptions(metrics=("vpq", "stq", "miou"), resume=False),
    )
    scores = result.entries[0].scores
    assert {scores[name] for name in ("vpq", "stq", "miou")} == {1.0}


def test_folder_of_one_video_is_read_by_frame_numbers(tmp_path: Path) -> None:
    found = crowd(9)
    write("panoptic", tmp_path / "v.panoptic", [found, found])
    frames = tuple(FrameRecord("v", f"shot_{i}", i) for i in range(2))
    dataset = Dataset("toy", "val", TOY, (Video("v", frames),), read_segments=lambda frame: found)
    for place in (tmp_path, tmp_path / "v.panoptic"):
        result = evaluate(
            dataset, [open_predictions(place)], EvaluationOptions(metrics=("vpq",), resume=False)
        )
        assert result.entries[0].scores["vpq"] == 1


@pytest.mark.parametrize("first", [1, 65_000, 9_000_000])
def test_many_objects_of_one_class(tmp_path: Path, first: int) -> None:
    found = crowd(1500, first)
    write("panoptic", tmp_path / "x", [found])
    ((row, ids),) = coco_panoptic(tmp_path / "x")
    assert (ids == found.ids).all()
    assert {one["category_id"] for one in row["segments_info"]} == {1}
    assert len(row["segments_info"]) == 1500


def test_ids_beyond_24_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="ids above 16777215 do not fit"):
        write("panoptic", tmp_path / "x", [crowd(2, 1 << 24)])


def test_classes_of_a_semantic_map_are_segments(tmp_path: Path) -> None:
    ids = np.array([[0, 0, 1, 255], [2, 0, 1, 255]], np.uint8)
    (note,) = write("panoptic", tmp_path / "x", [SegmentMap(ids)] * 2)
    assert "objects are not known" in note
    for row, read in coco_panoptic(tmp_path / "x"):
        assert read.tolist() == [[1, 1, 2, 0], [3, 1, 2, 0]]
        assert [one["category_id"] for one in row["segments_info"]] == [0, 1, 2]


def test_what_is_not_listed_is_nothing(tmp_path: Path) -> None:
    """An id without a record (a class that --classes left out), and a record without pixels."""
    ids = np.array([[7, 8, 0, 9]], np.uint16)
    write("panoptic", tmp_path / "x", [objects(ids, {7: 1, 9: 2, 30: 1})])
    ((row, read),) = coco_panoptic(tmp_path / "x")
    assert read.tolist() == [[7, 0, 0, 9]]
    assert [one["id"] for one in row["segments_info"]] == [7, 9]


def test_an_empty_scene(tmp_path: Path) -> None:
    write("panoptic", tmp_path / "x", [objects(np.zeros((4, 4), np.uint16), {})])
    ((row, ids),) = coco_panoptic(tmp_path / "x")
    assert not ids.any() and row["segments_info"] == []


def test_an_interrupt_leaves_a_valid_folder(tmp_path: Path) -> None:
    write("panoptic", tmp_path / "x", [crowd(4)] * 3, complete=False)
    assert len(list(coco_panoptic(tmp_path / "x"))) == 3


def test_a_picture_without_its_record_is_taken_back(tmp_path: Path, monkeypatch) -> None:
    def stop(*_: object, **__: object) -> dict:
        raise Interrupted("stopped")

    found = crowd(4)
    with pytest.raises(Interrupted), CocoPanoptic(tmp_path / "x", SinkOptions()) as sink:
        sink.open(info_of(found.size_hw), TOY)
        for i in range(3):
            if i == 2:
                monkeypatch.setattr("vidparse.sinks.coco.image_record", stop)
            picture = Rgb(np.zeros((*found.size_hw, 3), np.uint8))
            sink.write(Frame(i, i, picture), Prediction(i, found, TOY))
    assert len(list(coco_panoptic(tmp_path / "x"))) == 2
    assert len(list((tmp_path / "x").glob("*.png"))) == 2


def test_overwriting_knows_its_json(tmp_path: Path) -> None:
    for _ in range(2):
        (sink,) = make_sinks(
            ["panoptic"],
            source=str(tmp_path / "clip.mp4"),
            out=None,
            options=SinkOptions(overwrite=True),
        )
        found = crowd(4)
        sink.open(info_of(found.size_hw), TOY)
        sink.close(keep=True)
    assert json.loads((tmp_path / "clip.panoptic" / "panoptic.json").read_text())["images"] == []
    (tmp_path / "clip.panoptic" / "mine.json").write_text("{}")
    with pytest.raises(OutputError, match=r"holds 'mine\.json'"):
        make_sinks(
            ["panoptic"],
            source=str(tmp_path / "clip.mp4"),
            out=None,
            options=SinkOptions(overwrite=True),
        )


def test_no_stream_carries_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="panoptic is a folder of pictures"):
        CocoPanoptic(io.BytesIO(), SinkOptions())
