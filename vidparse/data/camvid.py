"""CamVid: SegNet's folders with 11 classes, and the original release with 32 or these 11.

The release is 701 pictures of 960x720 with masks coded by colour. Of its 32 classes Void is not
scored: 31 remain, and each of them is part of one of the 11.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from vidparse.data.folders import PICTURES, check_split, counted_interval_s, sorted_files
from vidparse.data.pictures import IGNORE, ColourCode, mask_values
from vidparse.errors import InputError
from vidparse.filenames import natural_key
from vidparse.labels import Labels, load_labels, regrouped
from vidparse.textfiles import read_text

IMAGES, MASKS = "701_StillsRaw_full", "LabeledApproved_full"  # of the release
VOID = 11  # raw value of unlabelled pixels in SegNet's masks
VALUES = mask_values(
    {raw: raw for raw in range(VOID)}, void=(VOID,), rule="the 11-class CamVid has 0..11"
)
_RATE_HZ = 30  # of the numbers in the names
_VOID_COLOUR = (0, 0, 0)
_VAL_FRAMES = range(7959, 8160)  # of 0016E5: the part that is labelled at 15 Hz
_TEST_FROM = 8550  # of 0001TP: the second half of the drive at dusk


def open_camvid(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """One split of SegNet's layout, {split}/, {split}annot/ and {split}.txt, or of the release.

    A recording is the file name up to the first underscore. For the release see
    `open_camvid_32`; there is the split "all", too.

    Raises:
        InputError: the folder is not laid out like this, or a listed file is missing.
    """
    labels = load_labels("camvid")
    if is_release(root):
        code = colour_code(load_labels("camvid-32"), grouping(labels))
        videos = released_videos(root, split, on_missing)
        return Dataset("camvid", split, labels, videos, read_mask=code.read_mask)
    return Dataset("camvid", split, labels, _videos(root, split, on_missing), VALUES)


def open_camvid_32(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """One split: 701_StillsRaw_full/<frame>.png and LabeledApproved_full/<frame>_L.png.

    Splits are SegNet's, by the names of the pictures (see `split_of`), and "all".

    Raises:
        InputError: the folder is not laid out like this.
    """
    labels = load_labels("camvid-32")
    videos = released_videos(root, split, on_missing)
    return Dataset("camvid-32", split, labels, videos, read_mask=colour_code(labels).read_mask)


def grouping(labels: Labels) -> tuple[int, ...]:
    """The one of the 11 classes that each of the 31 of the release belongs to."""
    group = regrouped("camvid-32", "camvid")
    return tuple(labels.classes.index(group[name]) for name in load_labels("camvid-32").classes)


def colour_code(labels: Labels, group: Sequence[int] | None = None) -> ColourCode:
    """The colours of the released masks.

    Args:
        labels: the 31 classes with their colours.
        group: training id of each of them; their own if not given.
    """
    ids = dict(zip(labels.colours, group or range(len(labels)), strict=True))
    return ColourCode({**ids, _VOID_COLOUR: IGNORE}, "CamVid's 32 classes")


def is_release(root: Path) -> bool:
    """True for a folder that holds CamVid as it was released."""
    return (root / MASKS).is_dir()


def released_videos(root: Path, split: str, on_missing: OnMissing) -> tuple[Video, ...]:
    """The recordings of a split.

    Raises:
        InputError: unknown split, or no images.
    """
    check_split("camvid", split, (*SPLITS, ALL))
    images, masks = root / IMAGES, root / MASKS

    # Look masks up by name: a frame without one is kept as unlabelled.
    known = {path.stem.removesuffix("_L"): path for path in sorted_files(masks, (".png",))}

    recordings: dict[str, list[Path]] = {}
    for path in sorted_files(images, (".png", ".jpg")):
        if split in (ALL, split_of(path.stem)):
            recordings.setdefault(path.stem.split("_")[0], []).append(path)
    if not recordings:
        raise InputError(f"{images}: no images of split {split}; point --data at CamVid")

    return tuple(
        Video(
            name,
            tuple(
                FrameRecord(name, path.stem, i, path, known.get(path.stem), path.stem in known)
                for i, path in enumerate(paths)
            ),
            interval_of([path.stem for path in paths]),
        )
        for name, paths in recordings.items()
    )


def interval_of(stems: Sequence[str]) -> float | None:
    """Seconds from frame to frame, by the frame numbers in the names."""
    numbers = [number_of(stem) for stem in stems]
    return counted_interval_s(numbers, _RATE_HZ) if min(numbers) >= 0 else None


def number_of(stem: str) -> int:
    """Number of a picture in its recording by its name, <recording>_[f]<frame>; -1 without one."""
    digits = stem.partition("_")[2].removeprefix("f")
    return int(digits) if digits.isdecimal() else -1


def split_of(stem: str) -> str:
    """SegNet's split of a picture by its name, <recording>_[f]<frame>; "" of another recording."""
    recording, frame = stem.partition("_")[0], number_of(stem)
    if recording == "0001TP":
        return "test" if frame >= _TEST_FROM else "train"
    if recording == "0016E5":
        return "val" if frame in _VAL_FRAMES else "train"
    return {"0006R0": "train", "Seq05VD": "test"}.get(recording, "")


def _videos(root: Path, split: str, on_missing: OnMissing) -> tuple[Video, ...]:
    check_split("camvid", split, SPLITS)
    images, masks = root / split, root / f"{split}annot"
    for folder in (images, masks):
        if not folder.is_dir():
            raise InputError(
                f"{folder}: no such folder; CamVid needs {split}/ and {split}annot/ in {root}"
            )

    # Go by stems: the lists of SegNet name files by paths of their authors' machine.
    by_stem = {path.stem: path for path in sorted_files(images, PICTURES)}
    recordings: dict[str, list[str]] = {}
    for stem in _listed_stems(root / f"{split}.txt") or by_stem:
        if stem in by_stem:
            recordings.setdefault(stem.split("_")[0], []).append(stem)
        else:
            error = f"{images / stem}: listed in {split}.txt but missing; restore it"
            on_missing(InputError(error))
    if not recordings:
        raise InputError(f"{images}: holds no images; check the data folder")

    return tuple(
        Video(
            name,
            tuple(
                FrameRecord(name, stem, i, by_stem[stem], masks / f"{stem}.png")
                for i, stem in enumerate(sorted(stems, key=natural_key))
            ),
            interval_of(sorted(stems, key=natural_key)),
        )
        for name, stems in recordings.items()
    )


def _listed_stems(path: Path) -> list[str]:
    """Image stems of a split file: "image label" per line, with paths of another machine."""
    if not path.is_file():
        return []
    lines = read_text(path).splitlines()
    return [Path(line.split()[0]).stem for line in lines if line.strip()]


def _has_annotations(root: Path, split: str) -> bool:
    return (root / f"{split}annot").is_dir()


def _splits(root: Path) -> tuple[str, ...]:
    if is_release(root):
        return _released_splits(root)
    return tuple(split for split in SPLITS if _has_annotations(root, split))


def _released_splits(root: Path) -> tuple[str, ...]:
    found = {split_of(path.stem) for path in sorted_files(root / IMAGES, (".png", ".jpg"))}
    return tuple(split for split in SPLITS if split in found)


FORMAT = Format(
    open=open_camvid,
    sign="{split}/ beside {split}annot/",
    matches=lambda root: any(_has_annotations(root, split) for split in SPLITS),
    splits=_splits,
    masks=("{split}annot/*.png",),
)
FORMAT_32 = Format(
    open=open_camvid_32,
    sign=f"{MASKS}/",
    matches=is_release,
    splits=_released_splits,
    masks=(f"{MASKS}/*_L.png",),
    owns=lambda stem, split: split in (ALL, split_of(stem)),
    usually="camvid",
)
