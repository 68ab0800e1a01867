"""Cityscapes: 19 classes, one labelled frame in every 30-frame snippet (the 20th)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vidparse.data.dataset import IGNORE, FrameRecord, Video, read_indices, read_rgb
from vidparse.data.splits import check_split, sorted_files
from vidparse.errors import InputError
from vidparse.labels import load_labels

SPLITS = ("train", "val", "test")
# labelId -> trainId; every other value is void.
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
    26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
_FRAME = re.compile(r"(?P<city>[a-z-]+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_leftImg8bit")


class Cityscapes:
    """One split of leftImg8bit_sequence (30-frame snippets) or, without it, of leftImg8bit.

    Masks are gtFine's labelIds. A snippet is a video of its own; its labelled frame is the one that
    gtFine has a file for.

    Raises:
        InputError: the folder is not laid out like this.
    """

    name = "cityscapes"

    def __init__(self, root: Path, split: str) -> None:
        check_split(self.name, split, SPLITS)
        self.split = split
        self.labels = load_labels("cityscapes")
        folders = [root / name / split for name in ("leftImg8bit_sequence", "leftImg8bit")]
        folder = next((path for path in folders if path.is_dir()), None)
        if folder is None:
            raise InputError(f"{folders[1]}: no such folder; point --data at Cityscapes")
        videos: list[Video] = []
        for city in sorted(path for path in folder.iterdir() if path.is_dir()):
            videos += _snippets(city, root / "gtFine" / split / city.name)
        self.videos = tuple(videos)
        table = np.full(256, IGNORE, np.uint8)
        table[list(TRAIN_IDS)] = list(TRAIN_IDS.values())
        self._train_ids = table

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        assert frame.mask is not None
        return self._train_ids[read_indices(frame.mask).astype(np.uint8)]


def _snippets(images: Path, masks: Path) -> list[Video]:
    """Runs of consecutive frame numbers of one city; a gap begins the next snippet."""
    runs: list[list[tuple[int, Path]]] = []
    last = ("", -2)
    for path in sorted_files(images, (".png", ".jpg")):
        parts = _FRAME.fullmatch(path.stem)
        if parts is None:
            continue
        here = (parts["sequence"], int(parts["frame"]))
        if here[0] != last[0] or here[1] != last[1] + 1 or len(runs[-1]) == 30:
            runs.append([])
        runs[-1].append((here[1], path))
        last = here
    return [_snippet(run, masks) for run in runs]


def _snippet(run: list[tuple[int, Path]], masks: Path) -> Video:
    name = run[0][1].stem.removesuffix("_leftImg8bit")
    frames = []
    for i, (_, path) in enumerate(run):
        stem = path.stem.removesuffix("_leftImg8bit")
        mask = masks / f"{stem}_gtFine_labelIds.png"
        found = mask if mask.is_file() else None
        frames.append(FrameRecord(name, stem, i, path, found, found is not None))
    return Video(name, tuple(frames))
