"""COCO's polygons in YOLO form as masks of VOC's classes: on made files, and on coco128."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vidparse.data import format_of, labelled_frames, open_dataset, recognise
from vidparse.data.check import check_dataset
from vidparse.data.yolo_own import yaml_names
from vidparse.data.yolo_polygons import read_polygons
from vidparse.errors import InputError
from vidparse.labels import load_labels, regrouped

VOC = load_labels("voc")
PERSON, TIE, CAR, TV = 0, 27, 2, 62  # COCO's numbers
WHOLE = "0 0 1 0 1 1 0 1"
MIDDLE = "0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"
CORNER = "0 0 0.25 0 0.25 0.25 0 0.25"


def photograph(root: Path, name: str, text: str | None, folder: str = "train2017") -> Path:
    """A picture of 8 rows and 16 columns and its label file, if it has a text."""
    path = root / "images" / folder / f"{name}.jpg"
    for one in (path, root / "labels" / folder / "x"):
        one.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 16, 3), 90, np.uint8))
    if text is not None:
        (root / "labels" / folder / f"{name}.txt").write_text(text)
    return path


def ids_of(root: Path) -> np.ndarray:
    dataset = open_dataset("yolo-seg", root, "all")
    (frame,) = labelled_frames(dataset)
    ids = dataset.load_mask(frame)
    assert ids.dtype == np.uint8 and ids.shape == dataset.load_image(frame).shape[:2]
    return ids


def named(ids: np.ndarray) -> set[str]:
    return {VOC.classes[i] for i in np.unique(ids)}


def test_the_table_names_every_class() -> None:
    table = regrouped("coco", "voc")
    names = list(table)
    assert len(names) == 80 and set(table.values()) == set(VOC.classes)
    assert [names[i] for i in (PERSON, TIE, CAR, TV)] == ["person", "tie", "car", "tv"]
    objects = {name: other for name, other in table.items() if other != "background"}
    assert len(objects) == 20  # one of COCO's for each of VOC's
    assert {name for name, other in objects.items() if name != other} == {
        "motorcycle", "airplane", "couch", "potted plant", "dining table", "tv"
    }  # fmt: skip


@pytest.mark.parametrize("small_first", [True, False])
def test_small_polygons_lie_on_large_ones(tmp_path: Path, small_first: bool) -> None:
    lines = [f"{TV} {MIDDLE}", f"{CAR} {WHOLE}", f"{TIE} {CORNER}"]
    photograph(tmp_path, "a", "\n".join(lines if small_first else lines[::-1]))
    expected = np.full((8, 16), VOC.classes.index("car"))
    expected[2:6, 4:12] = VOC.classes.index("tvmonitor")
    expected[:2, :4] = VOC.classes.index("background")  # VOC has no ties
    np.testing.assert_array_equal(ids_of(tmp_path), expected)


@pytest.mark.parametrize("text", [None, "", "\n \n"])
def test_nothing_listed_is_all_background(tmp_path: Path, text: str | None) -> None:
    photograph(tmp_path, "a", text)
    assert named(ids_of(tmp_path)) == {"background"}


def test_what_rounding_left_outside_is_clipped(tmp_path: Path) -> None:
    photograph(tmp_path, "a", f"{PERSON} -0.0009 0 1.0009 0 1 1 0 1\r\n\r\n")
    assert named(ids_of(tmp_path)) == {"person"}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("0 0 0 1 0 1", "5 coordinates are not pairs"),
        ("0 0.5 0.5 0.2 0.2", "2 points are no polygon"),  # a box, not a polygon
        ("0", "0 points are no polygon"),
        (f"80 {WHOLE}", r"class 80 is not one of 0\.\.79"),
        (f"-1 {WHOLE}", "class -1 is not one of"),
        (f"person {WHOLE}", "class person is not one of"),
        ("0 0 0 1 0 1.002 1", r"coordinate 1\.002 is outside 0\.\.1"),
        ("0 0 0 1 0 1 -0.5", r"coordinate -0\.5 is outside"),
        ("0 0 0 1 0 1 nan", "coordinate nan is outside"),
        ("0 0 0 1 0 1 x", "could not convert string to float: 'x'"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, what: str) -> None:
    photograph(tmp_path, "a", f"{PERSON} {MIDDLE}\n\n{line}\n")
    with pytest.raises(InputError, match=rf"labels/train2017/a\.txt: line 3: {what}") as caught:
        ids_of(tmp_path)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match=r"a\.txt: line 1 is not UTF-8"):
        read_polygons(path, 80)
    with pytest.raises(InputError, match=r"b\.txt: No such file"):
        read_polygons(tmp_path / "b.txt", 80)


def test_the_halves_of_a_single_folder(tmp_path: Path) -> None:
    for name in "dbace":
        photograph(tmp_path, name, "")
    found = {}
    for split in ("all", "train", "held-out"):
        dataset = open_dataset("yolo-seg", tmp_path, split)
        found[split] = "".join(frame.stem for frame in labelled_frames(dataset))
        assert all(len(video.frames) == 1 for video in dataset.videos)
        assert len({video.name for video in dataset.videos}) == len(dataset.videos)
    assert found == {"all": "abcde", "train": "ace", "held-out": "bd"}
    with pytest.raises(InputError, match="split 'val': unknown; use all, train, held-out"):
        open_dataset("yolo-seg", tmp_path, "val")


def test_several_folders_are_the_splits(tmp_path: Path) -> None:
    photograph(tmp_path, "a", "", "train")
    photograph(tmp_path, "b", "", "val")
    photograph(tmp_path, "c", None, "test")
    (tmp_path / "labels" / "test").rmdir()
    for split, stems in (("train", ["a"]), ("val", ["b"]), ("test", [])):
        dataset = open_dataset("yolo-seg", tmp_path, split)
        assert [frame.stem for frame in labelled_frames(dataset)] == stems
        assert len(dataset.videos) == 1
    with pytest.raises(InputError, match="split 'held-out': unknown; use test, train, val"):
        open_dataset("yolo-seg", tmp_path, "held-out")
    report = check_dataset(tmp_path)
    assert [split.split for split in report.splits] == ["test", "train", "val"]
    assert report.errors == 0


def test_folders_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images: holds no folder"):
        open_dataset("yolo-seg", tmp_path, "all")
    photograph(tmp_path, "a", "")
    with pytest.raises(InputError, match="train2017: holds no images for held-out"):
        open_dataset("yolo-seg", tmp_path, "held-out")


def test_turned_photographs(tmp_path: Path) -> None:
    """The mask has the size of the picture as it is shown."""
    path = photograph(tmp_path, "a", f"{PERSON} 0 0 1 0 1 0.5 0 0.5")
    data = path.read_bytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # a quarter turn
    block = b"Exif\0\0" + tiff
    head = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big")
    path.write_bytes(data[:2] + head + block + data[2:])
    ids = ids_of(tmp_path)
    assert ids.shape == (16, 8)
    assert named(ids[:8]) == {"person"} and named(ids[8:]) == {"background"}


def test_data_check_names_bad_label_files(tmp_path: Path, cli: Callable[..., Any]) -> None:
    photograph(tmp_path, "a", f"{PERSON} {MIDDLE}")
    photograph(tmp_path, "b", None)
    assert recognise(tmp_path) == "yolo-seg"
    report = check_dataset(tmp_path)
    assert report.problems == () and report.splits[0].labelled == 2
    assert report.splits[0].pixels[VOC.classes.index("person")] == 32
    photograph(tmp_path, "c", f"80 {MIDDLE}")
    (tmp_path / "labels" / "train2017" / "z.txt").write_text("")
    found = {Path(one.path).name: one.what for one in check_dataset(tmp_path).problems}
    assert found.pop("c.txt").startswith("line 1: class 80 is not one of 0..79")
    assert found == {"z.txt": "no image for this mask"}
    ended = cli("data", "check", tmp_path, "--split", "train")
    assert ended.code == 3 and "c.txt: line 1" in ended.out.decode()


@pytest.fixture(scope="module")
def coco128() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "coco128_seg"
    if not folder.is_dir():
        pytest.skip("no coco128_seg beside the checkout")
    return folder


def test_coco128(coco128: Path) -> None:
    assert recognise(coco128) == "yolo-seg"
    train, held_out = (open_dataset("yolo-seg", coco128, split) for split in ("train", "held-out"))
    stems = [{frame.stem for frame in labelled_frames(one)} for one in (train, held_out)]
    assert [len(one) for one in stems] == [64, 64] and not stems[0] & stems[1]
    for dataset in (train, held_out):
        seen = set()
        for frame in labelled_frames(dataset):
            ids = dataset.load_mask(frame)
            assert ids.shape == dataset.load_image(frame).shape[:2]
            seen |= named(ids)
        assert len(seen) >= 18


@pytest.mark.parametrize(
    "lines",
    [
        "names:\n  0: cat\n# the second\n\n  1: a dog, or two",
        "names: # both\n- cat\n- a dog, or two",
        "names: ['cat',\n  'a dog, or two']",
        "names: [cat, 'a dog, or two',\n]",
        'names:\n  [cat, "a dog, or two"]',
        "names: {0: cat, 1: 'a dog, or two'}",
    ],
)
def test_the_names_of_a_data_yaml_come_in_all_forms(lines: str) -> None:
    assert yaml_names(f"train: images\n{lines}\nnc: 2\n") == ["cat", "a dog, or two"]


def test_names_keep_their_apostrophes() -> None:
    assert yaml_names("names: [driver's, 'it''s']") == ["driver's", "it's"]


@pytest.mark.parametrize(
    ("lines", "folders"),
    [
        ("path: ../sets/mine\ntrain: images/train # 1\nval: images/val\ntest:\n", "{kind}/{split}"),
        ("train: ../train/images\nval: '../val/images'\ntest: ../test/images\n", "{split}/{kind}"),
    ],
    ids=["ultralytics", "roboflow"],
)
def test_a_data_yaml_names_the_folders_of_its_splits(
    tmp_path: Path, lines: str, folders: str
) -> None:
    """As Ultralytics' own sets are laid out, and as exports of Roboflow are."""
    (tmp_path / "data.yaml").write_text(f"{lines}nc: 2\nnames: ['cat', 'dog']\n")
    for number, split in enumerate(("train", "val")):
        pictures, labels = (
            tmp_path / folders.format(kind=kind, split=split) for kind in ("images", "labels")
        )
        for place in (pictures, labels):
            place.mkdir(parents=True)
        cv2.imwrite(str(pictures / "1.jpg"), np.zeros((8, 8, 3), np.uint8))
        (labels / "1.txt").write_text(f"{number} {WHOLE}\n")

    known = format_of("yolo-seg")
    for place in (tmp_path, tmp_path / "data.yaml"):
        assert recognise(place) == "yolo-seg" and known.splits(place) == ("train", "val")
        for number, split in enumerate(("train", "val")):
            dataset = known.open(place, split)
            (frame,) = labelled_frames(dataset)
            assert (dataset.load_truth(frame).classes() == number).all()
    with pytest.raises(InputError, match="split 'all': unknown; use train, val"):
        open_dataset("yolo-seg", tmp_path, "all")
