"""Label Studio's JSON of pictures, with brushes, polygons and rectangles, as a data set."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from vidparse.data.dataset import Dataset, Format, FrameRecord, OnMissing, Video, refuse
from vidparse.data.shapes import (
    Brush,
    Listed,
    Polygons,
    Region,
    Shape,
    dataset_of,
    made_labels,
)
from vidparse.data.tool_folders import (
    FramesBeside,
    PicturesBeside,
    colour_of,
    has_records,
    head_of,
    own_labels,
    record_splits,
    records_of,
    split_folder,
)
from vidparse.errors import InputError
from vidparse.labels import Labels
from vidparse.limits import check_size
from vidparse.textfiles import (
    Json,
    JsonTable,
    as_list,
    as_number,
    as_table,
    as_tables,
    as_whole,
    as_word,
    read_json,
    xml_events,
)

_NOTE = re.compile(r"\bid (\d{1,9})\b")  # in the note of a region: the number of its object
_KINDS = ("brushlabels", "polygonlabels", "rectanglelabels")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # before the name of a file that was uploaded
_BEGIN = re.compile(rb'\s*\[\s*(\{[^\0]*"(data|annotations|predictions|image)"|\])')


def open_label_studio(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """Every export of Label Studio (JSON) in the folder, with the pictures in images/ or beside.

    Brushes, polygons and rectangles are read, later ones on top. Of a task's annotations the last
    one that was not cancelled counts, and without any its last prediction. A region whose note has
    "id 7" is of object 7; every other one is an object of its own. Classes are those of
    classes.json beside, else of config.xml, else as they come. Pictures without regions count as
    unlabelled.

    Raises:
        InputError: no such JSON, or one that says what cannot be.
    """
    base = split_folder(root, split)
    paths = records_of(root, base, is_label_studio, ".json")
    if not paths:
        raise InputError(f"{base}: holds no JSON of Label Studio; export the project as JSON")
    tasks = {path: _tasks(path) for path in paths}
    labels = own_labels(root, base) or _labels(base, tasks)

    class_ids = {name: i for i, name in enumerate(labels.classes)}
    frames, listed = dict[str, list[FrameRecord]](), dict[tuple[str, int], Listed]()
    for path, rows in tasks.items():
        pictures = PicturesBeside.of(path, path.stem)
        for place, task in enumerate(rows):
            where = f"{path}: task {place + 1}"
            try:
                name = _picture_name(task)
                file = pictures.find(name, PurePosixPath(name).name, _plain_name(name))
                found = _listed(task, class_ids, where)
            except (KeyError, TypeError, ValueError) as error:
                what = f"lacks {error}" if isinstance(error, KeyError) else error
                on_missing(InputError(f"{where}: {what}; correct it or export it again"))
                continue
            if file is None:
                on_missing(InputError(f"{where}: no picture {name}; put it into {base}/images"))
                continue

            # Take the folders within images/ for videos.
            video = path.stem if file.parent in (base, base / "images") else file.parent.name
            row = frames.setdefault(video, [])
            listed[video, len(row)] = found
            row.append(
                FrameRecord(video, file.stem, len(row), file, path, labelled=bool(found.regions))
            )
    videos = [Video(name, tuple(rows), math.inf) for name, rows in frames.items()]
    return dataset_of("label-studio", split, labels, videos, listed, read_image=FramesBeside({}))


def is_label_studio(path: Path) -> bool:
    """True for a file that begins as a list of tasks does."""
    return _BEGIN.match(head_of(path, 1 << 16)) is not None


def _tasks(path: Path) -> list[JsonTable]:
    """Raises: InputError: it is no list of tasks."""
    try:
        return as_tables(read_json(path), "the tasks")
    except TypeError as error:
        raise InputError(f"{path}: {error}; export the project as JSON") from error


def _picture_name(task: JsonTable) -> str:
    """A task's picture within images/, or the last part of its address."""
    data = as_table(task["data"], "data")
    address = as_word(data["image"], "data.image")
    parts = urlsplit(address)
    served = parse_qs(parts.query).get("d")
    path = PurePosixPath(unquote(parts.path) if served is None else served[-1])
    _, found, inside = path.as_posix().rpartition("/images/")
    return inside if found else path.name


def _plain_name(name: str) -> str:
    """The name of a file before it was uploaded."""
    return _UPLOADED.sub("", PurePosixPath(name).name)


def _result(task: JsonTable) -> list[JsonTable]:
    """The regions of the annotation that counts."""
    annotations = as_tables(task.get("annotations", []), "annotations")
    kept = [one for one in annotations if not one.get("was_cancelled")]
    said = kept or as_tables(task.get("predictions", []), "predictions")
    return as_tables(said[-1].get("result", []), "result") if said else []


def _listed(task: JsonTable, class_ids: dict[str, int], where: str) -> Listed:
    """Raises: KeyError, TypeError, ValueError: a region says what cannot be."""
    regions, size_hw = list[Region](), (1, 1)
    for region in _result(task):
        kind = region.get("type")
        if kind not in _KINDS:
            continue
        own_hw = (
            as_whole(region["original_height"], "original_height", 1),
            as_whole(region["original_width"], "original_width", 1),
        )
        check_size(where, own_hw)
        size_hw = size_hw if regions else own_hw

        # List a region once for each of its labels.
        value = as_table(region["value"], "value")
        names = as_list(value.get(str(kind), value.get("labels", [])), str(kind))
        for name in names:
            if name not in class_ids:
                raise ValueError(f"label '{name}' is none of the classes")
            shape = _shape(str(kind), value, own_hw)
            regions.append(Region(class_ids[str(name)], shape, _number(region)))
    return Listed(where, size_hw, tuple(regions))


def _number(region: JsonTable) -> int:
    """The number in a region's note; 0 where there is none."""
    meta = region.get("meta")
    notes = meta.get("text") if isinstance(meta, dict) else None
    found = _NOTE.search(" ".join(map(str, notes)) if isinstance(notes, list) else str(notes))
    return int(found[1]) if found else 0


def _shape(kind: str, value: JsonTable, size_hw: tuple[int, int]) -> Shape:
    """Raises: KeyError, TypeError, ValueError: it says what cannot be."""
    scale = np.array(size_hw[::-1]) / 100  # places are in percent of the sides
    if kind == "brushlabels":
        data = [as_whole(one, "a byte of rle", 0, 255) for one in as_list(value["rle"], "rle")]
        return Brush(bytes(data), size_hw)
    if kind == "polygonlabels":
        pairs = [_pair(one) for one in as_list(value["points"], "points")]
        if len(pairs) < 3:
            raise ValueError(f"{len(pairs)} points are no polygon")
        return Polygons((np.array(pairs) * scale,))

    # Turn a rectangle round its corner, as the tool does.
    x, y, width, height = (as_number(value[key], key) for key in ("x", "y", "width", "height"))
    sides = np.array([[0, 0], [width, 0], [width, height], [0, height]]) * scale
    turn = math.radians(as_number(value.get("rotation", 0), "rotation"))
    turned = sides @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return Polygons((turned + np.array([x, y]) * scale,))


def _pair(value: Json) -> list[float]:
    pair = [as_number(one, "a coordinate") for one in as_list(value, "a point")]
    if len(pair) != 2:
        raise ValueError("a point has two coordinates")
    return pair


def _labels(base: Path, tasks: dict[Path, list[JsonTable]]) -> Labels:
    """Raises: InputError: no class is named, or too many are."""
    config = base / "config.xml"
    colours = dict(_config_labels(config)) if config.is_file() else {}
    path = next(iter(tasks))
    try:
        for rows in tasks.values():
            for task in rows:
                for region in _result(task):
                    value = region.get("value")
                    names = value.get(str(region.get("type"))) if isinstance(value, dict) else None
                    for name in names if isinstance(names, list) else ():
                        colours.setdefault(str(name), (0, 0, 0))
        looks = {name: colour for name, colour in colours.items() if any(colour)}
        return made_labels(path.stem, [*colours], colours=looks)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}; put config.xml or classes.json beside it") from error


def _config_labels(path: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Names and colours of a labelling interface. Raises: InputError: it is no XML."""
    for name, fields, _ in xml_events(path):
        if name == "Label" and fields is not None and fields.get("value"):
            yield fields["value"], colour_of(fields.get("background", ""))


FORMAT = Format(
    open=open_label_studio,
    sign="a JSON of Label Studio",
    matches=lambda root: has_records(root, is_label_studio, ".json"),
    splits=lambda root: record_splits(root, is_label_studio, ".json"),
    every_frame=False,
)
