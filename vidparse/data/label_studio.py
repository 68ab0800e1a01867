"""Label Studio's JSON of pictures and videos, with all shapes that cover pixels, as a data set."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from vidparse.data.dataset import Dataset, Format, FrameRecord, OnMissing, Video, refuse
from vidparse.data.label_studio_video import (
    KIND,
    NOTE,
    box_of,
    check_frames,
    film_of,
    regions_at,
    tracks_of,
)
from vidparse.data.shapes import (
    Brush,
    Listed,
    Polygons,
    Region,
    Shape,
    dataset_of,
    ellipse,
    left_out,
    made_labels,
    turned,
)
from vidparse.data.tool_folders import (
    IMAGES,
    FramesBeside,
    PicturesBeside,
    colour_of,
    free_name,
    has_records,
    head_of,
    no_record,
    own_labels,
    record_splits,
    records_of,
    split_bases,
    split_folder,
)
from vidparse.errors import InputError
from vidparse.filenames import is_file
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
    fault_of,
    read_json,
    xml_events,
)
from vidparse.video.inputs import VIDEO_SUFFIXES

_NOTE = re.compile(r"\bid (\d{1,9})\b")  # in the note of a region: the number of its object
_KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # before the name of a file that was uploaded
_FILMS = tuple(VIDEO_SUFFIXES)
_BEGIN = re.compile(rb'\s*\[\s*(\{[^\0]*"(data|annotations|predictions|image)"|\])')


def open_label_studio(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """Every export of Label Studio (JSON) in the folder, with the pictures in images/ or beside.

    Brushes, polygons, rectangles and ellipses are read, later ones on top, and boxes in videos,
    which lie in the folder, in videos/, or as pictures in images/<name>/. Of a task's annotations
    the last one that was not cancelled counts, and without any its last prediction. A region whose
    note has "id 7" is of object 7; every other one is an object of its own, in a video through all
    of its frames. Classes are those of classes.json beside, else of config.xml and then as they
    come, over all splits. Pictures without regions count as unlabelled.

    Raises:
        InputError: no such JSON, or one with an invalid value.
    """
    base = split_folder(root, split, FORMAT.splits(root))
    paths = records_of(root, base, is_label_studio, ".json")
    if not paths:
        raise no_record(base, "JSON of Label Studio", "export the project as JSON")
    tasks = {path: _tasks(path) for path in paths}
    labels = own_labels(root, base) or _labels(root, base, tasks)

    gathered = _Gathered(base, {name: i for i, name in enumerate(labels.classes)})
    for path, rows in tasks.items():
        pictures = PicturesBeside.of(path, path.stem)
        for place, task in enumerate(rows):
            where = f"{path}: task {place + 1}"
            try:
                if _video_address(task):
                    gathered.add_video(task, path, where)
                else:
                    gathered.add_picture(task, path, pictures, where)
            except InputError as error:
                on_missing(error)
            except (KeyError, TypeError, ValueError) as error:
                what = fault_of(error)
                on_missing(InputError(f"{where}: {what}; correct it or export it again"))
    return dataset_of(
        "label-studio",
        split,
        labels,
        gathered.videos(),
        gathered.listed,
        read_image=FramesBeside(gathered.films),
        notes=(
            *((f"label-studio: {NOTE}",) if gathered.intervals else ()),
            *left_out("label-studio", gathered.others),
        ),
    )


class _Gathered:
    """The frames of all tasks, and what is drawn in them.

    Attributes:
        films, intervals: files of videos, and seconds from frame to frame, by name.
        others: numbers of regions that are not read, by kind.
    """

    def __init__(self, base: Path, class_ids: Mapping[str, int]) -> None:
        self._base, self._class_ids = base, class_ids
        self._frames: dict[str, list[FrameRecord]] = {}
        self.listed: dict[tuple[str, int], Listed] = {}
        self.films: dict[str, Path] = {}
        self.intervals: dict[str, float | None] = {}
        self.others = Counter[str]()

    def videos(self) -> list[Video]:
        return [
            Video(name, tuple(rows), self.intervals.get(name, math.inf))
            for name, rows in self._frames.items()
        ]

    def add_picture(
        self, task: JsonTable, path: Path, pictures: PicturesBeside, where: str
    ) -> None:
        """Raises: InputError, KeyError, TypeError, ValueError: it has an invalid value."""
        name = _picture_name(task)
        file = pictures.find(name, PurePosixPath(name).name, _plain_name(name))
        found = _listed(task, self._class_ids, where, self.others)
        if file is None:
            raise InputError(f"{where}: no picture {name}; put it into {self._base}/{IMAGES}")

        # Take the folders within images/ for videos.
        own = (self._base, self._base / IMAGES)
        video = path.stem if file.parent in own else file.parent.name
        self._add(video, file.stem, file, found, path)

    def add_video(self, task: JsonTable, path: Path, where: str) -> None:
        """Raises: InputError, KeyError, TypeError, ValueError: it has an invalid value."""
        name = PurePosixPath(_served_path(_video_address(task))).name
        drawn = _result(task)
        result = [one for one in drawn if one.get("type") == KIND]
        self.others.update(str(one.get("type")) for one in drawn if one.get("type") != KIND)
        values = [as_table(one["value"], "value") for one in result]
        film = film_of(path, (name, _plain_name(name)), values)
        check_size(where, film.size_hw)
        tracks = tracks_of(result, self._class_ids, [_number(one) for one in result])
        check_frames(tracks, film)

        # Distinguish videos of one name: two tasks may be of the same.
        video = free_name(PurePosixPath(_plain_name(name)).stem, self._frames)
        self._frames[video], self.intervals[video] = [], film.interval_s
        if film.video is not None:
            self.films[video] = film.video
        for index in range(film.frames):
            regions = tuple(regions_at(tracks, 1 + index * film.step))
            picture = film.pictures[index] if film.pictures else None
            frame_stem = f"{index:06d}" if picture is None else picture.stem
            place = f"{where}, frame {index + 1}"
            self._add(video, frame_stem, picture, Listed(place, film.size_hw, regions), path)

    def _add(self, video: str, stem: str, file: Path | None, found: Listed, record: Path) -> None:
        rows = self._frames.setdefault(video, [])
        self.listed[video, len(rows)] = found
        labelled = bool(found.regions)
        rows.append(FrameRecord(video, stem, len(rows), file, record, labelled))


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
    path = _served_path(as_word(data["image"], "data.image"))
    _, found, inside = path.rpartition(f"/{IMAGES}/")
    return inside if found else PurePosixPath(path).name


def _video_address(task: JsonTable) -> str:
    """The address of a task's video; "" of a picture's."""
    data = as_table(task["data"], "data")
    if "image" in data:
        return ""
    if "video" in data:
        return as_word(data["video"], "data.video")
    words = [one for one in data.values() if isinstance(one, str)]
    return next((one for one in words if _served_path(one).lower().endswith(_FILMS)), "")


def _served_path(address: str) -> str:
    """The path of a file in its address; that of local storage is in the query."""
    parts = urlsplit(address)
    served = parse_qs(parts.query).get("d")
    return PurePosixPath(unquote(parts.path) if served is None else served[-1]).as_posix()


def _plain_name(name: str) -> str:
    """The name of a file before it was uploaded."""
    return _UPLOADED.sub("", PurePosixPath(name).name)


def _result(task: JsonTable) -> list[JsonTable]:
    """The regions of the annotation that counts."""
    annotations = as_tables(task.get("annotations", []), "annotations")
    kept = [one for one in annotations if not one.get("was_cancelled")]
    chosen = kept or as_tables(task.get("predictions", []), "predictions")
    return as_tables(chosen[-1].get("result", []), "result") if chosen else []


def _listed(
    task: JsonTable, class_ids: Mapping[str, int], where: str, others: Counter[str]
) -> Listed:
    """The regions of a task; counts what is not read in `others`.

    Raises:
        KeyError, TypeError, ValueError: a region has an invalid value.
    """
    regions, size_hw = list[Region](), (1, 1)
    for region in _result(task):
        kind = region.get("type")
        if kind not in _KINDS:
            others[str(kind)] += 1
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
    """Raises: KeyError, TypeError, ValueError: it has an invalid value."""
    if kind == "brushlabels":
        data = [as_whole(one, "a byte of rle", 0, 255) for one in as_list(value["rle"], "rle")]
        return Brush(bytes(data), size_hw)
    if kind == "polygonlabels":
        pairs = [_pair(one) for one in as_list(value["points"], "points")]
        if len(pairs) < 3:
            raise ValueError(f"{len(pairs)} points are no polygon")
        return Polygons((np.array(pairs) * size_hw[::-1] / 100,))  # places are in percent

    if kind == "ellipselabels":
        return _ellipse(value, size_hw)
    return box_of(value)


def _ellipse(value: JsonTable, size_hw: tuple[int, int]) -> Polygons:
    """An ellipse in percent of the sides, turned clockwise round its centre by degrees."""
    x, y, across, down = (as_number(value[key], key) for key in ("x", "y", "radiusX", "radiusY"))
    degrees = as_number(value.get("rotation", 0), "rotation")

    # Turn in pixels: percents of the two sides are of different lengths.
    scale = np.array(size_hw[::-1]) / 100
    points = turned(ellipse(across, down) * scale, degrees)
    return Polygons((points + np.array([x, y]) * scale,))


def _pair(value: Json) -> list[float]:
    pair = [as_number(one, "a coordinate") for one in as_list(value, "a point")]
    if len(pair) != 2:
        raise ValueError("a point has two coordinates")
    return pair


def _labels(root: Path, base: Path, tasks: dict[Path, list[JsonTable]]) -> Labels:
    """Raises: InputError: no class is named, or too many are."""
    places = [folder / "config.xml" for folder in (base, root)]
    config = next((one for one in places if is_file(one)), None)
    colours = dict(_config_labels(config)) if config is not None else {}
    path = next(iter(tasks))

    # Go through all splits in one order: one may lack classes, or have others first.
    every = dict[Path, list[JsonTable]]()
    for folder in split_bases(root, base, FORMAT.splits(root)):
        paths = records_of(root, folder, is_label_studio, ".json")
        every |= {one: tasks[one] if one in tasks else _tasks(one) for one in paths}
    try:
        for rows in every.values():
            for task in rows:
                for region in _result(task):
                    value = region.get("value")
                    if not isinstance(value, dict):
                        continue
                    names = value.get(str(region.get("type")), value.get("labels"))
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
    file="a JSON of Label Studio",
)
