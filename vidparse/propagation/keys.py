"""Key masks: the frames of a video whose segments somebody has drawn, read when they are wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from vidparse.data import IGNORE, Dataset, FrameRecord, Video
from vidparse.data.coco_panoptic import labels_of
from vidparse.data.folders import PICTURES, not_png, sorted_files
from vidparse.data.pictures import mask_values, read_indices
from vidparse.errors import InputError, UsageError
from vidparse.labels import LABEL_FORM, Labels, available_labels, labels_from_json, load_labels
from vidparse.labels.colours import distinct_colours
from vidparse.maps import (
    VOID,
    ListedPicture,
    PanopticJson,
    SegmentMap,
    count_codes,
    read_panoptic_json,
    read_segment_map,
    segments_of_ids,
)
from vidparse.textfiles import parse_json

_NUMBER = re.compile(r"\d{1,9}$")
_WIDE = 256  # values from which on a mask without labels holds ids


@dataclass(frozen=True, slots=True)
class Keys:
    """The key frames of one video, by the number of the frame.

    labels: of their classes. files: for messages. read: the segments of one; all are semantic maps,
        or all are panoptic ones.
    notes: for the user, one line each.
    """

    labels: Labels
    files: Mapping[int, str]
    read: Callable[[int], SegmentMap]
    is_panoptic: bool
    notes: tuple[str, ...] = ()

    def map_of(self, number: int, size_hw: tuple[int, int]) -> SegmentMap:
        """The segments of a key frame.

        Raises:
            InputError: damaged, or not of the size of its frame.
        """
        found = self.read(number)
        if found.size_hw != size_hw:
            (height, width), (high, wide) = found.size_hw, size_hw
            raise InputError(
                f"{self.files[number]}: is {width}x{height}, its frame {wide}x{high}; "
                "make the mask in the size of the video"
            )
        return found

    def check_numbers(self, frames: int, video: str) -> None:
        """Raises: InputError: a key is of a frame that the video does not have."""
        beyond = [number for number in self.files if number >= frames]
        if beyond:
            raise InputError(
                f"{self.files[min(beyond)]}: {video} has no frame {min(beyond)}, its last is "
                f"{frames - 1}; numbers count from 0, rename or remove the mask"
            )


def keys_of_video(
    dataset: Dataset, video: Video, number: Callable[[FrameRecord], int] | None = None
) -> Keys:
    """The labelled frames of a video of a data set.

    Args:
        number: of a frame in the file of the video; None: its place among the pictures.
    """
    labelled = {number(one) if number else one.index: one for one in video.frames if one.labelled}
    return Keys(
        dataset.labels,
        {index: str(one.mask or one) for index, one in labelled.items()},
        lambda number: dataset.load_truth(labelled[number]),
        dataset.is_panoptic,
    )


def keys_of_folder(
    folder: Path, *, labels: str | None, ids: bool, stems: Sequence[str] | None, video: str
) -> Keys:
    """The key masks of a folder.

    PNGs of class ids (8 or 16 bits, grey or palette; 255, or 65535, is void), of ids of objects
    (16 bits without labels, or with `ids`; 0 is nothing), or RGB ones with a panoptic json in
    the folder or beside it.

    Args:
        labels: name of a label set or a label file; None: what lies with the masks, else numbers.
        ids: 8-bit masks hold ids of objects.
        stems: names of the pictures, where the input is a folder of them: keys may be called so.
        video: name of the input, for messages and to find it in a json of several videos.

    Raises:
        UsageError: unknown labels. InputError: no keys, one without a number, two of one number,
            a damaged mask, or values that are no classes.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of key masks; give one with 000000.png, ...")
    masks = sorted_files(folder, (".png",))
    if not masks:
        others = sorted_files(folder, PICTURES)
        why = not_png(others) if others else "holds no key masks; put PNGs there, as 000000.png"
        raise InputError(f"{folder}: {why}")

    files = _numbered(masks, stems)
    table = _json_of(folder, video)
    if table is not None:
        return _panoptic(table, files, _named(labels))
    return _indices(folder, files, _named(labels) or _beside(folder), ids=ids)


def _numbered(masks: Sequence[Path], stems: Sequence[str] | None) -> dict[int, Path]:
    """Key masks by frame number: the place among the pictures, or the number in the name."""
    places = {stem: i for i, stem in enumerate(stems or ())}
    by_name = bool(places) and all(path.stem in places for path in masks)
    files: dict[int, Path] = {}

    for path in masks:
        match = _NUMBER.search(path.stem)
        if not by_name and match is None:
            raise InputError(
                f"{path}: no number of a frame in its name; call it 000015.png for frame 15, "
                "counted from 0"
            )
        number = places[path.stem] if by_name else int(match[0] if match else 0)
        other = files.setdefault(number, path)
        if other is not path:
            raise InputError(f"{path}: is of frame {number}, as {other.name} is; keep one of them")
    return dict(sorted(files.items()))


def _named(labels: str | None) -> Labels | None:
    """Raises: UsageError, InputError: no such label set, or a file that is none."""
    if labels is None:
        return None
    if labels in available_labels():
        return load_labels(labels)
    path = Path(labels)
    if path.suffix.lower() != ".json":
        raise UsageError(
            f"label set '{labels}': unknown; try {', '.join(available_labels())}, or a .json file"
        )
    return _label_file(path)


def _beside(folder: Path) -> Labels | None:
    for path in (folder / "labels.json", folder.parent / "labels.json"):
        if path.is_file():
            return _label_file(path)
    return None


def _label_file(path: Path) -> Labels:
    try:
        return labels_from_json(parse_json(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; write {LABEL_FORM}") from error
    except ValueError as error:
        raise InputError(f"{path}: not a label file ({error}); write {LABEL_FORM}") from error


def _json_of(folder: Path, video: str) -> PanopticJson | None:
    """The panoptic json in a folder of keys or of its name beside it, cut to one video."""
    inside = [one for one in sorted_files(folder, (".json",)) if one.name != "labels.json"]
    beside = folder.with_name(f"{folder.resolve().name}.json")
    found = inside or ([beside] if beside.is_file() else [])
    if not found:
        return None
    if len(found) > 1:
        raise InputError(f"{folder}: {found[0].name} and {found[1].name}; keep the masks' own json")

    table = read_panoptic_json(found[0])
    if table.videos is None:
        return table
    if len(table.videos) > 1 and video not in table.videos:
        raise InputError(
            f"{found[0]}: lists {len(table.videos)} videos, none called '{video}'; keep one"
        )
    name = video if video in table.videos else next(iter(table.videos), "")
    return replace(table, videos=None, pictures=table.videos.get(name, ()))


def _panoptic(table: PanopticJson, files: dict[int, Path], labels: Labels | None) -> Keys:
    rows = {row.stem: row for row in table.pictures}
    missing = [path for path in files.values() if path.stem not in rows]
    if missing:
        raise InputError(f"{missing[0]}: {table.path.name} does not list it; make the json again")
    if labels is not None:
        categories = None
    else:
        labels = labels_of(table)
        categories = {number: i for i, number in enumerate(table.categories)}
    read = partial(_listed, files, rows, table, labels, categories)
    return Keys(labels, {n: str(path) for n, path in files.items()}, read, True)


def _listed(
    files: Mapping[int, Path],
    rows: Mapping[str, ListedPicture],
    table: PanopticJson,
    labels: Labels,
    categories: Mapping[int, int] | None,
    number: int,
) -> SegmentMap:
    path = files[number]
    row = rows[path.stem]
    return read_segment_map(path, row, table, labels, categories=categories, is_truth=True)


def _indices(folder: Path, files: dict[int, Path], labels: Labels | None, *, ids: bool) -> Keys:
    """Keys of one channel: classes or ids, by their labels and values."""
    named = {number: str(path) for number, path in files.items()}
    values, wide, notes = set[int](), list[Path](), list[str]()
    for path in files.values():
        raw = read_indices(path)
        values.update(count_codes(raw)[0].tolist())
        wide += [path] if raw.itemsize > 1 else []

    # Take 255 for void, but not where it is the only other value: DAVIS and many tools mean one
    # object by it.
    is_binary = values <= {0, IGNORE} and IGNORE in values
    if ids or (labels is None and max(values) >= _WIDE):
        if is_binary:
            notes.append(f"{folder}: all values are 0 and 255, so 255 is one object, and not void")
        if not ids and len(wide) < len(files):
            notes.append(
                f"{folder}: {wide[0].name} has 16 bits and others have 8, so all hold ids of "
                "objects; where they are classes, give --label-set"
            )
        objects = Labels("objects", ("object",), ((220, 20, 60),), frozenset([0]))
        void = None if is_binary else IGNORE
        read = partial(_objects_of, files, void)
        return Keys(objects, named, read, True, tuple(notes))
    table = {one: one for one in values if one != IGNORE}
    if labels is None and is_binary:
        table[IGNORE] = 1
        notes.append(f"{folder}: all values are 0 and 255, so 255 is one class, and not void")
    elif labels is not None and is_binary:
        notes.append(
            f"{folder}: all values are 0 and 255, which in label set '{labels.name}' are "
            f"'{labels.classes[0]}' and void; where 255 is to be a class, store its number"
        )
    if labels is None:
        labels = _numbered_labels(1 + max(table.values(), default=0))
    if len(labels) > IGNORE:
        return Keys(labels, named, partial(_wide_classes, files, labels), False, tuple(notes))
    rule = (
        f"labels '{labels.name}' have 0..{len(labels) - 1} and {IGNORE} is void; mend the mask, or "
        "choose --label-set"
    )
    known = {raw: one for raw, one in table.items() if one < len(labels)} or {0: 0}
    stored = mask_values(known, void=() if IGNORE in known else (IGNORE,), rule=rule)
    for path in files.values():
        stored.read(path)  # find a stray value before hours of work
    return Keys(
        labels, named, lambda number: SegmentMap(stored.read(files[number])), False, tuple(notes)
    )


def _wide_classes(files: Mapping[int, Path], labels: Labels, number: int) -> SegmentMap:
    raw = read_indices(files[number])
    wrong = count_codes(raw)[0]
    wrong = wrong[(wrong >= len(labels)) & (wrong != labels.void)]
    if len(wrong):
        raise InputError(
            f"{files[number]}: holds value {wrong[0]}; labels '{labels.name}' have "
            f"0..{len(labels) - 1} and {labels.void} is void; mend the mask, or choose --label-set"
        )
    return SegmentMap(raw.astype(labels.dtype))


def _objects_of(files: Mapping[int, Path], void: int | None, number: int) -> SegmentMap:
    return _objects(files[number], void)


def _objects(path: Path, void: int | None) -> SegmentMap:
    """Ids of objects of one class; 0, and `void` in 8 bits, belong to none."""
    raw = read_indices(path)
    if raw.dtype == np.uint8 and void is not None:
        raw = np.where(raw == void, np.uint8(VOID), raw)
    ids = np.asarray(raw, np.uint32)
    found = count_codes(ids)[0].tolist()
    class_of = dict.fromkeys((one for one in found if one != VOID), 0)
    return SegmentMap(ids, segments_of_ids(ids, class_of, things=frozenset([0])))


def _numbered_labels(count: int) -> Labels:
    """Classes of which nobody knows more than their numbers."""
    colours = [(0, 0, 0), *map(tuple, distinct_colours(max(count - 1, 1)).tolist())][:count]
    names = ("background", *(f"class {i}" for i in range(1, count)))
    return Labels("numbers", names, tuple(colours), frozenset())
