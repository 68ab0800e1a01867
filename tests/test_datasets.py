"""Data sets as they are found in the wild: every trap of their formats, on made trees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from vidparse.data import labelled_frames, open_dataset
from vidparse.data.vipseg import split_panomask
from vidparse.errors import InputError
from vidparse.labels import load_labels
from vidparse.panoptic import ids_to_rgb, read_panoptic_png, read_video_segments, rgb_to_ids


def image(path: Path, size_hw: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size_hw, 3), 90, np.uint8))


def mask(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(values).save(path)


@pytest.fixture
def vspw(tmp_path: Path) -> Path:
    """Two videos, one with underscores and hyphens in its name, one without masks."""
    for name in ("12_a_b-C_d", "7_xyz"):
        for number in (166, 167):
            image(tmp_path / "data" / name / "origin" / f"{number:08d}.jpg")
    image(tmp_path / "data" / "7_xyz" / "origin" / "._00000166.jpg")
    raw = np.array([[0, 1, 2, 124, 125, 253, 254, 255]] * 6, np.uint8)
    for number in (166, 167):
        mask(tmp_path / "data" / "12_a_b-C_d" / "mask" / f"{number:08d}.png", raw)
    (tmp_path / "val.txt").write_text("12_a_b-C_d\n7_xyz")  # the last newline is missing
    return tmp_path


def test_vspw_names_order_and_missing_masks(vspw: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    assert [video.name for video in dataset.videos] == ["12_a_b-C_d", "7_xyz"]
    assert [frame.stem for frame in dataset.videos[1].frames] == ["00000166", "00000167"]
    assert len(labelled_frames(dataset)) == 2
    assert dataset.load_image(dataset.videos[1].frames[0]).shape == (6, 8, 3)


def test_vspw_raw_values(vspw: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    ids = dataset.load_mask(labelled_frames(dataset)[0])
    assert ids[0].tolist() == [255, 0, 1, 123, 255, 255, 255, 255]
    assert ids.dtype == np.uint8


def test_vspw_damage_is_named(vspw: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    frame = labelled_frames(dataset)[0]
    empty = vspw / "empty.jpg"
    empty.touch()
    with pytest.raises(InputError, match=r"empty\.jpg"):
        dataset.load_image(replace(frame, image=empty))
    colour = vspw / "colour.png"
    mask(colour, np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"colour\.png.*mode RGB"):
        dataset.load_mask(replace(frame, mask=colour))
    with pytest.raises(InputError, match=r"test\.txt"):
        open_dataset("vspw", vspw, "test")
    (vspw / "train.txt").write_text("99_gone\n")
    with pytest.raises(InputError, match="99_gone"):
        open_dataset("vspw", vspw, "train")


def test_vspw_palette_masks_are_read_by_index(vspw: Path) -> None:
    path = vspw / "palette.png"
    picture = Pillow.fromarray(np.array([[1, 2]], np.uint8), mode="P")
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    picture.save(path)
    dataset = open_dataset("vspw", vspw, "val")
    frame = replace(labelled_frames(dataset)[0], mask=path)
    assert dataset.load_mask(frame).tolist() == [[0, 1]]


def test_vipseg_values() -> None:
    labels = load_labels("vspw")
    raw = np.array([[0, 1, 124, 61, 6100, 6102, 200, 49005]], np.uint16)
    ids, instances = split_panomask(raw, labels, "x.png")
    # 61 is a bare person; 200 is an instance of ceiling (stuff), 49005 of no class at all
    assert ids[0].tolist() == [255, 0, 123, 60, 60, 60, 255, 255]
    assert instances[0].tolist() == [0, 0, 0, 0, 1, 3, 0, 0]


@pytest.mark.parametrize("folder", ["imgs", "images"])
def test_vipseg_tree(tmp_path: Path, folder: str) -> None:
    image(tmp_path / folder / "1_v" / "00000001.jpg")
    mask(tmp_path / "panomasks" / "1_v" / "00000001.png", np.full((6, 8), 6101, np.uint16))
    (tmp_path / "val.txt").write_text("1_v\n")
    dataset = open_dataset("vipseg", tmp_path, "val")
    (frame,) = labelled_frames(dataset)
    assert (dataset.load_mask(frame) == 60).all()


def test_panoptic_ids_round_trip(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 255, 256, 65536, (1 << 24) - 1]])
    assert (rgb_to_ids(ids_to_rgb(ids)) == ids).all()
    path = tmp_path / "a.png"
    Pillow.fromarray(ids_to_rgb(ids)).save(path)
    assert (read_panoptic_png(path) == ids).all()
    with pytest.raises(ValueError, match="16777215"):
        ids_to_rgb(np.array([[1 << 24]]))
    mask(tmp_path / "grey.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match="one channel"):
        read_panoptic_png(tmp_path / "grey.png")


def test_video_panoptic_json(tmp_path: Path) -> None:
    row = {"id": 7, "category_id": 60, "iscrowd": 0, "area": 12}
    record = {
        "annotations": [
            {"video_id": "v", "annotations": [{"file_name": "1.png", "segments_info": [row]}]}
        ]
    }
    path = tmp_path / "pred.json"
    path.write_text(json.dumps(record))
    (frame,) = read_video_segments(path)["v"]
    assert (frame.file_name, frame.segments[0].id, frame.segments[0].area) == ("1.png", 7, 12)
    path.write_text('{"annotations": [{"video": 1}]}')
    with pytest.raises(InputError, match="video_id"):
        read_video_segments(path)
    path.write_text("{")
    with pytest.raises(InputError, match="not json"):
        read_video_segments(path)


def test_cityscapes_snippets_and_ids(tmp_path: Path) -> None:
    for frame in (*range(0, 30), *range(30, 33), 50):
        image(
            tmp_path / "leftImg8bit_sequence" / "val" / "ulm"
            / f"ulm_000001_{frame:06d}_leftImg8bit.png"
        )  # fmt: skip
    values = np.array([[7, 33, 0, 255, 24, 18]], np.uint8)
    mask(tmp_path / "gtFine" / "val" / "ulm" / "ulm_000001_000019_gtFine_labelIds.png", values)
    dataset = open_dataset("cityscapes", tmp_path, "val")
    assert [len(video.frames) for video in dataset.videos] == [30, 3, 1]
    (frame,) = labelled_frames(dataset)
    assert frame.index == 19
    assert dataset.load_mask(frame)[0].tolist() == [0, 18, 255, 255, 11, 255]


def test_idd_lite_and_its_unlabelled_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        image(tmp_path / "leftImg8bit" / split / "12" / "000001_image.jpg")
    mask(
        tmp_path / "gtFine" / "train" / "12" / "000001_label.png",
        np.array([[0, 6, 7, 255]], np.uint8),
    )
    dataset = open_dataset("idd-lite", tmp_path, "train")
    (frame,) = labelled_frames(dataset)
    assert dataset.load_mask(frame)[0].tolist() == [0, 6, 255, 255]
    assert labelled_frames(open_dataset("idd-lite", tmp_path, "test")) == []


def test_davis_masks_are_binary(tmp_path: Path) -> None:
    image(tmp_path / "JPEGImages" / "480p" / "dog" / "00000.jpg")
    mask(tmp_path / "Annotations" / "480p" / "dog" / "00000.png", np.array([[0, 255]], np.uint8))
    dataset = open_dataset("davis", tmp_path, "val")
    assert dataset.load_mask(labelled_frames(dataset)[0]).tolist() == [[0, 1]]


def test_plain_folder(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a" / "1.jpg")
    image(tmp_path / "images" / "b" / "1.jpg")
    mask(tmp_path / "masks" / "a" / "1.png", np.array([[0, 1, 255]], np.uint8))
    with pytest.raises(InputError, match=r"labels\.json"):
        open_dataset("folder", tmp_path, "val")
    classes = [{"name": n, "thing": False, "colour": [1, 2, 3]} for n in ("x", "y")]
    (tmp_path / "labels.json").write_text(json.dumps({"name": "mine", "classes": classes}))
    dataset = open_dataset("folder", tmp_path, "val")
    (frame,) = labelled_frames(dataset)
    assert frame.video == "a" and dataset.load_mask(frame).tolist() == [[0, 1, 255]]
    mask(tmp_path / "masks" / "a" / "1.png", np.array([[2]], np.uint8))
    with pytest.raises(InputError, match="value 2"):
        dataset.load_mask(frame)
