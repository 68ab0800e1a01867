"""Composed clips on made sources, and on CamVid, coco128 and DAVIS where they are."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from support.made_composed import (
    BICYCLE_NUMBER,
    BICYCLIST,
    CAMVID,
    CAR,
    PEDESTRIAN,
    PERSON_NUMBER,
    POLE,
    ROAD,
    SIZE_HW,
    SKY,
    box,
    make_people,
    make_streets,
    write_plan,
)
from vidparse.data import IGNORE, Dataset, open_dataset
from vidparse.data.check import check_dataset
from vidparse.data.composed import part_of, read_plan
from vidparse.data.cutouts import class_for, cut, is_whole, list_cutouts, objects_in
from vidparse.data.shots import Actor, CameraPath, Ground
from vidparse.errors import InputError, UsageError
from vidparse.labels import load_labels
from vidparse.maps import ids_to_rgb


@pytest.fixture
def composed(tmp_path: Path) -> Path:
    make_streets(tmp_path / "streets")
    make_people(tmp_path / "people")
    return write_plan(tmp_path)


def frames_of(dataset: Dataset) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Picture, classes and segment ids of every frame."""
    return [
        (dataset.load_image(frame), dataset.load_mask(frame), dataset.load_truth(frame).ids)
        for video in dataset.videos
        for frame in video.frames
    ]


def test_clips_are_the_same_each_time_and_in_any_order(composed: Path) -> None:
    dataset = open_dataset("composed", composed, "train")
    assert [len(video.frames) for video in dataset.videos] == [4] * 6
    assert dataset.videos[0].interval_s == 0.2
    expected = frames_of(dataset)
    twin = pickle.loads(pickle.dumps(open_dataset("composed", composed, "train")))
    again = frames_of(twin)[::1]
    frames = [frame for video in twin.videos for frame in video.frames]
    for frame, (rgb, classes, ids) in reversed(list(zip(frames, expected, strict=True))):
        assert (twin.load_image(frame) == rgb).all()
        assert (twin.load_mask(frame) == classes).all()
        assert (twin.load_truth(frame).ids == ids).all()
    assert all((a[0] == b[0]).all() for a, b in zip(again, expected, strict=True))
    other = frames_of(open_dataset("composed", write_plan(composed, seed=1), "train"))
    assert any((a[0] != b[0]).any() for a, b in zip(other, expected, strict=True))


def test_ids_last_and_classes_agree_with_them(composed: Path) -> None:
    dataset = open_dataset("composed", composed, "train")
    assert dataset.is_panoptic and dataset.labels == CAMVID
    found: set[int] = set()
    lasting = 0
    for video in dataset.videos:
        owner: dict[int, int] = {}
        seen: list[set[int]] = []
        for frame in video.frames:
            truth = dataset.load_truth(frame)
            assert (truth.classes() == dataset.load_mask(frame)).all()
            assert truth.segments is not None
            for one in truth.segments:
                assert owner.setdefault(one.id, one.class_id) == one.class_id
                assert one.area == np.count_nonzero(truth.ids == one.id)
                assert not one.is_crowd
                assert not one.is_thing or one.area >= 32
            seen.append({one.id for one in truth.segments if one.is_thing})
            found |= {one.class_id for one in truth.segments}
        lasting += len(seen[0] & seen[-1])
    assert {SKY, ROAD, CAR, PEDESTRIAN, BICYCLIST} <= found
    assert lasting > 6  # one car of the background in each video, and more


def test_masks_are_where_the_objects_are_painted(composed: Path) -> None:
    """The people's pictures are grey, 100 and brighter, and none of the street is such a grey."""
    dataset = open_dataset("composed", composed, "train")
    inside = outside = 0
    for rgb, classes, _ in frames_of(dataset):
        people = np.isin(classes, (PEDESTRIAN, BICYCLIST)).astype(np.uint8)
        core = cv2.erode(people, np.ones((5, 5), np.uint8)) > 0
        spread = rgb.max(axis=2).astype(int) - rgb.min(axis=2)
        grey = spread <= 3
        inside += int(core.sum())
        outside += int((core & ~grey).sum())
    assert inside > 5000 and outside < 0.01 * inside


def test_near_objects_hide_far_ones_and_poles_hide_both(composed: Path) -> None:
    """The larger of two that overlap (they differ in depth) is whole where they meet."""
    dataset = open_dataset("composed", write_plan(composed, objects=[30, 30]), "train")
    poles = 0
    for _, classes, _ in frames_of(dataset):
        poles += int((classes == POLE).sum())
    bare = open_dataset("composed", write_plan(composed, objects=[0, 0]), "train")
    total = sum(int((classes == POLE).sum()) for _, classes, _ in frames_of(bare))
    assert 0.3 * total < poles < total  # hidden by what is nearer, seen before what is farther


def test_splits_share_no_object_and_no_background(composed: Path) -> None:
    """People in photographs at even places are for train; each has its own grey."""
    for place, split in enumerate(("train", "val", "test")):
        folder = composed / "streets" / split
        for path in folder.iterdir():  # the red of the cars shows the split
            rgb = cv2.imread(str(path))
            rgb[50:80, 100:135] = (40, 40, 160 + 40 * place)
            cv2.imwrite(str(path), rgb)
    reds: dict[str, set[int]] = {}
    for split in ("train", "val", "test"):
        dataset = open_dataset("composed", write_plan(composed, objects=[0, 0]), split)
        reds[split] = {
            int(np.median(rgb[classes == CAR][:, 0])) for rgb, classes, _ in frames_of(dataset)
        }
    assert reds == {"train": {160}, "val": {200}, "test": {240}}
    pictures = {}
    for split in ("train", "val", "test"):
        whole = open_dataset("yolo-seg", composed / "people", "all")
        part = part_of("yolo-seg", composed / "people", split)
        assert set(part.videos) < set(whole.videos)
        pictures[split] = {video.name for video in part.videos}
    assert pictures["train"] == {"0", "2"} and pictures["val"] == pictures["test"] == {"1", "3"}


def test_the_size_may_be_given(composed: Path) -> None:
    dataset = open_dataset("composed", write_plan(composed, size="96x80", videos=1, rate=10), "val")
    rgb, classes, ids = frames_of(dataset)[0]
    assert rgb.shape == (80, 96, 3) and classes.shape == ids.shape == (80, 96)
    assert dataset.videos[0].interval_s == 0.1


def test_masks_stay_on_their_pictures_at_another_size(composed: Path) -> None:
    """Pictures and ids shrink about the same centres: a car is not half a pixel beside itself."""
    plan = write_plan(composed, size="71x65", objects=[0, 0])
    shifts: list[float] = []
    for rgb, classes, _ in frames_of(open_dataset("composed", plan, "train")):
        red = (rgb[..., 0].astype(float) - rgb[..., 1]).clip(0)  # of the car alone
        car = (classes == CAR).astype(float)
        centres = [
            [(place * share).sum() / share.sum() for place in np.indices(car.shape)]
            for share in (red, car)
        ]
        shifts += np.subtract(*centres).tolist()
    assert len(shifts) == 2 * 24
    assert abs(float(np.mean(shifts))) < 0.2


@pytest.mark.parametrize("source", ["streets", "davis"])
def test_masks_of_another_size_than_their_pictures_are_named(composed: Path, source: str) -> None:
    """A background would be cut to its corner, and an object be cut out beside itself."""
    sequence = composed / "davis"
    for kind, ending in (("JPEGImages", "jpg"), ("Annotations", "png")):
        for name in ("hike", "parkour"):
            path = sequence / kind / "480p" / name / f"00000.{ending}"
            path.parent.mkdir(parents=True)
            mask = np.zeros(SIZE_HW, np.uint8)
            mask[10:110, 20:50] = 255
            cv2.imwrite(str(path), mask)
    masks = {"streets": "streets/*annot/*.png", "davis": "davis/Annotations/480p/*/*.png"}
    for path in composed.glob(masks[source]):
        with Pillow.open(path) as picture:
            small = picture.resize((picture.width // 2, picture.height // 2), 0)
        if source == "davis":  # the object stays as large as a whole one has to be
            small = picture.crop((0, 0, 130, SIZE_HW[0]))
        small.save(path)
    write_plan(composed, cutouts=["davis=davis"], objects=[20, 20])
    dataset = open_dataset("composed", composed, "train")
    with pytest.raises(InputError, match=r"its image 160x120; mend the mask"):
        frames_of(dataset)


def test_things_of_backgrounds_without_objects_are_crowds(composed: Path) -> None:
    dataset = open_dataset("composed", write_plan(composed, backgrounds="camvid=streets"), "val")
    segments = dataset.load_truth(dataset.videos[0].frames[0]).segments or ()
    assert [one.class_id for one in segments if one.is_crowd] == [CAR]
    assert all(one.class_id in CAMVID.things for one in segments if one.is_crowd)


def test_backgrounds_of_a_plain_folder(tmp_path: Path) -> None:
    """Pictures side by side, in classes of their own, without a road: objects may be anywhere in
    the lower half, and the pictures are halved."""
    make_people(tmp_path / "people")
    for folder in ("images", "masks"):
        (tmp_path / "meadow" / folder).mkdir(parents=True)
    for i in range(4):
        cv2.imwrite(
            str(tmp_path / f"meadow/images/{i}.png"), np.full((*SIZE_HW, 3), 60 + i, np.uint8)
        )
        cv2.imwrite(str(tmp_path / f"meadow/masks/{i}.png"), np.zeros(SIZE_HW, np.uint8))
    classes = [
        {"name": name, "thing": thing, "colour": [i, 2, 3]}
        for i, (name, thing) in enumerate([("grass", False), ("Person", True)])
    ]
    (tmp_path / "meadow/labels.json").write_text(json.dumps({"name": "mine", "classes": classes}))
    root = write_plan(tmp_path, backgrounds="folder=meadow")
    for split, greys in (("train", {60, 62}), ("val", {61, 63})):
        dataset = open_dataset("composed", root, split)
        assert dataset.labels.classes == ("grass", "Person")
        frames = frames_of(dataset)
        assert {int(rgb[5, 5, 0]) for rgb, _, _ in frames} == greys
        assert {int(one) for _, ids, _ in frames for one in np.unique(ids)} <= {0, 1, IGNORE}
        assert any((ids == 1).any() for _, ids, _ in frames)  # people, and no rider: no such class


def test_hardly_seen_objects_are_void(composed: Path) -> None:
    strict = open_dataset("composed", write_plan(composed, least=300), "train")
    lax = open_dataset("composed", write_plan(composed, least=0), "train")
    gone = 0
    for a, b in zip(frames_of(strict), frames_of(lax), strict=True):
        assert (a[0] == b[0]).all()
        changed = a[1] != b[1]
        assert (a[1][changed] == IGNORE).all()
        gone += int(changed.sum())
        _, areas = np.unique(a[2][np.isin(a[1], sorted(CAMVID.things))], return_counts=True)
        assert (areas >= 300).all()
    assert gone


def test_what_frames_depend_on_is_recorded(composed: Path) -> None:
    """So that an evaluation is not taken up where clips of another kind were left."""
    known = [open_dataset("composed", composed, "train").recipe]
    known.append(open_dataset("composed", write_plan(composed, least=40), "train").recipe)
    path = composed / "people" / "images" / "train2017" / "0.png"
    cv2.imwrite(str(path), cv2.imread(str(path)) + 1)
    os.utime(path, (1, 1))
    known.append(open_dataset("composed", composed, "train").recipe)
    known += [
        open_dataset(f"sample://street?{query}", None, "val").recipe
        for query in ("", "rate=5", "least=3", "size=96x64")
    ]
    assert "" not in known and len(set(known)) == len(known)
    assert open_dataset("composed", composed, "train").recipe == known[2]


def test_what_is_cut_out_of_photographs(composed: Path) -> None:
    dataset = open_dataset("yolo-seg", composed / "people", "all")
    frame = dataset.videos[0].frames[0]
    found = {one.name: one for one in objects_in(dataset, frame)}
    assert set(found) == {"person", "rider"}  # the bicycle and its rider are one
    x, y, width, height = found["rider"].box
    assert (x, y) == (90, 20) and abs(width - 40) <= 1 and abs(height - 80) <= 1
    assert all(is_whole(one) for one in found.values())
    cutouts = list_cutouts(0, dataset, dataset.videos, CAMVID)
    assert {one.class_id for one in cutouts} == {PEDESTRIAN, BICYCLIST} and len(cutouts) == 8
    person = next(one for one in cutouts if one.name == "person")
    rgba = cut(dataset, person, 0)
    assert abs(rgba.shape[0] - 100) <= 2 and abs(rgba.shape[1] - 30) <= 2
    assert (rgba[3:-3, 3:-3] == (100, 100, 100, 255)).all()


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        (box(20, 10, 90, 100), "too wide for one who stands"),
        (box(20, 10, 10, 30), "too small"),
        (box(0, 10, 30, 100), "cut by the edge of the picture"),
        (box(20, 20, 30, 100), "cut by the lower edge"),
        ("0.1 0.1 0.4 0.1 0.25 0.9", "a portrait that tapers off"),
    ],
)
def test_parts_of_objects_are_not_cut_out(composed: Path, shape: str, why: str) -> None:
    label = composed / "people" / "labels" / "train2017" / "0.txt"
    label.write_text(f"{PERSON_NUMBER} {shape}")
    dataset = open_dataset("yolo-seg", composed / "people", "all")
    (one,) = objects_in(dataset, dataset.videos[0].frames[0])
    assert not is_whole(one), why


def test_bicycles_without_a_rider_are_nothing(composed: Path) -> None:
    label = composed / "people" / "labels" / "train2017" / "0.txt"
    label.write_text(
        f"{BICYCLE_NUMBER} {box(90, 60, 40, 40)}\n{PERSON_NUMBER} {box(20, 10, 30, 100)}"
    )
    dataset = open_dataset("yolo-seg", composed / "people", "all")
    assert [one.name for one in objects_in(dataset, dataset.videos[0].frames[0])] == ["person"]


def test_riders_of_data_sets_with_segments(tmp_path: Path) -> None:
    """COCO panoptic has a bicycle and its rider as two segments; cut out they are one."""
    ids = np.zeros(SIZE_HW, np.int64)
    ids[10:110, 20:50], ids[60:100, 90:130], ids[20:70, 100:120] = 5, 7, 9
    folder = tmp_path / "annotations" / "panoptic_val2017"
    folder.mkdir(parents=True)
    (tmp_path / "val2017").mkdir()
    Pillow.fromarray(ids_to_rgb(ids)).save(folder / "1.png")
    cv2.imwrite(str(tmp_path / "val2017" / "1.png"), np.full((*SIZE_HW, 3), 90, np.uint8))
    names = {1: "person", 2: "bicycle"}
    categories = [
        {"id": i, "name": name, "isthing": 1, "color": [i, i, i]} for i, name in names.items()
    ]
    rows = [{"id": i, "category_id": c} for i, c in ((5, 1), (7, 2), (9, 1))]
    record = {
        "annotations": [{"file_name": "1.png", "segments_info": rows}],
        "categories": categories,
    }
    folder.with_suffix(".json").write_text(json.dumps(record))
    dataset = open_dataset("coco-panoptic", tmp_path, "val")
    found = {one.name: one for one in objects_in(dataset, dataset.videos[0].frames[0])}
    assert found["person"].key == 5 and found["rider"].box == (90, 20, 40, 80)
    cutouts = list_cutouts(0, dataset, dataset.videos, CAMVID)
    assert sorted(one.class_id for one in cutouts) == [PEDESTRIAN, BICYCLIST]


def test_names_of_objects_in_label_sets() -> None:
    assert [class_for(name, CAMVID) for name in ("person", "rider", "bus", "car", "dog")] == [
        PEDESTRIAN, BICYCLIST, CAR, CAR, None
    ]  # fmt: skip
    cityscapes = load_labels("cityscapes")
    assert [class_for(name, cityscapes) for name in ("person", "bus")] == [11, 15]
    assert class_for("person", load_labels("vspw")) == 60
    assert class_for("rider", load_labels("vspw")) is None


def test_sequences_move(tmp_path: Path) -> None:
    """A DAVIS sequence is cut out frame by frame: its pictures follow each other."""
    for folder in ("JPEGImages/480p/car-turn", "Annotations/480p/car-turn"):
        (tmp_path / "davis" / folder).mkdir(parents=True)
    for i in range(6):
        rgb = np.full((*SIZE_HW, 3), 40, np.uint8)
        rgb[30:80, 20 + 5 * i : 90 + 5 * i] = 100 + 20 * i
        mask = np.where(rgb[..., 0] > 40, 255, 0).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "davis/JPEGImages/480p/car-turn" / f"{i:05d}.png"), rgb)
        cv2.imwrite(str(tmp_path / "davis/Annotations/480p/car-turn" / f"{i:05d}.png"), mask)
    make_streets(tmp_path / "streets")
    root = write_plan(tmp_path, cutouts=["davis=davis"], frames=8, rate=24, objects=[1, 1])
    dataset = open_dataset("davis", tmp_path / "davis", "all")
    (one,) = list_cutouts(0, dataset, dataset.videos, CAMVID)
    assert (one.class_id, len(one.frames), one.rate_hz) == (CAR, 6, 24)
    greys = [int(cut(dataset, one, i)[25, 35, 0]) for i in range(6)]
    assert greys == [100, 120, 140, 160, 180, 200]
    clips = open_dataset("composed", root, "train")
    assert any(len(np.unique(ids)) > 4 for _, _, ids in frames_of(clips))


def test_paths_and_camera() -> None:
    ground = Ground(horizon=50.0, focal_px=100.0, centre=80.0)
    assert ground.place(0, 1.4) == (80.0, 150.0)
    assert ground.place(2, 10) == (100.0, 64.0)  # farther: nearer to the horizon
    still = CameraPath(1.0, 0.0, (0.0, 0.0), 1.0, 0.0, 0.0)
    assert np.allclose(still.at(3.0, ground), np.eye(3))
    forward = CameraPath(1.0, 0.1, (0.0, 0.0), 1.0, 0.0, 0.0)
    ahead = forward.at(2.0, ground) @ (80.0, 50.0, 1.0)
    assert np.allclose(ahead[:2], (80.0, 50.0))  # the vanishing point stays
    beside = forward.at(2.0, ground) @ (90.0, 60.0, 1.0)
    assert np.allclose(beside[:2] - (80, 50), 10 * np.exp(0.2))
    assert Actor(0, 1.7, 0, 5, 1, 0, False, 0.0).height_m == 1.7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backgrounds": None}, "names no backgrounds; write"),
        ({"cutouts": []}, 'cutouts: not a list of "FORMAT=FOLDER"'),
        ({"cutouts": "people"}, 'cutouts: not a list of "FORMAT=FOLDER"'),
        ({"cutouts": "yolo-seg=gone"}, "gone: no such folder, named in composed.json"),
        ({"cutouts": "camvid=streets"}, "camvid: does not distinguish objects"),
        ({"backgrounds": ["camvid=streets", "yolo-seg=people"]}, "have other classes"),
        ({"frames": 0}, "frames: not a whole number from 1 to 100000"),
        ({"frames": True}, "frames: not a whole number"),
        ({"videos": {"trains": 3}}, "videos: no split 'trains'"),
        ({"rate": 0}, "rate: not a rate from 0.1 to 1000"),
        ({"size": "480*360"}, "size: not WIDTHxHEIGHT"),
        ({"objects": [3, 2]}, r"objects: not \[LEAST, MOST\]"),
        ({"colour": 1}, "unknown key 'colour'; use backgrounds, cutouts, videos, frames"),
    ],
)
def test_plans_that_are_wrong(composed: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_dataset("composed", write_plan(composed, **changes), "val")


def test_sources_without_a_whole_object(composed: Path) -> None:
    for path in (composed / "people" / "labels" / "train2017").iterdir():
        path.write_text(f"{PERSON_NUMBER} {box(20, 10, 90, 100)}")
    with pytest.raises(InputError, match="no whole object of camvid's things in its cutouts"):
        open_dataset("composed", composed, "val")


def test_plans_that_are_none(composed: Path) -> None:
    (composed / "composed.json").write_text("[]")
    with pytest.raises(InputError, match="no record of clips"):
        read_plan(composed / "composed.json")
    with pytest.raises(UsageError, match="'camvidd': unknown"):
        open_dataset("composed", write_plan(composed, backgrounds="camvidd=streets"), "val")
    with pytest.raises(InputError, match="composed split 'all': unknown; use train, val, test"):
        open_dataset("composed", composed, "all")


def test_bad_files_of_the_sources_are_named_by_the_check(composed: Path) -> None:
    write_plan(composed, videos=4, frames=1)
    assert check_dataset(composed).problems == ()
    (composed / "streets" / "train" / "0001TP_000030.png").write_bytes(b"no picture")
    report = check_dataset(composed, split="train")
    assert [Path(one.path).name for one in report.problems] == ["0001TP_000030.png"]
    (composed / "people" / "labels" / "train2017" / "0.txt").write_text("0 1 2 3")
    with pytest.raises(InputError, match=r"0\.txt: line 1"):
        check_dataset(composed, split="train")


@pytest.mark.parametrize("split", ["train", "val"])
def test_clips_of_real_pictures(tmp_path: Path, split: str) -> None:
    """Cars, people and cyclists, of a useful size, on CamVid."""
    shared_data = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not all((shared_data / name).is_dir() for name in ("camvid", "coco128_seg", "davis16")):
        pytest.skip("no camvid, coco128_seg and davis16 beside the checkout")
    record = {
        "backgrounds": [f"camvid-objects={shared_data / 'camvid'}"],
        "cutouts": [
            f"yolo-seg={shared_data / 'coco128_seg'}",
            f"davis={shared_data / 'davis16'}",
        ],
        "videos": 6,
        "frames": 3,
    }
    (tmp_path / "composed.json").write_text(json.dumps(record))
    dataset = open_dataset("composed", tmp_path, split)
    classes: set[int] = set()
    areas: list[int] = []
    for video in dataset.videos:
        for frame in video.frames:
            truth = dataset.load_truth(frame)
            assert truth.size_hw == dataset.load_image(frame).shape[:2] == (360, 480)
            things = [s for s in truth.segments or () if s.is_thing and not s.is_crowd]
            classes |= {one.class_id for one in things}
            areas += [one.area for one in things]
    assert {CAR, PEDESTRIAN, BICYCLIST} == classes
    assert np.median(areas) > 200 and len(areas) > 60
