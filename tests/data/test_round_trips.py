"""A folder of one's own in every format and back: odd names, two splits, background and void."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from vidparse.data import open_dataset, recognise
from vidparse.data.convert import convert_dataset
from vidparse.data.writers import WRITERS

CLASSES = ("background", "Straße", "car 100%", "a;\"b\" <&> 'c'")
STEMS = ("a b", "ü#?&+", "50%d", "x.y\udcff")  # the last is no UTF-8 on the disk
TEXT = ("a b", "ü#?&+", "50%d", "x.y_ff")
VIDEOS = {"train": ("v 1", "v%s"), "val": ("w\udcfe", "v 1")}
NEAR = ("labelme", "yolo-seg")
THINGS_ALONE = ("coco", "ytvis")  # and no background, so that void is of it


def mask_of(index: int) -> np.ndarray:
    """Void above, two things, one of them with a hole."""
    ids = np.zeros((40, 56), np.uint8)
    ids[:3] = 255
    ids[8:24, 4 + index : 30 + index] = 1
    ids[12:18, 10:16] = 0
    ids[20:36, 34:50] = 2
    return ids


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with two splits of two videos each."""
    rows = [{"name": n, "thing": i > 0, "colour": [i, 90, 9]} for i, n in enumerate(CLASSES)]
    for split, videos in VIDEOS.items():
        for video in videos:
            for kind in ("images", "masks"):
                (tmp_path / "mine" / split / kind / video).mkdir(parents=True)
            for index, stem in enumerate(STEMS):
                base, name = tmp_path / "mine" / split, f"{video}/{stem}.png"
                picture = np.full((40, 56, 3), index * 9, np.uint8)
                Pillow.fromarray(picture).save(os.fsencode(base / "images" / name))
                Pillow.fromarray(mask_of(index)).save(os.fsencode(base / "masks" / name))
    (tmp_path / "mine" / "labels.json").write_text(json.dumps({"name": "mine", "classes": rows}))
    return tmp_path / "mine"


@pytest.mark.parametrize("to", sorted(set(WRITERS) - {"coco-panoptic", "label-studio-video"}))
def test_names_splits_and_void_come_back(mine: Path, tmp_path: Path, to: str) -> None:
    there, back = tmp_path / "there\udcfd", tmp_path / "back"
    first = convert_dataset(mine, there, to=to)
    convert_dataset(there, back, to="folder")
    assert recognise(there) == first.read_as and recognise(back) == "folder"

    # Videos of one name in two splits are kept apart where all splits share a folder.
    text = {"v 1": "v 1", "v%s": "v%s", "w\udcfe": "w_fe"}
    for split, videos in VIDEOS.items():
        dataset = open_dataset("folder", back, split)
        names = {text[name] for name in videos}
        if to in ("vspw", "vipseg") and split == "val":
            names = {"w_fe", "val_v 1"}
        assert {video.name for video in dataset.videos} == names
        assert dataset.labels.classes == CLASSES
        for video in dataset.videos:
            assert {frame.stem for frame in video.frames} == set(TEXT)
            for frame in video.frames:
                wanted = mask_of(TEXT.index(frame.stem))
                found = dataset.load_mask(frame)
                if to in (*THINGS_ALONE, "yolo-seg"):
                    wanted[wanted == 255] = 0
                assert (found != wanted).mean() <= (0.02 if to in NEAR else 0)

    # A note names where void is lost.
    note = f"{to}: holds no shape of 'background', so void pixels are of it, too"
    assert (note in first.notes) == (to in (*THINGS_ALONE, "yolo-seg"))


@pytest.mark.parametrize("to", ["folder", "labelme", "yolo-seg", "label-studio", "cvat"])
def test_the_only_video_keeps_its_name(mine: Path, tmp_path: Path, to: str) -> None:
    shutil.rmtree(mine / "train" / "images" / VIDEOS["train"][1])
    first = convert_dataset(mine, tmp_path / "there", to=to, split="train")
    convert_dataset(tmp_path / "there", tmp_path / "back", to="folder")
    for name, root in ((first.read_as, "there"), ("folder", "back")):
        (video,) = open_dataset(name, tmp_path / root, "all").videos
        assert (video.name, len(video.frames)) == ("v 1", len(STEMS))


def test_a_split_of_a_converted_folder_needs_no_other(mine: Path, tmp_path: Path) -> None:
    convert_dataset(mine, tmp_path / "out", to="folder")
    labels = tmp_path / "out" / "val" / "labels.json"
    assert open_dataset("folder", tmp_path / "out", "val").labels.classes == CLASSES
    assert recognise(tmp_path / "out" / "val") == recognise(tmp_path / "out") == "folder"

    # One for all splits lies in the root, and that of a split wins.
    labels.write_text(labels.read_text(encoding="utf-8").replace("car 100%", "bus"))
    assert open_dataset("folder", tmp_path / "out", "val").labels.classes[2] == "bus"
    (tmp_path / "out" / "train" / "labels.json").rename(tmp_path / "out" / "labels.json")
    assert open_dataset("folder", tmp_path / "out", "train").labels.classes == CLASSES
