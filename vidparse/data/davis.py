"""DAVIS 2016: one object against everything else, every frame annotated, 480p."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidparse.data.dataset import FrameRecord, OnMissing, refuse
from vidparse.data.pictures import read_indices, read_rgb
from vidparse.data.splits import paired_videos, sorted_folders
from vidparse.data.values import MaskValues, mask_values
from vidparse.errors import InputError
from vidparse.filenames import name_below
from vidparse.labels import load_labels
from vidparse.textfiles import read_text

RATE_HZ = 24
VALUES = mask_values({raw: int(raw > 0) for raw in range(256)})


class Davis:
    """All sequences of JPEGImages/480p and Annotations/480p, or those ImageSets lists for a split.

    Masks are 0 for background; any other value is the object.

    Raises:
        InputError: the folder is not laid out like this, or a listed sequence is missing.
    """

    name = "davis"

    def __init__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> None:
        self.split = split
        self.labels = load_labels("davis")
        images, masks = root / "JPEGImages" / "480p", root / "Annotations" / "480p"
        if not images.is_dir():
            raise InputError(f"{images}: no such folder; point --data at DAVIS")
        self.values: MaskValues | None = VALUES
        self.videos = paired_videos(
            _names(root, images, split),
            lambda name: (images / name, masks / name),
            on_missing,
            interval_s=1 / RATE_HZ,
        )

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        assert frame.mask is not None
        return VALUES.decode(read_indices(frame.mask))


def _names(root: Path, images: Path, split: str) -> list[str]:
    """Sequences of a split; `ImageSets/480p/{split}.txt` names a frame and its mask per line."""
    listing = root / "ImageSets" / "480p" / f"{split}.txt"
    if listing.is_file():
        lines = read_text(listing).splitlines()
        names = dict.fromkeys(line.split("/")[3] for line in lines if line.count("/") > 3)
        return [name_below(name, listing) for name in names]
    return [path.name for path in sorted_folders(images)]
