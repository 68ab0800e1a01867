"""COCO panoptic on made files, and on the two photographs of panopticapi where they are."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.made_coco import IDS, make_coco, segment
from vidparse.data import IGNORE, format_of, open_dataset, recognise
from vidparse.data.check import check_dataset
from vidparse.errors import InputError


def edit(root: Path, change: Callable[[dict[str, Any]], Any], name: str = "val2017") -> None:
    path = root / "annotations" / f"panoptic_{name}.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_photographs_and_their_segments(tmp_path: Path) -> None:
    make_coco(tmp_path)
    assert recognise(tmp_path) == "coco-panoptic"
    dataset = pickle.loads(pickle.dumps(open_dataset("coco-panoptic", tmp_path, "val")))
    assert open_dataset("coco-panoptic", tmp_path, "val2017").videos == dataset.videos
    assert dataset.labels.classes == ("person", "toothbrush", "rug-merged")
    assert dataset.labels.things == {0, 1} and dataset.labels.colours[0] == (220, 20, 60)
    assert [len(video.frames) for video in dataset.videos] == [1, 1]
    assert dataset.videos[0].interval_s == math.inf

    frames = [video.frames[0] for video in dataset.videos]
    assert dataset.load_image(frames[0]).shape == (2, 4, 3)
    assert dataset.load_mask(frames[0]).tolist() == [[IGNORE, 0, 0, 1], [2, 2, 2, 1]]
    for i, frame in enumerate(frames):
        truth = dataset.load_truth(frame)
        assert truth.ids.tolist() == IDS.tolist()
        listed = [(s.id, s.class_id, s.is_thing, s.is_crowd) for s in truth.segments or ()]
        assert listed == [(70000, 0, True, i == 1), (5, 2, False, False), (300, 1, True, False)]


@pytest.mark.parametrize("images", ["images/val2017", "images", "input_images"])
def test_other_places(tmp_path: Path, images: str) -> None:
    make_coco(tmp_path, annotations=".")
    (tmp_path / images).parent.mkdir(exist_ok=True)
    (tmp_path / "val2017").rename(tmp_path / images)
    assert len(open_dataset("coco-panoptic", tmp_path, "val").videos) == 2
    assert check_dataset(tmp_path, "coco-panoptic").errors == 0


def test_a_data_set_may_be_called_annotations(tmp_path: Path) -> None:
    make_coco(tmp_path / "annotations", annotations=".")
    assert len(open_dataset("coco-panoptic", tmp_path / "annotations", "val").videos) == 2


@pytest.mark.parametrize("annotations", ["annotations", "."])
def test_a_json_by_itself_is_its_split(cli, tmp_path: Path, annotations: str) -> None:
    make_coco(tmp_path / "set", annotations=annotations)
    record = tmp_path / "set" / annotations / "panoptic_val2017.json"
    assert recognise(record) == "coco-panoptic"
    known = format_of("coco-panoptic")
    assert known.splits(record) == ("val",)
    whole = open_dataset("coco-panoptic", tmp_path / "set", "val")
    assert known.open(record, "val").videos == whole.videos
    done = cli("data", "convert", record, tmp_path / "new", "--to", "folder")
    assert done.code == 0, done.err
    again = open_dataset("folder", tmp_path / "new", "val")
    for video in whole.videos:
        before = whole.load_mask(video.frames[0])
        found = {frame.stem: frame for one in again.videos for frame in one.frames}
        np.testing.assert_array_equal(again.load_mask(found[video.name]), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("categories"), "has no categories; take COCO's own json"),
        (lambda r: r["categories"][1].pop("isthing"), "'toothbrush' has no isthing and color"),
        (lambda r: r["categories"][1].update(name="person"), "3 categories of 2 names"),
        (lambda r: r["categories"][1].update(color=[1, 2]), "not a panoptic json"),
        (lambda r: r["categories"][1].update(color=[1, 2, 256]), r"color 256 is not in 0\.\.255"),
        (lambda r: r["annotations"].pop(), r"285\.png: panoptic_val2017\.json does not list it"),
        (lambda r: r["annotations"][0].update(file_name="1.png"), "lists 1, which"),
        (lambda r: r["annotations"].clear(), "does not list it"),
        (
            lambda r: r.update(annotations=[{"video_id": "a", "annotations": []}]),
            "is grouped by video; COCO lists pictures: use vipseg",
        ),
    ],
)
def test_a_json_that_contradicts_its_folders(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    edit(make_coco(tmp_path), change)
    with pytest.raises(InputError, match=message) as caught:
        open_dataset("coco-panoptic", tmp_path, "val")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(), "id 300 is not listed in panoptic_val2017.json"),
        (lambda rows: rows[0].update(category_id=2), "segment 70000 has category 2"),
        (lambda rows: rows.append(segment(5, 1, 1)), "lists an id twice"),
    ],
)
def test_a_json_that_contradicts_its_pictures(
    tmp_path: Path, change: Callable[[list[dict[str, int]]], Any], message: str
) -> None:
    edit(make_coco(tmp_path), lambda record: change(record["annotations"][0]["segments_info"]))
    dataset = open_dataset("coco-panoptic", tmp_path, "val")
    with pytest.raises(InputError, match=message):
        dataset.load_truth(dataset.videos[0].frames[0])
    report = check_dataset(tmp_path)
    assert report.errors == 1 and message[:20] in report.problems[0].what


TRAINING = """
arch = "clip-panofcn"
objective = "panoptic"
steps_per_epoch = 2
epochs = 1
batch_size = 2
crop_hw = [32, 32]
workers = 0
warmup_steps = 1
precision = "fp32"
[config]
backbone = "mobilenetv2"
width = 16
kernel_width = 16
feature_width = 16
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_training_on_a_json_that_contradicts_its_pictures_ends_with_a_line(
    tmp_path: Path, cli: Callable[..., Any], workers: int
) -> None:
    edit(
        make_coco(tmp_path, "train2017"),
        lambda record: [row["segments_info"].pop() for row in record["annotations"]],
        "train2017",
    )
    (tmp_path / "tiny.toml").write_text(TRAINING.replace("workers = 0", f"workers = {workers}"))
    given = ("--dataset", "coco-panoptic", "--data", tmp_path, "--val", "none")
    ended = cli("train", *given, "--recipe", tmp_path / "tiny.toml", "-o", tmp_path / "run")
    assert ended.code == 3, ended.err
    assert "id 300 is not listed in panoptic_train2017.json" in ended.err
    assert "Traceback" not in ended.err


def test_training_on_labels_without_things_ends_with_a_line(
    tmp_path: Path, cli: Callable[..., Any]
) -> None:
    edit(
        make_coco(tmp_path, "train2017"),
        lambda record: [one.update(isthing=0) for one in record["categories"]],
        "train2017",
    )
    (tmp_path / "tiny.toml").write_text(TRAINING)
    given = ("--dataset", "coco-panoptic", "--data", tmp_path, "--val", "none")
    ended = cli("train", *given, "--recipe", tmp_path / "tiny.toml", "-o", tmp_path / "run")
    assert ended.code == 2 and "no things to distinguish" in ended.err
    assert not (tmp_path / "run").exists()


def test_missing_photographs_are_all_named(tmp_path: Path) -> None:
    make_coco(tmp_path)
    (tmp_path / "val2017" / "000000000139.jpg").unlink()
    report = check_dataset(tmp_path)
    assert [one.what for one in report.problems if not one.warning] == [
        f"no photograph in {tmp_path / 'val2017'}; fetch it again"
    ]
    assert report.splits[0].frames == 1
    (tmp_path / "val2017" / "000000000285.jpg").unlink()
    (tmp_path / "val2017").rmdir()
    with pytest.raises(InputError, match="no photographs of val2017, looked for val2017, images"):
        open_dataset("coco-panoptic", tmp_path, "val")
    with pytest.raises(InputError, match="split 'test': unknown; use val, val2017"):
        open_dataset("coco-panoptic", tmp_path, "test")


def test_the_photographs_of_panopticapi() -> None:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "panopticapi_sample"
    if not folder.is_dir():
        pytest.skip("no panopticapi_sample beside the checkout")
    dataset = open_dataset("coco-panoptic", folder / "sample_data", "examples")
    assert (len(dataset.labels), len(dataset.labels.things)) == (133, 80)
    truths = [dataset.load_truth(video.frames[0]) for video in dataset.videos]
    segments = [truth.segments or () for truth in truths]
    assert [len(one) for one in segments] == [18, 32]
    assert [sum(s.is_crowd for s in one) for one in segments] == [1, 2]
    for truth, listed in zip(truths, segments, strict=True):
        assert all(s.area == np.count_nonzero(truth.ids == s.id) for s in listed)
