"""Panoptic files: ids in RGB pictures, and the json beside them (COCO panoptic, VIPSeg)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from vidparse.errors import InputError
from vidparse.panoptic.ids import MAX_ID, rgb_to_ids
from vidparse.textfiles import read_json

_LARGEST_SIDE = 1 << 20  # pixels
_LARGEST_AREA = 1 << 40
_LARGEST_CATEGORY = (1 << 31) - 1


def read_panoptic_png(path: Path) -> np.ndarray:
    """Segment ids int64 (H, W) of a panoptic PNG.

    Raises:
        InputError: missing, damaged, or not a colour picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the folder") from error
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if pixels is None:
        raise InputError(f"{path}: damaged picture; fetch or make it again")
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise InputError(f"{path}: one channel; panoptic ids need a colour (RGB) PNG")
    if pixels.dtype != np.uint8:
        raise InputError(f"{path}: 16 bits a channel; panoptic ids need 8")
    back = cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return rgb_to_ids(cv2.cvtColor(pixels, back))


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One entry of segments_info."""

    id: int
    category_id: int
    iscrowd: int
    area: int | None


@dataclass(frozen=True, slots=True)
class FrameSegments:
    """The json's view of one frame."""

    file_name: str
    segments: tuple[SegmentRow, ...]
    size_hw: tuple[int, int] | None = None  # where the json says it

    @property
    def stem(self) -> str:
        """The file name without folder and ending."""
        return PurePosixPath(self.file_name).stem


def read_video_segments(path: Path) -> dict[str, tuple[FrameSegments, ...]]:
    """video id -> frames in order, of a VIPSeg ground truth or `pred.json`.

    Raises:
        InputError: missing, not json, without the fields that the format has, or with values of
            the wrong kind in them; the file is named.
    """
    record = read_json(path)
    found: dict[str, tuple[FrameSegments, ...]] = {}
    try:
        sizes = {
            str(video.get("video_id")): _sizes(video.get("images") or ())
            for video in record.get("videos") or ()
        }
        for video in record["annotations"]:
            name = str(video["video_id"])
            if name in found:
                raise ValueError(f"lists video {name} twice")
            found[name] = _frames(video["annotations"], sizes.get(name, {}))
    except _ODD as error:
        raise InputError(
            f"{path}: not a video panoptic json: {_reason(error)}; "
            "give one with annotations[].video_id and annotations[].segments_info"
        ) from error
    return found


def read_image_segments(path: Path) -> tuple[FrameSegments, ...]:
    """Pictures in order, of a flat panoptic json as COCO and Cityscapes-VPS have it.

    Raises:
        InputError: missing, not json, without the fields that the format has, or with values of
            the wrong kind in them; the file is named.
    """
    record = read_json(path)
    try:
        return _frames(record["annotations"], _sizes(record.get("images") or ()))
    except _ODD as error:
        raise InputError(
            f"{path}: not a panoptic json: {_reason(error)}; "
            "give one with annotations[].file_name and annotations[].segments_info"
        ) from error


# What a json of another form raises while its fields are taken out.
_ODD = (KeyError, TypeError, ValueError, AttributeError)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"field {error} is missing"
    return str(error) if isinstance(error, ValueError) else f"a field is odd ({error})"


def _sizes(images: Any) -> dict[str, tuple[int, int]]:
    """Height and width by picture id, where the json has them."""
    return {
        str(image["id"]): (
            _whole(image["height"], "height", _LARGEST_SIDE),
            _whole(image["width"], "width", _LARGEST_SIDE),
        )
        for image in images
        if "height" in image and "width" in image
    }


def _frames(records: Any, sizes: dict[str, tuple[int, int]]) -> tuple[FrameSegments, ...]:
    frames: dict[str, FrameSegments] = {}
    for record in records:
        frame = _frame(record, sizes)
        if frame.file_name in frames:
            raise ValueError(f"lists {frame.file_name} twice")
        frames[frame.file_name] = frame
    return tuple(frames.values())


def _frame(record: dict[str, Any], sizes: dict[str, tuple[int, int]]) -> FrameSegments:
    rows = tuple(
        SegmentRow(
            _whole(row["id"], "segment id", MAX_ID),
            _whole(row["category_id"], "category_id", _LARGEST_CATEGORY),
            _whole(row.get("iscrowd", 0), "iscrowd", 1),
            _whole(row["area"], "area", _LARGEST_AREA) if "area" in row else None,
        )
        for row in record["segments_info"]
    )
    name = str(record.get("file_name") or record["image_id"])
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not name.isprintable():
        raise ValueError(f"file_name {name!r} does not name a file below its folder")
    key = str(record.get("image_id", path.stem))
    return FrameSegments(name, rows, sizes.get(key))


def _whole(value: Any, field: str, largest: int) -> int:
    """A number of 0..largest; tools also write whole numbers as text or with a point.

    Raises:
        TypeError, ValueError: it is none.
    """
    if type(value) is not int:
        number = int(value)
        if isinstance(value, float) and number != value and field != "area":
            raise ValueError(f"{field} {value} is no whole number")
        value = number
    if not 0 <= value <= largest:
        raise ValueError(f"{field} {value} is not in 0..{largest}")
    return value
