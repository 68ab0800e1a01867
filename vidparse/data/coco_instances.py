"""COCO instances and YouTube-VIS: objects as run lengths or polygons in one json, as data sets."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

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
from vidparse.data.shapes import CocoRuns, Listed, Polygons, Region, Shape, dataset_of, made_labels
from vidparse.data.tool_folders import (
    IMAGES,
    FramesBeside,
    IsRecord,
    free_name,
    head_of,
    no_record,
    other_splits,
    own_labels,
    record_stem,
    records_in,
    video_beside,
)
from vidparse.errors import InputError
from vidparse.filenames import is_file, name_below
from vidparse.labels import Labels
from vidparse.limits import check_size
from vidparse.sinks.picture_set import LABELS_FILE
from vidparse.textfiles import (
    Json,
    JsonTable,
    as_list,
    as_number,
    as_table,
    as_tables,
    as_whole,
    as_word,
    fault_of,
    read_json,
)

_YEAR = "2017"
_FRAME = re.compile(r"\d{6,9}\.png")  # how outputs of a video call its frames
_HEAD = 1 << 16  # bytes that show which format a json has


def open_coco(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """The pictures that a json of instances lists: annotations/instances_{split}.json, as COCO has
    it, {split}/*.json or *.json.

    Pictures lie in {split}/, images/{split}/, images/ or beside the json; those of a json that
    vidparse wrote of a video are its frames, and the video lies beside it or in videos/. Polygons
    and run lengths (packed or not) are read, and boxes of objects that have neither; a pixel in
    several objects is of the smallest. Classes are the categories, all things unless `isthing` is
    0. Each picture is a video of its own, unless annotations have a `track_id`, as of vidparse.

    Raises:
        InputError: no such json, or one with an invalid value.
    """
    return _opened(_COCO, root, split, on_missing)


def open_ytvis(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """The videos of YouTube-VIS: {split}/instances.json, {split}.json or *.json, with frames in
    {split}/JPEGImages/, JPEGImages/, images/ or beside; or of a video that lies there, as of COCO.

    An object keeps its id through its video; a pixel in several objects is of the smallest.
    Classes are the categories, all things. Pixels of no object are void.

    Raises:
        InputError: no such json, or one with an invalid value.
    """
    return _opened(_YTVIS, root, split, on_missing)


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the two formats: how its jsons are called and known, and how one is taken in."""

    name: str
    words: str
    prefix: str
    is_record: IsRecord
    add: Callable[[_Found, Path, JsonTable], None]


@dataclass(slots=True)
class _Found:
    """The videos of the jsons so far, and the regions of their frames.

    class_ids: of the category numbers of the json at hand.
    """

    root: Path
    split: str
    on_missing: OnMissing
    class_ids: Mapping[int | str, int] = field(default_factory=dict)
    videos: list[Video] = field(default_factory=list)
    listed: dict[tuple[str, int], Listed] = field(default_factory=dict)
    films: dict[str, Path] = field(default_factory=dict)

    def free_name(self, name: str) -> str:
        """The name for a video, or one like it where another is called so."""
        return free_name(name, {video.name for video in self.videos})

    def is_film(self, record: Path, table: JsonTable, video: str, names: Sequence[str]) -> bool:
        """True where pictures are frames of the video that vidparse segmented, known by number.

        The video is noted where it lies beside; without it the labels alone can be read.
        """
        info = table.get("info")
        source = info.get("description") if isinstance(info, dict) else None
        if not isinstance(source, str) or not names or not all(map(_FRAME.fullmatch, names)):
            return False
        if any(_picture_in(record, self.root, self.split, name) for name in names):
            return False
        film = video_beside(record, (source,))
        if film is not None:
            self.films[video] = film
        return True

    def picture(self, record: Path, name: str) -> Path | None:
        """The file of a picture. Raises: InputError: its name leads out of the folder."""
        return _picture(record, self.root, self.split, name, self.on_missing)


def _opened(kind: _Kind, root: Path, split: str, on_missing: OnMissing) -> Dataset:
    paths = _records(root, split, kind)
    if not paths:
        has = ", ".join(one for one in _splits_of(root, kind) if one != ALL)
        other = f"put it there, or use {has}" if has else "put it there"
        raise no_record(root, f"json of {kind.words} for '{split}'", other)
    tables = {path: _table(path) for path in paths}
    labels, class_ids = _categories(root, tables)

    found = _Found(root, split, on_missing)
    for path, table in tables.items():
        found.class_ids = class_ids[path]
        try:
            kind.add(found, path, table)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            what = fault_of(error, "an entry")
            raise InputError(f"{path}: {what}; correct it or fetch it again") from error
    images = FramesBeside(found.films)
    return dataset_of(
        kind.name, split, labels, found.videos, found.listed, small_on_top=True, read_image=images
    )


def _add_pictures(found: _Found, path: Path, table: JsonTable) -> None:
    """Take in a json of instances. Raises: KeyError, TypeError, ValueError, InputError."""
    rows, by_image = as_tables(table["images"], "images"), _by_key(table, "image_id")
    own = found.free_name(record_stem(path))
    names = [as_word(row["file_name"], "file_name") for row in rows]
    of_film = found.is_film(path, table, own, names)
    tracked = of_film or any("track_id" in one for group in by_image.values() for one in group)

    # Take pictures in the order of the json: its numbers may be any.
    frames = list[FrameRecord]()
    for row, name in zip(rows, names, strict=True):
        place = f"{path}: {name}"
        size_hw = _size(row, place)
        objects = by_image.get(_key(row["id"]), [])
        regions = tuple(_region(one, _mask_of(one), found.class_ids, size_hw) for one in objects)
        image = None if of_film else found.picture(path, name)
        if image is None and not of_film:
            continue

        # Name a photograph by its folder, too: names repeat from folder to folder.
        video = own if tracked else Path(name).with_suffix("").as_posix()
        index = len(frames) if tracked else 0
        if (video, index) in found.listed:
            raise ValueError(f"{name} is listed before")
        frames.append(FrameRecord(video, Path(name).stem, index, image, path))
        found.listed[video, index] = Listed(place, size_hw, regions)

    if tracked:
        found.videos.append(Video(own, tuple(frames)))
    else:
        found.videos += [Video(one.video, (one,), math.inf) for one in frames]


def _add_videos(found: _Found, path: Path, table: JsonTable) -> None:
    """Take in a json of videos. Raises: KeyError, TypeError, ValueError, IndexError, InputError."""
    objects = _by_key(table, "video_id")
    for row in as_tables(table["videos"], "videos"):
        names = [as_word(one, "a file name") for one in as_list(row["file_names"], "names")]

        # Call a video by the folder of its frames, as its authors do.
        first = Path(names[0]).parent.name if names else ""
        video = found.free_name(first or record_stem(path))
        size_hw = _size(row, f"{path}: {video}")
        of_film = found.is_film(path, table, video, names)
        frames = []
        for index, name in enumerate(names):
            image = None if of_film else found.picture(path, name)
            if image is None and not of_film:
                continue
            regions = _in_frame(objects[_key(row["id"])], index, found.class_ids, size_hw)
            found.listed[video, index] = Listed(f"{path}: {name}", size_hw, tuple(regions))
            frames.append(FrameRecord(video, Path(name).stem, index, image, path))
        found.videos.append(Video(video, tuple(frames)))


def is_coco(path: Path) -> bool:
    """True for a json of images and annotations; other formats of COCO's kind have their marks."""
    head = head_of(path, _HEAD).lstrip()
    others = (b'"segments_info"', b'"videos"', b'"segmentations"', b'"shapes"', b'"video_id"')
    is_it = b'"images"' in head or (b'"annotations"' in head and b'"categories"' in head)
    named = path.name.startswith(("panoptic", "captions", "person_keypoints"))
    return head.startswith(b"{") and is_it and not named and not any(one in head for one in others)


def is_ytvis(path: Path) -> bool:
    """True for a json of videos, or of objects with a mask per frame."""
    head = head_of(path, _HEAD).lstrip()
    marks = (b'"file_names"', b'"segmentations"')
    return head.startswith(b"{") and any(one in head for one in marks)


def _records(root: Path, split: str, kind: _Kind) -> list[Path]:
    """The jsons of a split, or those in the root that are of none, which then serve all usual."""
    if root.is_file():
        return [root]
    own = _own_records(root, split, kind)
    if own or split not in (*SPLITS, ALL):
        return own
    of_others = {path for one in SPLITS for path in _own_records(root, one, kind)}
    free = records_in(root, kind.is_record, ".json")
    return free if split == ALL else [path for path in free if path not in of_others]


def _own_records(root: Path, split: str, kind: _Kind) -> list[Path]:
    """The jsons that are of a split by their name or folder, from the first place with any."""
    named = f"{kind.prefix}{split}"
    names = [f"{named}.json", f"{named}{_YEAR}.json", f"{split}.json"]
    for folder in (root / "annotations", root):
        for name in names:
            if is_file(folder / name) and kind.is_record(folder / name):
                return [folder / name]
    return records_in(root / split, kind.is_record, ".json")


def _matches(root: Path, kind: _Kind) -> bool:
    """True for a record itself, and for a folder that holds one."""
    if root.is_file():
        return root.suffix.lower() == ".json" and kind.is_record(root)
    return bool(_splits_of(root, kind))


def _splits_of(root: Path, kind: _Kind) -> tuple[str, ...]:
    if root.is_file():
        return (ALL,)
    own = tuple(one for one in SPLITS if _own_records(root, one, kind))
    own += other_splits(root, kind.is_record, ".json")
    return own or ((ALL,) if _records(root, ALL, kind) else ())


def _table(path: Path) -> JsonTable:
    try:
        return as_table(read_json(path), "the record")
    except TypeError as error:
        raise InputError(f"{path}: {error}; fetch it again") from error


def _categories(
    root: Path, tables: Mapping[Path, JsonTable]
) -> tuple[Labels, dict[Path, dict[int | str, int]]]:
    """The label set, and the class of every category number of each json: numbers are its own.

    Raises:
        InputError: no categories, or too many.
    """
    first = path = next(iter(tables))
    own = own_labels(root if root.is_dir() else root.parent, first.parent)
    try:
        listed: dict[Path, dict[int | str, str]] = {}
        things: dict[str, bool] = {}  # by name, in the order in which the jsons have them
        for path, table in tables.items():
            rows = as_tables(table.get("categories"), "categories")
            names = [as_word(row["name"], "name") for row in rows]
            for row, name in zip(rows, names, strict=True):
                things.setdefault(name, bool(row.get("isthing", 1)))
            listed[path] = {_key(row["id"]): name for row, name in zip(rows, names, strict=True)}

        path = first
        labels = own or made_labels(
            record_stem(first), [*things], things=[name for name in things if things[name]]
        )

        # Classes of one's own may be fewer than the record's.
        known = {name: i for i, name in enumerate(labels.classes)}
        strange = [name for name in things if name not in known]
        if strange:
            raise ValueError(f"'{strange[0]}' is no class of {LABELS_FILE}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: categories: {fault_of(error, 'one')}; correct them") from error
    return labels, {
        path: {number: known[name] for number, name in names.items()}
        for path, names in listed.items()
    }


def _by_key(table: JsonTable, key: str) -> dict[int | str, list[JsonTable]]:
    found = defaultdict[int | str, list[JsonTable]](list)
    for one in as_tables(table.get("annotations") or [], "annotations"):  # none of a test split
        found[_key(one[key])].append(one)
    return found


def _key(value: Json) -> int | str:
    """A number or word by which rows of a json know each other."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError("an id is to be a number or a word")
    return value


def _size(row: JsonTable, place: str) -> tuple[int, int]:
    size_hw = as_whole(row["height"], "height", 1), as_whole(row["width"], "width", 1)
    check_size(place, size_hw)
    return size_hw


def _region(
    row: JsonTable,
    mask: Json,
    class_ids: Mapping[int | str, int],
    size_hw: tuple[int, int],
    *,
    number: int = 0,
) -> Region:
    """Raises: KeyError, TypeError, ValueError: it has an invalid value."""
    category = _key(row["category_id"])
    if category not in class_ids:
        raise ValueError(f"category_id {category} is none of the categories")
    if "track_id" in row:
        number = as_whole(row["track_id"], "track_id", 0, 1 << 24)
    return Region(class_ids[category], _shape(mask, size_hw), number, row.get("iscrowd", 0) == 1)


def _mask_of(row: JsonTable) -> Json:
    """The mask of an object; the polygon of its box where tools give nothing else."""
    if row.get("segmentation") or "bbox" not in row:
        return row["segmentation"]
    sides = [as_number(one, "a side of bbox") for one in as_list(row["bbox"], "bbox")]
    if len(sides) != 4:
        raise ValueError(f"a bbox of {len(sides)} numbers")
    x, y, width, height = sides
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def _in_frame(
    objects: list[JsonTable],
    index: int,
    class_ids: Mapping[int | str, int],
    size_hw: tuple[int, int],
) -> list[Region]:
    """The objects of a video in one frame."""
    found = []
    for row in objects:
        masks = as_list(row["segmentations"], "segmentations")
        if masks[index] is not None:
            number = as_whole(row["id"], "id", 0, 1 << 24)
            found.append(_region(row, masks[index], class_ids, size_hw, number=number))
    return found


def _shape(mask: Json, size_hw: tuple[int, int]) -> Shape:
    """Raises: KeyError, TypeError, ValueError: it is no mask of COCO."""
    if isinstance(mask, list):
        rings = []
        for one in mask:
            values = [as_number(value, "a coordinate") for value in as_list(one, "a polygon")]
            if len(values) < 6 or len(values) % 2:
                raise ValueError(f"a polygon of {len(values)} coordinates")
            rings.append(np.array(values).reshape(-1, 2))
        if not rings:
            raise ValueError("a segmentation without polygons")
        return Polygons(tuple(rings), unite=True)

    if not isinstance(mask, dict):
        raise TypeError("a segmentation is to be run lengths or polygons")

    # Take run lengths packed, as text, or plain, as crowds have them.
    height, width = (as_whole(one, "a side", 1) for one in as_list(mask["size"], "size"))
    counts = mask["counts"]
    if isinstance(counts, str):
        return CocoRuns(counts.encode("ascii", "replace"), (height, width))
    whole = tuple(as_whole(one, "a count") for one in as_list(counts, "counts"))
    return CocoRuns(whole, (height, width))


def _picture(record: Path, root: Path, split: str, name: str, on_missing: OnMissing) -> Path | None:
    """The file of a picture. Raises: InputError: its name leads out of the folder."""
    found = _picture_in(record, root, split, name)
    if found is None:
        place = record.parent / IMAGES
        on_missing(InputError(f"{record}: no picture {name}; put it into {place}"))
    return found


def _picture_in(record: Path, root: Path, split: str, name: str) -> Path | None:
    inside = name_below(name, record)
    base, here = root if root.is_dir() else root.parent, record.parent
    folders = [
        *(base / split, base / f"{split}{_YEAR}", base / IMAGES / split),
        *(base / split / "JPEGImages", base / "JPEGImages", here / IMAGES, here, base / IMAGES),
    ]
    for folder in folders:
        if is_file(folder / inside):
            return folder / inside
    return None


_COCO = _Kind("coco", "COCO instances", "instances_", is_coco, _add_pictures)
_YTVIS = _Kind("ytvis", "YouTube-VIS", "", is_ytvis, _add_videos)
FORMAT = Format(
    open=open_coco,
    sign="a json of COCO instances",
    matches=lambda root: _matches(root, _COCO),
    splits=lambda root: _splits_of(root, _COCO),
    file="a json of COCO instances",
)
FORMAT_YTVIS = Format(
    open=open_ytvis,
    sign="a json of YouTube-VIS",
    matches=lambda root: _matches(root, _YTVIS),
    splits=lambda root: _splits_of(root, _YTVIS),
    file="a json of YouTube-VIS",
)
