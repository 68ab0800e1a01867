"""Which data set a folder holds, told from its layout, and what each layout consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vidparse.data import camvid_full, yolo_seg
from vidparse.data.vipseg import panoptic_json
from vidparse.errors import InputError

_SPLITS = ("train", "val", "test")
ALL = "all"  # the split of layouts that have none


@dataclass(frozen=True, slots=True)
class Layout:
    """How a data set lies in its folder.

    sign: what it is recognised by, in words. matches: whether a folder has that.
    splits: those that a folder has.
    masks: patterns of the mask files of {split} and {video}; the file name of a mask is its frame's
        name and the ending after `*`.
    mine: whether a frame's name belongs to a split, where a pattern finds more than its masks.
    every_frame: whether all frames of a split have masks if any has.
    """

    sign: str
    matches: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]]
    masks: tuple[str, ...]
    mine: Callable[[str, str], bool] = lambda stem, split: True
    every_frame: bool = True


def recognise(root: Path) -> str:
    """The name of the data set that a folder holds.

    Raises:
        InputError: none, or more than one; says what was looked for.
    """
    found = [name for name, layout in LAYOUTS.items() if layout.matches(root)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{root}: looks like {' and '.join(found)}; say which with --dataset")
    looked = ", ".join(f"{layout.sign} ({name})" for name, layout in LAYOUTS.items())
    raise InputError(f"{root}: no data set found, looked for {looked}; name it with --dataset")


def _has(root: Path, pattern: str) -> bool:
    return next(root.glob(pattern), None) is not None


def _listed(root: Path) -> tuple[str, ...]:
    return tuple(split for split in _SPLITS if (root / f"{split}.txt").is_file())


def _vipseg(root: Path) -> tuple[str, ...]:
    listed = _listed(root)
    own = {split: panoptic_json(root, split) for split in _SPLITS}
    return listed or tuple(
        split for split, path in own.items() if path is not None and path.stem.endswith(split)
    )


def _camvid(root: Path) -> tuple[str, ...]:
    if camvid_full.is_release(root):
        return _released(root)
    return tuple(split for split in _SPLITS if (root / f"{split}annot").is_dir())


def _released(root: Path) -> tuple[str, ...]:
    stems = {path.stem for path in (root / camvid_full.IMAGES).glob("[!.]*")}
    splits = {camvid_full.split_of(stem) for stem in stems}
    return tuple(split for split in _SPLITS if split in splits)


def _city(root: Path) -> tuple[str, ...]:
    folders = ("leftImg8bit", "leftImg8bit_sequence")
    return tuple(
        split for split in _SPLITS if any((root / name / split).is_dir() for name in folders)
    )


def _vps(root: Path) -> tuple[str, ...]:
    return tuple(
        split
        for split in _SPLITS
        if (root / split / "img").is_dir() or (root / split / "img_all").is_dir()
    )


def _davis(root: Path) -> tuple[str, ...]:
    lists = root / "ImageSets" / "480p"
    return tuple(split for split in ("train", "val") if (lists / f"{split}.txt").is_file()) or (
        ALL,
    )


def _folder(root: Path) -> tuple[str, ...]:
    return tuple(split for split in _SPLITS if (root / split / "images").is_dir()) or (ALL,)


def _yolo(root: Path) -> tuple[str, ...]:
    folders = yolo_seg.image_folders(root)
    return tuple(folders) if len(folders) > 1 else (ALL,)


LAYOUTS: dict[str, Layout] = {
    "camvid": Layout(
        sign="{split}/ beside {split}annot/",
        matches=lambda root: any((root / f"{split}annot").is_dir() for split in _SPLITS),
        splits=_camvid,
        masks=("{split}annot/*.png",),
    ),
    "camvid-32": Layout(
        sign=f"{camvid_full.MASKS}/",
        matches=camvid_full.is_release,
        splits=_released,
        masks=(f"{camvid_full.MASKS}/*_L.png",),
        mine=lambda stem, split: split in (ALL, camvid_full.split_of(stem)),
    ),
    "cityscapes": Layout(
        sign="leftImg8bit/{split}/<city>/*_leftImg8bit.png",
        matches=lambda root: _has(root, "leftImg8bit*/*/*/*_leftImg8bit.png"),
        splits=_city,
        masks=("gtFine/{split}/*/*_gtFine_labelIds.png",),
        every_frame=False,
    ),
    "cityscapes-vps": Layout(
        sign="panoptic_gt_{split}_city_vps.json or {split}/panoptic_video/",
        matches=lambda root: (
            _has(root, "panoptic_*_city_vps.json") or _has(root, "*/panoptic_video")
        ),
        splits=_vps,
        masks=(),  # opening it compares all three of images, masks and json
        every_frame=False,
    ),
    "davis": Layout(
        sign="JPEGImages/480p/",
        matches=lambda root: (root / "JPEGImages" / "480p").is_dir(),
        splits=_davis,
        masks=("Annotations/480p/{video}/*.png",),
    ),
    "folder": Layout(
        sign="labels.json beside images/ or {split}/images/",
        matches=lambda root: (
            (root / "labels.json").is_file() and (_has(root, "images") or _has(root, "*/images"))
        ),
        splits=_folder,
        masks=(
            "masks/*.png",
            "masks/{video}/*.png",
            "{split}/masks/*.png",
            "{split}/masks/{video}/*.png",
        ),
    ),
    "idd-lite": Layout(
        sign="leftImg8bit/{split}/<drive>/*_image.jpg",
        matches=lambda root: _has(root, "leftImg8bit/*/*/*_image.jpg"),
        splits=_city,
        masks=("gtFine/{split}/{video}/*_label.png",),
        mine=lambda stem, split: not stem.endswith("_inst"),  # of the instance masks beside them
    ),
    "vipseg": Layout(
        sign="panomasks/ or panomasksRGB/",
        matches=lambda root: (root / "panomasks").is_dir() or (root / "panomasksRGB").is_dir(),
        splits=_vipseg,
        masks=("panomasks/{video}/*.png", "panomasksRGB/{video}/*.png"),
    ),
    "vspw": Layout(
        sign="data/<video>/origin/",
        matches=lambda root: _has(root, "data/*/origin"),
        splits=_listed,
        masks=("data/{video}/mask/*.png",),
    ),
    "yolo-seg": Layout(
        sign="labels/<folder>/*.txt beside images/<folder>/",
        matches=lambda root: _has(root, "labels/*/*.txt") and bool(yolo_seg.image_folders(root)),
        splits=_yolo,
        masks=("labels/*/*.txt",),
        mine=lambda stem, split: split == ALL,  # a part does not know the names of the others
    ),
}
