"""LabelMe's JSON, one beside each picture, as a data set."""

from __future__ import annotations

import base64
import binascii
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

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
from vidparse.data.folders import PICTURES, sorted_files, sorted_folders
from vidparse.data.pictures import decoded_bits
from vidparse.data.shapes import (
    Listed,
    Polygons,
    Region,
    Shape,
    dataset_of,
    ellipse,
    left_out,
    made_labels,
)
from vidparse.data.tool_folders import (
    IMAGES,
    FramesBeside,
    free_name,
    has_records,
    head_of,
    no_record,
    own_labels,
    records_in,
    split_bases,
    split_folder,
)
from vidparse.errors import InputError
from vidparse.filenames import name_below
from vidparse.labels import Labels
from vidparse.limits import check_size
from vidparse.textfiles import (
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

_MOST_GROUPS = 1 << 23
_SKIPPED = ("point", "points", "line", "linestrip")  # that cover no pixel


def open_labelme(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """Every JSON of LabelMe in the folder, its images/ and the folders in these, which are videos.

    A JSON by itself is a data set of its picture. Polygons, rectangles, circles and masks are read,
    later ones on top. Shapes of one label and group are one object; one without a group is an
    object of its own. Classes are those of classes.json beside, else the labels of all splits by
    name. Pictures without shapes count as unlabelled.

    Raises:
        InputError: no such JSON, or one with an invalid value.
    """
    base = split_folder(root, split, FORMAT.splits(root))
    groups = {base: [root]} if root.is_file() else _groups(base)
    records = {path: _record(path) for paths in groups.values() for path in paths}
    if not records:
        raise no_record(base, "JSON of LabelMe", "save the annotations there")

    # Take the classes of all splits: one may lack some that the others have.
    labels = own_labels(root, base)
    if labels is None:
        bases = [one for one in split_bases(root, base, FORMAT.splits(root)) if one != base]
        paths = [path for one in bases for found in _groups(one).values() for path in found]
        labels = _labels(records | {path: _record(path) for path in paths})

    class_ids = {name: i for i, name in enumerate(labels.classes)}
    videos, listed = list[Video](), dict[tuple[str, int], Listed]()
    others, zero = Counter[str](), _number_of_zero(records)
    for folder, paths in groups.items():
        video, frames = free_name(folder.name, [one.name for one in videos]), list[FrameRecord]()
        for path in paths:
            try:
                image, found = _listed(path, records[path], class_ids, others, zero)
            except (KeyError, TypeError, ValueError) as error:
                on_missing(InputError(f"{path}: {fault_of(error)}; correct or remove it"))
                continue
            if not image.is_file():
                on_missing(InputError(f"{path}: no picture {image.name}; put it beside"))
                continue
            listed[video, len(frames)] = found
            frames.append(
                FrameRecord(video, path.stem, len(frames), image, path, bool(found.regions))
            )
        if frames:
            videos.append(Video(video, tuple(frames), math.inf))
    return dataset_of(
        "labelme",
        split,
        labels,
        videos,
        listed,
        read_image=FramesBeside({}),
        notes=left_out("labelme", others),
    )


def _groups(base: Path) -> dict[Path, list[Path]]:
    """The records of a split by their folders. Raises: InputError: a damaged one."""
    folders = [base, base / IMAGES, *sorted_folders(base / IMAGES), *sorted_folders(base)]
    groups = {}
    for folder in dict.fromkeys(folders):
        groups[folder] = records_in(folder, is_labelme, ".json")
        _check_damaged(folder, groups[folder])
    return groups


def _check_damaged(folder: Path, records: list[Path]) -> None:
    """Raises: InputError: beside a picture lies a JSON that is none of the records."""
    pictures = {path.stem for path in sorted_files(folder, PICTURES)} if records else set()
    for path in sorted_files(folder, (".json",)) if pictures else []:
        if path.stem in pictures and path not in records:
            raise InputError(
                f"{path}: is beside a picture and no JSON of LabelMe; save it again with LabelMe, "
                "or remove it"
            )


def is_labelme(path: Path) -> bool:
    """True for a file that begins as LabelMe's do."""
    head = head_of(path).lstrip()
    return head.startswith(b"{") and b'"shapes"' in head and b'"version"' in head


def _record(path: Path) -> JsonTable:
    """Raises: InputError: it is no table."""
    try:
        return as_table(read_json(path), "the record")
    except TypeError as error:
        raise InputError(f"{path}: {error}; save it again with LabelMe") from error


def _labels(records: dict[Path, JsonTable]) -> Labels:
    """Raises: InputError: no class is named, or too many are."""
    names: set[str] = set()
    path = next(iter(records))
    try:
        for place, record in records.items():
            path = place  # for the message
            for shape in as_tables(record["shapes"], "shapes"):
                names.add(as_word(shape["label"], "label"))
        return made_labels("labelme", sorted(names))
    except (KeyError, TypeError, ValueError) as error:
        what = fault_of(error)
        raise InputError(f"{path}: {what}; correct it, or put classes.json beside") from error


def _number_of_zero(records: dict[Path, JsonTable]) -> int:
    """The number for group 0, above all others: to us 0 is no object."""
    shapes = (record.get("shapes") for record in records.values())
    rows = (one for listed in shapes if isinstance(listed, list) for one in listed)
    groups = [one.get("group_id") for one in rows if isinstance(one, dict)]
    known = [one for one in groups if isinstance(one, int) and one <= _MOST_GROUPS]
    return max(known, default=0) + 1


def _listed(
    path: Path, record: JsonTable, class_ids: dict[str, int], others: Counter[str], zero: int
) -> tuple[Path, Listed]:
    """The picture of a record and its regions; counts what covers no pixel in `others`.

    Args:
        zero: the number for group 0.

    Raises:
        KeyError, TypeError, ValueError: it has an invalid value.
    """
    size_hw = (
        as_whole(record["imageHeight"], "imageHeight", 1),
        as_whole(record["imageWidth"], "imageWidth", 1),
    )
    check_size(str(path), size_hw)
    name = PurePosixPath(as_word(record["imagePath"], "imagePath").replace("\\", "/")).name
    image = path.parent / name_below(name, path)
    if image.suffix.lower() not in PICTURES:
        raise ValueError(f"imagePath {name} is no picture")

    regions = []
    for shape in as_tables(record["shapes"], "shapes"):
        label, kind = as_word(shape["label"], "label"), shape.get("shape_type", "polygon")
        if kind in _SKIPPED:
            others[str(kind)] += 1
            continue
        if label not in class_ids:
            raise ValueError(f"label '{label}' is none of the classes")
        group = shape.get("group_id")
        number = 0 if group is None else as_whole(group, "group_id", 0, _MOST_GROUPS) or zero
        regions.append(Region(class_ids[label], _shape(shape, str(kind)), number))
    return image, Listed(str(path), size_hw, tuple(regions))


@dataclass(frozen=True, slots=True)
class _Mask:
    """LabelMe's AI mask: a PNG of 0 and 1, or 255, of the box between two pixels, both inside it.

    data: of the PNG. box: left, top, right, bottom.
    """

    data: bytes
    box: tuple[int, int, int, int]

    def drawn(self, size_hw: tuple[int, int]) -> tuple[int, int, np.ndarray]:
        """As `Shape.drawn`."""
        left, top, right, bottom = self.box
        mask = decoded_bits(self.data)
        if mask.shape != (bottom + 1 - top, right + 1 - left):
            height, width = mask.shape
            raise ValueError(
                f"its mask is {width}x{height}, its box {right + 1 - left}x{bottom + 1 - top}"
            )
        if min(left, top) < 0 or right >= size_hw[1] or bottom >= size_hw[0]:
            raise ValueError("its mask is not inside the picture")
        return top, left, mask


def _shape(shape: JsonTable, kind: str) -> Shape:
    """Raises: KeyError, TypeError, ValueError: it has an invalid value."""
    pairs = [
        [as_number(one, "a coordinate") for one in as_list(pair, "a point")]
        for pair in as_list(shape["points"], "points")
    ]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("a point has two coordinates")

    points = np.array(pairs, float)
    if kind == "mask":
        return _mask(shape, points)

    # Make the corners of a box from its two points.
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    elif kind == "circle" and len(points) == 2:
        radius = np.hypot(*(points[1] - points[0]))
        points = points[0] + ellipse(radius, radius)
    elif kind not in ("polygon", "rectangle"):
        raise ValueError(
            f"a shape of type {kind}; polygons, rectangles, circles and masks are read"
        )
    if len(points) < 3:
        raise ValueError(f"{len(points)} points are no {kind}")
    return Polygons((points,))


def _mask(shape: JsonTable, points: np.ndarray) -> _Mask:
    """Raises: KeyError, TypeError, ValueError: it has an invalid value."""
    if len(points) != 2:
        raise ValueError(f"{len(points)} points are no box of a mask")
    try:
        data = base64.b64decode(as_word(shape["mask"], "mask"), validate=True)
    except binascii.Error as error:
        raise ValueError(f"its mask is no base64 ({error})") from error
    if not (np.abs(points) < 1 << 30).all():
        raise ValueError("its box lies outside any picture")
    left, top, right, bottom = np.rint(points).astype(int).reshape(-1).tolist()
    return _Mask(data, (left, top, right, bottom))


def _matches(root: Path) -> bool:
    deeper = [one for one in (root / IMAGES, *sorted_folders(root / IMAGES))]
    return has_records(root, is_labelme, ".json") or any(
        records_in(one, is_labelme, ".json") for one in deeper if one.is_dir()
    )


FORMAT = Format(
    open=open_labelme,
    sign="a JSON of LabelMe beside each picture",
    matches=lambda root: _matches(root) or any(map(_matches, _parts(root))),
    splits=lambda root: tuple(part.name for part in _parts(root) if _matches(part)) or (ALL,),
    every_frame=False,
    file="a JSON of LabelMe",
)


def _parts(root: Path) -> list[Path]:
    """The folders of splits."""
    return [root / name for name in SPLITS if (root / name).is_dir()]
