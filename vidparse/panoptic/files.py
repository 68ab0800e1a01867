"""Panoptic files: ids in RGB pictures, and the json beside them (COCO panoptic, VIPSeg)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from vidparse.errors import InputError
from vidparse.panoptic.ids import rgb_to_ids


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
        InputError: missing, not json, or without the fields that the format has.
    """
    record = read_json(path)
    try:
        sizes = {
            str(video.get("video_id")): _sizes(video.get("images") or ())
            for video in record.get("videos") or ()
        }
        return {
            str(video["video_id"]): tuple(
                _frame(frame, sizes.get(str(video["video_id"]), {}))
                for frame in video["annotations"]
            )
            for video in record["annotations"]
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not a video panoptic json (field {error} is missing or odd); "
            "give one with annotations[].video_id and annotations[].segments_info"
        ) from error


def read_image_segments(path: Path) -> tuple[FrameSegments, ...]:
    """Pictures in order, of a flat panoptic json as COCO and Cityscapes-VPS have it.

    Raises:
        InputError: missing, not json, or without the fields that the format has.
    """
    record = read_json(path)
    try:
        sizes = _sizes(record.get("images") or ())
        return tuple(_frame(frame, sizes) for frame in record["annotations"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not a panoptic json (field {error} is missing or odd); "
            "give one with annotations[].file_name and annotations[].segments_info"
        ) from error


def read_json(path: Path) -> Any:
    """Parsed json.

    Raises:
        InputError: missing or not json; the file is named.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the folder") from error
    except ValueError as error:
        raise InputError(f"{path}: not json ({error}); fetch or make it again") from error


def _sizes(images: Any) -> dict[str, tuple[int, int]]:
    """Height and width by picture id, where they are said."""
    return {
        str(image["id"]): (int(image["height"]), int(image["width"]))
        for image in images
        if "height" in image and "width" in image
    }


def _frame(record: dict[str, Any], sizes: dict[str, tuple[int, int]]) -> FrameSegments:
    rows = tuple(
        SegmentRow(
            int(row["id"]),
            int(row["category_id"]),
            int(row.get("iscrowd", 0)),
            int(row["area"]) if "area" in row else None,
        )
        for row in record["segments_info"]
    )
    name = str(record.get("file_name") or record["image_id"])
    key = str(record.get("image_id", PurePosixPath(name).stem))
    return FrameSegments(name, rows, sizes.get(key))
