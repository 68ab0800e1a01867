"""CamVid's made objects: which connected parts are one, and how they are linked in time."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.made_drive import BICYCLIST, CAMVID, CAR, PEDESTRIAN, ROAD, make_drive, save, street
from vidparse.data import IGNORE, open_dataset
from vidparse.data.augment import Augmentation
from vidparse.data.camvid_objects import separate
from vidparse.data.check import check_dataset
from vidparse.requests.training import SourceRequest
from vidparse.training.clips import ClipPlan, load_clip
from vidparse.training.neighbours import Run
from vidparse.training.training_sets import open_training_sets

CASES = {
    "two apart": (
        [(CAR, 50, 200, 60, 50), (CAR, 200, 180, 30, 25), (PEDESTRIAN, 300, 150, 20, 60)], 3
    ),
    "a row of parked cars is no car": ([(CAR, 50, 200, 200, 50)], 0),
    "a group is no pedestrian": ([(PEDESTRIAN, 50, 200, 50, 60)], 0),
    "cars parked along the road to the horizon": (
        [(CAR, 50 + i, 240 - i // 2, 1, 40 - i // 3) for i in range(70)], 0
    ),
    "a car seen from its corner": (
        [(CAR, 50 + i, 240 - i // 8, 1, 40 - i // 10) for i in range(70)], 1
    ),
    "two that nearly touch": ([(CAR, 50, 200, 60, 50), (CAR, 112, 200, 60, 50)], 0),
    "two that touch at a corner": (
        [(PEDESTRIAN, 50, 200, 20, 60), (PEDESTRIAN, 70, 260, 20, 60)], 0
    ),
    "one behind a pole may be two": ([(CAR, 50, 200, 60, 50), (2, 79, 100, 3, 160)], 0),
    "other classes may touch": ([(CAR, 50, 200, 60, 50), (PEDESTRIAN, 110, 200, 20, 60)], 2),
    "a speck beside it does no harm": ([(CAR, 50, 200, 60, 50), (CAR, 111, 240, 2, 2)], 1),
    "a speck": ([(CAR, 50, 200, 5, 5)], 0),
    "none": ([], 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("height", [360, 720])
def test_parts_that_are_one_object(case: str, height: int) -> None:
    boxes, count = CASES[case]
    classes = street(*boxes, height=height)
    numbers = separate(classes, CAMVID)
    assert numbers.shape == classes.shape and numbers.max() == count
    for number in range(1, count + 1):
        (class_id,) = np.unique(classes[numbers == number])
        assert class_id in CAMVID.things
        parts, _ = cv2.connectedComponents((numbers == number).astype(np.uint8))
        assert parts == 2  # one, and the rest


def test_objects_keep_their_ids_through_a_crowd(tmp_path: Path) -> None:
    dataset = make_drive(tmp_path)
    assert dataset.is_panoptic
    (video,) = dataset.videos
    ids = []
    for frame in video.frames:
        truth = dataset.load_truth(frame)
        assert (truth.classes() == dataset.load_mask(frame)).all()
        cars = [one for one in truth.segments or () if one.class_id == CAR]
        ids.append(tuple(one.id for one in sorted(cars, key=lambda one: one.box[0])))
        assert all(one.is_crowd for one in cars) == (frame.index in (2, 3))
    assert len(ids[0]) == 2 and len(ids[2]) == 1
    assert ids == [ids[0], ids[0], ids[2], ids[2], ids[0], ids[0]]
    late = pickle.loads(pickle.dumps(open_dataset("camvid-objects", tmp_path, "val")))
    last = late.load_truth(video.frames[5])  # requested first, and the same
    assert {one.id for one in last.segments or () if one.is_thing} == set(ids[0])


def test_pictures_a_second_apart_are_videos_of_their_own(tmp_path: Path) -> None:
    for i in range(3):
        classes = street((BICYCLIST, 100, 150, 30, 60), (CAR, 200, 200, 200, 50))
        classes[0, :5] = 11
        save(tmp_path, "train", f"0001TP_{6690 + 30 * i:06d}", classes)
    dataset = open_dataset("camvid-objects", tmp_path, "train")
    assert [len(video.frames) for video in dataset.videos] == [1, 1, 1]
    assert all(video.interval_s == math.inf for video in dataset.videos)
    assert len({video.name for video in dataset.videos}) == 3
    (frame,) = dataset.videos[1].frames
    truth = dataset.load_truth(frame)
    listed = [(one.class_id, one.is_thing, one.is_crowd) for one in truth.segments or ()]
    assert listed == [(ROAD, False, False), (CAR, True, True), (BICYCLIST, True, False)]
    assert (dataset.load_mask(frame)[0, :5] == IGNORE).all() and (truth.ids[0, :5] == 0).all()
    assert check_dataset(tmp_path, "camvid-objects").problems == ()


def test_clips_of_single_pictures_move(tmp_path: Path) -> None:
    """A camera moves over a picture that is no video; the cyclist is one thing in all frames, and
    the crowd has its class and is no thing."""
    save(
        tmp_path, "train", "0001TP_006690",
        street((BICYCLIST, 200, 150, 40, 60), (CAR, 250, 200, 200, 50)),
    )  # fmt: skip
    source = open_training_sets([SourceRequest("camvid-objects", tmp_path)]).first
    (frame,) = source.labelled
    views = Augmentation((360, 480), scale_range=(1.0, 1.0), flip=False)
    plan = ClipPlan(Run(3), views, with_objects=True)
    clip = load_clip(source, frame, plan, np.random.default_rng(0), labelled=True)
    assert clip.objects is not None and np.unique(clip.objects).tolist() == [0, 1]
    assert (clip.labels[clip.objects == 1] == BICYCLIST).all()
    assert (clip.labels == CAR).any() and not clip.objects[clip.labels == CAR].any()
    places = [np.argwhere(one == 1).mean(axis=0) for one in clip.objects]
    assert np.abs(places[0] - places[2]).max() > 0.5
    assert (clip.frames[0] != clip.frames[1]).any()


def test_camvid() -> None:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "camvid"
    if not folder.is_dir():
        pytest.skip("no camvid beside the checkout")
    dataset = open_dataset("camvid-objects", folder, "val")
    (video,) = dataset.videos
    frames_of: dict[int, list[int]] = {}
    for frame in video.frames:
        for one in dataset.load_truth(frame).segments or ():
            if one.is_thing and not one.is_crowd:
                frames_of.setdefault(one.id, []).append(frame.index)
    spans = [(len(seen), seen[-1] - seen[0] + 1) for seen in frames_of.values()]
    assert 10 < len(spans) < 60
    assert max(count for count, _ in spans) > 40  # a cyclist stays ahead for most of the clip
