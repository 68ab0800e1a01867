"""Cityscapes: 19 classes, one labelled frame in every 30-frame snippet (the 20th)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vidparse.data.dataset import FrameRecord, OnMissing, Video, counted_interval_s, refuse
from vidparse.data.pictures import read_indices, read_rgb
from vidparse.data.splits import check_split, sorted_files, sorted_folders
from vidparse.data.values import MaskValues, mask_values
from vidparse.errors import InputError
from vidparse.labels import load_labels

SPLITS = ("train", "val", "test")
RATE_HZ = 17
# labelId -> trainId; every other value is void.
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
    26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
# Ids run from 0 to 33; license plates are -1, which an 8-bit PNG stores as 255.
VALUES = mask_values(TRAIN_IDS, void=(*range(34), 255))
_FRAME = re.compile(r"(?P<city>[a-z-]+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_leftImg8bit")


class Cityscapes:
    """One split of leftImg8bit_sequence (30-frame snippets) or, without it, of leftImg8bit.

    Masks are gtFine's labelIds. A snippet is a video of its own; its labelled frame is the one that
    gtFine has a file for.

    Raises:
        InputError: the folder is not laid out like this.
    """

    name = "cityscapes"

    def __init__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> None:
        check_split(self.name, split, SPLITS)
        self.split = split
        self.labels = load_labels("cityscapes")
        self.values: MaskValues | None = VALUES
        folders = [root / name / split for name in ("leftImg8bit_sequence", "leftImg8bit")]
        folder = next((path for path in folders if path.is_dir()), None)
        if folder is None:
            raise InputError(f"{folders[1]}: no such folder; point --data at Cityscapes")
        videos: list[Video] = []
        for city in sorted_folders(folder):
            masks = root / "gtFine" / split / city.name
            videos += [_snippet(run, masks) for run in snippets(city)]
        self.videos = tuple(videos)

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        assert frame.mask is not None
        return VALUES.decode(read_indices(frame.mask))


def snippets(images: Path) -> list[list[tuple[int, Path]]]:
    """Pictures of a folder in runs of consecutive frame numbers, at most 30, each number with its
    path; a gap begins the next snippet.
    """
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
    return runs


def _snippet(run: list[tuple[int, Path]], masks: Path) -> Video:
    name = run[0][1].stem.removesuffix("_leftImg8bit")
    frames = []
    for i, (_, path) in enumerate(run):
        stem = path.stem.removesuffix("_leftImg8bit")
        mask = masks / f"{stem}_gtFine_labelIds.png"
        found = mask if mask.is_file() else None
        frames.append(FrameRecord(name, stem, i, path, found, found is not None))
    return Video(name, tuple(frames), counted_interval_s([number for number, _ in run], RATE_HZ))
