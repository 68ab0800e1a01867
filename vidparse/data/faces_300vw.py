"""300VW-Mask: parts of faces in video, cropped frames of 300VW; 30 frames per second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from vidparse.data.dataset import (
    ALL,
    SPLITS,
    Dataset,
    Format,
    FrameRecord,
    OnMissing,
    Video,
    refuse,
)
from vidparse.data.folders import PICTURES, check_served, sorted_files
from vidparse.data.pictures import ColourCode, is_coloured, mask_values
from vidparse.errors import InputError
from vidparse.labels import load_labels
from vidparse.textfiles import read_text

RATE_HZ = 30
IMAGES, MASKS, LISTS = "images_orig", "labels_orig", "data_splits"
# The tenth of the sequences that papers train and score on, and the sets of
# Wang et al., Dynamic face video segmentation via reinforcement learning, CVPR 2020.
_LISTED = {split: f"split_1/{split}_per10.txt" for split in SPLITS}
_OTHERS = {name: f"split_2/{name}.txt" for name in "ABC"}
# In the order in which the authors' script paints the parts.
VALUES = mask_values({raw: raw for raw in range(5)}, rule="300VW-Mask has the classes 0..4")
_COLOURS = {(0, 0, 0): 0, (255, 0, 0): 1, (0, 255, 0): 2, (0, 255, 255): 3, (0, 0, 255): 4}


def open_300vw(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """One split: images_orig/<video>_<frame>.jpg, labels_orig/ with PNGs of the same names, and
    data_splits/split_1/{split}_per10.txt with a picture and its mask per line. The splits A, B and
    C are those of data_splits/split_2/.

    Its archive unpacks so (github.com/mapleandfire/300VW-Mask). Frames that follow each other are
    one video, called after its first. Without the lists, or of the split "all", all pictures are
    read. Masks hold class numbers, or the colours that the authors' script paints;
    which of them the first mask has, all have.

    Raises:
        InputError: the folder is not laid out like this, or a listed picture or mask is missing.
    """
    has = _listed_splits(root, {**_LISTED, **_OTHERS})
    check_served(root, split, (*has, ALL))
    images, masks = root / IMAGES, root / MASKS
    pictures = {path.stem: path for path in sorted_files(images, PICTURES)}
    known = {path.stem: path for path in sorted_files(masks, (".png",))}
    stems = list(pictures)
    if split in has:
        stems = _listed(root / LISTS / has[split], pictures, known, on_missing)
    if not stems:
        raise InputError(f"{images}: holds no images of split {split}; point --data at 300VW-Mask")

    videos = []
    for run in _runs(stems):
        name = run[0]
        frames = (
            FrameRecord(name, stem, i, pictures[stem], known.get(stem), stem in known)
            for i, stem in enumerate(run)
        )
        videos.append(Video(name, tuple(frames), 1 / RATE_HZ))

    labels = load_labels("300vw")
    if _are_coloured(known[stem] for stem in stems if stem in known):
        code = ColourCode(_COLOURS, "the parts of 300VW-Mask")
        return Dataset("300vw", split, labels, tuple(videos), read_mask=code.read_mask)
    return Dataset("300vw", split, labels, tuple(videos), VALUES)


def _are_coloured(masks: Iterable[Path]) -> bool:
    """True if the first mask that can be read has colours; reading names those that cannot."""
    for path in masks:
        with suppress(InputError):
            return is_coloured(path)
    return False


def _listed(
    path: Path, pictures: Mapping[str, Path], masks: Mapping[str, Path], on_missing: OnMissing
) -> list[str]:
    """Stems of the pictures that a list names, less those that are not there with their masks.

    Raises:
        InputError: it cannot be read, or names nothing.
    """
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: names no picture; fetch it again")
    found = dict[str, None]()
    for picture, *mask in lines:
        stem = Path(picture).stem
        gone = picture if stem not in pictures else mask[0] if mask and stem not in masks else ""
        if gone:
            on_missing(InputError(f"{path}: {gone} is listed but missing; fetch it again"))
        else:
            found[stem] = None
    return [*found]


def _runs(stems: Iterable[str]) -> list[list[str]]:
    """Pictures in order of time, parted where the video changes or a frame is left out."""
    order = sorted((_place(stem), stem) for stem in stems)
    runs = [[order[0][1]]]
    for ((video, number), _), ((next_video, next_number), stem) in pairwise(order):
        if (next_video, next_number) == (video, number + 1):
            runs[-1].append(stem)
        else:
            runs.append([stem])
    return runs


def _place(stem: str) -> tuple[str, int]:
    """Video and number of a frame by its name, <video>_<frame>; -1 without a number."""
    video, _, digits = stem.rpartition("_")
    return (video, int(digits)) if digits.isdecimal() and len(digits) < 10 else (stem, -1)


def _listed_splits(root: Path, lists: Mapping[str, str]) -> dict[str, str]:
    """The lists that are there, by split."""
    return {split: name for split, name in lists.items() if (root / LISTS / name).is_file()}


def _splits(root: Path) -> tuple[str, ...]:
    return tuple(_listed_splits(root, _LISTED)) or (ALL,)


FORMAT = Format(
    open=open_300vw,
    sign=f"{IMAGES}/ and {MASKS}/",
    matches=lambda root: (root / IMAGES).is_dir() and (root / MASKS).is_dir(),
    splits=_splits,
)
