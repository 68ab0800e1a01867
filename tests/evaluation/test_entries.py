"""Predictions of any tool: every layout that is read, and every mismatch refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from vidparse.data import Dataset, open_dataset
from vidparse.errors import InputError
from vidparse.evaluation.entries import MaskEntry, PanopticEntry, open_predictions
from vidparse.evaluation.evaluate import EvaluationOptions, evaluate
from vidparse.maps import SegmentIds, ids_to_rgb

SIZE_HW = (12, 16)
VIDEOS = {"12_a_b-C": (166, 167, 168), "7_x": (1, 2)}
PERSON, SKY = 60, 28  # training ids of a thing and a stuff class


@pytest.fixture
def vspw(tmp_path: Path) -> Path:
    """A VSPW tree whose raw masks hold two classes and void."""
    root = tmp_path / "VSPW"
    for name, numbers in VIDEOS.items():
        for number in numbers:
            raw = np.full(SIZE_HW, SKY + 1, np.uint8)
            raw[:, number % 5 : number % 5 + 4] = PERSON + 1
            raw[0] = 0
            write(root / "data" / name / "mask" / f"{number:08d}.png", raw)
            picture = root / "data" / name / "origin" / f"{number:08d}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(picture), np.full((*SIZE_HW, 3), number, np.uint8))
    (root / "val.txt").write_text("\n".join(VIDEOS))
    return root


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(values).save(path)


def truth(dataset: Dataset, *, void: int = 0) -> dict[tuple[str, str], np.ndarray]:
    """Training ids by video and stem, void filled as a prediction would."""
    masks = {}
    for video in dataset.videos:
        for frame in video.frames:
            ids = dataset.load_mask(frame)
            masks[video.name, frame.stem] = np.where(ids == 255, void, ids).astype(np.uint8)
    return masks


def miou(dataset: Dataset, folder: Path, **options: Any) -> float:
    result = evaluate(
        dataset,
        [open_predictions(folder, **options)],
        EvaluationOptions(metrics=("miou",), resume=False),
    )
    return result.entries[0].scores["miou"]


def test_vspw_folders(vspw: Path, tmp_path: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    for (video, stem), ids in truth(dataset).items():
        write(tmp_path / "pred" / video / f"{stem}.png", ids)
        write(tmp_path / "raw" / video / f"{stem}.png", ids + 1)
    assert miou(dataset, tmp_path / "pred") == 1
    assert miou(dataset, tmp_path / "raw", raw_ids=True) == 1
    assert miou(dataset, tmp_path / "raw") == 0


def test_folders_that_segment_writes(vspw: Path, tmp_path: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    order = {video.name: [frame.stem for frame in video.frames] for video in dataset.videos}
    for (video, stem), ids in truth(dataset).items():
        write(tmp_path / "a" / f"{video}.masks" / f"{stem}.png", ids)
        index = order[video].index(stem)
        write(tmp_path / "b" / f"{video}.masks" / f"{index:06d}.png", ids)
    assert miou(dataset, tmp_path / "a") == miou(dataset, tmp_path / "b") == 1


def test_a_json_beside_masks_is_none_of_them(vspw: Path, tmp_path: Path) -> None:
    """Such as scores, or the objects that `segment` saved along with the masks."""
    dataset = open_dataset("vspw", vspw, "val")
    for (video, stem), ids in truth(dataset).items():
        write(tmp_path / "pred" / video / f"{stem}.png", ids)
    (tmp_path / "pred" / "scores.json").write_text("{}")
    assert miou(dataset, tmp_path / "pred") == 1


def test_flat_folder_only_where_names_are_distinct(vspw: Path, tmp_path: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    for (_, stem), ids in truth(dataset).items():
        write(tmp_path / "flat" / f"{stem}.png", ids)
    assert miou(dataset, tmp_path / "flat") == 1
    for name in ("origin", "mask"):  # now both videos have a frame 00000166
        folder = vspw / "data" / "7_x" / name
        ending = "jpg" if name == "origin" else "png"
        shutil.copy(folder / f"00000001.{ending}", folder / f"00000166.{ending}")
    with pytest.raises(InputError, match=r"00000166\.png and 5 more: missing"):
        miou(open_dataset("vspw", vspw, "val"), tmp_path / "flat")


def test_missing_frames_are_named_before_anything_is_scored(vspw: Path, tmp_path: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    for (video, stem), ids in truth(dataset).items():
        if stem not in ("00000167", "00000002"):
            write(tmp_path / "pred" / video / f"{stem}.png", ids)
    with pytest.raises(InputError, match=r"12_a_b-C/00000167\.png and 1 more: missing, of 5"):
        miou(dataset, tmp_path / "pred")


def test_ids_out_of_range_are_named(vspw: Path, tmp_path: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    for (video, stem), ids in truth(dataset).items():
        write(tmp_path / "pred" / video / f"{stem}.png", ids)
    last = tmp_path / "pred" / "7_x" / "00000002.png"
    write(last, np.full(SIZE_HW, 124, np.uint8))
    with pytest.raises(InputError, match=r"00000002\.png: holds id 124.*--raw-ids"):
        miou(dataset, tmp_path / "pred")
    write(last, np.full(SIZE_HW, 200, np.uint8))
    with pytest.raises(InputError, match=r"00000002\.png: holds id 200; the classes are 0\.\.123"):
        miou(dataset, tmp_path / "pred")
    write(last, np.full((*SIZE_HW, 3), 2, np.uint8))
    with pytest.raises(InputError, match=r"00000002\.png: a mask of mode RGB"):
        miou(dataset, tmp_path / "pred")
    last.write_bytes(last.read_bytes()[:40])
    with pytest.raises(InputError, match=r"00000002\.png: damaged mask"):
        miou(dataset, tmp_path / "pred")


def test_no_prediction_is_a_miss(vspw: Path, tmp_path: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    for (video, stem), ids in truth(dataset).items():
        silent = np.where(ids == PERSON, 255, ids).astype(np.uint8)
        write(tmp_path / "pred" / video / f"{stem}.png", silent)
    result = evaluate(dataset, [MaskEntry(tmp_path / "pred", name="pred")])
    per_class = result.entries[0].per_class["miou"]
    assert per_class[PERSON] == 0 and per_class[SKY] == 1
    assert any("has no prediction for" in note for note in result.notes)


def test_davis_predictions_are_read_as_its_masks(tmp_path: Path) -> None:
    """0 is background and anything else the object: 1 and 255 are both in use."""
    object_ = np.zeros(SIZE_HW, np.uint8)
    object_[3:9, 4:12] = 255
    for t in range(3):
        write(tmp_path / "Annotations" / "480p" / "car" / f"{t:05d}.png", object_)
        write(tmp_path / "JPEGImages" / "480p" / "car" / f"{t:05d}.png", np.dstack([object_] * 3))
        write(tmp_path / "binary" / "car" / f"{t:05d}.png", object_ // 255)
        write(tmp_path / "bright" / "car" / f"{t:05d}.png", object_)
    dataset = open_dataset("davis", tmp_path, "val")
    entries = [open_predictions(tmp_path / name) for name in ("binary", "bright")]
    for entry in evaluate(dataset, entries).entries:
        assert entry.scores["jf"] == 1


def test_mask_videos(vspw: Path, tmp_path: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    masks = truth(dataset)
    for video, numbers in VIDEOS.items():
        frames = [masks[video, f"{number:08d}"] for number in numbers]
        write_mask_video(tmp_path / "pred" / f"{video}.masks.mkv", frames)
    assert miou(dataset, tmp_path / "pred") == 1
    short = masks["7_x", "00000001"]
    write_mask_video(tmp_path / "pred" / "7_x.masks.mkv", [short])
    with pytest.raises(InputError, match=r"7_x\.masks\.mkv: ends after 1 frame; 7_x has 2"):
        miou(dataset, tmp_path / "pred")
    write_mask_video(tmp_path / "pred" / "7_x.masks.mkv", [short] * 4)
    with pytest.raises(InputError, match=r"7_x\.masks\.mkv: has 4 frames; 7_x has 2"):
        miou(dataset, tmp_path / "pred")


def write_mask_video(path: Path, frames: list[np.ndarray]) -> None:
    """As `--save mask-video` does."""
    from fractions import Fraction

    from vidparse.frame import Frame, VideoInfo
    from vidparse.image import ColourTags, Rgb
    from vidparse.labels import load_labels
    from vidparse.maps import Prediction, SegmentMap
    from vidparse.sinks import SINKS, SinkOptions

    path.parent.mkdir(parents=True, exist_ok=True)
    sink = SINKS["mask-video"](path, SinkOptions(overwrite=True))
    info = VideoInfo(
        "x", SIZE_HW, Fraction(1, 15), Fraction(15), None, None, Fraction(1), ColourTags()
    )
    labels = load_labels("vspw")
    sink.open(info, labels)
    picture = Rgb(np.zeros((*SIZE_HW, 3), np.uint8))
    for i, ids in enumerate(frames):
        sink.write(Frame(i, i, picture), Prediction(i, SegmentMap(ids), labels))
    sink.close(keep=True)


# Panoptic predictions, held against the panoptic truth of a VIPSeg tree.


@pytest.fixture
def vipseg(tmp_path: Path) -> Path:
    root = tmp_path / "VIPSeg"
    for name, numbers in VIDEOS.items():
        for number in numbers:
            raw = np.full(SIZE_HW, SKY + 1, np.uint16)
            raw[2:8, number % 5 : number % 5 + 4] = (PERSON + 1) * 100
            raw[2:8, 10:14] = (PERSON + 1) * 100 + 1
            raw[0] = 0
            write(root / "panomasks" / name / f"{number:08d}.png", raw)
            picture = root / "imgs" / name / f"{number:08d}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(picture), np.full((*SIZE_HW, 3), number, np.uint8))
    (root / "val.txt").write_text("\n".join(VIDEOS))
    return root


def write_vipseg_prediction(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """The truth in the form of a submission; returns the json's content."""
    annotations = []
    for video in dataset.videos:
        ids = SegmentIds(dataset.labels, video.name)
        frames = []
        for frame in video.frames:
            known = dataset.load_truth(frame)  # type: ignore[attr-defined]
            renamed = np.zeros(known.ids.shape, np.int64)
            rows = []
            for segment in known.segments:
                if not segment.area:
                    continue
                category = segment.class_id
                mine = ids(category, segment.id)
                renamed[known.ids == segment.id] = mine
                rows.append({"id": mine, "category_id": category, "iscrowd": 0})
            write(folder / "pan_pred" / video.name / f"{frame.stem}.png", ids_to_rgb(renamed))
            frames.append({"file_name": f"{frame.stem}.png", "segments_info": rows})
        annotations.append({"video_id": video.name, "annotations": frames})
    record = {"annotations": annotations}
    (folder / "pred.json").write_text(json.dumps(record))
    return record


def panoptic_scores(dataset: Dataset, folder: Path) -> dict[str, float]:
    options = EvaluationOptions(metrics=("vpq", "stq-clean", "miou"), resume=False)
    return evaluate(dataset, [open_predictions(folder)], options).entries[0].scores


def test_vipseg_predictions(vipseg: Path, tmp_path: Path) -> None:
    dataset = open_dataset("vipseg", vipseg, "val")
    write_vipseg_prediction(dataset, tmp_path / "pred")
    scores = panoptic_scores(dataset, tmp_path / "pred")
    assert scores["vpq"] == scores["miou"] == 1
    assert scores["stq_clean"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda videos: videos.pop(), "video 7_x is not in it"),
        (lambda videos: videos[0]["annotations"].pop(), "lists 2 frames, the ground truth has 3"),
        (lambda videos: videos[0]["annotations"].reverse(), "frame 0 is '00000168'"),
        (
            lambda videos: videos[1]["annotations"][0]["segments_info"].pop(),
            r"00000001\.png: id \d+ is not listed in pred\.json",
        ),
        (
            lambda videos: videos[1]["annotations"][0]["segments_info"].append(
                {"id": 77, "category_id": 3}
            ),
            r"00000001\.png: id 77 is listed in pred\.json but has no pixel",
        ),
        (
            lambda videos: videos[1]["annotations"][0]["segments_info"][0].update(category_id=124),
            r"00000001\.png: segment \d+ has category 124 in pred\.json",
        ),
        (lambda videos: videos[0].pop("annotations"), "field 'annotations' is missing"),
        (
            lambda videos: videos[1]["annotations"][0]["segments_info"].append(
                videos[1]["annotations"][0]["segments_info"][0]
            ),
            r"00000001\.png: pred\.json lists an id twice",
        ),
    ],
)
def test_vipseg_mismatches_are_named(
    vipseg: Path, tmp_path: Path, change: Any, message: str
) -> None:
    dataset = open_dataset("vipseg", vipseg, "val")
    record = write_vipseg_prediction(dataset, tmp_path / "pred")
    change(record["annotations"])
    (tmp_path / "pred" / "pred.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=message):
        panoptic_scores(dataset, tmp_path / "pred")


def test_missing_and_damaged_pictures_are_named(vipseg: Path, tmp_path: Path) -> None:
    dataset = open_dataset("vipseg", vipseg, "val")
    write_vipseg_prediction(dataset, tmp_path / "pred")
    picture = tmp_path / "pred" / "pan_pred" / "7_x" / "00000002.png"
    picture.write_bytes(b"")
    with pytest.raises(InputError, match=r"00000002\.png: damaged"):
        panoptic_scores(dataset, tmp_path / "pred")
    picture.unlink()
    with pytest.raises(InputError, match=r"00000002\.png: missing, of 5 predictions"):
        panoptic_scores(dataset, tmp_path / "pred")
    (tmp_path / "pred" / "pred.json").unlink()
    with pytest.raises(InputError, match=r"pred\.json: missing; VIPSeg"):
        panoptic_scores(dataset, tmp_path / "pred")


@pytest.mark.parametrize("ending", [".jpg", ".JPEG", ""])
def test_a_list_of_photographs_is_of_their_pngs(vipseg: Path, tmp_path: Path, ending: str) -> None:
    dataset = open_dataset("vipseg", vipseg, "val")
    record = write_vipseg_prediction(dataset, tmp_path / "pred")
    for video in record["annotations"]:
        for frame in video["annotations"]:
            frame["file_name"] = frame["file_name"].removesuffix(".png") + ending
    (tmp_path / "pred" / "pred.json").write_text(json.dumps(record))
    assert panoptic_scores(dataset, tmp_path / "pred")["vpq"] == 1


def test_coco_panoptic(vipseg: Path, tmp_path: Path) -> None:
    """A flat list of annotations whose categories go by name and have ids of their own."""
    dataset = open_dataset("vipseg", vipseg, "val")
    record = write_vipseg_prediction(dataset, tmp_path / "pred")
    flat = []
    for video in record["annotations"]:
        for frame in video["annotations"]:
            rows = [
                row | {"category_id": row["category_id"] + 1000} for row in frame["segments_info"]
            ]
            name = f"{video['video_id']}/{frame['file_name']}"
            flat.append({"image_id": 0, "file_name": name, "segments_info": rows})
    categories = [
        {"id": i + 1000, "name": name.upper()} for i, name in enumerate(dataset.labels.classes)
    ]
    coco = tmp_path / "coco"
    shutil.copytree(tmp_path / "pred" / "pan_pred", coco / "panoptic_val")
    (coco / "panoptic_val.json").write_text(
        json.dumps({"annotations": flat, "categories": categories})
    )
    entry = open_predictions(coco)
    assert isinstance(entry, PanopticEntry)
    assert panoptic_scores(dataset, coco)["vpq"] == 1
    (coco / "panoptic_val.json").write_text(json.dumps({"annotations": flat[1:]}))
    with pytest.raises(InputError, match="no annotation for 12_a_b-C/00000166"):
        panoptic_scores(dataset, coco)


def test_folders_without_predictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_predictions(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is empty"):
        open_predictions(tmp_path / "empty")


# Ids that are off by one.


def notes_of(dataset: Dataset, folder: Path, **options: Any) -> tuple[dict[str, float], list[str]]:
    wanted = EvaluationOptions(metrics=("miou",), resume=False)
    result = evaluate(dataset, [open_predictions(folder, **options)], wanted)
    return result.entries[0].scores, [note for note in result.notes if folder.name in note]


def test_masks_that_begin_at_1_are_named_and_scored_as_they_are(vspw: Path, tmp_path: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    for (video, stem), ids in truth(dataset, void=255).items():
        write(tmp_path / "raw" / video / f"{stem}.png", np.where(ids == 255, 0, ids + 1))
        write(tmp_path / "own" / video / f"{stem}.png", ids)
    scores, (note,) = notes_of(dataset, tmp_path / "raw")
    assert scores["miou"] == 0
    assert note == (
        "raw: 100% of the labelled pixels would be right, not 0%, were its class ids one lower: "
        "they seem to begin at 1. Give --raw-ids if its masks hold ids 1, 2, ... and 0 for nothing."
    )
    assert notes_of(dataset, tmp_path / "raw", raw_ids=True) == (pytest.approx({**scores, **{
        name: 1.0 for name in scores
    }}), [])  # fmt: skip
    assert notes_of(dataset, tmp_path / "own")[1] == []
    scores, notes = notes_of(dataset, tmp_path / "own", raw_ids=True)
    assert scores["miou"] == 0
    assert "would be right, not 0%, were its class ids one higher" in notes[-1]
    assert notes[-1].endswith("Leave out --raw-ids if its masks hold ids 0, 1, ...")


@pytest.mark.parametrize("metric", ["vpq", "stq", "miou"])
def test_foreign_categories_counted_from_1_are_named(
    vipseg: Path, tmp_path: Path, metric: str
) -> None:
    dataset = open_dataset("vipseg", vipseg, "val")
    record = write_vipseg_prediction(dataset, tmp_path / "pred")
    for video in record["annotations"]:
        for frame in video["annotations"]:
            for row in frame["segments_info"]:
                row["category_id"] += 1
    record["categories"] = [{"id": i, "name": f"Klasse {i}"} for i in range(1, 125)]
    (tmp_path / "pred" / "pred.json").write_text(json.dumps(record))
    options = EvaluationOptions(metrics=(metric,), resume=False)
    result = evaluate(dataset, [open_predictions(tmp_path / "pred")], options)
    assert result.entries[0].scores[metric] == 0
    names, offset = result.entries[0].notes
    assert names == (
        "pred: none of the categories in pred.json ('Klasse 1', ...) is a class of vipseg; "
        "their ids are taken for class ids 0..123."
    )
    assert "100% of the labelled pixels would be right, not 0%" in offset
    assert offset.endswith(
        "Count category_id in pred.json from 0, or give the data set's names in its categories."
    )
    assert set(result.entries[0].notes) <= set(result.notes)


def test_a_last_category_beyond_the_classes_gets_the_hint(vipseg: Path, tmp_path: Path) -> None:
    dataset = open_dataset("vipseg", vipseg, "val")
    record = write_vipseg_prediction(dataset, tmp_path / "pred")
    record["annotations"][1]["annotations"][0]["segments_info"][0]["category_id"] = 124
    (tmp_path / "pred" / "pred.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"are 0\.\.123; are they counted from 1\?"):
        panoptic_scores(dataset, tmp_path / "pred")


def test_wrong_predictions_are_not_taken_for_an_offset(vspw: Path, tmp_path: Path) -> None:
    """One class taken for its neighbour, all one class, noise: other faults."""
    dataset = open_dataset("vspw", vspw, "val")
    rng = np.random.default_rng(0)
    for (video, stem), ids in truth(dataset).items():
        for name, wrong in {
            "neighbour": np.where(ids == SKY, SKY + 1, 0).astype(np.uint8),
            "one": np.full_like(ids, SKY + 1),
            "noise": rng.integers(0, 124, ids.shape).astype(np.uint8),
        }.items():
            write(tmp_path / name / video / f"{stem}.png", wrong)
    for name in ("neighbour", "one", "noise"):
        assert notes_of(dataset, tmp_path / name)[1] == []
