"""VSPW: 124 classes, 15 fps; the 480p tree and the full-size one are laid out alike."""

from __future__ import annotations

from pathlib import Path

from vidparse.data.dataset import Dataset, Format, OnMissing, refuse
from vidparse.data.folders import has_match, listed_splits, paired_videos, read_split
from vidparse.data.pictures import mask_values
from vidparse.data.tool_folders import own_labels
from vidparse.errors import InputError
from vidparse.labels import load_labels

RATE_HZ = 15  # of the frames with labels, which are all
VALUES = mask_values({raw: raw - 1 for raw in range(1, 125)}, void=(0, 255))


def open_vspw(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """One split: data/<video>/origin/*.jpg and data/<video>/mask/*.png, names from {split}.txt.

    Masks hold raw ids: 0 and 255 are void, 1..124 the classes; training ids are one less. Other
    values (125..254 exist) are void, too. A video without a mask folder (the test split) is
    unlabelled. Where classes.json lies in the folder, classes are its own, in the same way.

    Raises:
        InputError: the folder is not laid out like this, or a listed video is missing.
    """
    data = root / "data"
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; VSPW keeps its videos there")

    own = own_labels(root, root)
    values = VALUES
    if own is not None:
        values = mask_values(
            {raw: raw - 1 for raw in range(1, min(len(own), 254) + 1)}, void=(0, 255)
        )
    return Dataset(
        "vspw",
        split,
        own or load_labels("vspw"),
        paired_videos(
            read_split(root, split),
            lambda name: (data / name / "origin", data / name / "mask"),
            on_missing,
            interval_s=1 / RATE_HZ,
        ),
        values,
        metrics=("miou", "vc8", "vc16"),
    )


FORMAT = Format(
    open=open_vspw,
    sign="data/<video>/origin/",
    matches=lambda root: has_match(root, "data/*/origin"),
    splits=listed_splits,
    masks=("data/{video}/mask/*.png",),
)
