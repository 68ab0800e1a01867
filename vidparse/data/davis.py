"""DAVIS 2016: one object against everything else, every frame annotated, 480p."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

import numpy as np

from vidparse.data.dataset import ALL, Dataset, Format, FrameRecord, OnMissing, refuse
from vidparse.data.folders import check_served, paired_videos, sorted_folders
from vidparse.data.pictures import mask_values
from vidparse.errors import InputError
from vidparse.filenames import name_below
from vidparse.labels import load_labels
from vidparse.textfiles import read_text

RATE_HZ = 24
VALUES = mask_values({raw: int(raw > 0) for raw in range(256)})
_NOTE = (
    "davis: all objects of a frame are read as one, as DAVIS 2016 has them; scores are none of "
    "DAVIS 2017"
)
# The object of each sequence that is one of a street.
OBJECTS = {
    "bmx-bumps": "rider", "bmx-trees": "rider", "breakdance": "person",
    "breakdance-flare": "person", "bus": "bus", "car-roundabout": "car", "car-shadow": "car",
    "car-turn": "car", "dance-jump": "person", "dance-twirl": "person", "drift-chicane": "car",
    "drift-straight": "car", "drift-turn": "car", "hike": "person", "lucia": "person",
    "motocross-bumps": "rider", "motocross-jump": "rider", "motorbike": "rider",
    "parkour": "person", "scooter-black": "rider", "scooter-gray": "rider", "train": "train",
}  # fmt: skip


def open_davis(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """All sequences of JPEGImages/480p and Annotations/480p, or those ImageSets lists for a split.

    Masks are 0 for background; any other value is the object. The split "all" is all sequences,
    whatever is listed.

    Raises:
        InputError: the folder is not laid out like this, or a listed sequence is missing.
    """
    images, masks = root / "JPEGImages" / "480p", root / "Annotations" / "480p"
    if not images.is_dir():
        raise InputError(f"{images}: no such folder; point --data at DAVIS")
    check_served(root, split, (*_splits(root), ALL))

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
        read_objects=read_objects,
        metrics=("jf",),
        notes=(_NOTE,) if _has_several(root) else (),
    )


def _has_several(root: Path) -> bool:
    """True for DAVIS 2017, whose masks distinguish objects."""
    return (root / "ImageSets" / "2017").is_dir() and not (root / "ImageSets" / "480p").is_dir()


def read_objects(frame: FrameRecord, names: Container[str]) -> Mapping[int, tuple[str, np.ndarray]]:
    """As `Dataset.read_objects`; masks of other sequences are not decoded."""
    name = OBJECTS.get(frame.video, "")
    if name not in names or frame.mask is None:
        return {}
    return {1: (name, VALUES.read(frame.mask) == 1)}


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
