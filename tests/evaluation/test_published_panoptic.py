"""VPQ and STQ through every reader of panoptic files, against the published evaluators."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from support.made_composed import make_people, make_streets, write_plan
from support.made_drive import make_drive
from support.published_panoptic import Frame, Videos, published_stq, published_vpq
from vidparse.data import Dataset, open_dataset
from vidparse.evaluation.entries import open_predictions
from vidparse.evaluation.evaluate import EvaluationOptions, evaluate
from vidparse.maps import ids_to_rgb

SIZE_HW = (14, 18)
FRAMES = {"1_v-a": 6, "2_w": 3}  # of each video
WINDOWS = (1, 2, 4, 6)


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(values).save(path)


def made_video(
    rng: np.random.Generator, objects: dict[int, int], *, frames: int, first: int, crowd: int | None
) -> list[Frame]:
    """Squares that drift over void and one another, listed in any order.

    Args:
        objects: segment id -> category. first: segment that the first frame lists first.
        crowd: segment that is one.
    """
    corners = rng.integers(0, 10, (len(objects), 2))
    video = []
    for t in range(frames):
        ids = np.zeros(SIZE_HW, np.int64)
        for (y, x), segment in zip(corners, objects, strict=True):
            ids[y : y + 6, x : x + 7] = segment
        present = rng.permutation(np.setdiff1d(ids, [0])).tolist()
        if t == 0:
            ids[0, 0] = first
            present = [first, *(segment for segment in present if segment != first)]
        video.append(
            (
                ids,
                [
                    {
                        "id": segment,
                        "category_id": objects[segment],
                        "iscrowd": int(segment == crowd),
                        # What a json claims may differ from the picture; it is what counts.
                        "area": int((ids == segment).sum() + rng.integers(0, 3)),
                    }
                    for segment in present
                ],
            )
        )
        corners = np.clip(corners + rng.integers(-1, 2, corners.shape), 0, 11)
    return video


def made_prediction(rng: np.random.Generator, truth: list[Frame]) -> list[Frame]:
    """The truth moved by a pixel, with other ids, some objects lost and some of another class."""
    categories = sorted({s["category_id"] for _, segments in truth for s in segments})
    renamed: dict[int, tuple[int, int]] = {}
    for _, segments in truth:
        for segment in segments:
            category = segment["category_id"] if rng.random() < 0.8 else rng.choice(categories)
            renamed.setdefault(segment["id"], (int(70_000 + 977 * len(renamed)), int(category)))
    video = []
    for ids, segments in truth:
        moved, predicted = np.roll(ids, rng.integers(-1, 2), axis=1), np.zeros_like(ids)
        for segment in segments:
            if rng.random() < 0.85:
                predicted[moved == segment["id"]] = renamed[segment["id"]][0]
        rows = [
            {"id": number, "category_id": category}
            for number, category in renamed.values()
            if (predicted == number).any()
        ]
        video.append((predicted, [rows[i] for i in rng.permutation(len(rows))]))
    return video


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*SIZE_HW, 3), 90, np.uint8))


def by_video(videos: dict[str, list[Frame]], stems: dict[str, list[str]]) -> list[dict[str, Any]]:
    return [
        {
            "video_id": name,
            "annotations": [
                {"file_name": f"{stem}.png", "image_id": stem, "segments_info": segments}
                for stem, (_, segments) in zip(stems[name], frames, strict=True)
            ],
        }
        for name, frames in videos.items()
    ]


# Readers of ground truth: each writes what it is given and opens it as a data set.


def converted_vipseg(root: Path, truth: dict[str, list[Frame]]) -> Dataset:
    stems = {name: [f"{4 + 3 * t:08d}" for t in range(len(f))] for name, f in truth.items()}
    for name, frames in truth.items():
        for stem, (ids, _) in zip(stems[name], frames, strict=True):
            write_image(root / "images" / name / f"{stem}.jpg")
            write(root / "panomasksRGB" / name / f"{stem}.png", ids_to_rgb(ids))
    record = {"annotations": by_video(truth, stems)}
    (root / "panoptic_gt_VIPSeg_val.json").write_text(json.dumps(record))
    return open_dataset("vipseg", root, "val")


def original_vipseg(root: Path, truth: dict[str, list[Frame]]) -> Dataset:
    for name, frames in truth.items():
        for t, (ids, _) in enumerate(frames):
            write_image(root / "imgs" / name / f"{t:08d}.jpg")
            write(root / "panomasks" / name / f"{t:08d}.png", ids.astype(np.uint16))
    (root / "val.txt").write_text("\n".join(truth))
    return open_dataset("vipseg", root, "val")


def cityscapes_vps(root: Path, truth: dict[str, list[Frame]]) -> Dataset:
    annotations = []
    for number, frames in enumerate(truth.values()):
        for t, (ids, segments) in enumerate(frames):
            name = f"{number:04d}_{t:04d}_ulm_000000_{5 * t:06d}"
            write_image(root / "val" / "img" / f"{name}_newImg8bit.png")
            mask = root / "val" / "panoptic_video" / f"{name}_final_mask.png"
            write(mask, ids_to_rgb(ids))
            annotations.append(
                {"image_id": name, "file_name": mask.name, "segments_info": segments}
            )
    (root / "panoptic_gt_val_city_vps.json").write_text(json.dumps({"annotations": annotations}))
    return open_dataset("cityscapes-vps", root, "val")


READERS = {
    # reader, ids of a few things (category -> ids) and stuff (category -> id), first listed
    "converted VIPSeg": (converted_vipseg, {60: (300, 71_000, 5), 48: (900,)}, {28: 80_000, 0: 90}),
    "original VIPSeg": (
        original_vipseg,
        {60: (6100, 6101, 61), 48: (4900,)},
        {28: 29, 0: 1},
    ),
    "Cityscapes-VPS": (cityscapes_vps, {11: (11_000, 500), 13: (13_001,)}, {2: 70_000, 0: 30_000}),
}


def made_truth(
    rng: np.random.Generator, reader: str, *, thing_first: bool, alone: bool = False
) -> dict[str, list[Frame]]:
    """Videos by name; `alone`: the thing of the smallest id is the only one."""
    _, things, stuff = READERS[reader]
    if alone:
        lowest = min(i for ids in things.values() for i in ids)
        things = {c: (lowest,) for c, ids in things.items() if lowest in ids}
    objects = {i: c for c, ids in things.items() for i in ids} | {i: c for c, i in stuff.items()}
    wanted = [i for ids in things.values() for i in ids] if thing_first else [*stuff.values()]
    exact = reader == "original VIPSeg"  # values alone: order of value, no crowd, no claimed area
    videos = {}
    for name, frames in FRAMES.items():
        first = min(wanted) if exact else int(rng.choice(wanted))
        crowd = None if exact or rng.random() < 0.5 else next(iter(things.values()))[-1]
        video = made_video(rng, objects, frames=frames, first=first, crowd=crowd)
        if exact:
            video = [
                (
                    ids,
                    [
                        s | {"area": int((ids == s["id"]).sum())}
                        for s in sorted(segments, key=lambda s: s["id"])
                    ],
                )
                for ids, segments in video
            ]
        videos[name] = video
    return videos


# Readers of predictions.


def vipseg_prediction(root: Path, dataset: Dataset, predicted: list[list[Frame]]) -> None:
    videos = dict(zip([video.name for video in dataset.videos], predicted, strict=True))
    stems = {video.name: [frame.stem for frame in video.frames] for video in dataset.videos}
    for name, frames in videos.items():
        for stem, (ids, _) in zip(stems[name], frames, strict=True):
            write(root / "pan_pred" / name / f"{stem}.png", ids_to_rgb(ids))
    (root / "pred.json").write_text(json.dumps({"annotations": by_video(videos, stems)}))


def coco_prediction(root: Path, dataset: Dataset, predicted: list[list[Frame]]) -> None:
    """One flat list, whose categories have ids of their own and go by name."""
    annotations = []
    for video, frames in zip(dataset.videos, predicted, strict=True):
        for frame, (ids, segments) in zip(video.frames, frames, strict=True):
            name = f"{video.name}/{frame.stem}.png"
            write(root / "panoptic" / name, ids_to_rgb(ids))
            listed = [s | {"category_id": 500 - s["category_id"]} for s in segments]
            annotations.append({"file_name": name, "image_id": 0, "segments_info": listed})
    categories = [{"id": 500 - i, "name": n} for i, n in enumerate(dataset.labels.classes)]
    record = {"annotations": annotations, "categories": categories}
    (root / "panoptic.json").write_text(json.dumps(record))


PREDICTIONS = {"VIPSeg": vipseg_prediction, "COCO": coco_prediction}


def scores_of(dataset: Dataset, folder: Path) -> dict[str, float]:
    options = EvaluationOptions(metrics=("vpq", "stq", "stq-clean"), windows=WINDOWS, resume=False)
    return evaluate(dataset, [open_predictions(folder)], options).entries[0].scores


def published(dataset: Dataset, videos: Videos) -> list[float]:
    classes = len(dataset.labels)
    return [
        published_vpq(videos, windows=WINDOWS, classes=classes),
        published_stq(videos, things=dataset.labels.things, classes=classes),
    ]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("form", PREDICTIONS)
@pytest.mark.parametrize("reader", READERS)
def test_scores_through_files_are_the_published_ones(
    tmp_path: Path, reader: str, form: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = made_truth(rng, reader, thing_first=seed % 2 == 1)
    dataset = READERS[reader][0](tmp_path / "truth", truth)
    predicted = [made_prediction(rng, frames) for frames in truth.values()]
    PREDICTIONS[form](tmp_path / "predicted", dataset, predicted)
    got = scores_of(dataset, tmp_path / "predicted")
    expected = published(dataset, list(zip(truth.values(), predicted, strict=True)))
    assert [got["vpq"], got["stq"]] == pytest.approx(expected, rel=1e-12)
    assert 0.05 < got["vpq"] < 0.95 and 0.05 < got["stq"] < 0.95


@pytest.mark.parametrize("thing_first", [False, True])
def test_an_object_that_published_stq_leaves_out_is_named(
    tmp_path: Path, thing_first: bool
) -> None:
    truth = made_truth(np.random.default_rng(1), "converted VIPSeg", thing_first=thing_first)
    dataset = converted_vipseg(tmp_path / "truth", truth)
    vipseg_prediction(tmp_path / "predicted", dataset, list(truth.values()))
    options = EvaluationOptions(metrics=("stq", "stq-clean"), resume=False)
    entry = open_predictions(tmp_path / "predicted")
    result = evaluate(dataset, [entry, open_predictions(tmp_path / "predicted", name="b")], options)
    expected = [
        "2 videos list an object first in the ground truth; published STQ takes it for a crowd "
        "and leaves it out, stq-clean counts it."
    ]
    assert list(result.notes) == (expected if thing_first else [])


@pytest.mark.parametrize("alone", [False, True], ids=["many things", "one thing"])
@pytest.mark.parametrize("form", PREDICTIONS)
@pytest.mark.parametrize("reader", READERS)
def test_a_perfect_prediction_through_files_scores_one(
    tmp_path: Path, reader: str, form: str, alone: bool
) -> None:
    rng = np.random.default_rng(0)
    truth = made_truth(rng, reader, thing_first=False, alone=alone)
    for frames in truth.values():
        for ids, segments in frames:
            for segment in segments:
                segment["area"] = int((ids == segment["id"]).sum())
    dataset = READERS[reader][0](tmp_path / "truth", truth)
    PREDICTIONS[form](tmp_path / "predicted", dataset, list(truth.values()))
    got = scores_of(dataset, tmp_path / "predicted")
    assert got["vpq"] == 1
    assert [got["stq"], got["stq_clean"]] == pytest.approx([1, 1], rel=1e-12)


def rendered(root: Path) -> Dataset:
    return open_dataset("sample://crowd?frames=6&size=96x64", None, "val")


def composed(root: Path) -> Dataset:
    """Clips on streets whose own cars are a crowd, or objects."""
    make_streets(root / "streets")
    make_people(root / "people")
    cars = ["camvid=streets", "camvid-objects=streets"]
    return open_dataset("composed", write_plan(root, backgrounds=cars, videos=3, frames=6), "val")


def camvid_objects(root: Path) -> Dataset:
    return make_drive(root)


@pytest.mark.parametrize("make", [rendered, composed, camvid_objects])
@pytest.mark.parametrize("form", PREDICTIONS)
def test_made_truth_scores_as_published(
    tmp_path: Path, make: Callable[[Path], Dataset], form: str
) -> None:
    dataset = make(tmp_path)
    assert dataset.is_panoptic
    truth = []
    for video in dataset.videos:
        frames = []
        for frame in video.frames:
            known = dataset.load_truth(frame)
            rows = [
                {
                    "id": s.id,
                    "category_id": s.class_id,
                    "iscrowd": int(s.is_crowd),
                    "area": s.area,
                }
                for s in known.segments or ()
            ]
            frames.append((known.ids, rows))
        truth.append(frames)
    PREDICTIONS[form](tmp_path / "perfect", dataset, truth)
    got = scores_of(dataset, tmp_path / "perfect")
    assert [got["vpq"], got["stq"], got["stq_clean"]] == pytest.approx([1, 1, 1], rel=1e-12)

    rng = np.random.default_rng(0)
    predicted = [made_prediction(rng, frames) for frames in truth]
    PREDICTIONS[form](tmp_path / "predicted", dataset, predicted)
    got = scores_of(dataset, tmp_path / "predicted")
    expected = published(dataset, list(zip(truth, predicted, strict=True)))
    assert [got["vpq"], got["stq"]] == pytest.approx(expected, rel=1e-12)
