"""Cityscapes: 19 classes, one labelled frame in every 30-frame snippet (the 20th)."""

from __future__ import annotations

import re
from pathlib import Path

from vidparse.data.dataset import Dataset, FrameRecord, Video, counted_interval_s
from vidparse.data.folders import check_split, has_match, sorted_files, sorted_folders
from vidparse.data.format import SPLITS, Format, OnMissing, refuse
from vidparse.data.values import mask_values
from vidparse.errors import InputError
from vidparse.labels import load_labels

RATE_HZ = 17
_IMAGES = ("leftImg8bit_sequence", "leftImg8bit")  # the first that is there
# labelId -> trainId; every other value is void.
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
    26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
# Ids run from 0 to 33; license plates are -1, which an 8-bit PNG stores as 255.
VALUES = mask_values(TRAIN_IDS, void=(*range(34), 255))
_FRAME = re.compile(r"(?P<city>[a-z-]+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_leftImg8bit")


def open_cityscapes(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """One split of leftImg8bit_sequence (30-frame snippets) or, without it, of leftImg8bit.

    Masks are gtFine's labelIds. A snippet is a video of its own; its labelled frame is the one that
    gtFine has a file for.

    Raises:
        InputError: the folder is not laid out like this.
    """
    check_split("cityscapes", split, SPLITS)
    folders = [root / name / split for name in _IMAGES]
    folder = next((path for path in folders if path.is_dir()), None)
    if folder is None:
        raise InputError(f"{folders[-1]}: no such folder; point --data at Cityscapes")
    videos: list[Video] = []
    for city in sorted_folders(folder):
        masks = root / "gtFine" / split / city.name
        videos += [_snippet(run, masks) for run in snippets(city)]
    return Dataset("cityscapes", split, load_labels("cityscapes"), tuple(videos), VALUES)


def city_splits(root: Path) -> tuple[str, ...]:
    """Splits of a folder that is laid out as Cityscapes is."""
    return tuple(
        split for split in SPLITS if any((root / name / split).is_dir() for name in _IMAGES)
    )


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


FORMAT = Format(
    open=open_cityscapes,
    sign="leftImg8bit/{split}/<city>/*_leftImg8bit.png",
    matches=lambda root: has_match(root, "leftImg8bit*/*/*/*_leftImg8bit.png"),
    splits=city_splits,
    masks=("gtFine/{split}/*/*_gtFine_labelIds.png",),
    every_frame=False,
)
