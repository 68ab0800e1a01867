"""VSPW: 124 classes, 15 fps; the 480p tree and the full-size one are laid out alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidparse.data.dataset import FrameRecord, OnMissing, refuse
from vidparse.data.pictures import read_indices, read_rgb
from vidparse.data.splits import paired_videos, read_split
from vidparse.data.values import MaskValues, mask_values
from vidparse.errors import InputError
from vidparse.labels import load_labels

RATE_HZ = 15  # of the frames with labels, which are all
SPLITS = ("train", "val", "test")
VALUES = mask_values({raw: raw - 1 for raw in range(1, 125)}, void=(0, 255))


class Vspw:
    """One split: data/<video>/origin/*.jpg and data/<video>/mask/*.png, names from {split}.txt.

    Masks hold raw ids: 0 and 255 are void, 1..124 the classes; training ids are one less. Whatever
    else is found (stray values 125..254 exist) is void, too. A video without a mask folder (the
    test split) is unlabelled.

    Raises:
        InputError: the folder is not laid out like this, or a listed video is missing.
    """

    name = "vspw"

    def __init__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> None:
        self.split = split
        self.labels = load_labels("vspw")
        self.values: MaskValues | None = VALUES
        data = root / "data"
        if not data.is_dir():
            raise InputError(f"{data}: no such folder; VSPW keeps its videos there")
        self.videos = paired_videos(
            read_split(root, split, SPLITS),
            lambda name: (data / name / "origin", data / name / "mask"),
            on_missing,
            interval_s=1 / RATE_HZ,
        )

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        assert frame.mask is not None
        return VALUES.decode(read_indices(frame.mask))
