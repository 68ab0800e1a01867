"""CVAT's XML 1.1, of videos and of images, as a data set."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vidparse.data.dataset import Dataset, Format, FrameRecord, OnMissing, Video, refuse
from vidparse.data.shapes import (
    BoxedCounts,
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
    FramesBeside,
    PicturesBeside,
    colour_of,
    free_name,
    has_records,
    head_of,
    no_record,
    own_labels,
    record_splits,
    record_stem,
    records_of,
    split_folder,
    video_beside,
)
from vidparse.errors import InputError
from vidparse.labels import Labels
from vidparse.limits import check_size
from vidparse.sinks.cvat import DUMPED_BY, TRACK_ID
from vidparse.textfiles import fault_of, xml_events

_SHAPES = ("mask", "polygon", "box", "ellipse")  # that cover pixels
_OTHERS = ("polyline", "points", "cuboid", "skeleton", "tag")
_STEP = re.compile(r"step\s*=\s*(\d+)")  # of a task that takes every so many frames
_MOST_FRAMES = 10**7
_MOST_LISTED = 150_000  # frames of a task in which nothing need be drawn


def open_cvat(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """Every XML of CVAT in the folder, or in that of the split, with its pictures or its video.

    Masks, polygons, boxes and ellipses are read, the higher z_order on top. An object is known by
    its attribute `track_id`, its group, or its track; a shape without any is an object of its own.
    A frame without a shape counts as unlabelled. Classes are those of classes.json beside, else the
    labels of the task: things are those with the attribute `track_id` in a file that vidparse
    wrote, else all.

    Raises:
        InputError: no such XML, or one with an invalid value.
    """
    base = split_folder(root, split, FORMAT.splits(root))
    paths = records_of(root, base, is_cvat, ".xml")
    if not paths:
        raise no_record(base, "XML of CVAT", "export the task as CVAT 1.1")
    records = [_read(path) for path in paths]
    labels = own_labels(root, base) or _labels(records)

    listed, files = dict[tuple[str, int], Listed](), dict[str, Path]()
    videos: list[Video] = []
    for record in records:
        name = free_name(record_stem(record.path), [video.name for video in videos])
        film = video_beside(record.path, [record.source])
        if film is not None:
            files[name] = film
        video, regions = _video(record, name, labels, on_missing, has_film=film is not None)
        videos.append(video)
        listed |= regions
    others = sum((record.others for record in records), Counter[str]())
    return dataset_of(
        "cvat",
        split,
        labels,
        videos,
        listed,
        read_image=FramesBeside(files),
        notes=left_out("cvat", others),
    )


@dataclass(slots=True)
class _Drawn:
    """A shape as its element has it: its own attributes, and those of its track."""

    kind: str
    label: str
    fields: Mapping[str, str]
    track: str = ""
    number: str = ""
    group: str = ""


@dataclass(slots=True)
class _Picture:
    """An image, or a frame of a video. name: "" of a video's."""

    number: int
    name: str
    size_hw: tuple[int, int]
    shapes: list[_Drawn] = field(default_factory=list)


@dataclass(slots=True)
class _Record:
    """All of an XML."""

    path: Path
    pictures: dict[int, _Picture]
    classes: dict[str, tuple[int, int, int]]
    tracked: set[str]
    ours: bool
    source: str
    tracks: dict[str, int]  # number of each track that is one object
    others: Counter[str]  # of what is not read, by kind


def is_cvat(path: Path) -> bool:
    """True for a file that begins as CVAT's annotations do."""
    return b"<annotations" in head_of(path)


def _read(path: Path) -> _Record:
    """Raises: InputError: it is no such XML; the file and the place are named."""
    try:
        return _Reading(path).record()
    except (KeyError, ValueError) as error:
        what = fault_of(error, "an element")
        raise InputError(f"{path}: {what}; export it again") from error


class _Reading:
    """The walk through an XML: elements as they open and close."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record = _Record(path, {}, {}, set(), False, "", {}, Counter())
        self._size, self._width, self._height = 0, 0, 0
        self._start, self._step = 0, 1  # of the frames of the video that a task takes
        self._label = ""  # of the task's list that is open
        self._holder: Mapping[str, str] | None = None  # the open track or image
        self._is_track = False
        self._shape: _Drawn | None = None
        self._image: _Picture | None = None
        self._inside: list[str] = []

    def record(self) -> _Record:
        for name, attributes, text in xml_events(self._path):
            if attributes is None:
                self._close(name, text)
                self._inside.pop()
            else:
                self._inside.append(name)
                self._open(name, attributes)
        self._add_empty_frames()
        return self._record

    def _open(self, name: str, fields: dict[str, str]) -> None:
        if name in ("track", "image"):
            self._holder, self._is_track = fields, name == "track"
            self._image = None if self._is_track else self._add_image(fields)
        elif name in _SHAPES and self._holder is not None:
            label = self._holder["label"] if self._is_track else fields["label"]
            self._shape = _Drawn(name, label, fields)
            self._shape.group = self._holder.get("group_id", "") or fields.get("group_id", "")
            self._shape.track = self._holder["id"] if self._is_track else ""
        elif name in _OTHERS and self._inside[-2] in ("track", "image"):
            self._record.others[name] += 1
        elif name == "attribute" and self._shape is not None:
            self._shape.number = "?" if fields.get("name") == TRACK_ID else self._shape.number

    def _close(self, name: str, text: str) -> None:
        if self._holder is None:
            self._close_of_task(name, text.strip())
        elif name == "attribute" and self._shape is not None and self._shape.number == "?":
            self._shape.number = text.strip()
        elif name in _SHAPES and self._shape is not None:
            self._add_shape(self._shape)
            self._shape = None
        elif name in ("track", "image"):
            self._holder = None

    def _close_of_task(self, name: str, text: str) -> None:
        record, above = self._record, self._inside[-2] if len(self._inside) > 1 else ""
        if (above, name) == ("label", "name"):
            self._label = text
            record.classes.setdefault(text, (0, 0, 0))
        elif (above, name) == ("label", "color"):
            record.classes[self._label] = colour_of(text)
        elif (above, name) == ("attribute", "name") and text == TRACK_ID:
            record.tracked.add(self._label)
        elif name == "dumped_by":
            record.ours = text == DUMPED_BY
        elif name == "source":
            record.source = text
        else:
            self._note_frames(above, name, text)

    def _note_frames(self, above: str, name: str, text: str) -> None:
        """The frames that a task takes of its video, and their size."""
        if name == "size" and text:
            self._size = _whole(text, "size")
        elif name == "start_frame" and text:
            self._start = _whole(text, "start_frame")
        elif name == "frame_filter" and (step := _STEP.fullmatch(text)):
            self._step = max(1, _whole(step[1], "frame_filter"))
        elif (above, name) == ("original_size", "width"):
            self._width = _whole(text, "width")
        elif (above, name) == ("original_size", "height"):
            self._height = _whole(text, "height")

    def _add_image(self, fields: Mapping[str, str]) -> _Picture:
        size_hw = _whole(fields["height"], "height"), _whole(fields["width"], "width")
        number = _whole(fields["id"], "id")
        check_size(f"{self._path}: image {number}", size_hw)
        if number in self._record.pictures:
            raise ValueError(f"two images have the id {number}")
        picture = _Picture(number, fields["name"], size_hw)
        self._record.pictures[number] = picture
        return picture

    def _add_shape(self, shape: _Drawn) -> None:
        if shape.fields.get("outside", "0") == "1":
            return
        picture = self._image
        if picture is None:
            number = _whole(shape.fields["frame"], "frame")
            picture = self._frame(number)

        # Take a track for an object, unless it is how CVAT writes a single mask.
        if shape.track and shape.kind != "mask":
            self._record.tracks.setdefault(shape.track, len(self._record.tracks))
        picture.shapes.append(shape)

    def _frame(self, number: int) -> _Picture:
        if number not in self._record.pictures:
            size_hw = self._height, self._width
            check_size(f"{self._path}: original_size", size_hw)
            self._record.pictures[number] = _Picture(number, "", size_hw)
        return self._record.pictures[number]

    def _add_empty_frames(self) -> None:
        """Add the frames of a video in which nothing is drawn."""
        if (self._size or 0) > _MOST_LISTED:
            raise ValueError(f"a task of {self._size} frames; it has to be below {_MOST_LISTED}")
        if self._size and self._width and not any(p.name for p in self._record.pictures.values()):
            # Count as the shapes do, by the frames of the video.
            for place in range(self._size):
                self._frame(self._start + place * self._step)


def _whole(text: str, what: str) -> int:
    if not text.strip().isdecimal() or int(text) > _MOST_FRAMES:
        raise ValueError(f"{what} '{text[:20]}' is no whole number up to {_MOST_FRAMES}")
    return int(text)


def _labels(records: list[_Record]) -> Labels:
    """Raises: InputError: the records name no class, or too many."""
    colours: dict[str, tuple[int, int, int]] = {}
    for record in records:
        colours |= record.classes
        drawn = (shape.label for one in record.pictures.values() for shape in one.shapes)
        for name in drawn:
            colours.setdefault(name, (0, 0, 0))
    tracked = {name for record in records for name in record.tracked}
    things = tracked if all(record.ours for record in records) else None
    looks = {name: colour for name, colour in colours.items() if any(colour)}
    path = records[0].path
    try:
        return made_labels(record_stem(path), [*colours], colours=looks, things=things)
    except ValueError as error:
        raise InputError(f"{path}: {error}; mend the labels of the task") from error


def _video(
    record: _Record, name: str, labels: Labels, on_missing: OnMissing, *, has_film: bool
) -> tuple[Video, dict[tuple[str, int], Listed]]:
    """The frames of a record, and what is drawn in each.

    Args:
        has_film: its video lies beside, so that pictures of other names are none of its frames.
    """
    pictures = PicturesBeside.of(record.path, name)
    class_ids = {label: i for i, label in enumerate(labels.classes)}
    numbers = _Numbers(record)
    frames, listed = [], dict[tuple[str, int], Listed]()
    for index, number in enumerate(sorted(record.pictures)):
        picture = record.pictures[number]
        stem = Path(picture.name).stem if picture.name else f"{number:06d}"
        names = (picture.name,) if picture.name else (f"frame_{number:06d}", stem)
        file = pictures.find(*names)
        if file is None and not picture.name and not has_film:
            file = pictures.at(number)

        place = f"{record.path}: {picture.name or f'frame {number}'}"
        try:
            regions = tuple(_regions(picture, class_ids, numbers))
        except (KeyError, ValueError) as error:
            what = fault_of(error, "a shape")
            on_missing(InputError(f"{place}: {what}; correct it or export it again"))
            continue
        stem = stem if file is None else file.stem
        labelled = bool(regions)
        frames.append(FrameRecord(name, stem, index, file, record.path, labelled))
        listed[name, index] = Listed(place, picture.size_hw, regions)
    return Video(name, tuple(frames)), listed


class _Numbers:
    """Numbers of objects: `track_id` as it is, then groups, then tracks, each set apart."""

    def __init__(self, record: _Record) -> None:
        shapes = [one for picture in record.pictures.values() for one in picture.shapes]
        own = [_number(one.number) for one in shapes]
        groups = [_number(one.group) for one in shapes]
        self._tracks = record.tracks
        self._groups_from = max(own, default=0) if any(own) else 0
        self._tracks_from = self._groups_from + max(groups, default=0) + 1

    def of(self, shape: _Drawn) -> int:
        """The number of a shape's object; 0 where it is of none."""
        if number := _number(shape.number):
            return number
        if group := _number(shape.group):
            return self._groups_from + group
        if shape.track in self._tracks:
            return self._tracks_from + self._tracks[shape.track]
        return 0


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _regions(
    picture: _Picture, class_ids: Mapping[str, int], numbers: _Numbers
) -> Iterator[Region]:
    """Raises: KeyError, ValueError: a shape lacks something, or is of no class."""
    layers: dict[int, list[_Drawn]] = defaultdict(list)
    for shape in picture.shapes:
        layers[int(shape.fields.get("z_order", "0") or 0)].append(shape)
    for layer in sorted(layers):
        for shape in layers[layer]:
            if shape.label not in class_ids:
                raise ValueError(f"label '{shape.label}' is none of the classes")
            yield Region(class_ids[shape.label], _shape(shape), numbers.of(shape))


def _shape(shape: _Drawn) -> Shape:
    """Raises: KeyError, ValueError: it lacks something."""
    fields = shape.fields
    if shape.kind == "mask":
        left, top, width, height = (
            _whole(fields[key], key) for key in ("left", "top", "width", "height")
        )
        return BoxedCounts(fields["rle"], (left, top, width, height))
    if shape.kind == "polygon":
        pairs = [pair.split(",") for pair in fields["points"].split(";")]
        points = np.array(pairs, float)
    elif shape.kind == "box":
        x0, y0, x1, y1 = (float(fields[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    else:
        x, y, across, down = (float(fields[key]) for key in ("cx", "cy", "rx", "ry"))
        points = np.array([x, y]) + ellipse(across, down)

    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise ValueError(f"a {shape.kind} of points that are none")

    # Turn a shape round the middle of the box that holds it.
    degrees = float(fields.get("rotation", "0") or 0)
    if not np.isfinite(degrees):
        raise ValueError(f"rotation '{fields['rotation'][:20]}' is no number")
    if degrees % 360:
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        points = turned(points - centre, degrees) + centre
    return Polygons((points,))


FORMAT = Format(
    open=open_cvat,
    sign="an XML of CVAT",
    matches=lambda root: has_records(root, is_cvat, ".xml"),
    splits=lambda root: record_splits(root, is_cvat, ".xml"),
    every_frame=False,
    file="an XML of CVAT",
)
