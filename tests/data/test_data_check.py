"""`vidparse data check`: what a folder holds, and every bad file by name."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from vidparse.data import FORMATS, format_of, open_dataset, recognise
from vidparse.data import check as check_module
from vidparse.data.check import CheckReport, check_dataset
from vidparse.errors import InputError, Interrupted, UsageError
from vidparse.labels import labels_to_json, load_labels
from vidparse.maps import ids_to_rgb

HEIGHT, WIDTH = 6, 8


def image(path: Path, size_hw: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(1).integers(0, 255, (*size_hw, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    return path


def mask(path: Path, values: np.ndarray | int = 1, dtype: type = np.uint8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.broadcast_to(np.asarray(values, dtype), (HEIGHT, WIDTH)).copy()).save(path)
    return path


@pytest.fixture
def vspw(tmp_path: Path) -> Path:
    """Two whole videos in val, one without masks in test."""
    root = tmp_path / "VSPW"
    for name in ("12_a_b-C", "7_[red]"):
        for stem in ("00000166", "00000167"):
            image(root / "data" / name / "origin" / f"{stem}.jpg")
            mask(root / "data" / name / "mask" / f"{stem}.png", [0, 1, 1, 61, 61, 61, 61, 255])
    image(root / "data" / "9_z" / "origin" / "00000000.jpg")
    (root / "val.txt").write_text("12_a_b-C\n7_[red]")
    (root / "test.txt").write_text("9_z\n")
    return root


def problems_of(report: CheckReport, root: Path) -> dict[str, str]:
    """What is wrong, by path inside the data set."""
    return {str(Path(one.path).relative_to(root)): one.what for one in report.problems}


def test_a_whole_data_set(vspw: Path) -> None:
    done: list[tuple[int, int]] = []
    report = check_dataset(vspw, on_frame=lambda *count: done.append(count))
    assert (report.name, report.errors, report.warnings) == ("vspw", 0, 0)
    val, test = report.splits
    assert (val.split, val.videos, val.frames, val.labelled) == ("val", 2, 4, 4)
    assert val.sizes == ((HEIGHT, WIDTH, 4),)
    assert (val.pixels[0], val.pixels[60], val.void) == (4 * 12, 4 * 24, 4 * 12)
    assert (val.seen, val.void_share) == (2, 0.25)
    assert (test.split, test.frames, test.labelled, test.void_share) == ("test", 1, 0, None)
    assert done == [(i, 5) for i in range(1, 6)]


def test_every_bad_file_is_named(vspw: Path) -> None:
    video = vspw / "data" / "12_a_b-C"
    (video / "origin" / "00000166.jpg").write_bytes(b"")
    cut = image(video / "origin" / "00000168.jpg", (60, 80))
    cut.write_bytes(cut.read_bytes()[:-400])
    image(video / "origin" / "00000169.jpg", (4, 4))
    image(video / "origin" / "00000170.jpg")
    for stem in ("00000168", "00000169", "00000199"):
        mask(video / "mask" / f"{stem}.png")
    mask(video / "mask" / "._00000170.png")
    other = vspw / "data" / "7_[red]" / "mask"
    Pillow.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(other / "00000166.png")
    damaged = other / "00000167.png"
    damaged.write_bytes(damaged.read_bytes()[:50])
    with (vspw / "val.txt").open("a") as file:
        file.write("\n99_gone\n")
    report = check_dataset(vspw)
    found = problems_of(report, vspw)
    assert found.pop("data/99_gone/origin").startswith("holds no images for 99_gone")
    inside = {
        "origin/00000166.jpg": "empty file",
        "origin/00000168.jpg": "damaged image: image file is truncated",
        "mask/00000168.png": None,  # of an image whose size is not known
        "mask/00000169.png": "is 8x6, its image 4x4",
        "origin/00000170.jpg": "no mask for this image",
        "mask/00000199.png": "no image for this mask",
    }
    for name, what in inside.items():
        if what is not None:
            assert found.pop(f"data/12_a_b-C/{name}").startswith(what)
    assert "mode RGB" in found.pop("data/7_[red]/mask/00000166.png")
    assert found.pop("data/7_[red]/mask/00000167.png").startswith("damaged mask")
    assert found == {}
    assert report.errors == 8 and report.warnings == 0
    assert report.splits[0].videos == 2 and report.splits[0].frames == 7


def test_a_video_without_masks_in_a_labelled_split(vspw: Path) -> None:
    import shutil

    shutil.rmtree(vspw / "data" / "7_[red]" / "mask")
    report = check_dataset(vspw, split="val")
    assert problems_of(report, vspw) == {
        "data/7_[red]/origin": "no masks for the 2 images of the video",
    }


def test_stray_values_of_vspw_are_warnings(vspw: Path) -> None:
    mask(vspw / "data" / "7_[red]" / "mask" / "00000166.png", [1, 1, 1, 1, 1, 125, 253, 253])
    report = check_dataset(vspw)
    (problem,) = report.problems
    assert problem.what == "holds values that are no class: 125 (6 px), 253 (12 px); taken as void"
    assert (report.errors, report.warnings) == (0, 1)


def test_values_of_no_class_are_errors_where_they_are_refused(tmp_path: Path) -> None:
    image(tmp_path / "images" / "1.jpg")
    mask(tmp_path / "masks" / "1.png", [0, 0, 0, 0, 0, 1, 9, 255])
    classes = [{"name": name, "thing": False, "colour": [1, 2, 3]} for name in ("x", "y")]
    (tmp_path / "labels.json").write_text(json.dumps({"name": "mine", "classes": classes}))
    report = check_dataset(tmp_path)
    assert (report.name, report.errors) == ("folder", 1)
    assert report.splits[0].classes == ("x", "y")
    assert problems_of(report, tmp_path) == {
        "masks/1.png": "holds values that are no class: 9 (6 px)"
    }


def own_folder(root: Path, names: list[str]) -> Path:
    """A data set of two pictures and of labels with these names."""
    for stem in ("1", "2"):
        image(root / "images" / f"{stem}.jpg")
    classes = [{"name": name, "thing": False, "colour": [1, 2, 3]} for name in names]
    (root / "labels.json").write_text(json.dumps({"name": "mine", "classes": classes}))
    return root


@pytest.mark.parametrize(
    ("names", "first", "second", "expected"),
    [
        (["bg", "cup"], [0, 0, 255], [0, 0, 0], "16.7% of the labelled pixels, and class 'cup'"),
        (["bg", "cup"], [255], [255], "100.0% of the labelled pixels, and classes 'bg', 'cup'"),
        (["bg", "cup", "jug"], [0, 1, 255], [0, 0, 1], "class 'jug' never occurs; if 255 stands"),
        (["background", "object"], [0, 255, 255], [0], "class 'object' never occurs"),  # DAVIS's
        (list("abcdef"), [0, 255], [1, 255], "classes 'c', 'd', 'e' and 1 more never occur;"),
        (["bg", "cup"], [0, 0, 255], [0, 0, 1], None),  # 255 is void beside both classes
        (["bg", "cup"], [0], [0], None),  # an empty class, and no void that could be it
    ],
)
def test_void_that_stands_for_a_class(
    tmp_path: Path,
    cli: Callable[..., Any],
    names: list[str],
    first: list[int],
    second: list[int],
    expected: str | None,
) -> None:
    own_folder(tmp_path, names)
    for stem, values in (("1", first), ("2", second)):
        mask(tmp_path / "masks" / f"{stem}.png", np.resize(values, (HEIGHT, WIDTH)))
    report = check_dataset(tmp_path)
    texts = [problem.what for problem in report.problems]
    assert report.errors == 0
    assert all(problem.warning for problem in report.problems)
    assert len(texts) == (expected is not None)
    options = ("--data", tmp_path, "--pred", tmp_path / "masks", "--json")
    evaluated = cli("eval", "--dataset", "folder", *options)
    notes = json.loads(evaluated.out)["notes"]
    assert sum("store" in note for note in notes) == (expected is not None)
    if expected is not None:
        assert expected in texts[0] and texts[0].startswith("split all: void covers ")
        assert expected in notes[-1]


def test_void_of_shapes_is_no_sign_of_a_class(tmp_path: Path) -> None:
    """In a json of shapes, all that none of them covers is void: nothing is stored there."""
    image(tmp_path / "a.jpg")
    rows = [{"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}]
    ring = [[0, 0, 2, 0, 2, 2, 0, 2]]
    objects = [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": ring}]
    categories = [{"id": i, "name": name} for i, name in enumerate(("sky", "car"))]
    record = {"images": rows, "annotations": objects, "categories": categories}
    (tmp_path / "set.json").write_text(json.dumps(record))
    report = check_dataset(tmp_path)
    assert report.name == "coco" and report.splits[0].void > 0
    assert report.problems == ()


def test_absent_classes_of_known_label_sets_are_usual(tmp_path: Path) -> None:
    make_vspw(tmp_path)
    mask(tmp_path / "data" / "1_v" / "mask" / "1.png", [0, 0, 0, 0, 1, 1, 2, 2])
    assert check_dataset(tmp_path).problems == ()
    mask(tmp_path / "data" / "1_v" / "mask" / "1.png", [0, 0, 0, 0, 255, 255, 255, 255])
    (problem,) = check_dataset(tmp_path).problems
    assert "void covers 100.0%" in problem.what and "and 121 more never occur" in problem.what


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
def test_pictures_that_exif_turns(
    tmp_path: Path, orientation: int, ending: str, quick: bool
) -> None:
    """Masks have the size that people, `segment`, `eval` and `train` see."""
    own_folder(tmp_path, ["x", "y"])
    for stem in ("1", "2"):
        (tmp_path / "images" / f"{stem}.jpg").unlink()
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        path = tmp_path / "images" / f"{stem}.{ending}"
        Pillow.new("RGB", (WIDTH, HEIGHT), (9, 99, 199)).save(path, exif=exif)
    shown_hw = (WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH)
    shown, stored = np.zeros(shown_hw, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    (tmp_path / "masks").mkdir()
    Pillow.fromarray(shown).save(tmp_path / "masks" / "1.png")
    Pillow.fromarray(stored).save(tmp_path / "masks" / "2.png")
    dataset = open_dataset("folder", tmp_path, "val")
    frame = dataset.videos[0].frames[0]
    assert dataset.load_image(frame).shape[:2] == dataset.load_mask(frame).shape
    report = check_dataset(tmp_path, quick=quick)
    turned = "is 8x6, its image 6x8 as EXIF turns it; turn the mask, too"
    assert problems_of(report, tmp_path) == ({"masks/2.png": turned} if orientation >= 5 else {})
    assert report.splits[0].sizes == ((*shown_hw, 2),)


@pytest.mark.parametrize("kind", ["model", "masks"])
def test_a_mask_of_the_wrong_size_is_blamed_itself(
    tmp_path: Path, cli: Callable[..., Any], kind: str
) -> None:
    own_folder(tmp_path, ["a", "b", "c", "d"])
    mask(tmp_path / "masks" / "1.png", np.arange(WIDTH) % 4)
    mask(tmp_path / "pred" / "1.png", 0)
    mask(tmp_path / "pred" / "2.png", 0)
    Pillow.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "masks" / "2.png")
    scored: tuple[Any, ...] = ("--pred", tmp_path / "pred")
    if kind == "model":
        scored = ("-m", "street-student", "--size", "64")
        labels = labels_to_json(load_labels("camvid"))
        (tmp_path / "labels.json").write_text(json.dumps(labels))
    result = cli("eval", "--dataset", "folder", "--data", tmp_path, *scored, "--metrics", "miou")
    assert result.code == 3
    assert "masks/2.png: is 4x3, its image 8x6; mend the mask" in result.err


@pytest.mark.parametrize("ending", ["jpg", "bmp", "JPEG"])
def test_masks_that_are_no_png_are_pointed_out(
    tmp_path: Path, cli: Callable[..., Any], ending: str
) -> None:
    own_folder(tmp_path, ["a", "b"])
    (tmp_path / "masks").mkdir()
    for stem in ("1", "2"):
        Pillow.new("L", (WIDTH, HEIGHT)).save(tmp_path / "masks" / f"{stem}.{ending}")
    what = f"masks are PNGs, and 1.{ending} and 1 more are none"
    assert problems_of(check_dataset(tmp_path), tmp_path)["masks"].startswith(what)
    for command in ("eval", "train"):
        result = cli(command, "--dataset", "folder", "--data", tmp_path)
        assert result.code == 3 and what in result.err
    mask(tmp_path / "masks" / "1.png", 0)  # one of them made anew
    assert problems_of(check_dataset(tmp_path), tmp_path) == {
        "images/2.jpg": "no mask for this image",
        "masks": "masks are PNGs, and 1." + ending + " and 1 more are none; make them anew as PNG "
        "(other kinds change the class ids)",
    }


@pytest.mark.parametrize("name", ["cityscapes", "idd-lite", "vspw", "vipseg", "davis", "camvid-32"])
def test_masks_that_are_no_png_in_every_layout(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path)
    for pattern in format_of(name).masks:
        for path in list(tmp_path.glob(pattern.format(split="*", video="*"))):
            with Pillow.open(path) as picture:
                picture.convert("RGB").save(path.with_suffix(".jpg"))
            path.unlink()
    problems = problems_of(check_dataset(tmp_path), tmp_path)
    assert any(what.startswith("masks are PNGs, and ") for what in problems.values()), problems


def test_quick_reads_only_heads(vspw: Path) -> None:
    masks = vspw / "data" / "12_a_b-C" / "mask"
    mask(masks / "00000166.png", 253)
    Pillow.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(masks / "00000167.png")
    image(vspw / "data" / "7_[red]" / "origin" / "00000166.jpg", (4, 4))
    (vspw / "data" / "7_[red]" / "origin" / "00000167.jpg").write_bytes(b"")
    report = check_dataset(vspw, quick=True)
    assert problems_of(report, vspw) == {
        "data/12_a_b-C/mask/00000167.png": "a mask of mode RGB, not of class indices",
        "data/7_[red]/mask/00000166.png": "is 8x6, its image 4x4",
        "data/7_[red]/origin/00000167.jpg": "empty file; fetch it again",
    }
    assert report.splits[0].void_share is None


def test_problems_beyond_the_limit_are_counted(vspw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "MOST_PROBLEMS", 2)
    for path in vspw.glob("data/*/origin/*.jpg"):
        path.write_bytes(b"")
    report = check_dataset(vspw)
    assert len(report.problems) == 2 and report.errors == 5


def test_an_interrupted_check(vspw: Path) -> None:
    stop = threading.Event()
    with pytest.raises(Interrupted, match="stopped after 1 of 5 frames"):
        check_dataset(vspw, stop=stop, on_frame=lambda done, total: stop.set())


def vipseg_720p(root: Path) -> Path:
    ids = np.broadcast_to([0, 5, 5, 5, 5, 5, 5, 7], (HEIGHT, WIDTH))
    rows = [
        {"id": 5, "category_id": 28, "iscrowd": 0, "area": 36},
        {"id": 7, "category_id": 60, "iscrowd": 0, "area": 1},
        {"id": 9, "category_id": 61, "iscrowd": 0, "area": 0},
    ]
    frames = []
    for stem in ("1", "2", "3"):
        image(root / "images" / "1_v" / f"{stem}.jpg")
        path = mask(root / "panomasksRGB" / "1_v" / f"{stem}.png")
        Pillow.fromarray(ids_to_rgb(ids)).save(path)
        frames.append({"image_id": stem, "file_name": f"{stem}.png", "segments_info": rows})
    frames[1] |= {"segments_info": rows[1:]}
    frames[2] |= {"image_id": "4", "file_name": "4.png"}
    record = {"annotations": [{"video_id": "1_v", "annotations": frames}]}
    (root / "panoptic_gt_VIPSeg_val.json").write_text(json.dumps(record))
    return root


def test_panoptic_pictures_against_their_json(tmp_path: Path) -> None:
    report = check_dataset(vipseg_720p(tmp_path))
    assert report.name == "vipseg" and report.splits[0].split == "val"
    texts = [f"{Path(one.path).name}: {one.what}" for one in report.problems]
    listing = "panoptic_gt_VIPSeg_val.json"
    assert texts == [
        f"3.png: {listing} does not list it; make the json again",
        f"{listing}: lists frame 4 of 1_v, which has no image; fetch it again",
        "1.png: id 7 has 6 pixels, 1 by its json",
        "1.png: id 9 is listed but has no pixel",
        f"2.png: id 5 is not listed in {listing}; fetch or make both again",
    ]
    assert (report.errors, report.warnings) == (3, 2)
    assert (report.splits[0].pixels[28], report.splits[0].pixels[60]) == (36, 6)


def test_wrong_values_of_panomasks_are_warnings(tmp_path: Path) -> None:
    image(tmp_path / "imgs" / "1_v" / "1.jpg")
    mask(tmp_path / "panomasks" / "1_v" / "1.png", [0, 29, 29, 61, 6100, 6101, 200, 200], np.uint16)
    (tmp_path / "val.txt").write_text("1_v")
    report = check_dataset(tmp_path)
    (problem,) = report.problems
    assert problem.warning and "200 (12 px)" in problem.what
    assert report.splits[0].pixels[60] == 18


def make_camvid(root: Path) -> None:
    image(root / "val" / "0016E5_07959.png")
    mask(root / "valannot" / "0016E5_07959.png")


def make_camvid_release(root: Path) -> None:
    for stem in ("0016E5_07959", "Seq05VD_f00000"):
        image(root / "701_StillsRaw_full" / f"{stem}.png")
        path = mask(root / "LabeledApproved_full" / f"{stem}_L.png")
        road = np.full((HEIGHT, WIDTH, 3), (128, 64, 128), np.uint8)
        Pillow.fromarray(road).save(path)


def make_cityscapes(root: Path) -> None:
    for frame in (18, 19):
        name = f"ulm_000001_{frame:06d}"
        image(root / "leftImg8bit_sequence" / "val" / "ulm" / f"{name}_leftImg8bit.png")
    mask(root / "gtFine" / "val" / "ulm" / f"{name}_gtFine_labelIds.png", 7)
    mask(root / "gtFine" / "val" / "ulm" / f"{name}_gtFine_instanceIds.png", 7)


def make_cityscapes_vps(root: Path) -> None:
    name = "0001_0001_ulm_000000_000004"
    image(root / "val" / "img" / f"{name}_newImg8bit.png")
    path = mask(root / "val" / "panoptic_video" / f"{name}_final_mask.png")
    Pillow.fromarray(ids_to_rgb(np.full((HEIGHT, WIDTH), 5))).save(path)
    rows = [{"id": 5, "category_id": 2}]
    frame = {"image_id": name, "file_name": path.name, "segments_info": rows}
    (root / "panoptic_gt_val_city_vps.json").write_text(json.dumps({"annotations": [frame]}))


def make_davis(root: Path) -> None:
    image(root / "JPEGImages" / "480p" / "dog" / "00000.jpg")
    mask(root / "Annotations" / "480p" / "dog" / "00000.png", 255)


def make_folder(root: Path) -> None:
    image(root / "val" / "images" / "a" / "1.jpg")
    mask(root / "val" / "masks" / "a" / "1.png", 0)
    classes = [{"name": "x", "thing": False, "colour": [1, 2, 3]}]
    (root / "labels.json").write_text(json.dumps({"name": "mine", "classes": classes}))


def make_idd_lite(root: Path) -> None:
    image(root / "leftImg8bit" / "train" / "12" / "000001_image.jpg")
    mask(root / "gtFine" / "train" / "12" / "000001_label.png")
    mask(root / "gtFine" / "train" / "12" / "000001_inst_label.png", 200)


def make_vipseg(root: Path) -> None:
    image(root / "imgs" / "1_v" / "1.jpg")
    mask(root / "panomasks" / "1_v" / "1.png", 6100, np.uint16)
    (root / "train.txt").write_text("1_v\n")


def make_vspw(root: Path) -> None:
    image(root / "data" / "1_v" / "origin" / "1.jpg")
    mask(root / "data" / "1_v" / "mask" / "1.png")
    (root / "train.txt").write_text("1_v\n")


def make_yolo_seg(root: Path) -> None:
    image(root / "images" / "train2017" / "1.jpg")
    path = root / "labels" / "train2017" / "1.txt"
    path.parent.mkdir(parents=True)
    path.write_text("0 0 0 1 0 1 1\n")


def make_coco_panoptic(root: Path) -> None:
    image(root / "val2017" / "1.jpg")
    path = mask(root / "annotations" / "panoptic_val2017" / "1.png")
    Pillow.fromarray(ids_to_rgb(np.full((HEIGHT, WIDTH), 5))).save(path)
    categories = [{"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]}]
    rows = [{"file_name": "1.png", "segments_info": [{"id": 5, "category_id": 1}]}]
    record = json.dumps({"annotations": rows, "categories": categories})
    (root / "annotations" / "panoptic_val2017.json").write_text(record)


def make_composed(root: Path) -> None:
    """One clip of one frame, on a made street with one who walks there."""
    image(root / "street" / "val" / "0016E5_07959.png", (120, 160))
    values = np.full((120, 160), 3, np.uint8)
    (root / "street" / "valannot").mkdir()
    Pillow.fromarray(values).save(root / "street" / "valannot" / "0016E5_07959.png")
    for name in ("1", "2"):
        image(root / "people" / "images" / "train2017" / f"{name}.jpg", (120, 160))
        path = root / "people" / "labels" / "train2017" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 0.2 0.1 0.4 0.1 0.4 0.9 0.2 0.9\n")
    plan = {"backgrounds": ["camvid=street"], "cutouts": ["yolo-seg=people"]}
    record = json.dumps(plan | {"videos": 1, "frames": 1})
    (root / "composed.json").write_text(record)


def make_cvat(root: Path) -> None:
    image(root / "images" / "1.png")
    rle = f"0, {WIDTH * HEIGHT}"
    box = f'left="0" top="0" width="{WIDTH}" height="{HEIGHT}"'
    (root / "annotations.xml").write_text(
        f'<annotations><image id="0" name="1.png" width="{WIDTH}" height="{HEIGHT}">'
        f'<mask label="a" rle="{rle}" {box} z_order="0"/></image></annotations>'
    )


def test_labels_without_their_pictures_are_named(tmp_path: Path) -> None:
    """They can be converted, and nothing can be learnt from them."""
    make_cvat(tmp_path)
    record = tmp_path / "annotations.xml"
    record.write_text(record.read_text().replace('"1.png"', '"1b.png"'))
    report = check_dataset(tmp_path)
    assert (report.errors, report.warnings) == (0, 1)
    assert report.problems[0].what.startswith("no picture 1b beside it")
    (tmp_path / "images" / "1.png").unlink()

    # Void counts in frames that somebody labelled: three have no shape.
    size = f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>"
    box = f'xtl="0" ytl="0" xbr="{WIDTH}" ybr="{HEIGHT}" keyframe="1" outside="0"'
    record.write_text(
        f"<annotations><meta><task><size>4</size></task>{size}</meta>"
        f'<track id="0" label="a"><box frame="1" {box}/></track></annotations>'
    )
    report = check_dataset(tmp_path)
    assert report.splits[0].void_share == 0
    assert [problem.what for problem in report.problems] == [
        "no pictures of annotations and no video beside it: labels alone can be read"
    ]


def make_labelme(root: Path) -> None:
    image(root / "1.png")
    points = [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]]
    shape = {"label": "a", "points": points, "group_id": None, "shape_type": "polygon"}
    record = {"version": "5.5.0", "flags": {}, "shapes": [shape], "imagePath": "1.png"}
    record |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    (root / "1.json").write_text(json.dumps(record))


def make_coco_instances(root: Path) -> None:
    image(root / "val2017" / "1.png")
    (root / "annotations").mkdir()
    row = {"id": 1, "image_id": 5, "category_id": 3, "iscrowd": 0, "area": 1, "bbox": [0] * 4}
    row["segmentation"] = [[0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]]
    record = {
        "images": [{"id": 5, "file_name": "1.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [row],
        "categories": [{"id": 3, "name": "a"}],
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(record))


def make_ytvis(root: Path) -> None:
    image(root / "train" / "JPEGImages" / "v" / "1.png")
    video = {"id": 1, "file_names": ["v/1.png"], "width": WIDTH, "height": HEIGHT, "length": 1}
    mask = {"size": [HEIGHT, WIDTH], "counts": [0, WIDTH * HEIGHT]}
    row = {"id": 1, "video_id": 1, "category_id": 3, "iscrowd": 0, "segmentations": [mask]}
    categories = [{"id": 3, "name": "a"}]
    record = {"videos": [video], "annotations": [row], "categories": categories}
    (root / "train" / "instances.json").write_text(json.dumps(record))


def make_label_studio(root: Path) -> None:
    image(root / "images" / "1.png")
    points = [[0, 0], [100, 0], [100, 100], [0, 100]]
    region = {"type": "polygonlabels", "value": {"points": points, "polygonlabels": ["a"]}}
    region |= {"original_width": WIDTH, "original_height": HEIGHT}
    task = {"data": {"image": "/data/upload/1/0a1b2c3d-1.png"}}
    record = json.dumps([task | {"annotations": [{"result": [region]}]}])
    (root / "export.json").write_text(record)


def make_300vw(root: Path) -> None:
    image(root / "images_orig" / "001_000001.jpg")
    mask(root / "labels_orig" / "001_000001.png")


MAKERS: dict[str, Callable[[Path], None]] = {
    "300vw": make_300vw,
    "camvid": make_camvid,
    "camvid-32": make_camvid_release,
    "camvid-objects": make_camvid,
    "cityscapes": make_cityscapes,
    "cityscapes-vps": make_cityscapes_vps,
    "coco": make_coco_instances,
    "coco-panoptic": make_coco_panoptic,
    "composed": make_composed,
    "cvat": make_cvat,
    "davis": make_davis,
    "folder": make_folder,
    "idd-lite": make_idd_lite,
    "label-studio": make_label_studio,
    "labelme": make_labelme,
    "vipseg": make_vipseg,
    "vspw": make_vspw,
    "yolo-seg": make_yolo_seg,
    "ytvis": make_ytvis,
}


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_layout_is_recognised_and_clean(tmp_path: Path, name: str, quick: bool) -> None:
    MAKERS[name](tmp_path)
    assert recognise(tmp_path) == {"camvid-objects": "camvid"}.get(name, name)
    report = check_dataset(tmp_path, name, quick=quick)
    assert report.problems == ()
    assert sum(split.labelled for split in report.splits) == (2 if name == "camvid-32" else 1)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_splits_are_those_that_a_folder_has(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path)
    has = format_of(name).splits(tmp_path)
    assert all(open_dataset(name, tmp_path, split).videos for split in has)

    # What has no splits serves the usual ones; "all" is every frame wherever it is taken.
    for split in {"train", "val", "test", "all", "vall", "../val", ""} - {*has}:
        try:
            dataset = open_dataset(name, tmp_path, split)
        except InputError as error:
            message = str(error).replace(str(tmp_path), "")
            assert (len(message) < 200, "\n" in message, split in message) == (True, False, True)
        else:
            assert split == "all" or (has == ("all",) and split in ("train", "val", "test"))
            assert sum(len(video.frames) for video in dataset.videos) >= len(has)


def make_davis_of_val(root: Path) -> None:
    make_davis(root)
    listed = root / "ImageSets" / "480p" / "val.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("/JPEGImages/480p/dog/00000.jpg /Annotations/480p/dog/00000.png\n")


def make_coco_of_val(root: Path) -> None:
    make_coco_instances(root)
    (root / "annotations" / "instances_val2017.json").rename(root / "val.json")


def make_labelme_of_val(root: Path) -> None:
    (root / "val").mkdir()
    make_labelme(root / "val")


@pytest.mark.parametrize("make", [make_davis_of_val, make_coco_of_val, make_labelme_of_val])
def test_the_frames_of_a_split_serve_no_other(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    name = recognise(tmp_path)
    assert format_of(name).splits(tmp_path) == ("val",)
    assert open_dataset(name, tmp_path, "val").videos
    with pytest.raises(InputError, match=r"'train'.*; (put it there, or )?use val"):
        open_dataset(name, tmp_path, "train")


def test_a_folder_that_is_nothing_or_too_much(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no data set found, laid out as none of 300vw, "):
        check_dataset(tmp_path)
    make_vspw(tmp_path)
    make_davis(tmp_path)
    with pytest.raises(InputError, match="looks like davis and vspw; choose one with --dataset"):
        check_dataset(tmp_path)
    assert check_dataset(tmp_path, "davis").name == "davis"
    with pytest.raises(UsageError, match="'vspww': unknown"):
        check_dataset(tmp_path, "vspww")
    with pytest.raises(InputError, match=r"val\.txt: no such file"):
        check_dataset(tmp_path, "vspw", split="val")
    with pytest.raises(InputError, match="no such folder"):
        check_dataset(tmp_path / "gone")


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "composed"])
def test_a_folder_of_another_layout_lacks_something(tmp_path: Path, name: str) -> None:
    """It is named, or there would be nothing to mend."""
    (tmp_path / "notes.txt").write_text("no data")
    try:
        report = check_dataset(tmp_path, name)
    except InputError as error:
        found = str(error)
    else:
        assert report.errors == 1
        found = report.problems[0].what
    assert not found.endswith("use ") and "no split" not in found
    assert re.search("no such|holds no|no picture|no images|neither|none of|needs", found), found


def test_a_layout_without_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit" / "train" / "aachen").mkdir(parents=True)
    (tmp_path / "gtFine" / "train" / "aachen").mkdir(parents=True)
    report = check_dataset(tmp_path, "cityscapes")
    assert [problem.what for problem in report.problems] == [
        "no picture laid out as cityscapes has them; check --dataset"
    ]


def test_masks_of_the_camvid_release_are_looked_for_split_by_split(tmp_path: Path) -> None:
    make_camvid_release(tmp_path)
    (tmp_path / "701_StillsRaw_full" / "Seq05VD_f00000.png").rename(
        tmp_path / "701_StillsRaw_full" / "Seq05VD_f00030.png"
    )
    assert check_dataset(tmp_path, split="val").errors == 0
    report = check_dataset(tmp_path, split="all")
    names = {Path(one.path).name: one.what for one in report.problems}
    assert names == {
        "Seq05VD_f00030.png": "no mask for this image",
        "Seq05VD_f00000_L.png": "no image for this mask",
    }


def test_the_command(vspw: Path, cli: Callable[..., Any]) -> None:
    clean = cli("data", "check", vspw)
    assert clean.code == 0
    assert "0 errors, 0 warnings" in clean.out.decode()
    (vspw / "data" / "7_[red]" / "origin" / "00000166.jpg").write_bytes(b"")
    bad = cli("data", "check", vspw)
    assert bad.code == 3
    path = str(vspw / "data" / "7_[red]" / "origin" / "00000166.jpg")
    assert f"{path}: empty file" in bad.out.decode()  # one line, and no markup
    record = json.loads(cli("data", "check", vspw, "--json", "--split", "val").out)
    assert (record["dataset"], record["errors"]) == ("vspw", 1)
    assert record["problems"][0]["path"] == path
    assert record["splits"][0]["pixels"]["person"] == 4 * 24
    wrong = cli("data", "check", vspw, "--split", "train")
    assert wrong.code == 3 and len(wrong.lines) == 1


def test_splits_with_classes_of_their_own(tmp_path: Path, cli: Callable[..., Any]) -> None:
    """Pixels are counted by the classes of their own split, more or fewer than another's."""
    make_coco_panoptic(tmp_path)
    annotations = tmp_path / "annotations"
    image(tmp_path / "train2017" / "2.jpg")
    path = mask(annotations / "panoptic_train2017" / "2.png")
    Pillow.fromarray(ids_to_rgb(np.full((HEIGHT, WIDTH), 5))).save(path)
    categories = [
        {"id": 1, "name": "car", "isthing": 1, "color": [0, 0, 142]},
        {"id": 2, "name": "sky", "isthing": 0, "color": [70, 130, 180]},
    ]
    rows = [{"file_name": "2.png", "segments_info": [{"id": 5, "category_id": 2}]}]
    record = json.dumps({"annotations": rows, "categories": categories})
    (annotations / "panoptic_train2017.json").write_text(record)

    ended = cli("data", "check", tmp_path, "--json")
    assert ended.code == 0
    pixels = {one["split"]: one["pixels"] for one in json.loads(ended.out)["splits"]}
    every = HEIGHT * WIDTH
    assert pixels == {"train": {"car": 0, "sky": every}, "val": {"person": every}}
