"""`vidparse disagree`: which frames it names, and the task that comes of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from support.colour_model import save_nearest_colour
from vidparse.data import open_dataset
from vidparse.data.dataset import ALL
from vidparse.data.pictures import read_indices
from vidparse.disagreement.answers import NOTHING, Answer
from vidparse.disagreement.areas import with_all_things, with_areas
from vidparse.disagreement.ranking import chosen, confusions, score_of
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.labels import load_labels
from vidparse.maps import Prediction, SegmentMap

CLASSES = ("road", "car", "dog")


def answer(first: list[list[int]], second: list[list[int]]) -> Answer:
    one, other = np.array(first, np.int16), np.array(second, np.int16)
    found = SegmentMap(one.astype(np.uint8))
    frame = Frame(0, 0, Rgb(np.zeros((*one.shape, 3), np.uint8)))
    return Answer(frame, Prediction(0, found, load_labels("camvid")), one, other)


def test_scores_by_hand() -> None:
    """Of 8 pixels one is void, and of the other 7 two differ."""
    made = answer([[0, 0, 0, 0], [1, 1, 2, NOTHING]], [[0, 0, 0, 1], [1, 1, 1, 2]])
    assert score_of(made, "pixels", 3) == pytest.approx(2 / 7)

    # road 3 of 4, car 2 of 4, dog 0 of 1
    assert score_of(made, "classes", 3) == pytest.approx(1 - (3 / 4 + 2 / 4 + 0) / 3)
    assert confusions(made, CLASSES) == (("road", "car", 1 / 8), ("dog", "car", 1 / 8))


def test_nothing_to_compare_is_no_difference() -> None:
    made = answer([[NOTHING, 0]], [[1, NOTHING]])
    assert score_of(made, "pixels", 3) == score_of(made, "classes", 3) == 0
    assert confusions(made, CLASSES) == ()


def test_chosen_frames_keep_a_distance() -> None:
    """The neighbours of a better frame are passed over, also those before it."""
    scores = array("d", [0.1, 0.8, 0.9, 0.7, 0.2, 0.6])
    times = array("d", [0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    assert chosen(scores, times, top=3, spacing_s=1.0) == [2, 5, 0]
    assert chosen(scores, times, top=2, spacing_s=0) == [2, 1]


def test_neighbours_lie_as_far_apart_as_their_step() -> None:
    times = array("d", [0, 0.04, 0.08, 0.12])  # 0.12 - 0.08 is less than 0.04 in floats
    assert chosen(array("f", [4, 3, 2, 1]), times, top=9, spacing_s=0.04) == [0, 1, 2, 3]
    assert chosen(array("f", [4, 3, 2, 1]), times, top=9, spacing_s=0.041) == [0, 2]


def test_frames_that_are_alike_are_not_chosen() -> None:
    scores, times = array("d", [0.0, 0.5, 0.0]), array("d", [0.0, 1.0, 2.0])
    assert chosen(scores, times, top=3, spacing_s=0) == [1]
    assert chosen(array("d", [0.0]), array("d", [0.0]), top=3, spacing_s=0) == []


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eight pictures of the colours of CamVid's classes; in the sixth a part changes."""
    folder = tmp_path / "drive"
    folder.mkdir()
    colours = np.array(load_labels("camvid").colours, np.uint8)
    for i in range(8):
        ids = np.zeros((48, 64), int)
        ids[24:] = 3
        if i == 5:
            ids[:24, :16] = 8
        cv2.imwrite(str(folder / f"{i}.png"), colours[ids][..., ::-1])
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_nearest_colour(tmp_path / "nearest.onnx", "camvid")


def ranked(ended: Any) -> list[int]:
    assert ended.code == 0, ended.err
    return [one["index"] for one in json.loads(ended.out)["ranked"]]


def test_one_model_wavers_where_the_picture_jumps(
    cli: Callable[..., Any], pictures: Path, model: Path
) -> None:
    ended = cli("disagree", pictures, "-m", model, "--top", "2", "--spacing", "0ms", "--json")
    assert set(ranked(ended)) == {5, 6}  # it comes, and it goes


def test_two_models_and_the_way_back(
    cli: Callable[..., Any], pictures: Path, model: Path, tmp_path: Path
) -> None:
    """A model that takes cars for buildings differs on a car; the task holds it as void."""
    other = save_nearest_colour(tmp_path / "other.onnx", "camvid", swapped=(8, 1))
    models = ("-m", model, "-m", other)
    words = ("--top", "1", "--prelabels", "agreed", "--json")
    for to in ("cvat-images", "label-studio", "folder"):
        out = tmp_path / to
        ended = cli("disagree", pictures, *models, *words, "--to", to, "-o", out)
        assert ranked(ended) == [5]
        assert cli("data", "convert", out, tmp_path / f"back-{to}").code == 0
        dataset = open_dataset("folder", tmp_path / f"back-{to}", ALL)
        assert dataset.labels.classes == load_labels("camvid").classes
        (frame,) = dataset.videos[0].frames
        mask = dataset.load_mask(frame)
        assert (mask[:20, :12] == 255).all()  # a block of the network away from borders
        assert (mask[28:] == 3).all() and (mask[:20, 20:] == 0).all()
        truth = cv2.imread(str(pictures / "5.png"))
        assert (dataset.load_image(frame)[..., ::-1] == truth).all()


@pytest.mark.parametrize("to", ["coco", "ytvis"])
def test_formats_of_things_alone_get_each_area_of_a_class(
    cli: Callable[..., Any], pictures: Path, model: Path, tmp_path: Path, to: str
) -> None:
    """Sky and road come back, which are no things of the model's."""
    out, back = tmp_path / to, tmp_path / "back"
    ended = cli("disagree", pictures, "-m", model, "--top", "1", "--to", to, "-o", out, "--json")
    assert ended.code == 0, ended.err
    (record,) = out.glob(f"*.{to}.json")
    rows = json.loads(record.read_text())["annotations"]
    assert len({row["id"] for row in rows}) == len(rows) >= 2
    assert {row["category_id"] for row in rows} >= {0, 3}
    assert cli("data", "convert", out, back).code == 0
    dataset = open_dataset("folder", back, ALL)
    (frame,) = dataset.videos[0].frames
    mask = dataset.load_mask(frame)
    assert (mask[28:] == 3).all() and (mask[:20, 20:] == 0).all()


def test_areas_are_connected_parts_by_hand() -> None:
    """A class in two places is two objects, corners touch, and void is none."""
    labels = with_all_things(load_labels("camvid"))
    ids = np.array([[1, 0, 1, 255], [0, 0, 1, 1], [2, 0, 0, 2]], np.uint8)
    found = with_areas(SegmentMap(ids), labels, first=10)
    assert found.ids.tolist() == [[11, 10, 12, 0], [10, 10, 12, 12], [13, 10, 10, 14]]
    kinds = {one.id: one.class_id for one in found.segments or ()}
    assert kinds == {10: 0, 11: 1, 12: 1, 13: 2, 14: 2}


def test_models_that_agree_make_no_task(
    cli: Callable[..., Any], pictures: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "task"
    ended = cli("disagree", pictures, "-m", model, "-m", model, "-o", out)
    assert ended.code == 0 and not out.exists()
    assert ended.err.splitlines()[-1] == (
        f"{pictures}: the models agree on the 11 classes compared in 8 frames; no task is written"
    )
    (pictures / "5.png").unlink()
    ended = cli("disagree", pictures, "-m", model)
    assert ended.code == 0
    assert ended.err.splitlines()[-1].endswith("does not waver anywhere in 7 frames")


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("-m", "a", "-m", "b", "-m", "c"), 2, "3 models; name two"),
        (("--by", "colour"), 2, "--by colour: unknown; use pixels or classes"),
        (("--to", "colour", "-o", "x"), 2, "--to colour: unknown; use coco"),
        (("--to", "label-studio-video", "-o", "x"), 2, "holds whole videos"),
        (("-o", "."), 6, "exists; choose another folder"),
        (("--start", "100"), 3, ""),
    ],
)
def test_what_cannot_be_is_one_line(
    cli: Callable[..., Any],
    pictures: Path,
    model: Path,
    words: tuple[str, ...],
    code: int,
    why: str,
) -> None:
    given = words if "-m" in words else ("-m", model, *words)
    ended = cli("disagree", pictures, *given)
    assert ended.code == code, ended.err
    assert why in ended.err and ended.err.count("vidparse:") == 1


def test_classes_of_one_model_alone_are_left_out(
    cli: Callable[..., Any], pictures: Path, model: Path, tmp_path: Path
) -> None:
    """CamVid and VOC share `car` alone, which is in no picture; IDD-Lite shares no name."""
    other = save_nearest_colour(tmp_path / "voc.onnx", "voc")
    ended = cli("disagree", pictures, "-m", model, "-m", other)
    assert (ended.code, "that both models have are compared: Car" in ended.err) == (0, True), (
        ended.err
    )
    assert "the models agree on the one class compared in 8 frames" in ended.err
    ended = cli("disagree", pictures, "-m", model, "-m", other, "--json")
    record = json.loads(ended.out)
    assert (record["ranked"], record["mean"], record["frames"]) == ([], 0, 8)


def test_one_frame_is_too_few(cli: Callable[..., Any], pictures: Path, model: Path) -> None:
    ended = cli("disagree", pictures / "0.png", "-m", model)
    assert (ended.code, "too few frames to compare (1)" in ended.err) == (3, True), ended.err


def test_the_loop_of_labelling_ends_in_scores(tmp_path: Path) -> None:
    """The example, on frames so small and steps so few that nothing is learnt."""
    script = Path(__file__).parents[2] / "examples" / "label_loop.py"
    spec = "sample://street?videos=1&frames=6&size=96x64"
    words = [tmp_path / "work", "--dataset", spec, "--top", "2", "--steps", "1"]
    more = ["--set", "crop_hw=[64,96]", "--set", "short_side=64", "--set", "batch_size=2"]
    done = subprocess.run(
        [sys.executable, str(script), *map(str, words), *more],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(script.parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert "2 frames corrected" in done.stdout
    mine = tmp_path / "work" / "mine"
    masks = {path.stem: path for path in (mine / "train" / "masks").rglob("*.png")}
    truth = open_dataset(spec, None, "val")
    frames = {frame.stem: frame for frame in truth.videos[0].frames}
    for stem, path in masks.items():
        frame = frames[stem.rpartition("_")[2]]
        stored = read_indices(path)
        assert (stored == truth.load_mask(frame)).all()
