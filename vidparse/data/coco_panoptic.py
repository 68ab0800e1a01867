"""COCO panoptic: photographs, each with a PNG of segment ids as colours, and one json per split."""

from __future__ import annotations

import math
from pathlib import Path

from vidparse.data.dataset import Dataset, Format, FrameRecord, OnMissing, Video, refuse
from vidparse.data.folders import PICTURES, ListedSegments, check_split, sorted_files
from vidparse.data.pictures import IGNORE
from vidparse.errors import InputError
from vidparse.labels import Labels
from vidparse.maps import ListedPicture, PanopticJson, read_panoptic_json

_PREFIX = "panoptic_"
_ANNOTATIONS = "annotations"
_YEAR = "2017"  # that COCO's own names end in


def open_coco_panoptic(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """The photographs that panoptic_{split}.json lists, each a video of one frame.

    The json and the folder of PNGs of the same name lie in annotations/ or in the root itself, the
    photographs in {split}/, images/{split}/, images/ or input_images/. COCO's own names end in
    2017, which `split` may leave out. One json by itself is its split. Classes are the categories
    of the json in its order; the segments of a photograph are as listed, crowds included.

    Raises:
        InputError: the folder is not laid out like this, the json has too few facts on its
            categories, or it and the folders differ in the photographs.
    """
    found = _jsons(root)
    if not found:
        raise InputError(
            f"{root}: holds no {_PREFIX}{split}.json with the folder of its PNGs beside it; put "
            "both there, or into annotations/"
        )
    check_split("coco-panoptic", split, found)
    record = found[split]
    table = read_panoptic_json(record)
    if table.videos is not None:
        raise InputError(f"{record}: is grouped by video; COCO lists pictures: use vipseg")
    labels = labels_of(table)

    folder = record.with_suffix("")
    images = _images_of(_bases_of(record), record.stem.removeprefix(_PREFIX))
    photographs = {path.stem: path for path in sorted_files(images, PICTURES)}
    masks = {path.stem: path for path in sorted_files(folder, (".png",))}
    listed: dict[str, ListedPicture] = {}
    for row in table.pictures:
        if row.stem not in masks:
            on_missing(InputError(f"{record}: lists {row.stem}, which {folder} lacks; fetch both"))
        elif row.stem not in photographs:
            on_missing(InputError(f"{masks[row.stem]}: no photograph in {images}; fetch it again"))
        else:
            listed[row.stem] = row
    for stem in sorted(masks.keys() - {row.stem for row in table.pictures}):
        on_missing(InputError(f"{masks[stem]}: {record.name} does not list it; fetch both again"))

    videos = tuple(
        Video(stem, (FrameRecord(stem, stem, 0, photographs[stem], masks[stem]),), math.inf)
        for stem in sorted(listed)
    )
    if not videos:
        raise InputError(f"{record}: lists no photograph that is there; fetch the data again")
    rows = {masks[stem]: row for stem, row in listed.items()}

    # Number classes by their place: COCO's category ids have gaps.
    class_ids = {number: i for i, number in enumerate(table.categories)}
    segments = ListedSegments(table, rows, labels, class_ids)
    return Dataset("coco-panoptic", split, labels, videos, read_segments=segments)


def labels_of(table: PanopticJson) -> Labels:
    """The label set of a json's categories, in their order.

    Raises:
        InputError: there are none or too many, two of one name, or one without isthing and color.
    """
    names = tuple(table.categories.values())
    bare = [name for number, name in table.categories.items() if number not in table.looks]
    if not names:
        raise InputError(f"{table.path}: has no categories; take COCO's own json")
    if bare:
        raise InputError(
            f"{table.path}: category '{bare[0]}' has no isthing and color; take COCO's own json"
        )
    if len(set(names)) < len(names) or len(names) > IGNORE:
        raise InputError(
            f"{table.path}: {len(names)} categories of {len(set(names))} names; up to {IGNORE} "
            "are read, each of a name of its own"
        )

    looks = [table.looks[number] for number in table.categories]
    things = frozenset(i for i, (thing, _) in enumerate(looks) if thing)
    return Labels("coco-panoptic", names, tuple(colour for _, colour in looks), things)


def _jsons(root: Path) -> dict[str, Path]:
    """The json of each split that has a folder of PNGs beside it; COCO's by both names."""
    found: dict[str, Path] = {}
    for folder in (root / _ANNOTATIONS, root):
        for path in [root] if root.is_file() else sorted_files(folder, (".json",)):
            if path.stem.startswith(_PREFIX) and path.with_suffix("").is_dir():
                found.setdefault(path.stem.removeprefix(_PREFIX), path)

    # Let whole names win over shortened ones, should two be the same.
    short = {name.removesuffix(_YEAR): path for name, path in found.items()}
    return {**short, **found}


def _bases_of(record: Path) -> list[Path]:
    """The folders that may be the data set that a json is of, the likeliest first."""
    inside = record.parent
    return [inside.parent, inside] if inside.name == _ANNOTATIONS else [inside]


def _images_of(bases: list[Path], name: str) -> Path:
    """The folder of a split's photographs. Raises: InputError: there is none."""
    places = [Path(name), Path("images", name), Path("images"), Path("input_images")]
    for folder in (base / place for base in bases for place in places):
        if folder.is_dir():
            return folder
    root, looked = bases[0], ", ".join(map(str, places))
    raise InputError(f"{root}: no photographs of {name}, looked for {looked}; put them there")


def _splits(root: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.removesuffix(_YEAR) for name in _jsons(root)))


FORMAT = Format(
    open=open_coco_panoptic,
    sign="panoptic_{split}.json beside panoptic_{split}/, or both in annotations/",
    matches=lambda root: bool(_jsons(root)),
    splits=_splits,
    file="a panoptic_{split}.json with its folder of PNGs",
)
