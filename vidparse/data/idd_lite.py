"""IDD-Lite: 7 coarse classes of Indian streets, isolated frames of many drives, 320x227."""

from __future__ import annotations

import math
from pathlib import Path

from vidparse.data.cityscapes import city_splits
from vidparse.data.dataset import SPLITS, Dataset, Format, FrameRecord, OnMissing, Video, refuse
from vidparse.data.folders import check_split, has_match, sorted_files, sorted_folders
from vidparse.data.pictures import IGNORE, mask_values
from vidparse.errors import InputError
from vidparse.labels import load_labels

VALUES = mask_values({raw: raw for raw in range(7)}, void=(IGNORE,))


def open_idd_lite(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """One split: leftImg8bit/{split}/<drive>/*_image.jpg, gtFine/{split}/<drive>/*_label.png.

    The test split is unlabelled. Drives are not video: their frames are a few each, far apart.

    Raises:
        InputError: the folder is not laid out like this.
    """
    check_split("idd-lite", split, SPLITS)
    images = root / "leftImg8bit" / split
    if not images.is_dir():
        raise InputError(f"{images}: no such folder; point --data at IDD-Lite")
    drives = sorted_folders(images)
    videos = tuple(_drive(drive, root / "gtFine" / split / drive.name) for drive in drives)
    return Dataset("idd-lite", split, load_labels("idd-lite"), videos, VALUES)


def _drive(images: Path, masks: Path) -> Video:
    frames = []
    for i, path in enumerate(sorted_files(images, (".jpg", ".png"))):
        stem = path.stem.removesuffix("_image")
        mask = masks / f"{stem}_label.png"
        found = mask if mask.is_file() else None
        frames.append(FrameRecord(images.name, stem, i, path, found, found is not None))
    return Video(images.name, tuple(frames), interval_s=math.inf)


FORMAT = Format(
    open=open_idd_lite,
    sign="leftImg8bit/{split}/<drive>/*_image.jpg",
    matches=lambda root: has_match(root, "leftImg8bit/*/*/*_image.jpg"),
    splits=city_splits,
    masks=("gtFine/{split}/{video}/*_label.png",),
    owns=lambda stem, split: not stem.endswith("_inst"),  # those of the instance masks beside them
)
