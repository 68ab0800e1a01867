"""composed.json: which clips are made of which sources."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidparse.data.format import SPLITS
from vidparse.data.rendered import LEAST_AREA
from vidparse.errors import InputError
from vidparse.textfiles import read_json

FILE = "composed.json"
VIDEOS = {"train": 200, "val": 20, "test": 20}
_EXAMPLE = '{"backgrounds": ["camvid-objects=CamVid"], "cutouts": ["yolo-seg=coco128"]}'


@dataclass(frozen=True, slots=True)
class Plan:
    """The clips to make.

    backgrounds, cutouts: name of the format and folder of each source. videos: of each split.
    rate_hz: frames per second. size_hw: of the frames; None: as the background. objects: least and
    most of a video. least: pixels below which the visible part of a thing is void.
    """

    backgrounds: tuple[tuple[str, Path], ...]
    cutouts: tuple[tuple[str, Path], ...]
    videos: Mapping[str, int]
    frames: int = 12
    rate_hz: float = 5.0
    size_hw: tuple[int, int] | None = None
    objects: tuple[int, int] = (3, 10)
    least: int = LEAST_AREA
    seed: int = 0


def read_plan(path: Path) -> Plan:
    """composed.json. Raises: InputError: missing, or not of its form; the key is named."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError(f"{path}: no record of clips; write {_EXAMPLE}")
    strange = sorted(record.keys() - _READERS.keys())
    if strange:
        raise InputError(f"{path}: unknown key '{strange[0]}'; use {', '.join(_READERS)}")

    values: dict[str, Any] = {}
    for key, (field, read) in _READERS.items():
        if key not in record:
            continue
        try:
            values[field] = read(record[key])
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: {key}: {error}; write it as in {_EXAMPLE}") from error

    for key in ("backgrounds", "cutouts"):
        if key not in values:
            raise InputError(f"{path}: names no {key}; write {_EXAMPLE}")
        values[key] = tuple((name, path.parent / folder) for name, folder in values[key])
    return Plan(**({"videos": VIDEOS} | values))


def _sources(value: Any) -> list[tuple[str, str]]:
    texts = value if isinstance(value, list) else [value]
    pairs = [str(text).partition("=") for text in texts]
    if not pairs or any(not name or not folder for name, _, folder in pairs):
        raise ValueError('not a list of "FORMAT=FOLDER"')
    return [(name, folder) for name, _, folder in pairs]


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"not a whole number from {low} to {high}")
        return value

    return read


def _videos(value: Any) -> dict[str, int]:
    count = _whole(1, 1_000_000)
    if not isinstance(value, dict):
        return dict.fromkeys(SPLITS, count(value))
    if strange := sorted(value.keys() - VIDEOS.keys()):
        raise ValueError(f"no split '{strange[0]}'")
    return VIDEOS | {split: count(number) for split, number in value.items()}


def _rate_hz(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.1 <= value <= 1000:
        raise ValueError("not a rate from 0.1 to 1000 frames per second")
    return float(value)


def _size_hw(value: Any) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", str(value))
    if match is None or not all(64 <= int(side) <= 4096 for side in match.groups()):
        raise ValueError("not WIDTHxHEIGHT of 64 to 4096 pixels")
    return int(match[2]), int(match[1])


def _objects(value: Any) -> tuple[int, int]:
    count = _whole(0, 1000)
    if not isinstance(value, list) or len(value) != 2 or count(value[0]) > count(value[1]):
        raise ValueError("not [LEAST, MOST]")
    return value[0], value[1]


# key of composed.json -> field of Plan, and its reader
_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "backgrounds": ("backgrounds", _sources),
    "cutouts": ("cutouts", _sources),
    "videos": ("videos", _videos),
    "frames": ("frames", _whole(1, 100_000)),
    "rate": ("rate_hz", _rate_hz),
    "size": ("size_hw", _size_hw),
    "objects": ("objects", _objects),
    "least": ("least", _whole(0, 1_000_000)),
    "seed": ("seed", _whole(0, 10**18)),
}
