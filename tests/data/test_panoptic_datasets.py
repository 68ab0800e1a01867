"""Panoptic ground truth on disk: VIPSeg in both layouts, Cityscapes-VPS, and rendered scenes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from vidparse.data import IGNORE, labelled_frames, open_dataset
from vidparse.errors import InputError, UsageError
from vidparse.labels import load_labels
from vidparse.maps import (
    SegmentIds,
    SegmentMap,
    ids_to_rgb,
)

PERSON, SKY, CAR, SLIDE = 60, 28, 48, 6  # training ids


def image(path: Path, size_hw: tuple[int, int] = (1, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size_hw, 3), 90, np.uint8))


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(values).save(path)


def rows(objects: SegmentMap) -> list[list[int]]:
    """Segment id, class and crowd flag of each."""
    assert objects.segments is not None
    return [[s.id, s.class_id, int(s.is_crowd)] for s in objects.segments]


def areas(objects: SegmentMap) -> list[int]:
    assert objects.segments is not None
    return [segment.area for segment in objects.segments]


# VIPSeg as it was released: 16-bit values.


@pytest.fixture
def vipseg(tmp_path: Path) -> Path:
    """One video of two frames with every kind of value."""
    values = [[0, 1, 124, 61, 6100, 6102, 200, 49005, 12499]]
    for stem in ("00000004", "00000007"):
        image(tmp_path / "imgs" / "1_v-x_y" / f"{stem}.jpg", (1, 9))
        save(tmp_path / "panomasks" / "1_v-x_y" / f"{stem}.png", np.array(values, np.uint16))
    save(tmp_path / "panomasks" / "1_v-x_y" / "._00000004.png", np.zeros((1, 9), np.uint16))
    (tmp_path / "val.txt").write_text("1_v-x_y")  # the last newline is missing
    return tmp_path


def test_vipseg_values(vipseg: Path) -> None:
    dataset = open_dataset("vipseg", vipseg, "val")
    frame = labelled_frames(dataset)[0]
    # 61 is a bare person; 200 an instance of ceiling (stuff); 49005 beyond the last class
    expected = [IGNORE, 0, 123, PERSON, PERSON, PERSON, IGNORE, IGNORE, 123]
    assert dataset.load_mask(frame).tolist() == [expected]
    assert dataset.is_panoptic
    objects = dataset.load_truth(frame)
    assert objects.ids.tolist() == [[0, 1, 124, 61, 6100, 6102, 0, 0, 12499]]
    assert rows(objects) == [
        [1, 0, 0], [61, PERSON, 0], [124, 123, 0], [6100, PERSON, 0], [6102, PERSON, 0],
        [12499, 123, 0],
    ]  # fmt: skip
    assert areas(objects) == [1] * 6
    assert objects.ids.dtype == np.uint16
    assert [s.is_thing for s in objects.segments or ()] == [False, True, True, True, True, True]
    assert [s.box[0] for s in objects.segments or ()] == [1, 3, 2, 4, 5, 8]
    assert (objects.classes() == dataset.load_mask(frame)).all()


def test_vipseg_masks_of_8_bits(vipseg: Path) -> None:
    path = vipseg / "panomasks" / "1_v-x_y" / "00000004.png"
    save(path, np.array([[0, 29, 61, 200]], np.uint8))  # a frame of stuff is saved so
    dataset = open_dataset("vipseg", vipseg, "val")
    assert dataset.is_panoptic
    frame = labelled_frames(dataset)[0]
    assert dataset.load_mask(frame).tolist() == [[IGNORE, SKY, PERSON, IGNORE]]
    assert rows(dataset.load_truth(frame)) == [[29, SKY, 0], [61, PERSON, 0]]


def test_vipseg_wrong_values_are_logged_once_per_video(
    vipseg: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = open_dataset("vipseg", vipseg, "val")
    assert dataset.is_panoptic
    with caplog.at_level(logging.WARNING, "vidparse.data.vipseg"):
        for frame in labelled_frames(dataset):
            dataset.load_truth(frame)
    (record,) = caplog.records
    assert "00000004.png: value 200 is no class" in record.getMessage()


def test_vipseg_without_masks_is_unlabelled(vipseg: Path) -> None:
    (vipseg / "test.txt").write_text("2_w\n")
    image(vipseg / "imgs" / "2_w" / "00000001.jpg")
    assert labelled_frames(open_dataset("vipseg", vipseg, "test")) == []


# The 720p conversion: ids as colours, and a json.


def vipseg_record(frames: dict[str, list[dict[str, Any]]], size_hw: tuple[int, int]) -> dict:
    images = [{"id": s, "height": size_hw[0], "width": size_hw[1]} for s in frames]
    annotations = [
        {"image_id": s, "file_name": f"{s}.png", "segments_info": segments}
        for s, segments in frames.items()
    ]
    return {
        "videos": [{"video_id": "1_v", "images": images}],
        "annotations": [{"video_id": "1_v", "annotations": annotations}],
    }


def segment(number: int, category: int, area: int = 1) -> dict[str, Any]:
    return {"id": number, "category_id": category, "iscrowd": 0, "area": area}


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """Two frames with an object each of person and car, and sky; json for val alone."""
    frames = {}
    for stem in ("00000004", "00000007"):
        image(tmp_path / "images" / "1_v" / f"{stem}.jpg")
        ids = np.array([[0, 70000, 300, 5]])
        save(tmp_path / "panomasksRGB" / "1_v" / f"{stem}.png", ids_to_rgb(ids))
        raw = np.array([[0, 6100, 4903, 29]], np.uint16)
        save(tmp_path / "panomasks" / "1_v" / f"{stem}.png", raw)
        frames[stem] = [segment(70000, PERSON, 2), segment(300, CAR), segment(5, SKY)]
    record = vipseg_record(frames, (1, 4))
    (tmp_path / "panoptic_gt_VIPSeg_val.json").write_text(json.dumps(record))
    return tmp_path


def change(root: Path, edit: Any) -> None:
    path = root / "panoptic_gt_VIPSeg_val.json"
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))


def test_converted_vipseg(converted: Path) -> None:
    dataset = open_dataset("vipseg", converted, "val")  # no val.txt: the json names the videos
    assert dataset.is_panoptic
    for frame in labelled_frames(dataset):
        objects = dataset.load_truth(frame)
        assert objects.ids.tolist() == [[0, 70000, 300, 5]]
        # As the json lists them: published STQ takes the first one listed for a crowd.
        assert rows(objects) == [[70000, PERSON, 0], [300, CAR, 0], [5, SKY, 0]]
        assert areas(objects) == [2, 1, 1]  # as the json claims, not as counted


def test_converted_vipseg_gives_the_classes_of_panomasks(converted: Path) -> None:
    from_colours = open_dataset("vipseg", converted, "val")
    frame = labelled_frames(from_colours)[0]
    ids = from_colours.load_mask(frame)
    (converted / "val.txt").write_text("1_v\n")
    (converted / "panoptic_gt_VIPSeg_val.json").unlink()
    from_values = open_dataset("vipseg", converted, "val")
    assert (from_values.load_mask(labelled_frames(from_values)[0]) == ids).all()
    assert ids.tolist() == [[IGNORE, PERSON, CAR, SKY]]


def test_converted_vipseg_with_one_json_for_all_splits(converted: Path) -> None:
    (converted / "panoptic_gt_VIPSeg_val.json").rename(converted / "panoptic_gt_VIPSeg.json")
    with pytest.raises(InputError, match=r"val\.txt"):
        open_dataset("vipseg", converted, "val")
    (converted / "val.txt").write_text("1_v")
    assert len(labelled_frames(open_dataset("vipseg", converted, "val"))) == 2


def test_colours_without_json_and_values_are_refused(converted: Path) -> None:
    (converted / "panoptic_gt_VIPSeg_val.json").unlink()
    (converted / "panomasks").rename(converted / "elsewhere")
    (converted / "val.txt").write_text("1_v")
    with pytest.raises(InputError, match=r"panomasksRGB: needs panoptic_gt_VIPSeg_val\.json"):
        open_dataset("vipseg", converted, "val")


def test_category_ids_of_the_json_are_one_less_than_the_stored_ones(converted: Path) -> None:
    labels = load_labels("vspw")
    dataset = open_dataset("vipseg", converted, "val")
    assert dataset.is_panoptic
    (_, category, _) = rows(dataset.load_truth(labelled_frames(dataset)[0]))[0]
    assert labels.classes[category] == "person"  # 60 here, 61 in panomasks


def test_segments_without_pixels_are_kept(converted: Path) -> None:
    def edit(record: dict) -> None:
        record["annotations"][0]["annotations"][0]["segments_info"].append(segment(9, 1))

    change(converted, edit)
    dataset = open_dataset("vipseg", converted, "val")
    assert dataset.is_panoptic
    assert [9, 1, 0] in rows(dataset.load_truth(labelled_frames(dataset)[0]))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: rows.pop(), r"04\.png: id 5 is not listed in panoptic_gt_VIPSeg_val"),
        (lambda rows: rows[0].update(category_id=124), "segment 70000 has category 124"),
        (lambda rows: rows.append(segment(5, SKY)), "lists an id twice"),
        (lambda rows: rows.append(segment(0, SKY)), "or id 0"),
    ],
)
def test_segments_that_disagree(converted: Path, edit: Any, message: str) -> None:
    change(converted, lambda r: edit(r["annotations"][0]["annotations"][0]["segments_info"]))
    dataset = open_dataset("vipseg", converted, "val")
    with pytest.raises(InputError, match=message):
        dataset.load_mask(labelled_frames(dataset)[0])


def test_sizes_that_disagree(converted: Path) -> None:
    change(converted, lambda record: record["videos"][0]["images"][0].update(width=5))
    dataset = open_dataset("vipseg", converted, "val")
    with pytest.raises(InputError, match=r"00000004\.png: is 4x1, .* has 5x1"):
        dataset.load_mask(labelled_frames(dataset)[0])


def test_frames_that_disagree(converted: Path) -> None:
    change(converted, lambda record: record["annotations"][0]["annotations"].pop())
    with pytest.raises(InputError, match=r"00000007\.png: .* does not list it"):
        open_dataset("vipseg", converted, "val")
    (converted / "images" / "1_v" / "00000004.jpg").unlink()
    with pytest.raises(InputError, match="lists frame 00000004 of 1_v, which has no image"):
        (converted / "panomasksRGB" / "1_v" / "00000007.png").unlink()
        open_dataset("vipseg", converted, "val")


def test_ids_separate_colours_that_clash(tmp_path: Path) -> None:
    labels = load_labels("vspw")
    assert labels.colours[CAR] == labels.colours[SLIDE]
    ids = SegmentIds(labels, "1_v")
    numbers = [ids(SLIDE), ids(CAR, 1), ids(CAR, 2)]
    image(tmp_path / "images" / "1_v" / "1.jpg", (1, 3))
    save(tmp_path / "panomasksRGB" / "1_v" / "1.png", ids_to_rgb(np.array([numbers])))
    listed = [segment(n, c) for n, c in zip(numbers, (SLIDE, CAR, CAR), strict=True)]
    record = vipseg_record({"1": listed}, (1, 3))
    (tmp_path / "panoptic_gt_VIPSeg_val.json").write_text(json.dumps(record))
    dataset = open_dataset("vipseg", tmp_path, "val")
    assert dataset.load_mask(labelled_frames(dataset)[0]).tolist() == [[SLIDE, CAR, CAR]]


# Cityscapes-VPS.

NAMES = [
    "0001_0001_frankfurt_000000_000279",
    "0001_0004_frankfurt_000000_000294",  # labelled by Cityscapes itself
    "0002_0007_ulm_000003_000009",
]


@pytest.fixture
def cityscapes_vps(tmp_path: Path) -> Path:
    images, annotations = [], []
    for i, name in enumerate(NAMES):
        kind, mask = ("leftImg8bit", "gtFine_color") if i == 1 else ("newImg8bit", "final_mask")
        image(tmp_path / "val" / "img" / f"{name}_{kind}.png")
        ids = np.array([[0, 70, 1000, 1000 + i]])
        save(tmp_path / "val" / "panoptic_video" / f"{name}_{mask}.png", ids_to_rgb(ids))
        listed = [segment(n, 13) | {"iscrowd": int(n == 1000)} for n in {1000, 1000 + i}]
        images.append({"id": name, "height": 1, "width": 4, "file_name": f"{name}_{kind}.png"})
        annotations.append(
            {
                "image_id": name,
                "file_name": f"{name}_{mask}.png",
                "segments_info": [segment(70, 2), *listed],
            }
        )
    record = {"images": images, "annotations": annotations, "categories": []}
    (tmp_path / "panoptic_gt_val_city_vps.json").write_text(json.dumps(record))
    return tmp_path


def test_cityscapes_vps(cityscapes_vps: Path) -> None:
    dataset = open_dataset("cityscapes-vps", cityscapes_vps, "val")
    assert dataset.is_panoptic
    assert [(video.name, len(video.frames)) for video in dataset.videos] == [
        ("0001", 2),
        ("0002", 1),
    ]
    assert [frame.stem for frame in labelled_frames(dataset)] == NAMES
    second = dataset.videos[0].frames[1]
    assert rows(dataset.load_truth(second)) == [[70, 2, 0], [1000, 13, 1], [1001, 13, 0]]
    assert dataset.load_mask(second).tolist() == [[IGNORE, 2, 13, 13]]
    assert len(dataset.labels) == 19 and len(dataset.labels.things) == 8


def test_cityscapes_vps_with_all_frames_of_a_snippet(cityscapes_vps: Path) -> None:
    import shutil

    shutil.rmtree(cityscapes_vps / "val" / "img")
    for city, sequence, first in (("frankfurt", 0, 275), ("ulm", 3, 0), ("ulm", 3, 30)):
        for frame in range(first, first + 30):
            name = f"{city}_{sequence:06d}_{frame:06d}_leftImg8bit.png"
            image(cityscapes_vps / "val" / "img_all" / name)
    dataset = open_dataset("cityscapes-vps", cityscapes_vps, "val")
    found = {video.name: [f.index for f in video.frames if f.labelled] for video in dataset.videos}
    assert found == {"0001": [4, 19], "0002": [9], "ulm_000003_000030": []}
    assert dataset.load_mask(labelled_frames(dataset)[0]).shape == (1, 4)


def test_cityscapes_vps_categories_must_be_training_ids(cityscapes_vps: Path) -> None:
    path = cityscapes_vps / "panoptic_gt_val_city_vps.json"
    path.write_text(path.read_text().replace('"category_id": 13', '"category_id": 26'))
    dataset = open_dataset("cityscapes-vps", cityscapes_vps, "val")
    with pytest.raises(InputError, match=r"category 26 .* the categories are 0\.\.18"):
        dataset.load_mask(labelled_frames(dataset)[0])


def test_cityscapes_vps_json_and_folders_must_agree(cityscapes_vps: Path) -> None:
    (cityscapes_vps / "val" / "panoptic_video" / f"{NAMES[0]}_final_mask.png").unlink()
    with pytest.raises(InputError, match=rf"lists {NAMES[0]}, which .*panoptic_video lacks"):
        open_dataset("cityscapes-vps", cityscapes_vps, "val")
    (cityscapes_vps / "panoptic_gt_val_city_vps.json").unlink()
    with pytest.raises(InputError, match=r"panoptic_gt_val_city_vps\.json: no such file"):
        open_dataset("cityscapes-vps", cityscapes_vps, "val")


# Frames of nothing.


def test_frames_without_any_segment(converted: Path, cityscapes_vps: Path) -> None:
    """A frame may be void all over; it is a map of no segment, in every reader."""

    def clear(rows: list[dict[str, Any]]) -> None:
        rows.clear()

    save(converted / "panomasksRGB/1_v/00000004.png", np.zeros((1, 4, 3), np.uint8))
    change(converted, lambda r: clear(r["annotations"][0]["annotations"][0]["segments_info"]))
    mask = cityscapes_vps / "val" / "panoptic_video" / f"{NAMES[0]}_final_mask.png"
    save(mask, np.zeros((1, 4, 3), np.uint8))
    path = cityscapes_vps / "panoptic_gt_val_city_vps.json"
    record = json.loads(path.read_text())
    clear(record["annotations"][0]["segments_info"])
    path.write_text(json.dumps(record))
    for name, root in (("vipseg", converted), ("cityscapes-vps", cityscapes_vps)):
        dataset = open_dataset(name, root, "val")
        frame = labelled_frames(dataset)[0]
        truth = dataset.load_truth(frame)
        assert truth.segments == () and not truth.ids.any()
        assert (dataset.load_mask(frame) == IGNORE).all()


def test_panomasks_without_any_segment(vipseg: Path) -> None:
    save(vipseg / "panomasks" / "1_v-x_y" / "00000004.png", np.zeros((1, 9), np.uint16))
    dataset = open_dataset("vipseg", vipseg, "val")
    truth = dataset.load_truth(labelled_frames(dataset)[0])
    assert truth.segments == () and not truth.ids.any()


# Rendered scenes.


def test_rendered_objects_keep_their_ids() -> None:
    dataset = open_dataset("sample://crowd?frames=3&size=160x96", None, "val")
    assert dataset.is_panoptic
    owner: dict[int, int] = {}
    seen: list[set[int]] = []
    for frame in dataset.videos[0].frames:
        objects = dataset.load_truth(frame)
        assert (objects.classes() == dataset.load_mask(frame)).all()
        for number, category, crowd in rows(objects):
            assert owner.setdefault(number, category) == category and crowd == 0
        seen.append({segment.id for segment in objects.segments or ()})
    things = {n for n, category in owner.items() if category in dataset.labels.things}
    assert len(things & seen[0] & seen[2]) > 1  # several people stay
    stuff = [category for n, category in owner.items() if category not in dataset.labels.things]
    assert len(stuff) == len(set(stuff))


def test_rendered_things_that_are_hardly_seen_are_void() -> None:
    """Below 32 pixels by default; the picture and every larger thing stay as they are."""
    address = "sample://street?frames=1&size=320x180&videos=1"
    all_of_it = open_dataset(f"{address}&least=0", None, "val")
    frame = all_of_it.videos[0].frames[0]
    whole = all_of_it.load_truth(frame)
    areas_of = {s.id: s.area for s in whole.segments or () if s.is_thing}
    assert min(areas_of.values()) < 32 < max(areas_of.values())
    for least, usual in ((32, open_dataset(address, None, "val")), (400, None)):
        dataset = usual or open_dataset(f"{address}&least={least}", None, "val")
        truth = dataset.load_truth(frame)
        kept = {s.id for s in truth.segments or () if s.is_thing}
        assert kept == {number for number, area in areas_of.items() if area >= least}
        gone = np.isin(whole.ids, [number for number, area in areas_of.items() if area < least])
        assert gone.any() and (dataset.load_mask(frame)[gone] == IGNORE).all()
        assert (truth.ids[~gone] == whole.ids[~gone]).all()
        assert (dataset.load_image(frame) == all_of_it.load_image(frame)).all()


def test_rendered_scenes_by_their_address() -> None:
    address = "sample://crowd?frames=2&size=96x64&rate=5&videos={}"
    splits = {
        split: {video.name for video in open_dataset(address.format(100), None, split).videos}
        for split in ("train", "val", "test")
    }
    assert all(len(names) == 100 for names in splits.values())
    assert len(set.union(*splits.values())) == 300  # no seed is in two splits
    one = open_dataset(address.format(1), None, "val")
    assert [video.interval_s for video in one.videos] == [0.2]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("videos=0", "videos=0: write a whole number from 1 to 100"),
        ("videos=101", "videos=101: write a whole number from 1 to 100"),
        ("least=-1", "least=-1: write a whole number from 0 to 1000000"),
        ("least=", "least=: write a whole number"),
        ("video=3", "unknown key 'video'; did you mean 'videos'"),
        ("colour=3", "the keys are frames, size, seed, rate, videos, least"),
        ("size=3*4", r"size=3\*4: not WIDTHxHEIGHT"),
    ],
)
def test_addresses_of_rendered_scenes_that_are_wrong(query: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_dataset(f"sample://street?{query}", None, "val")


def test_data_sets_without_objects_are_not_panoptic(tmp_path: Path) -> None:
    image(tmp_path / "data" / "1_v" / "origin" / "1.jpg")
    (tmp_path / "val.txt").write_text("1_v")
    assert not open_dataset("vspw", tmp_path, "val").is_panoptic
