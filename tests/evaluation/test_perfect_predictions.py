"""The truth itself, predicted, scores 1 on every data set that distinguishes objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from support.made_coco import make_coco
from support.made_composed import make_people, make_streets, write_plan
from support.made_drive import make_drive
from vidparse.data import Dataset, open_dataset
from vidparse.evaluation.entries import open_predictions
from vidparse.evaluation.evaluate import EvaluationOptions, evaluate
from vidparse.maps import VOID, ids_to_rgb


def rendered(root: Path) -> Dataset:
    """Things of a few pixels are void there."""
    return open_dataset("sample://street?frames=6&size=160x96&videos=2", None, "val")


def composed(root: Path) -> Dataset:
    make_streets(root / "streets")
    make_people(root / "people")
    return open_dataset("composed", write_plan(root, frames=6, videos=2), "train")


def composed_with_crowds(root: Path) -> Dataset:
    """The cars of the backgrounds are one crowd."""
    make_streets(root / "streets")
    make_people(root / "people")
    plan = write_plan(root, frames=6, videos=2, backgrounds=["camvid=streets"])
    return open_dataset("composed", plan, "train")


def camvid_objects(root: Path) -> Dataset:
    return make_drive(root)


def coco_panoptic(root: Path) -> Dataset:
    return open_dataset("coco-panoptic", make_coco(root), "val")


DATASETS: dict[str, tuple[Callable[[Path], Dataset], bool, bool]] = {
    # data set, has crowds, has void
    "rendered": (rendered, False, True),
    "composed": (composed, False, True),
    "composed with crowds": (composed_with_crowds, True, True),
    "camvid-objects": (camvid_objects, True, False),
    "coco-panoptic": (coco_panoptic, True, True),
}


def write_truth(dataset: Dataset, root: Path) -> tuple[bool, bool]:
    """The truth in VIPSeg's form of predictions; True where it has crowds, where it has void."""
    annotations = []
    crowds = void = False
    for video in dataset.videos:
        rows = []
        for frame in video.frames:
            truth = dataset.load_truth(frame)
            segments = truth.segments or ()
            crowds |= any(one.is_crowd for one in segments)
            void |= bool((truth.ids == VOID).any())
            path = root / "pan_pred" / video.name / f"{frame.stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(ids_to_rgb(truth.ids)).save(path)
            listed = [{"id": one.id, "category_id": one.class_id} for one in segments]
            rows.append({"file_name": path.name, "image_id": frame.stem, "segments_info": listed})
        annotations.append({"video_id": video.name, "annotations": rows})
    (root / "pred.json").write_text(json.dumps({"annotations": annotations}))
    return crowds, void


@pytest.mark.parametrize("name", DATASETS)
def test_the_truth_scores_one(tmp_path: Path, name: str) -> None:
    make, has_crowds, has_void = DATASETS[name]
    (tmp_path / "truth").mkdir()
    dataset = make(tmp_path / "truth")
    assert dataset.is_panoptic
    assert write_truth(dataset, tmp_path / "predicted") == (has_crowds, has_void)

    longest = max(len(video.frames) for video in dataset.videos)
    windows = tuple(k for k in (1, 2, 4, 6) if k <= longest)
    options = EvaluationOptions(("vpq", "stq", "stq-clean"), windows=windows, resume=False)
    scores = (
        evaluate(dataset, [open_predictions(tmp_path / "predicted")], options).entries[0].scores
    )
    got = {key: scores[key] for key in ("vpq", "vpq_stuff", "stq_clean", "sq", "sq_clean")}
    assert got == pytest.approx(dict.fromkeys(got, 1.0), rel=1e-12)
    per_window = [scores[f"vpq_k{k}"] for k in windows]
    assert np.allclose(per_window, 1, atol=1e-12)
