"""CamVid in the 11-class SegNet layout: {split}/, {split}annot/ and {split}.txt side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidparse.data.dataset import IGNORE, FrameRecord, Video, read_indices, read_rgb
from vidparse.data.splits import check_split
from vidparse.errors import InputError
from vidparse.labels import load_labels

SPLITS = ("train", "val", "test")
VOID = 11  # raw value of unlabelled pixels


class CamVid:
    """One split. Sequences are told apart by the file name up to the first underscore.

    Raises:
        InputError: the folder is not laid out like this, or a listed file is missing.
    """

    name = "camvid"

    def __init__(self, root: Path, split: str) -> None:
        check_split(self.name, split, SPLITS)
        self.split = split
        self.labels = load_labels("camvid")
        images, masks = root / split, root / f"{split}annot"
        for folder in (images, masks):
            if not folder.is_dir():
                raise InputError(
                    f"{folder}: no such folder; CamVid needs {split}/ and {split}annot/ in {root}"
                )
        by_stem = {path.stem: path for path in images.iterdir() if not path.name.startswith(".")}
        recordings: dict[str, list[str]] = {}
        for stem in _listed_stems(root / f"{split}.txt") or sorted(by_stem):
            if stem not in by_stem:
                raise InputError(f"{images / stem}: listed in {split}.txt but missing; restore it")
            recordings.setdefault(stem.split("_")[0], []).append(stem)
        if not recordings:
            raise InputError(f"{images}: holds no images; check the data folder")
        self.videos = tuple(
            Video(
                name,
                tuple(
                    FrameRecord(name, stem, i, by_stem[stem], masks / f"{stem}.png")
                    for i, stem in enumerate(sorted(stems))
                ),
            )
            for name, stems in recordings.items()
        )

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        assert frame.mask is not None
        mask = read_indices(frame.mask)
        if mask.max(initial=0) > VOID:
            raise InputError(
                f"{frame.mask}: holds value {mask.max()}; the 11-class CamVid has 0..11"
            )
        return np.where(mask == VOID, IGNORE, mask).astype(np.uint8)


def _listed_stems(path: Path) -> list[str]:
    """Image stems of a split file: "image label" a line, with paths of another machine."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Path(line.split()[0]).stem for line in lines if line.strip()]
