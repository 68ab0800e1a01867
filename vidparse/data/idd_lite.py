"""IDD-Lite: 7 coarse classes of Indian streets, isolated frames of many drives, 320x227."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from vidparse.data.dataset import FrameRecord, OnMissing, Video, refuse
from vidparse.data.pictures import read_indices, read_rgb
from vidparse.data.splits import check_split, sorted_files, sorted_folders
from vidparse.data.values import IGNORE, MaskValues, mask_values
from vidparse.errors import InputError
from vidparse.labels import load_labels

SPLITS = ("train", "val", "test")
VALUES = mask_values({raw: raw for raw in range(7)}, void=(IGNORE,))


class IddLite:
    """One split: leftImg8bit/{split}/<drive>/*_image.jpg, gtFine/{split}/<drive>/*_label.png.

    The test split is unlabelled. Drives are not video: their frames are a few each, far apart.

    Raises:
        InputError: the folder is not laid out like this.
    """

    name = "idd-lite"

    def __init__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> None:
        check_split(self.name, split, SPLITS)
        self.split = split
        self.labels = load_labels("idd-lite")
        self.values: MaskValues | None = VALUES
        images = root / "leftImg8bit" / split
        if not images.is_dir():
            raise InputError(f"{images}: no such folder; point --data at IDD-Lite")
        drives = sorted_folders(images)
        self.videos = tuple(_drive(drive, root / "gtFine" / split / drive.name) for drive in drives)

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        assert frame.mask is not None
        return VALUES.decode(read_indices(frame.mask))


def _drive(images: Path, masks: Path) -> Video:
    frames = []
    for i, path in enumerate(sorted_files(images, (".jpg", ".png"))):
        stem = path.stem.removesuffix("_image")
        mask = masks / f"{stem}_label.png"
        found = mask if mask.is_file() else None
        frames.append(FrameRecord(images.name, stem, i, path, found, found is not None))
    return Video(images.name, tuple(frames), interval_s=math.inf)
