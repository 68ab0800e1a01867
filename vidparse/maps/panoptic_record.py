"""A panoptic json by lines: each picture has one, so that videos merge without holding the file.

It is written as VIPSeg has it: the categories stand first, then two lists by video, "videos" with
its pictures and their sizes, "annotations" with the segments in each. So a prediction also reads
as ground truth.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypedDict

from vidparse.labels import Labels
from vidparse.maps.segment_map import Segment
from vidparse.textfiles import JsonTable, as_table, as_tables, parse_json

_SECTIONS = {"videos": "images", "annotations": "annotations"}  # list of videos -> list in each
_BORDERS = (b"],\n", b'"annotations": [\n', b"]\n", b"}\n")
Lines = Callable[[], Iterator[bytes]]  # json objects, one a picture


@dataclass(frozen=True, slots=True)
class VideoLines:
    """One video of the json, read line by line. `images` is None where sizes are not known."""

    images: Lines | None
    annotations: Lines


@dataclass(frozen=True, slots=True)
class PanopticRecord:
    """A json: its videos by name, and the rest as `head` ("categories", "info", ...)."""

    head: JsonTable
    videos: dict[str, VideoLines]


class Category(TypedDict):
    """One entry of "categories"; `isthing` is 0 or 1."""

    id: int
    name: str
    isthing: int
    color: list[int]


def categories_of(labels: Labels) -> list[Category]:
    """The "categories" of a label set; ids are class ids, from 0."""
    return [
        {"id": i, "name": name, "isthing": int(i in labels.things), "color": list(colour)}
        for i, (name, colour) in enumerate(zip(labels.classes, labels.colours, strict=True))
    ]


def annotation_line(stem: str, segments: Iterable[Segment]) -> bytes:
    """The segments of one picture."""
    rows = [
        {
            "id": segment.id,
            "category_id": segment.class_id,
            "iscrowd": int(segment.is_crowd),
            "bbox": list(segment.box),
            "area": segment.area,
        }
        for segment in segments
    ]
    return _line({"file_name": f"{stem}.png", "image_id": stem, "segments_info": rows})


def image_line(annotation: bytes, size_hw: tuple[int, int]) -> bytes:
    """The entry in "videos" of the picture that `annotation` is about."""
    name = as_table(parse_json(annotation), "the annotation")["image_id"]
    height, width = size_hw
    return _line({"id": name, "width": width, "height": height, "file_name": f"{name}.png"})


def read_record(path: Path) -> PanopticRecord:
    """A json of videos; only where they stand is kept of one that `write_record` made.

    Raises:
        OSError: it cannot be read.
        ValueError: damaged, or not grouped by video; the message has the reason.
    """
    with path.open("rb") as file:
        first = file.readline()
        if file.readline() == b'"videos": [\n':
            return _scanned(path, first, file)
    return _parsed(path.read_bytes())


def write_record(
    file: BinaryIO, head: Mapping[str, object], videos: Mapping[str, VideoLines]
) -> None:
    """The whole json, videos in order of name; `head` is not empty."""
    file.write(_line(dict(head))[:-1] + b",\n")
    for section, inner in _SECTIONS.items():
        file.write(f'"{section}": [\n'.encode())
        listed = [(name, getattr(videos[name], inner)) for name in sorted(videos)]
        listed = [(name, lines) for name, lines in listed if lines is not None]
        for i, (name, lines) in enumerate(listed):
            file.write(_line({"video_id": name})[:-1] + f', "{inner}": [\n'.encode())
            ending = b""
            for line in lines():
                file.write(ending + line)
                ending = b",\n"
            file.write((b"\n" if ending else b"") + b"]}")
            file.write(b",\n" if i + 1 < len(listed) else b"\n")
        file.write(b"],\n" if section == "videos" else b"]\n")
    file.write(b"}\n")


def _line(record: Mapping[str, object]) -> bytes:
    return json.dumps(record).encode("ascii")


def _scanned(path: Path, first: bytes, file: BinaryIO) -> PanopticRecord:
    """Places of the lines of each video in a file by `write_record`; each line is checked.

    Raises:
        ValueError: damaged; a new json that takes its lines over would be damaged, too.
    """
    spans: dict[str, dict[str, Lines]] = {section: {} for section in _SECTIONS}
    section, name, start, position = "videos", None, 0, file.tell()
    number, line = 2, first
    for number, line in enumerate(file, start=3):
        position += len(line)
        if name is None and line.startswith(b'{"video_id"'):
            name, start = _checked(line + b"]}", number, "video_id"), position
        elif name is not None and line in (b"]},\n", b"]}\n"):
            spans[section][name] = partial(_between, path, start, position - len(line))
            name = None
        elif name is None and line in _BORDERS:
            section = "annotations" if line == _BORDERS[1] else section
        elif name is None:
            raise ValueError(f"damaged in line {number}")
        else:
            _checked(line.rstrip(b",\n"), number, "file_name")

    # Refuse a file that ends early: its lines would go on into the merged one.
    if line != b"}\n":
        raise ValueError(f"damaged: it ends early, in line {number}")

    try:
        head = as_table(parse_json(first[:-2] + b"}"), "the head")
    except (TypeError, ValueError) as error:
        raise ValueError(f"damaged in line 1 ({error})") from error
    images, annotations = spans["videos"], spans["annotations"]
    return PanopticRecord(
        head, {name: VideoLines(images.get(name), lines) for name, lines in annotations.items()}
    )


def _checked(line: bytes, number: int, field: str) -> str:
    """A field of the table that a line holds. Raises: ValueError: it holds none."""
    try:
        return str(as_table(parse_json(line), "the line")[field])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"damaged in line {number} ({error})") from error


def _between(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while file.tell() < end:
            yield file.readline().rstrip(b",\n")


def _parsed(text: bytes) -> PanopticRecord:
    """A json from elsewhere, held whole."""
    try:
        record = as_table(parse_json(text), "the record")
        head = {key: value for key, value in record.items() if key not in _SECTIONS}
        images = {
            str(video["video_id"]): as_tables(video["images"], "images")
            for video in as_tables(record.get("videos") or [], "videos")
        }
        annotations = {
            str(video["video_id"]): as_tables(video["annotations"], "annotations")
            for video in as_tables(record["annotations"], "annotations")
        }
    except (KeyError, TypeError) as error:
        raise ValueError("not a json of videos with annotations") from error

    # Sizes are left out by some tools.
    return PanopticRecord(
        head,
        {
            name: VideoLines(_lines(images[name]) if name in images else None, _lines(frames))
            for name, frames in annotations.items()
        },
    )


def _lines(records: list[JsonTable]) -> Lines:
    return lambda: map(_line, records)
