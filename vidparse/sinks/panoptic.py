"""Objects and stuff as COCO's panoptic format has them: RGB pictures of ids beside one json."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, ClassVar, TypedDict

import numpy as np

from vidparse.errors import OutputError, UsageError
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels
from vidparse.maps import (
    MAX_ID,
    Prediction,
    Segment,
    SegmentMap,
    categories_of,
    ids_to_rgb,
    object_map,
)
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.listing import JsonLists
from vidparse.sinks.pictures import PictureFolder, rgb_png
from vidparse.sinks.sink import Sink, Target

TABLE = "panoptic.json"
_DIGITS = 6  # of picture names, as those of masks


class Panoptic(Sink):
    """One RGB PNG per frame and `panoptic.json`, in one folder.

    A pixel's id is R + 256 G + 65536 B: the id that every other output and the tracks have, 0 for
    nothing. The json has "images", "annotations" with "segments_info" of every picture, and
    "categories" whose ids are class ids from 0. Of a semantic prediction each class is a segment.

    Raises:
        UsageError: `where` is a stream.
    """

    suffix: ClassVar[str] = ".panoptic"
    is_folder: ClassVar[bool] = True
    beside: ClassVar[tuple[str, ...]] = (TABLE,)

    def __init__(self, where: Target | Path | BinaryIO, options: SinkOptions) -> None:
        super().__init__(where, options)
        self._place = folder_of(self.target, "panoptic")
        self._lists: JsonLists | None = None
        self._file: BinaryIO | None = None

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._labels, self._time_base = labels, info.time_base
        self._warned = False
        self._pictures = PictureFolder(self._place, digits=_DIGITS, replace=self.target.replace)
        self._pictures.create()
        with self._pictures.partial.writing():
            self._file = (self._pictures.partial.path / TABLE).open("xb")
        head = {"info": {"description": info.name}, "categories": categories_of(labels)}
        self._lists = JsonLists(
            self.target.name, self._put, head, straight="annotations", waiting=["images"]
        )

    def _put(self, data: bytes) -> None:
        assert self._file is not None
        with self._pictures.partial.writing():
            self._file.write(data)

    def add(self, frame: Frame, prediction: Prediction) -> None:
        assert self._lists is not None
        if prediction.segments is None and not self._warned:
            self._warned = True
            self.notes.append(semantic_note("panoptic"))
        found = object_map(prediction.map, self._labels)
        path = self._pictures.write(frame, rgb_png(_rgb(found, self.target.name)))

        # A picture without its records would be refused by every reader.
        try:
            image = image_record(frame, found, time_s=float(frame.pts * self._time_base))
            self._lists.add("images", image)
            self._lists.add(
                "annotations",
                {
                    "image_id": image["id"],
                    "file_name": image["file_name"],
                    "segments_info": [_info(one) for one in found.segments or ()],
                },
            )
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        lists, self._lists = self._lists, None
        keep = keep and lists is not None and not self._pictures.partial.broken
        try:
            if lists is not None and keep:
                lists.finish()
        except BaseException:
            keep = False
            raise
        finally:
            if lists is not None:
                lists.close()
            keep = self._close_file(keep=keep)
            left = self._pictures.close(keep=keep, complete=complete)
        return left

    def _close_file(self, *, keep: bool) -> bool:
        """True if all of the json is on the disk, and it is to be kept."""
        file, self._file = self._file, None
        if file is None:
            return False
        if not keep:
            with suppress(OSError):
                file.close()
            return False
        with self._pictures.partial.writing():
            file.close()  # flushes: the disk may be full only now
        return True


def folder_of(target: Target, name: str) -> Path:
    """The folder of an output that no stream can carry. Raises: UsageError: it is a stream."""
    if target.path is None:
        raise UsageError(
            f"-o {target.name}: {name} is a folder of pictures, which a stream cannot carry; "
            "use -o DIR/"
        )
    return target.path


def semantic_note(name: str) -> str:
    """For users of an output of objects whose model tells none apart."""
    return (
        f"{name}: the model is semantic, so all pixels of a class are one segment, whatever "
        "objects they belong to; a panoptic model tells them apart"
    )


class ImageRecord(TypedDict):
    """The entry of a frame in "images" of COCO's formats; `time` in seconds."""

    id: int
    file_name: str
    width: int
    height: int
    time: float


def image_record(frame: Frame, found: SegmentMap, *, time_s: float) -> ImageRecord:
    """The entry of a frame in "images" of COCO's formats; its id is the frame's number."""
    height, width = found.size_hw
    stem = f"{frame.index:0{_DIGITS}d}" if frame.name is None else Path(frame.name).name
    return {
        "id": frame.index,
        "file_name": f"{stem}.png",
        "width": width,
        "height": height,
        "time": time_s,
    }


def _info(segment: Segment) -> dict[str, object]:
    score = {} if segment.score is None else {"score": round(segment.score, 4)}
    return {
        "id": segment.id,
        "category_id": segment.class_id,
        "iscrowd": int(segment.is_crowd),
        "area": segment.area,
        "bbox": list(segment.box),
        **score,
    }


def _rgb(found: SegmentMap, name: str) -> np.ndarray:
    try:
        return ids_to_rgb(found.ids)
    except ValueError as error:
        raise OutputError(
            f"{name}: ids above {MAX_ID} do not fit a panoptic picture; "
            "segment the video in parts with --start and --end"
        ) from error
