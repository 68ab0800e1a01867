"""Names of files: one natural order for every reader of frames, and names that stay in a folder."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from vidparse.data import open_dataset
from vidparse.errors import InputError
from vidparse.filenames import name_below, natural_key
from vidparse.video import open_video

HEIGHT, WIDTH = 32, 48
ORDER = [f"f{i}" for i in range(1, 13)]


def image(path: Path, value: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), value, np.uint8))


def mask(path: Path, values: np.ndarray | int, dtype: type = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.broadcast_to(np.asarray(values, dtype), (HEIGHT, WIDTH)).copy()).save(path)


@pytest.mark.parametrize(
    "ordered",
    [
        ["f1.png", "f2.png", "f10.png", "f011.png", "f12.png"],
        ["clip.png", "clip1.png", "clip2.png", "clip10.png"],
        ["01.png", "1.png", "02.png", "2.png"],  # equal numbers go by letters: one order, always
        ["frame.2", "frame.10"],
        ["a2b3", "a2b20", "a10b1"],
        ["9", "99999999999999999999998", "99999999999999999999999"],
        ["1.png", "2.png", "a.png"],
        ["f\u0661.png", "f\u0662.png"],
    ],
)
def test_natural_order(ordered: list[str]) -> None:
    mixed = ordered.copy()
    random.Random(1).shuffle(mixed)
    assert sorted(mixed, key=natural_key) == ordered


def make_folder(root: Path) -> None:
    for stem in ORDER:
        image(root / "images" / "clip" / f"{stem}.png")
        mask(root / "masks" / "clip" / f"{stem}.png", 0)
    classes = [{"name": name, "thing": False, "colour": [1, 2, 3]} for name in ("x", "y")]
    (root / "labels.json").write_text(json.dumps({"name": "mine", "classes": classes}))


def make_vspw(root: Path) -> None:
    for stem in ORDER:
        image(root / "data" / "clip" / "origin" / f"{stem}.jpg")
    (root / "val.txt").write_text("clip\n")


def make_vipseg(root: Path) -> None:
    for stem in ORDER:
        image(root / "imgs" / "clip" / f"{stem}.jpg")
    (root / "val.txt").write_text("clip\n")


def make_davis(root: Path) -> None:
    for stem in ORDER:
        image(root / "JPEGImages" / "480p" / "clip" / f"{stem}.jpg")


def make_idd_lite(root: Path) -> None:
    for stem in ORDER:
        image(root / "leftImg8bit" / "val" / "clip" / f"{stem}_image.jpg")


def make_camvid(root: Path) -> None:
    for stem in ORDER:
        image(root / "val" / f"clip_{stem}.png")
        mask(root / "valannot" / f"clip_{stem}.png", 0)


def make_listed_camvid(root: Path) -> None:
    make_camvid(root)
    lines = [f"/elsewhere/clip_{stem}.png /elsewhere/clip_{stem}.png" for stem in sorted(ORDER)]
    (root / "val.txt").write_text("\n".join(lines))


def make_camvid_release(root: Path) -> None:
    for stem in ORDER:
        image(root / "701_StillsRaw_full" / f"Seq05VD_{stem}.png")
        mask(root / "LabeledApproved_full" / f"Seq05VD_{stem}_L.png", 0)


@pytest.mark.parametrize(
    ("name", "split", "make"),
    [
        ("folder", "val", make_folder),
        ("vspw", "val", make_vspw),
        ("vipseg", "val", make_vipseg),
        ("davis", "val", make_davis),
        ("idd-lite", "val", make_idd_lite),
        ("camvid", "val", make_camvid),
        ("camvid", "val", make_listed_camvid),
        ("camvid", "test", make_camvid_release),
        ("camvid-32", "test", make_camvid_release),
    ],
)
def test_every_data_set_has_the_order_of_segment(
    tmp_path: Path, name: str, split: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path)
    (video,) = open_dataset(name, tmp_path, split).videos
    images = [frame.image for frame in video.frames if frame.image is not None]
    assert [path.stem.split("_")[-1] for path in images if "_image" not in path.stem] == (
        ORDER if name != "idd-lite" else []
    )
    source = open_video(str(images[0].parent))
    assert [frame.name for frame in source] == [path.stem for path in images]
    source.close()


def test_videos_are_in_natural_order(tmp_path: Path) -> None:
    for name in ("v10", "v9", "v1"):
        image(tmp_path / "folder" / "images" / name / "1.png")
        image(tmp_path / "davis" / "JPEGImages" / "480p" / name / "1.png")
        image(tmp_path / "idd" / "leftImg8bit" / "val" / name / "1_image.png")
        image(tmp_path / "yolo" / "images" / "train" / f"{name}.png")
    classes = [{"name": "x", "thing": False, "colour": [1, 2, 3]}]
    record = json.dumps({"name": "mine", "classes": classes})
    (tmp_path / "folder" / "labels.json").write_text(record)
    for name, folder, split in [
        ("folder", "folder", "val"),
        ("davis", "davis", "all"),
        ("idd-lite", "idd", "val"),
        ("yolo-seg", "yolo", "all"),
    ]:
        dataset = open_dataset(name, tmp_path / folder, split)
        assert [video.name for video in dataset.videos] == ["v1", "v9", "v10"]


def test_a_perfect_mask_video_of_unpadded_frames(
    tmp_path: Path, ffmpeg: Callable[..., bytes], cli: Callable[..., Any]
) -> None:
    data, video = tmp_path / "data", tmp_path / "video"
    make_folder(data)
    for i, stem in enumerate(ORDER):
        truth = np.zeros((HEIGHT, WIDTH), np.uint8)
        truth[:, : 3 * i + 2] = 1
        mask(data / "masks" / "clip" / f"{stem}.png", truth)
        mask(tmp_path / f"{i:03d}.png", truth)
    video.mkdir()
    ffmpeg("-i", tmp_path / "%03d.png", "-c:v", "ffv1", "-pix_fmt", "gray", video / "clip.mkv")
    options = ("--data", data, "--pred", video, "--metrics", "miou,vc8,tc", "--json")
    result = cli("eval", "--dataset", "folder", *options)
    (entry,) = json.loads(result.out)["entries"]
    assert entry["scores"]["miou"] == 1.0
    assert entry["scores"]["vc8"] == 1.0


OUTSIDE = ["..", "../x", "a/../../x", "/etc", "//x", "a/.."]


@pytest.mark.parametrize("name", [*OUTSIDE, "", ".", "./", "a\0b"])
def test_names_that_lead_out_of_a_folder(name: str) -> None:
    with pytest.raises(InputError, match=r"list\.txt: .*(leads out|no name)"):
        name_below(name, Path("list.txt"))


@pytest.mark.parametrize("name", ["a", "a/b", "..a", "a..", "...", "a b", "12_a_b-C", "\u4e2d"])
def test_names_that_stay_below(name: str) -> None:
    assert name_below(name, Path("list.txt")) == name


def outside_of_vspw(root: Path, name: str) -> None:
    (root / "data").mkdir()
    (root / "val.txt").write_text(f"clip\n{name}\n")


def outside_of_vipseg(root: Path, name: str) -> None:
    (root / "imgs").mkdir()
    (root / "val.txt").write_text(f"{name}\n")


def outside_of_converted_vipseg(root: Path, name: str) -> None:
    (root / "images").mkdir()
    (root / "panomasksRGB").mkdir()
    record = {"annotations": [{"video_id": name, "annotations": []}]}
    (root / "panoptic_gt_VIPSeg_val.json").write_text(json.dumps(record))


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(
    ("dataset", "make"),
    [
        ("vspw", outside_of_vspw),
        ("vipseg", outside_of_vipseg),
        ("vipseg", outside_of_converted_vipseg),
    ],
)
def test_listed_videos_stay_below_their_folder(
    tmp_path: Path, dataset: str, make: Callable[[Path, str], None], name: str
) -> None:
    root = tmp_path / "data set"
    root.mkdir()
    make(root, name)
    image(tmp_path / "x" / "origin" / "1.jpg")
    with pytest.raises(InputError, match=r"(val\.txt|_val\.json): .* leads out of the folder"):
        open_dataset(dataset, root, "val")


def test_sequences_of_davis_stay_below_their_folder(tmp_path: Path) -> None:
    image(tmp_path / "JPEGImages" / "480p" / "dog" / "1.jpg")
    lists = tmp_path / "ImageSets" / "480p"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("/JPEGImages/480p/../1.jpg /Annotations/480p/../1.png\n")
    with pytest.raises(InputError, match=r"val\.txt: '\.\.' leads out of the folder"):
        open_dataset("davis", tmp_path, "val")


def test_videos_may_lie_in_subfolders(tmp_path: Path, cli: Callable[..., Any]) -> None:
    for stem in ("1", "2"):
        image(tmp_path / "data" / "day" / "drive" / "origin" / f"{stem}.jpg")
        mask(tmp_path / "data" / "day" / "drive" / "mask" / f"{stem}.png", 1)
        mask(tmp_path / "pred" / "day" / "drive" / f"{stem}.png", 0)
    (tmp_path / "val.txt").write_text("day/drive\n")
    arguments = ("--dataset", "vspw", "--data", tmp_path, "--pred", tmp_path / "pred")
    flows = ("--metrics", "miou,tc", "--flow-cache", tmp_path / "flows", "--json")
    result = cli("eval", *arguments, *flows)
    assert json.loads(result.out)["entries"][0]["scores"]["miou"] == 1.0
    assert len(list((tmp_path / "flows").rglob("day/drive/1.flo"))) == 1
