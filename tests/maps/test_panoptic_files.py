"""Panoptic pictures and the json beside them, read one by one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from vidparse.errors import InputError
from vidparse.maps import (
    count_codes,
    ids_to_rgb,
    read_panoptic_json,
    read_panoptic_png,
    recode,
    rgb_to_ids,
)

ROW = {"id": 7, "category_id": 60, "iscrowd": 0, "area": 12}


def test_panoptic_ids_round_trip(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 255, 256, 65536, (1 << 24) - 1]])
    assert (rgb_to_ids(ids_to_rgb(ids)) == ids).all()
    path = tmp_path / "a.png"
    Pillow.fromarray(ids_to_rgb(ids)).save(path)
    assert (read_panoptic_png(path) == ids).all()
    with pytest.raises(ValueError, match="16777215"):
        ids_to_rgb(np.array([[1 << 24]]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_of_one_channel_hold_no_panoptic_ids(tmp_path: Path, dtype: type) -> None:
    Pillow.fromarray(np.zeros((2, 2), dtype)).save(tmp_path / "grey.png")
    with pytest.raises(InputError, match=r"grey\.png: one channel"):
        read_panoptic_png(tmp_path / "grey.png")
    (tmp_path / "grey.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"grey\.png: damaged"):
        read_panoptic_png(tmp_path / "grey.png")


def test_video_panoptic_json(tmp_path: Path) -> None:
    path = tmp_path / "pred.json"
    image = {"id": "1", "height": 3, "width": 5}
    frame = {"image_id": "1", "file_name": "1.png", "segments_info": [ROW]}
    record = {
        "videos": [{"video_id": "1_v", "images": [image]}],
        "annotations": [{"video_id": "1_v", "annotations": [frame]}],
    }
    path.write_text(json.dumps(record))
    (read,) = read_panoptic_json(path).videos["1_v"]
    assert (read.stem, read.segments[0].id, read.segments[0].area) == ("1", 7, 12)
    assert read.size_hw == (3, 5)
    del record["videos"]
    path.write_text(json.dumps(record))
    assert read_panoptic_json(path).videos["1_v"][0].size_hw is None
    for text, message in (
        ('{"annotations": [{"video": 1}]}', "segments_info"),
        ("[]", "not a panoptic json"),
        ("{", "not json"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_panoptic_json(path)


def test_flat_panoptic_json(tmp_path: Path) -> None:
    path = tmp_path / "gt.json"
    annotation = {"image_id": 17, "file_name": "a/b.png", "segments_info": [ROW]}
    images = [{"id": 17, "height": 3, "width": 5}]
    path.write_text(json.dumps({"images": images, "annotations": [annotation]}))
    (frame,) = read_panoptic_json(path).pictures
    assert (frame.stem, frame.size_hw, frame.segments[0].class_id) == ("b", (3, 5), 60)
    path.write_text('{"annotations": [{"file_name": "b.png"}]}')
    with pytest.raises(InputError, match="segments_info"):
        read_panoptic_json(path)


@pytest.mark.parametrize("grouped", [True, False], ids=["VIPSeg", "COCO"])
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("id", 2**70, "out of range"),
        ("id", 1 << 24, r"segment id 16777216 is not in 0\.\.16777215"),
        ("id", -1, "segment id -1"),
        ("id", 7.5, "segment id 7.5 is no whole number"),
        ("id", [7], "a field is odd"),
        ("id", None, "a field is odd"),
        ("id", "seven", "seven"),
        ("category_id", {}, "a field is odd"),
        ("category_id", 1 << 40, "category_id 1099511627776 is not in"),
        ("iscrowd", 2, r"iscrowd 2 is not in 0\.\.1"),
        ("area", float("inf"), "Infinity is no number"),
        ("area", float("nan"), "NaN is no number"),
        ("area", 1e300, "area 1000"),
        ("area", -1, "area -1"),
        ("segments_info", 5, "a field is odd"),
        ("segments_info", [5], "a field is odd"),
    ],
)
def test_values_of_the_wrong_kind_are_one_line_with_the_file(
    tmp_path: Path, field: str, value: object, message: str, grouped: bool
) -> None:
    path = tmp_path / "pred.json"
    frame = {"image_id": "1", "file_name": "1.png", "segments_info": [ROW]}
    if field in frame:
        frame[field] = value
    else:
        frame["segments_info"] = [ROW | {field: value}]
    frames = [frame]
    annotations = [{"video_id": "v", "annotations": frames}] if grouped else frames
    path.write_text(json.dumps({"annotations": annotations}))
    with pytest.raises(InputError, match=message) as caught:
        read_panoptic_json(path)
    assert str(caught.value).startswith(f"{path}: not ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("grouped", [True, False], ids=["VIPSeg", "COCO"])
@pytest.mark.parametrize("name", ["../../1.png", "/etc/1.png", "a\0.png", ".", "../a\n.png"])
def test_names_of_pictures_stay_below_their_folder(
    tmp_path: Path, name: str, grouped: bool
) -> None:
    path = tmp_path / "pred.json"
    frames = [{"image_id": "1", "file_name": name, "segments_info": [ROW]}]
    annotations = [{"video_id": "v", "annotations": frames}] if grouped else frames
    path.write_text(json.dumps({"annotations": annotations}))
    with pytest.raises(InputError, match=r"leads out of the folder|no name of a file") as caught:
        read_panoptic_json(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


def test_pictures_and_videos_listed_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pred.json"
    frame = {"file_name": "1.png", "segments_info": [ROW]}
    video = {"video_id": "v", "annotations": [frame]}
    for listed, twice in (
        ([video, video], "video v"),
        ([{"video_id": "v", "annotations": [frame, frame]}], "1.png"),
    ):
        path.write_text(json.dumps({"annotations": listed}))
        with pytest.raises(InputError, match=f"lists {twice} twice"):
            read_panoptic_json(path)
    path.write_text(json.dumps({"annotations": [frame, frame]}))
    with pytest.raises(InputError, match=r"lists 1\.png twice"):
        read_panoptic_json(path)


def test_sizes_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gt.json"
    for size in (-5, 1 << 30, 1e300, [3]):
        images = [{"id": 1, "height": 3, "width": size}]
        path.write_text(json.dumps({"images": images, "annotations": []}))
        with pytest.raises(InputError, match=r"gt\.json: not a panoptic json"):
            read_panoptic_json(path)


def test_recoding_and_counting_agree_with_looking_at_every_pixel() -> None:
    codes = np.random.default_rng(3).integers(0, 6, (40, 50)) * 1_000_003
    keys = np.arange(6) * 1_000_003
    values = np.array([9, 8, 7, 6, 5, 4], np.uint8)
    expected = values[codes // 1_000_003]
    assert (recode(codes, keys, values) == expected).all()
    found, pixels = count_codes(codes)
    assert dict(zip(found, pixels, strict=True)) == {k: (codes == k).sum() for k in keys}
    with pytest.raises(KeyError, match="5000015"):
        recode(codes, keys[:-1], values[:-1])
    with pytest.raises(KeyError):
        recode(codes, keys[:0], values[:0])
    assert recode(codes[:0], keys, values).shape == (0, 50)
