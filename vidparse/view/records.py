"""The records of a run, as its jsonl has them: a header, then what was seen in each frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from vidparse.errors import InputError
from vidparse.labels import Labels, labels_from_json
from vidparse.sinks.records import SCHEMA
from vidparse.textfiles import (
    Json,
    as_list,
    as_table,
    as_tables,
    as_whole,
    as_word,
    fault_of,
    parse_json,
)

_AGAIN = "make it again with segment --save jsonl"
_MOST_FRAMES = 1 << 31
_LATEST = 1 << 62  # pts


class Region(NamedTuple):
    """A segment of a frame.

    area: pixels. box: x, y, width, height. rle: its mask as COCO has it, of runs with --rle.
    """

    id: int
    class_id: int
    is_thing: bool
    area: int
    box: tuple[int, int, int, int]
    is_scored: bool
    rle: Json


class FrameRecord(NamedTuple):
    """A line of the records: the frame's number in the video, its time, its name and regions."""

    number: int
    pts: int
    name: str | None
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: the model, the command, the labels and the video that was read.

    size_hw: of the video. words: of the command.
    """

    model: str
    words: tuple[str, ...]
    labels: Labels
    source: str
    size_hw: tuple[int, int]
    time_base: Fraction


def read_header(path: Path) -> Header:
    """The header of a jsonl file.

    Raises:
        InputError: it cannot be read, or is none that `segment` wrote.
    """
    for line in _lines(path):
        try:
            return _header(as_table(parse_json(line, any_bytes=True), "the first line"))
        except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
            raise InputError(
                f"{path}: no records of segment ({fault_of(error)}); {_AGAIN}"
            ) from error
    raise InputError(f"{path}: is empty; {_AGAIN}")


def _header(table: dict[str, Json]) -> Header:
    if table.get("schema") != SCHEMA:
        raise ValueError(f"the first line does not name {SCHEMA}")
    source = as_table(table["source"], "source")
    width, height = (as_whole(source[side], side, 1) for side in ("width", "height"))
    base = Fraction(as_word(source["time_base"], "time_base"))
    if base <= 0:
        raise ValueError("time_base is to be above zero")

    words = tuple(as_word(word, "argv") for word in as_list(table.get("argv", []), "argv"))
    return Header(
        as_word(table.get("model", ""), "model"),
        words,
        labels_from_json(table["labels"]),
        as_word(source["name"], "name"),
        (height, width),
        base,
    )


def read_frames(path: Path, labels: Labels) -> Iterator[FrameRecord]:
    """The frames of a jsonl file, in order, one line at a time.

    Raises:
        InputError: a line is none of `segment`, or frames are out of order; it is named.
    """
    last: FrameRecord | None = None
    for place, line in enumerate(_lines(path), 1):
        if place == 1:
            continue

        # Refuse lines out of order: the page goes through video and lines side by side.
        try:
            found = _frame(as_table(parse_json(line, any_bytes=True), "the line"), len(labels))
            if last is not None and not (found.number > last.number and found.pts > last.pts):
                raise ValueError("it does not come after the one before")
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path}: line {place} is no record of a frame ({fault_of(error)}); {_AGAIN}"
            ) from error
        yield found
        last = found
    if last is None:
        raise InputError(f"{path}: holds no frame; {_AGAIN}")


def _frame(table: dict[str, Json], classes: int) -> FrameRecord:
    name = table.get("name")
    return FrameRecord(
        as_whole(table["frame"], "frame", 0, _MOST_FRAMES),
        as_whole(table["pts"], "pts", -_LATEST, _LATEST),
        None if name is None else as_word(name, "name"),
        tuple(_region(one, classes) for one in as_tables(table["segments"], "segments")),
    )


def _region(table: dict[str, Json], classes: int) -> Region:
    box = [as_whole(one, "bbox") for one in as_list(table["bbox"], "bbox")]
    if len(box) != 4:
        raise ValueError("bbox is to be four numbers")
    return Region(
        as_whole(table["id"], "id"),
        as_whole(table["class_id"], "class_id", 0, classes - 1),
        table["isthing"] is True,
        as_whole(table["area"], "area"),
        (box[0], box[1], box[2], box[3]),
        "score" in table,
        table.get("rle"),
    )


def _lines(path: Path) -> Iterator[bytes]:
    """Raises: InputError: the file cannot be read."""
    try:
        with path.open("rb") as file:
            yield from (line for line in file if line.strip())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path") from error
