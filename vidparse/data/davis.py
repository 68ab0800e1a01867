"""DAVIS 2016: one object against everything else, every frame annotated, 480p."""

from __future__ import annotations

from pathlib import Path

from vidparse.data.dataset import Dataset
from vidparse.data.folders import paired_videos, sorted_folders
from vidparse.data.format import ALL, Format, OnMissing, refuse
from vidparse.data.values import mask_values
from vidparse.errors import InputError
from vidparse.filenames import name_below
from vidparse.labels import load_labels
from vidparse.textfiles import read_text

RATE_HZ = 24
VALUES = mask_values({raw: int(raw > 0) for raw in range(256)})


def open_davis(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """All sequences of JPEGImages/480p and Annotations/480p, or those ImageSets lists for a split.

    Masks are 0 for background; any other value is the object.

    Raises:
        InputError: the folder is not laid out like this, or a listed sequence is missing.
    """
    images, masks = root / "JPEGImages" / "480p", root / "Annotations" / "480p"
    if not images.is_dir():
        raise InputError(f"{images}: no such folder; point --data at DAVIS")
    return Dataset(
        "davis",
        split,
        load_labels("davis"),
        paired_videos(
            _names(root, images, split),
            lambda name: (images / name, masks / name),
            on_missing,
            interval_s=1 / RATE_HZ,
        ),
        VALUES,
        metrics=("jf",),
    )


def _names(root: Path, images: Path, split: str) -> list[str]:
    """Sequences of a split; `ImageSets/480p/{split}.txt` names a frame and its mask per line."""
    listing = _list_of(root, split)
    if not listing.is_file():
        return [path.name for path in sorted_folders(images)]
    lines = read_text(listing).splitlines()
    names = dict.fromkeys(line.split("/")[3] for line in lines if line.count("/") > 3)
    return [name_below(name, listing) for name in names]


def _list_of(root: Path, split: str) -> Path:
    return root / "ImageSets" / "480p" / f"{split}.txt"


def _splits(root: Path) -> tuple[str, ...]:
    return tuple(one for one in ("train", "val") if _list_of(root, one).is_file()) or (ALL,)


FORMAT = Format(
    open=open_davis,
    sign="JPEGImages/480p/",
    matches=lambda root: (root / "JPEGImages" / "480p").is_dir(),
    splits=_splits,
    masks=("Annotations/480p/{video}/*.png",),
)
