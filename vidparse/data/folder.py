"""A plain folder: images/ and masks/ side by side, one subfolder per video or none at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vidparse.data.dataset import ALL, SPLITS, Dataset, Format, OnMissing, Video, refuse
from vidparse.data.folders import (
    PICTURES,
    check_flat,
    check_served,
    has_match,
    paired_frames,
    sorted_files,
    sorted_folders,
)
from vidparse.data.pictures import IGNORE, mask_values
from vidparse.errors import InputError
from vidparse.labels import LABEL_FORM, Labels, labels_from_json
from vidparse.textfiles import parse_json

LABELS = "labels.json"


def open_folder(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """images/[<video>/]NAME.jpg, masks/[<video>/]NAME.png (class ids, 255 void), labels.json.

    With {split}/images the split's own folder is read, otherwise the root serves every split.
    labels.json lies in the split's own folder, or in the root. It has the form of vidparse's own
    label files: name, and classes with name, thing and colour.

    Raises:
        InputError: images/, masks/ or labels.json is missing or damaged.
    """
    base, has = root / split, _splits(root)
    if split not in has or not (base / "images").is_dir():
        if not (root / "images").is_dir():
            raise InputError(_no_frames(root, split, has))
        check_served(root, split, (*has, ALL))
        base = root
    own = base / LABELS
    labels = read_labels(own if own.is_file() else root / LABELS)
    images, masks = base / "images", base / "masks"
    subfolders = sorted_folders(images)
    if subfolders and (lone := sorted_files(images, PICTURES)):
        raise InputError(
            f"{images}: holds pictures ({lone[0].name}) and folders ({subfolders[0].name}) "
            "side by side; a folder is a video, so move the pictures into one"
        )

    for path in subfolders:
        check_flat(path, on_missing)
    pairs = [(path, masks / path.name) for path in subfolders] or [(images, masks)]
    videos = tuple(Video(path.name, paired_frames(path.name, path, mask)) for path, mask in pairs)
    if not any(video.frames for video in videos):
        raise InputError(f"{images}: holds no images; put the frames there")
    rule = (
        f"labels.json has 0..{len(labels) - 1} and {IGNORE} is void; mend the mask, or name the "
        "class"
    )
    values = mask_values({i: i for i in range(len(labels))}, void=(IGNORE,), rule=rule)
    return Dataset("folder", split, labels, videos, values)


def _splits(root: Path) -> tuple[str, ...]:
    """Folders that hold images/, the usual ones first; others only where the root has none."""
    found = [one for one in SPLITS if (root / one / "images").is_dir()]
    if not (root / "images").is_dir():
        others = (path.name for path in sorted_folders(root) if (path / "images").is_dir())
        found += [one for one in others if one not in SPLITS]
    return tuple(found) or (ALL,)


def _is_whole(folder: Path) -> bool:
    """True for a folder that needs no other, such as a split that `data convert` wrote."""
    return (folder / LABELS).is_file() and (folder / "images").is_dir()


def _no_frames(root: Path, split: str, has: Sequence[str]) -> str:
    if has != (ALL,):
        return (
            f"{root}: has no split '{split}', but {', '.join(has)}; make "
            f"{split}/images and {split}/masks, or choose another split"
        )
    return f"{root / 'images'}: no such folder; put the frames there, and their masks in masks/"


def read_labels(path: Path) -> Labels:
    """The label set of a file in vidparse's own form.

    Raises:
        InputError: it is missing, of another form, or has more classes than masks of 8 bits hold.
    """
    try:
        labels = labels_from_json(parse_json(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; write {LABEL_FORM}") from error
    except ValueError as error:
        raise InputError(f"{path}: not a label file ({error}); write {LABEL_FORM}") from error
    if len(labels) > IGNORE:
        raise InputError(f"{path}: {len(labels)} classes; masks of 8 bits hold {IGNORE} at most")
    return labels


FORMAT = Format(
    open=open_folder,
    sign="labels.json beside images/ or {split}/images/",
    matches=lambda root: (
        ((root / LABELS).is_file() and (has_match(root, "images") or has_match(root, "*/images")))
        or any(_is_whole(root / split) for split in SPLITS)
    ),
    splits=_splits,
    masks=(
        "masks/*.png",
        "masks/{video}/*.png",
        "{split}/masks/*.png",
        "{split}/masks/{video}/*.png",
    ),
)
