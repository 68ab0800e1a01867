"""Panoptic predictions on disk: VIPSeg's pan_pred + pred.json, and COCO panoptic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vidparse.data import Dataset, FrameRecord, Video
from vidparse.errors import InputError
from vidparse.evaluation.entries.entry import Said, Wanted, stamp_of
from vidparse.labels import Labels
from vidparse.panoptic import (
    VOID,
    FrameSegments,
    PanopticMap,
    SegmentRow,
    count_codes,
    read_image_segments,
    read_panoptic_png,
    read_video_segments,
)
from vidparse.textfiles import read_json


class PanopticEntry:
    """One RGB id picture a frame and a json that says what the ids are.

    Args:
        folder: of the pictures. table: the json.
    """

    needs_images = False
    is_panoptic = True
    notes: tuple[str, ...] = ()

    def __init__(self, folder: Path, table: Path, *, name: str) -> None:
        self.name = name
        self.detail = f"panoptic predictions in {folder} with {table.name}"
        self._folder, self._json = folder, table
        self._labels: Labels | None = None
        self._category: dict[int, int] = {}
        self._rows: dict[tuple[str, str], tuple[SegmentRow, ...]] = {}
        self._paths: dict[tuple[str, str], Path] = {}

    def check(self, dataset: Dataset, videos: Sequence[Wanted]) -> None:
        self._labels = dataset.labels
        record = read_json(self._json)
        self._category = _categories(record, dataset.labels, self._json)
        self.notes = self._foreign_names(record, dataset)
        if _is_by_video(record):
            self._index_videos(videos)
        else:
            self._index_images(videos)
        missing = [path for path in self._paths.values() if not path.is_file()]
        if missing:
            rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InputError(
                f"{missing[0]}{rest}: missing, of {len(self._paths)} predictions that "
                f"{dataset.name} {dataset.split} asks for; predict every frame"
            )

    def _foreign_names(self, record: Any, dataset: Dataset) -> tuple[str, ...]:
        """A note where ids stand for themselves although the json has names."""
        known = {name.casefold() for name in dataset.labels.classes}
        names = [str(entry["name"]) for entry in record.get("categories") or ()]
        if not names or any(name.casefold() in known for name in names):
            return ()
        return (
            f"{self.name}: none of the categories in {self._json.name} ('{names[0]}', ...) is a "
            f"class of {dataset.name}; their ids are taken for class ids 0..{len(known) - 1}.",
        )

    def hint_for_offset(self, offset: int) -> str:
        return (
            f"Count category_id in {self._json.name} from 0, or give the data set's names in "
            "its categories."
        )

    def _index_videos(self, videos: Sequence[Wanted]) -> None:
        """VIPSeg: the same frames in the same order, video by video."""
        listed = read_video_segments(self._json)
        for video, frames in videos:
            if video.name not in listed:
                raise InputError(
                    f"{self._json}: video {video.name} is not in it; predict every video"
                )
            rows = listed[video.name]
            stems = [row.stem for row in rows]
            wanted = [frame.stem for frame in frames]
            if len(stems) != len(wanted):
                raise InputError(
                    f"{self._json}: video {video.name} lists {len(stems)} frames, the ground "
                    f"truth has {len(wanted)}; list every frame once"
                )
            odd = next((i for i in range(len(wanted)) if stems[i] != wanted[i]), None)
            if odd is not None:
                raise InputError(
                    f"{self._json}: video {video.name}: frame {odd} is '{stems[odd]}', the ground "
                    f"truth has '{wanted[odd]}'; list the frames in order"
                )
            for frame, row in zip(frames, rows, strict=True):
                self._add(frame, row)

    def _index_images(self, videos: Sequence[Wanted]) -> None:
        """COCO: a flat list of pictures, found by video/stem or by stem alone."""
        listed: dict[str, FrameSegments] = {}
        for annotation in read_image_segments(self._json):
            name = PurePosixPath(annotation.file_name)
            for key in {str(name.with_suffix("")), name.stem}:
                # A stem that two videos share can not stand for either.
                listed[key] = annotation if key not in listed else FrameSegments("", ())
        for video, frames in videos:
            for frame in frames:
                row = listed.get(f"{video.name}/{frame.stem}") or listed.get(frame.stem)
                if row is None or not row.file_name:
                    raise InputError(
                        f"{self._json}: no annotation for {video.name}/{frame.stem}; "
                        "list every frame once"
                    )
                self._add(frame, row, flat=True)

    def _add(self, frame: FrameRecord, row: FrameSegments, *, flat: bool = False) -> None:
        key = (frame.video, frame.stem)
        self._rows[key] = row.segments
        name = row.file_name if row.file_name.endswith(".png") else f"{row.file_name}.png"
        own = self._folder / frame.video / PurePosixPath(name).name
        self._paths[key] = self._folder / name if flat and not own.is_file() else own

    def fingerprint(self, video: Video) -> str:
        files = [path for (name, _), path in self._paths.items() if name == video.name]
        return " ".join([stamp_of(self._json), *(stamp_of(path) for path in files)])

    def begin(self, video: Video) -> None:
        pass

    def feed(self, frame: FrameRecord, image: np.ndarray | None) -> list[Said]:
        assert self._labels is not None
        key = (frame.video, frame.stem)
        path = self._paths[key]
        ids = read_panoptic_png(path)
        present = set(count_codes(ids)[0].tolist()) - {VOID}
        listed = {row.id for row in self._rows[key]}
        if len(listed - {VOID}) != len(self._rows[key]):
            raise InputError(
                f"{path}: {self._json.name} lists an id twice, or id {VOID}; "
                "list every segment once"
            )
        if present - listed:
            raise InputError(
                f"{path}: id {min(present - listed)} is not in {self._json.name}; "
                "list every segment of the picture"
            )
        if listed - present:
            raise InputError(
                f"{path}: id {min(listed - present)} is listed in {self._json.name} but has no "
                "pixel; leave it out of the list"
            )
        rows = [(row.id, self._known(row, path), row.iscrowd) for row in self._rows[key]]
        objects = PanopticMap(ids, np.array(rows, np.int64).reshape(-1, 3))
        return [Said(frame.index, objects.classes(self._labels.void), objects)]

    def _known(self, row: SegmentRow, path: Path) -> int:
        if row.category_id not in self._category:
            highest = max(self._category)
            hint = "; are they counted from 1?" if row.category_id == highest + 1 else ""
            raise InputError(
                f"{self._json}: {path.name}: segment {row.id} has category {row.category_id}; "
                f"the categories are {min(self._category)}..{highest}{hint}"
            )
        return self._category[row.category_id]

    def finish(self) -> list[Said]:
        return []


def _is_by_video(record: Any) -> bool:
    """Whether annotations are grouped by video (VIPSeg) rather than a flat list (COCO)."""
    try:
        return bool(record["annotations"]) and "video_id" in record["annotations"][0]
    except (KeyError, TypeError):
        return False


def _categories(record: Any, labels: Labels, path: Path) -> dict[int, int]:
    """json category id -> class id: by the names that the json has, else as they are."""
    known = {name.casefold(): i for i, name in enumerate(labels.classes)}
    try:
        named = {
            int(entry["id"]): known.get(str(entry["name"]).casefold())
            for entry in record.get("categories") or ()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: categories need id and name (field {error}); correct or drop them"
        ) from error
    matched = {category: found for category, found in named.items() if found is not None}
    return matched or {i: i for i in range(len(labels))}
