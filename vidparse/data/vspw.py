"""VSPW: 124 classes, 15 fps; the 480p tree and the full-size one are laid out alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidparse.data.dataset import IGNORE, FrameRecord, read_indices, read_rgb
from vidparse.data.splits import paired_video, read_split
from vidparse.errors import InputError
from vidparse.labels import load_labels

SPLITS = ("train", "val", "test")


class Vspw:
    """One split: data/<video>/origin/*.jpg and data/<video>/mask/*.png, names from {split}.txt.

    Masks hold raw ids: 0 and 255 are void, 1..124 the classes; training ids are one less. Whatever
    else is found (stray values 125..254 exist) is void, too. A video without a mask folder (the
    test split) is unlabelled.

    Raises:
        InputError: the folder is not laid out like this, or a listed video is missing.
    """

    name = "vspw"

    def __init__(self, root: Path, split: str) -> None:
        self.split = split
        self.labels = load_labels("vspw")
        if not (root / "data").is_dir():
            raise InputError(f"{root / 'data'}: no such folder; VSPW keeps its videos there")
        self.videos = tuple(
            paired_video(name, root / "data" / name / "origin", root / "data" / name / "mask")
            for name in read_split(root, split, SPLITS)
        )

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        assert frame.mask is not None
        return raw_to_training(read_indices(frame.mask), len(self.labels))


def raw_to_training(raw: np.ndarray, classes: int) -> np.ndarray:
    """Raw mask values to uint8 training ids: 1..K become 0..K-1, everything else IGNORE."""
    return np.where((raw >= 1) & (raw <= classes), raw - 1, IGNORE).astype(np.uint8)
