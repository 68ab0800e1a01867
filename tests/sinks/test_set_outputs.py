"""Outputs that are data sets of trainers: `--dataset` reads back what was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from support.object_outputs import TOY, objects, write
from vidparse.data import Dataset, open_dataset, recognise
from vidparse.errors import OutputError
from vidparse.labels import Labels
from vidparse.maps import SegmentMap

NAMES = {"vspw-set": "vspw", "vipseg-set": "vipseg", "coco-panoptic": "coco-panoptic"}


def maps() -> list[SegmentMap]:
    """A road with a car that moves and a dog that comes later; void at the top."""
    found = []
    for i in range(3):
        ids = np.zeros((24, 32), np.uint32)
        ids[4:] = 900
        ids[10:16, 2 + i : 10 + i] = 7
        class_of = {900: 0, 7: 1}
        if i:
            ids[18:22, 20:26] = 70_000
            class_of[70_000] = 2
        found.append(objects(ids, class_of))
    return found


def opened(root: Path, name: str, split: str = "train") -> Dataset:
    assert recognise(root) == NAMES[name]
    return open_dataset(NAMES[name], root, split)


@pytest.mark.parametrize("name", NAMES)
def test_ids_and_pictures_come_back(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    pictures = [np.full((24, 32, 3), one, np.uint8) for one in rng.integers(20, 230, 3)]
    assert write(name, tmp_path / f"caf\u00e9 1.{name}", maps(), pictures=pictures) == []
    dataset = opened(tmp_path / f"caf\u00e9 1.{name}", name)
    assert dataset.labels.classes == TOY.classes and dataset.labels.things == TOY.things
    frames = [frame for video in dataset.videos for frame in video.frames]
    if name != "coco-panoptic":  # which holds photographs
        assert [video.name for video in dataset.videos] == ["caf\u00e9 1"]
    assert len(frames) == 3
    for frame, before, picture in zip(frames, maps(), pictures, strict=True):
        after = dataset.load_truth(frame)
        assert (after.classes() == before.classes()).all()
        if name != "vspw-set":
            assert (after.ids == before.ids).all()
        assert np.abs(dataset.load_image(frame).astype(int) - picture).max() <= 2  # a JPEG


@pytest.mark.parametrize("name", NAMES)
def test_classes_alone_come_back(tmp_path: Path, name: str) -> None:
    classes = [replace(one, ids=one.classes(), segments=None) for one in maps()]
    write(name, tmp_path / "out", classes)
    dataset = opened(tmp_path / "out", name)
    frames = [frame for video in dataset.videos for frame in video.frames]
    for frame, before in zip(frames, maps(), strict=True):
        assert (dataset.load_mask(frame) == before.classes()).all()


def test_the_names_of_submissions_stay_submissions(
    cli: Callable[..., Any], clip: Callable[..., Path], tmp_path: Path
) -> None:
    save = "masks,vspw,vspw-set"
    done = cli("segment", clip("a.mp4", frames=3), "--save", save, "-o", f"{tmp_path / 'o'}/")
    assert done.code == 0, done.err
    dataset = opened(tmp_path / "o" / "a.vspw-set", "vspw-set")
    for frame in dataset.videos[0].frames:
        masks = sorted((tmp_path / "o").glob(f"*/**/*{frame.stem}.png"))
        other = [one for one in masks if "vspw-set" not in str(one)]
        assert len(other) == 2  # masks and the submission
        for path in other:
            assert (np.asarray(Pillow.open(path)) == dataset.load_mask(frame)).all()


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    names = tuple(f"c{i}" for i in range(255))
    many = Labels("many", names, ((1, 2, 3),) * 255, frozenset())
    with pytest.raises(OutputError, match="vspw holds 254 classes and 'many' has 255"):
        write("vspw-set", tmp_path / "out", [SegmentMap(np.zeros((4, 4), np.uint8))], many)
