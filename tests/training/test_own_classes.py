"""`autolabel --classes`: classes of a user's own, sums of the models' classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from vidparse.data import open_dataset
from vidparse.data.pictures import read_indices
from vidparse.errors import UsageError
from vidparse.inference.mixture import choose
from vidparse.labels import load_labels
from vidparse.training.autolabel.choice import OwnClasses

CAMVID = load_labels("camvid")


def ids_of(texts: list[str], probabilities: dict[str, float]) -> int:
    """The id that one pixel gets at threshold 0.5."""
    own = OwnClasses(texts, CAMVID)
    pixel = np.zeros((len(CAMVID), 1, 1), np.float32)
    for name, value in probabilities.items():
        pixel[CAMVID.classes.index(name)] = value
    return int(choose(own.sums(pixel), 0.5, void=255)[0, 0])


def test_probabilities_of_members_are_summed() -> None:
    texts = ["vehicle=Car+Bicyclist", "Road", "other=*"]
    assert ids_of(texts, {"Car": 0.3, "Bicyclist": 0.3, "Road": 0.4}) == 0
    assert ids_of(texts, {"Car": 0.2, "Road": 0.6}) == 1
    assert ids_of(texts, {"Sky": 0.3, "Tree": 0.3, "Road": 0.4}) == 2
    assert ids_of(texts, {"Sky": 0.3, "Road": 0.4, "Car": 0.3}) == 255  # nothing is sure


def test_what_no_class_takes_is_void() -> None:
    assert ids_of(["car", "Road"], {"Sky": 0.9}) == 255
    assert ids_of(["car", "Road"], {"Car": 0.9}) == 0


def test_the_new_label_set() -> None:
    labels = OwnClasses(["vehicle = car + Bicyclist", "road", "rest=*"], CAMVID).labels
    assert labels.classes == ("vehicle", "road", "rest")
    assert labels.things == {0}
    assert labels.colours[:2] == (CAMVID.colours[8], CAMVID.colours[3])
    assert OwnClasses(["rest=*", "7"], CAMVID).labels.colours[0] == CAMVID.colours[0]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["people"], "class 'people': not in label set 'camvid'"),
        (["a=Car", "b=Road+Car"], "'Car' is in a and in b"),
        (["a=Car", "a=Road"], "give each class one name of its own"),
        (["=Car"], "give each class one name of its own"),
        (["a=*", "b=*"], "give each class one name of its own"),
        (["a=Car+"], "class '': not in label set"),
    ],
)
def test_classes_that_make_no_sense(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OwnClasses(texts, CAMVID)


def test_the_command(cli: Callable[..., Any], clip: Callable[..., Path], tmp_path: Path) -> None:
    """A part of a video in classes of one's own; a default model is named, void is not black."""
    video, out = clip("drive.mp4", frames=20), tmp_path / "out"
    options = ("--scales", "1", "--no-flip", "--threshold", "0.99", "-o", out)
    wanted = ("--classes", "car,ground=Road+Pavement", "--start", "0.2", "--end", "0.4")
    ended = cli("autolabel", video, *wanted, *options)
    assert ended.code == 0, ended.err
    assert "note: no model is named with -m, so street-student labels (street scenes" in ended.err
    dataset = open_dataset("folder", out, "train")
    assert dataset.labels.classes == ("car", "ground")
    assert len(dataset.videos[0].frames) == 5  # 0.2 s at 25 frames per second
    path = next(out.glob("masks/*/*.png"))
    assert set(np.unique(read_indices(path))) <= {0, 1, 255}
    with Pillow.open(path) as picture:
        palette = picture.getpalette() or []
    assert palette[3 * 255 : 3 * 256] == [224, 224, 192]
    again = cli("autolabel", video, *wanted[:2], *options)  # of the whole video
    assert again.code == 6 and "other settings" in again.err


def test_ranges_are_for_videos(cli: Callable[..., Any], tmp_path: Path) -> None:
    Pillow.new("RGB", (64, 48)).save(tmp_path / "a.png")
    ended = cli("autolabel", tmp_path, "--start", "1", "-o", tmp_path / "out")
    assert ended.code == 2 and "--start, --end: are for videos" in ended.err
    ended = cli("autolabel", "--dataset", "sample://street", "--end", "1", "-o", tmp_path / "out")
    assert ended.code == 2 and "--start, --end: are for videos" in ended.err
