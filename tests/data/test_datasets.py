"""Data sets as they are found in the wild: every trap of their formats, on made trees."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from vidparse.data import format_of, labelled_frames, open_dataset, recognise
from vidparse.data.camvid import grouping, split_of
from vidparse.data.pictures import read_indices, read_rgb
from vidparse.errors import InputError
from vidparse.labels import load_labels, regrouped


def image(path: Path, size_hw: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size_hw, 3), 90, np.uint8))


def mask(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(values).save(path)


@pytest.fixture
def vspw(tmp_path: Path) -> Path:
    """Two videos, one with underscores and hyphens in its name, one without masks."""
    for name in ("12_a_b-C_d", "7_xyz"):
        for number in (166, 167):
            image(tmp_path / "data" / name / "origin" / f"{number:08d}.jpg")
    image(tmp_path / "data" / "7_xyz" / "origin" / "._00000166.jpg")
    raw = np.array([[0, 1, 2, 124, 125, 253, 254, 255]] * 6, np.uint8)
    for number in (166, 167):
        mask(tmp_path / "data" / "12_a_b-C_d" / "mask" / f"{number:08d}.png", raw)
    (tmp_path / "val.txt").write_text("12_a_b-C_d\n7_xyz")  # the last newline is missing
    return tmp_path


def test_vspw_names_order_and_missing_masks(vspw: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    assert [video.name for video in dataset.videos] == ["12_a_b-C_d", "7_xyz"]
    assert [frame.stem for frame in dataset.videos[1].frames] == ["00000166", "00000167"]
    assert len(labelled_frames(dataset)) == 2
    assert dataset.load_image(dataset.videos[1].frames[0]).shape == (6, 8, 3)


def test_vspw_raw_values(vspw: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    ids = dataset.load_mask(labelled_frames(dataset)[0])
    assert ids[0].tolist() == [255, 0, 1, 123, 255, 255, 255, 255]
    assert ids.dtype == np.uint8


def test_vspw_damage_is_named(vspw: Path) -> None:
    dataset = open_dataset("vspw", vspw, "val")
    frame = labelled_frames(dataset)[0]
    empty = vspw / "empty.jpg"
    empty.touch()
    with pytest.raises(InputError, match=r"empty\.jpg"):
        dataset.load_image(replace(frame, image=empty))
    colour = vspw / "colour.png"
    mask(colour, np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"colour\.png.*mode RGB"):
        dataset.load_mask(replace(frame, mask=colour))
    with pytest.raises(InputError, match=r"test\.txt"):
        open_dataset("vspw", vspw, "test")
    (vspw / "train.txt").write_text("99_gone\n")
    with pytest.raises(InputError, match="99_gone"):
        open_dataset("vspw", vspw, "train")


@pytest.mark.parametrize("keep", [0, 20, 300])
@pytest.mark.parametrize("name", ["picture.jpg", "picture.png"])
def test_cut_off_files_are_named(tmp_path: Path, name: str, keep: int) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(1).integers(0, 255, (40, 50, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="picture"):
        read_rgb(path)
    path = tmp_path / "mask.png"
    mask(path, noise[..., 0])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"mask\.png: damaged mask"):
        read_indices(path)


def test_masks_of_16_bits_keep_their_values(vspw: Path) -> None:
    path = vspw / "wide.png"
    mask(path, np.array([[0, 1, 257, 255, 65535]], np.uint16))
    dataset = open_dataset("vspw", vspw, "val")
    frame = replace(labelled_frames(dataset)[0], mask=path)
    assert dataset.load_mask(frame).tolist() == [[255, 0, 255, 255, 255]]


def test_vspw_palette_masks_are_read_by_index(vspw: Path) -> None:
    path = vspw / "palette.png"
    picture = Pillow.fromarray(np.array([[1, 2]], np.uint8), mode="P")
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    picture.save(path)
    dataset = open_dataset("vspw", vspw, "val")
    frame = replace(labelled_frames(dataset)[0], mask=path)
    assert dataset.load_mask(frame).tolist() == [[0, 1]]


def test_cityscapes_snippets_and_ids(tmp_path: Path) -> None:
    for frame in (*range(0, 30), *range(30, 33), 50):
        image(
            tmp_path / "leftImg8bit_sequence" / "val" / "ulm"
            / f"ulm_000001_{frame:06d}_leftImg8bit.png"
        )  # fmt: skip
    values = np.array([[7, 33, 0, 255, 24, 18]], np.uint8)  # an 8-bit PNG holds -1 as 255
    mask(tmp_path / "gtFine" / "val" / "ulm" / "ulm_000001_000019_gtFine_labelIds.png", values)
    dataset = open_dataset("cityscapes", tmp_path, "val")
    assert [len(video.frames) for video in dataset.videos] == [30, 3, 1]
    (frame,) = labelled_frames(dataset)
    assert frame.index == 19
    assert dataset.load_mask(frame)[0].tolist() == [0, 18, 255, 255, 11, 255]


def test_idd_lite_and_its_unlabelled_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        image(tmp_path / "leftImg8bit" / split / "12" / "000001_image.jpg")
    mask(
        tmp_path / "gtFine" / "train" / "12" / "000001_label.png",
        np.array([[0, 6, 7, 255]], np.uint8),
    )
    dataset = open_dataset("idd-lite", tmp_path, "train")
    (frame,) = labelled_frames(dataset)
    assert dataset.load_mask(frame)[0].tolist() == [0, 6, 255, 255]
    assert labelled_frames(open_dataset("idd-lite", tmp_path, "test")) == []


def make_300vw(root: Path, masks: dict[str, np.ndarray]) -> None:
    for stem, values in masks.items():
        image(root / "images_orig" / f"{stem}.jpg", values.shape[:2])
        mask(root / "labels_orig" / f"{stem}.png", values)


def test_300vw_lists_sequences_and_parts(tmp_path: Path) -> None:
    parts = np.array([[0, 1, 2, 3, 4]], np.uint8)
    stems = ["001_000009", "001_000010", "001_000012", "010_000013", "010_000014"]
    make_300vw(tmp_path, dict.fromkeys([*stems, "010_000099"], parts))
    listed = tmp_path / "data_splits" / "split_1"
    listed.mkdir(parents=True)
    lines = [f"/images_orig/{stem}.jpg /labels_orig/{stem}.png" for stem in reversed(stems)]
    (listed / "val_per10.txt").write_text("\n".join([*lines, ""]))
    assert recognise(tmp_path) == "300vw" and format_of("300vw").splits(tmp_path) == ("val",)
    dataset = open_dataset("300vw", tmp_path, "val")
    found = {video.name: [one.stem for one in video.frames] for video in dataset.videos}
    assert found == {
        "001_000009": ["001_000009", "001_000010"],
        "001_000012": ["001_000012"],
        "010_000013": ["010_000013", "010_000014"],
    }
    ids = dataset.load_mask(labelled_frames(dataset)[0])[0].tolist()
    names = ["background", "facial skin", "eyes", "outer mouth", "inner mouth"]
    assert [dataset.labels.classes[i] for i in ids] == names

    # Whatever the lists leave out is in "all"; a listed picture that is gone is named.
    assert len(labelled_frames(open_dataset("300vw", tmp_path, "all"))) == 6
    (tmp_path / "images_orig" / "001_000012.jpg").unlink()
    with pytest.raises(InputError, match=r"val_per10\.txt: /images_orig/001_000012\.jpg is listed"):
        open_dataset("300vw", tmp_path, "val")
    (tmp_path / "labels_orig" / "010_000014.png").unlink()
    with pytest.raises(InputError, match=r"val_per10\.txt: /labels_orig/010_000014\.png is listed"):
        open_dataset("300vw", tmp_path, "val")

    # A split without a list would hold pictures of the others.
    with pytest.raises(InputError, match="split 'train': unknown; use val, all"):
        open_dataset("300vw", tmp_path, "train")
    (listed / "val_per10.txt").write_text("")
    with pytest.raises(InputError, match=r"val_per10\.txt: names no picture"):
        open_dataset("300vw", tmp_path, "val")


def test_300vw_has_the_sets_of_its_second_paper(tmp_path: Path) -> None:
    make_300vw(tmp_path, dict.fromkeys(["001_000001", "002_000001"], np.zeros((2, 2), np.uint8)))
    listed = tmp_path / "data_splits" / "split_2"
    listed.mkdir(parents=True)
    (listed / "B.txt").write_text("/images_orig/002_000001.jpg /labels_orig/002_000001.png\n")
    (frame,) = labelled_frames(open_dataset("300vw", tmp_path, "B"))
    assert frame.stem == "002_000001"
    assert len(labelled_frames(open_dataset("300vw", tmp_path, "all"))) == 2
    with pytest.raises(InputError, match="split 'C': unknown; use B, all"):
        open_dataset("300vw", tmp_path, "C")


def test_300vw_masks_in_the_colours_of_its_script(tmp_path: Path) -> None:
    colours = [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255]]
    make_300vw(tmp_path, {"007_000001": np.array([colours], np.uint8)})
    dataset = open_dataset("300vw", tmp_path, "all")
    (frame,) = labelled_frames(dataset)
    assert dataset.load_mask(frame).tolist() == [[0, 1, 2, 3, 4]]
    mask(tmp_path / "labels_orig" / "007_000001.png", np.array([[[9, 9, 9]]], np.uint8))
    with pytest.raises(InputError, match=r"colour \(9, 9, 9\) is none of the parts of 300VW-Mask"):
        dataset.load_mask(frame)
    mask(tmp_path / "labels_orig" / "007_000001.png", np.array([[5]], np.uint8))
    dataset = open_dataset("300vw", tmp_path, "all")
    with pytest.raises(InputError, match=r"holds value 5; 300VW-Mask has the classes 0\.\.4"):
        dataset.load_mask(labelled_frames(dataset)[0])
    (tmp_path / "labels_orig" / "007_000001.png").write_bytes(b"")
    dataset = open_dataset("300vw", tmp_path, "all")
    with pytest.raises(InputError, match=r"007_000001\.png: damaged mask"):
        dataset.load_mask(labelled_frames(dataset)[0])
    (tmp_path / "images_orig" / "007_000001.jpg").unlink()
    with pytest.raises(InputError, match="holds no images of split all"):
        open_dataset("300vw", tmp_path, "all")


def test_davis_masks_are_binary(tmp_path: Path) -> None:
    image(tmp_path / "JPEGImages" / "480p" / "dog" / "00000.jpg")
    mask(tmp_path / "Annotations" / "480p" / "dog" / "00000.png", np.array([[0, 255]], np.uint8))
    dataset = open_dataset("davis", tmp_path, "val")
    assert dataset.load_mask(labelled_frames(dataset)[0]).tolist() == [[0, 1]]
    assert not dataset.notes

    # Objects of DAVIS 2017 are read as one, which its scores are not of.
    (tmp_path / "ImageSets" / "2017").mkdir(parents=True)
    (note,) = open_dataset("davis", tmp_path, "all").notes
    assert "all objects of a frame are read as one" in note


def test_plain_folder(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a" / "1.jpg")
    image(tmp_path / "images" / "b" / "1.jpg")
    mask(tmp_path / "masks" / "a" / "1.png", np.array([[0, 1, 255]], np.uint8))
    with pytest.raises(InputError, match=r"labels\.json"):
        open_dataset("folder", tmp_path, "val")
    classes = [{"name": n, "thing": False, "colour": [1, 2, 3]} for n in ("x", "y")]
    (tmp_path / "labels.json").write_text(json.dumps({"name": "mine", "classes": classes}))
    dataset = open_dataset("folder", tmp_path, "val")
    (frame,) = labelled_frames(dataset)
    assert frame.video == "a" and dataset.load_mask(frame).tolist() == [[0, 1, 255]]
    mask(tmp_path / "masks" / "a" / "1.png", np.array([[2]], np.uint8))
    with pytest.raises(InputError, match="value 2"):
        dataset.load_mask(frame)


def mine(root: Path) -> Path:
    """A folder with a label file and nothing else."""
    record = {"name": "mine", "classes": [{"name": "x", "thing": False, "colour": [1, 2, 3]}]}
    (root / "labels.json").write_text(json.dumps(record))
    return root


def test_folder_names_pictures_that_lie_too_deep(tmp_path: Path) -> None:
    image(mine(tmp_path) / "images" / "a" / "1.jpg")
    image(tmp_path / "images" / "b" / "c" / "1.jpg")
    with pytest.raises(InputError, match=r"b/c: its pictures are not read, as b is a video; move"):
        open_dataset("folder", tmp_path, "val")


def test_folder_overlooks_nothing(tmp_path: Path) -> None:
    root = mine(tmp_path)
    with pytest.raises(InputError, match=r"images: no such folder; put the frames there, and"):
        open_dataset("folder", root, "val")
    image(root / "images" / "1.jpg")
    (root / "images" / ".thumbs").mkdir()
    assert len(open_dataset("folder", root, "val").videos[0].frames) == 1
    image(root / "images" / "1.png")
    with pytest.raises(InputError, match=r"1\.png: 1\.jpg has the same name; keep one"):
        open_dataset("folder", root, "val")
    (root / "images" / "1.png").unlink()
    image(root / "images" / "clip" / "2.jpg")
    with pytest.raises(InputError, match=r"\(1\.jpg\) and folders \(clip\) side by side"):
        open_dataset("folder", root, "val")


def test_a_folder_of_splits_names_those_it_has(tmp_path: Path) -> None:
    root = mine(tmp_path)
    image(root / "train" / "images" / "1.jpg")
    assert open_dataset("folder", root, "train").videos
    with pytest.raises(InputError, match=r"has no split 'val', but train; make val/images"):
        open_dataset("folder", root, "val")


def camvid_release(root: Path, stems: list[str], colours: list[tuple[int, int, int]]) -> Path:
    """Pictures of the original release, all with one row of these colours."""
    for stem in stems:
        image(root / "701_StillsRaw_full" / f"{stem}.png")
        mask(root / "LabeledApproved_full" / f"{stem}_L.png", np.array([colours], np.uint8))
    return root


def test_camvid_release_by_colour(tmp_path: Path) -> None:
    colours = [(128, 128, 128), (64, 192, 0), (0, 0, 0), (192, 128, 64)]  # Sky, Wall, Void, Child
    camvid_release(tmp_path, ["0006R0_f00930"], colours)
    full = open_dataset("camvid-32", tmp_path, "train")
    (frame,) = labelled_frames(full)
    assert len(full.labels) == 31
    ids = full.load_mask(frame)[0].tolist()
    names = [full.labels.classes[i] if i != 255 else "-" for i in ids]
    assert names == ["Sky", "Wall", "-", "Child"]
    grouped = open_dataset("camvid", tmp_path, "train")
    ids = grouped.load_mask(frame)[0].tolist()
    names = [grouped.labels.classes[i] if i != 255 else "-" for i in ids]
    assert names == ["Sky", "Building", "-", "Pedestrian"]


def test_camvid_release_with_a_colour_of_no_class(tmp_path: Path) -> None:
    camvid_release(tmp_path, ["0006R0_f00930"], [(128, 128, 128), (1, 2, 3)])
    dataset = open_dataset("camvid-32", tmp_path, "train")
    with pytest.raises(InputError, match=r"0006R0_f00930_L\.png: colour \(1, 2, 3\)"):
        dataset.load_mask(labelled_frames(dataset)[0])


def test_camvid_release_splits(tmp_path: Path) -> None:
    stems = ["0001TP_008520", "0001TP_008550", "0016E5_07920", "0016E5_07959", "Seq05VD_f00000"]
    camvid_release(tmp_path, stems, [(0, 0, 0)])
    found = {}
    for split in ("train", "val", "test", "all"):
        dataset = open_dataset("camvid-32", tmp_path, split)
        found[split] = [frame.stem for frame in labelled_frames(dataset)]
    assert found["train"] == ["0001TP_008520", "0016E5_07920"]
    assert found["val"] == ["0016E5_07959"]
    assert found["test"] == ["0001TP_008550", "Seq05VD_f00000"]
    assert found["all"] == stems


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_camvid_split_rule_gives_segnets_lists(split: str) -> None:
    listing = Path(__file__).resolve().parents[3] / "shared" / "data" / "camvid" / f"{split}.txt"
    if not listing.is_file():
        pytest.skip("no CamVid beside the checkout")
    stems = [Path(line.split()[0]).stem for line in listing.read_text().splitlines()]
    assert {split_of(stem) for stem in stems} == {split}


def test_every_class_of_the_camvid_release_is_in_one_group() -> None:
    groups = regrouped("camvid-32", "camvid")
    assert tuple(groups) == load_labels("camvid-32").classes
    labels = load_labels("camvid")
    assert set(groups.values()) == set(labels.classes)
    by_name = dict(zip(load_labels("camvid-32").classes, grouping(labels), strict=True))
    assert labels.classes[by_name["Truck_Bus"]] == "Car"
    # what is a thing in one set is a thing in the other
    full = load_labels("camvid-32")
    assert {by_name[full.classes[i]] for i in full.things} == set(labels.things)


def test_camvid_values_beyond_void_are_refused(tmp_path: Path) -> None:
    image(tmp_path / "val" / "0016E5_07959.jpg")
    mask(tmp_path / "valannot" / "0016E5_07959.png", np.array([[0, 11, 10]], np.uint8))
    dataset = open_dataset("camvid", tmp_path, "val")
    (frame,) = labelled_frames(dataset)
    assert dataset.load_mask(frame).tolist() == [[0, 255, 10]]
    mask(tmp_path / "valannot" / "0016E5_07959.png", np.array([[0, 12]], np.uint8))
    with pytest.raises(InputError, match=r"07959\.png: holds value 12"):
        dataset.load_mask(frame)


ENCODINGS = {
    "bom": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
}


def list_of_vspw(root: Path, name: str) -> tuple[Path, str]:
    image(root / "data" / name / "origin" / "1.jpg")
    return root / "val.txt", f"{name}\n"


def list_of_davis(root: Path, name: str) -> tuple[Path, str]:
    image(root / "JPEGImages" / "480p" / name / "1.jpg")
    (root / "ImageSets" / "480p").mkdir(parents=True)
    line = f"/JPEGImages/480p/{name}/1.jpg /Annotations/480p/{name}/1.png\n"
    return root / "ImageSets" / "480p" / "val.txt", line


def list_of_camvid(root: Path, name: str) -> tuple[Path, str]:
    image(root / "val" / f"{name}_1.png")
    (root / "valannot").mkdir()
    return root / "val.txt", f"/Seg/{name}_1.png /Seg/{name}_1.png\n"


def labels_of_a_folder(root: Path, name: str) -> tuple[Path, str]:
    image(root / "images" / name / "1.png")
    classes = [{"name": "caf\u00e9", "thing": False, "colour": [1, 2, 3]}]
    text = json.dumps({"name": "mine", "classes": classes}, ensure_ascii=False)
    return root / "labels.json", text


LISTS = [
    ("vspw", list_of_vspw),
    ("davis", list_of_davis),
    ("camvid", list_of_camvid),
    ("folder", labels_of_a_folder),
]


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
@pytest.mark.parametrize(("name", "make"), LISTS)
def test_lists_as_windows_programs_save_them(
    tmp_path: Path, name: str, make: Callable[[Path, str], tuple[Path, str]], encoding: str
) -> None:
    path, text = make(tmp_path, "caf\u00e9")
    path.write_bytes(ENCODINGS[encoding](text))
    dataset = open_dataset(name, tmp_path, "val")
    assert [video.name for video in dataset.videos] == ["caf\u00e9"]
    if name == "folder":
        assert dataset.labels.classes == ("caf\u00e9",)


@pytest.mark.parametrize(("name", "make"), LISTS)
def test_lists_of_other_encodings_are_named(
    tmp_path: Path, name: str, make: Callable[[Path, str], tuple[Path, str]]
) -> None:
    path, text = make(tmp_path, "caf\u00e9")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=rf"{path.name}: .*line 1 is not UTF-8"):
        open_dataset(name, tmp_path, "val")


def test_seconds_between_frames(tmp_path: Path) -> None:
    known = {
        "vspw": ("data/a/origin/{}.jpg", 1 / 15),
        "davis": ("JPEGImages/480p/a/{}.jpg", 1 / 24),
        "vipseg": ("imgs/a/{}.jpg", 1 / 5),
        "idd-lite": ("leftImg8bit/val/a/{}_image.jpg", math.inf),
        "camvid": ("val/0016E5_0{}.png", 2 / 30),
        "cityscapes": ("leftImg8bit_sequence/val/ulm/ulm_000001_00{}_leftImg8bit.png", 1 / 17),
        "cityscapes-vps": ("val/img/0001_0001_ulm_000001_00{}_newImg8bit.png", 2 / 17),
        "folder": ("images/a/{}.png", None),
    }
    (tmp_path / "val.txt").write_text("a")
    (tmp_path / "valannot").mkdir()
    classes = [{"name": "x", "thing": False, "colour": [1, 2, 3]}]
    (tmp_path / "labels.json").write_text(json.dumps({"name": "mine", "classes": classes}))
    for name, (pattern, interval_s) in known.items():
        for i in range(3):
            number = 1000 + i * (1 if name == "cityscapes" else 2)
            image(tmp_path / pattern.format(number))
        if name == "camvid":
            (tmp_path / "val.txt").unlink()  # else it is taken for a list of pictures
        assert open_dataset(name, tmp_path, "val").videos[0].interval_s == interval_s
    rendered = open_dataset("sample://street?rate=10&frames=2", None, "val")
    assert rendered.videos[0].interval_s == 0.1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"name": "mine"}',
        '{"name": "mine", "classes": 3}',
        '{"name": "mine", "classes": [{"name": 3, "thing": false, "colour": [1, 2, 3]}]}',
        '{"name": "mine", "classes": [{"name": "a", "thing": false, "colour": [1, 2, Infinity]}]}',
        '{"name": "mine", "classes": [{"name": "a", "thing": false, "colour": [1, 2, 1e999]}]}',
        '{"name": "mine", "classes": [{"name": "a", "thing": null, "colour": [1, 2, 3]}]}',
        '{"name": "mine", "classes": ' + "[" * 100_000,
    ],
)
def test_label_files_of_another_form_are_named(tmp_path: Path, text: str) -> None:
    image(tmp_path / "images" / "1.png")
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(InputError, match=r"labels\.json: not a label file \(.*write \{"):
        open_dataset("folder", tmp_path, "val")
