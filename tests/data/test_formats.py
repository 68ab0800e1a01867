"""A new data set is one file and one line: everything else reads it from there."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from vidparse.data import FORMATS, SAMPLES, format_of, open_dataset, recognise, usual_format
from vidparse.data.check import check_dataset
from vidparse.data.dataset import ALL, Dataset, Format, FrameRecord, OnMissing, Video, refuse
from vidparse.data.folders import has_match, paired_videos, sorted_folders
from vidparse.data.pictures import mask_values
from vidparse.errors import UsageError
from vidparse.evaluation.evaluate import default_metrics
from vidparse.labels import load_labels


def open_toy(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """toy/<video>/*.jpg and mask/<video>/*.png with ids that begin at 10."""
    names = [path.name for path in sorted_folders(root / "toy")]
    videos = paired_videos(
        names, lambda name: (root / "toy" / name, root / "mask" / name), on_missing
    )
    labels = load_labels("camvid")
    values = mask_values({i + 10: i for i in range(len(labels))}, rule="10..20 are allowed")
    return Dataset("toy", split, labels, videos, values, metrics=("boundary", "miou"))


TOY = Format(
    open=open_toy,
    sign="toy/<video>/*.jpg",
    matches=lambda root: has_match(root, "toy/*/*.jpg"),
    splits=lambda root: (ALL,),
    masks=("mask/{video}/*.png",),
)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module = ModuleType("toy_module")
    module.FORMAT = TOY  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_module", module)
    monkeypatch.setitem(FORMATS, "toy", "toy_module")  # the one line
    rng = np.random.default_rng(0)
    for folder in ("toy/a", "mask/a", "pred/a"):
        (tmp_path / folder).mkdir(parents=True)
    for stem in ("1", "2"):
        ids = rng.integers(0, 11, (6, 8), np.uint8)
        cv2.imwrite(str(tmp_path / "toy/a" / f"{stem}.jpg"), rng.integers(0, 255, (6, 8, 3)))
        cv2.imwrite(str(tmp_path / "mask/a" / f"{stem}.png"), ids + 10)
        cv2.imwrite(str(tmp_path / "pred/a" / f"{stem}.png"), ids)
    return tmp_path


def test_a_toy_data_set_is_checked_and_scored(toy: Path, cli: Callable[..., Any]) -> None:
    assert recognise(toy) == "toy"
    report = check_dataset(toy)
    assert (report.name, report.errors, report.splits[0].labelled) == ("toy", 0, 2)
    cv2.imwrite(str(toy / "mask" / "a" / "3.png"), np.full((6, 8), 10, np.uint8))
    assert [one.what for one in check_dataset(toy).problems] == ["no image for this mask"]
    result = cli("eval", "--dataset", "toy", "--data", toy, "--pred", toy / "pred", "--json")
    record = json.loads(result.out)
    assert record["metrics"] == ["boundary", "miou"]
    assert record["entries"][0]["scores"]["miou"] == 1.0
    with pytest.raises(UsageError, match=r"unknown; use .*, toy, "):
        open_dataset("vspww", toy, "val")


def test_data_sets_need_not_be_named(toy: Path, cli: Callable[..., Any], tmp_path: Path) -> None:
    """`eval`, `train` and `autolabel` recognise a layout as `data check` does."""
    result = cli("eval", "--data", toy, "--pred", toy / "pred", "--json")
    record = json.loads(result.out)
    assert (record["dataset"], record["entries"][0]["scores"]["miou"]) == ("toy", 1.0)
    planned = cli("train", "--data", toy, "--dry-run", "--recipe", "street-plain")
    assert json.loads(planned.out)["data"][0]["dataset"] == "toy"
    ended = cli(
        "autolabel", "--data", toy, "-o", tmp_path / "out", "--scales", "1", "--max-frames", "1"
    )
    assert ended.code == 0, ended.err
    nothing = cli("eval", "--data", toy / "pred")
    assert nothing.code == 3 and "no data set found, laid out as none of" in nothing.err
    assert cli("eval").code == 2


def test_the_release_of_camvid_is_opened_with_11_classes(tmp_path: Path) -> None:
    (tmp_path / "LabeledApproved_full").mkdir()
    assert (recognise(tmp_path), usual_format(tmp_path)) == ("camvid-32", "camvid")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_describes_itself(name: str, tmp_path: Path) -> None:
    known = format_of(name)
    assert known.sign and not known.matches(tmp_path)
    assert known.splits(tmp_path) in ((), (ALL,))
    assert all(pattern.rpartition("*")[2].startswith((".", "_")) for pattern in known.masks)


def test_the_help_lists_every_data_set(cli: Callable[..., Any]) -> None:
    for command in ("eval", "train"):
        text = "".join(cli(command, "--help").out.decode().split())
        assert all(name in text for name in (*FORMATS, *SAMPLES))


def test_scores_that_data_sets_are_quoted_by() -> None:
    video = Video("v", (FrameRecord("v", "1", 0),))
    labels = load_labels("vspw")
    plain = Dataset("x", "val", labels, (video,), metrics=("miou", "vc8"))
    assert default_metrics(plain, []) == ("miou", "vc8")
    assert not plain.is_panoptic and plain.windows == (1, 2, 4, 6)
    rendered = open_dataset("sample://street?frames=2&size=160x96", None, "val")
    assert default_metrics(rendered, []) == ("vpq", "stq", "miou")


def test_rendered_scenes_travel_to_workers() -> None:
    dataset = open_dataset("sample://street?frames=2&size=160x96", None, "val")
    twin = pickle.loads(pickle.dumps(dataset))
    frame = dataset.videos[0].frames[1]
    assert np.array_equal(dataset.load_image(frame), twin.load_image(frame))
    assert np.array_equal(dataset.load_mask(frame), twin.load_truth(frame).classes())
