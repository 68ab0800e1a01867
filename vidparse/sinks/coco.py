"""Objects in COCO's formats: panoptic, RGB pictures of ids beside one json, and instances.

Instances are things alone, one by one frame for COCO and one by one thing for YouTube-VIS.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar, TypedDict

import numpy as np

from vidparse.errors import OutputError
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels
from vidparse.maps import (
    MAX_ID,
    Prediction,
    RunLengths,
    Segment,
    SegmentMap,
    categories_of,
    find_runs,
    ids_to_rgb,
    object_map,
)
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.chains import Chains
from vidparse.sinks.cvat import picture_name
from vidparse.sinks.pictures import PictureFolder, rgb_png
from vidparse.sinks.sink import Sink, Target, other_size
from vidparse.sinks.stream import ByteStream, JsonLists, Rows, dumped, encoded

TABLE = "panoptic.json"
_DIGITS = 6  # of picture names, as those of masks
_VIDEO = 1  # the id of the one video
_ENTRY = struct.Struct("<6q")  # the fields of an entry


class CocoPanoptic(Sink):
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
        self._place = self.target.folder("panoptic")
        self._lists: JsonLists | None = None
        self._file: BinaryIO | None = None

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._labels, self._time_base = labels, info.time_base
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
        self.note_if_semantic(prediction, "panoptic")
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

            # Close the json before the folder gets its name: the disk may be full only now.
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


class _Instances(Sink):
    """A json of things, whose masks are COCO run lengths; stuff is left out.

    Categories are the things of the label set, under their class ids.
    """

    is_text: ClassVar[bool] = True
    by_ending: ClassVar[bool] = False
    _noun: ClassVar[str]
    _waiting: ClassVar[str]  # the list that is written at the end
    _lists: JsonLists | None = None

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._labels, self._time_base = labels, info.time_base
        self._stream = ByteStream(self.target)
        self._stream.open()
        categories = [one for one in categories_of(labels) if one["isthing"]]
        head = {"info": {"description": info.name}, "categories": categories}
        self._lists = JsonLists(
            self.target.name,
            self._stream.write,
            head,
            straight="annotations",
            waiting=[self._waiting],
        )

    def add(self, frame: Frame, prediction: Prediction) -> None:
        self.note_if_semantic(prediction, self._noun)
        found = object_map(prediction.map, self._labels)

        # Find the runs of all objects in one pass, down the columns as COCO counts.
        runs = find_runs(found.ids, down_columns=True)
        things = [one for one in found.segments or () if one.is_thing]
        image = image_record(frame, found, time_s=float(frame.pts * self._time_base))

        # Name a picture that has a file by it, in the folder that its name has.
        if frame.file is not None:
            image["file_name"] = picture_name(frame)
        self._add_things(image, [(one, runs.run_lengths(one.id)) for one in things])

    def _add_things(self, image: ImageRecord, things: Sequence[tuple[Segment, RunLengths]]) -> None:
        """Add a frame and its things, each with its mask as COCO run lengths."""
        raise NotImplementedError

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        lists, self._lists = self._lists, None
        try:
            if lists is not None and keep:
                self._add_last(lists)
                lists.finish()
                self._stream.write(flush=True)
        except BaseException:
            keep = False
            raise
        finally:
            if lists is not None:
                lists.close()
            left = self._stream.close(keep=keep and lists is not None, complete=complete)
        return left

    def _add_last(self, lists: JsonLists) -> None:
        """Rows that are known only at the end."""


class Coco(_Instances):
    """COCO instances: one annotation per thing and frame, `track_id` is its id in the video.

    An image's id is the number of its frame. "annotations" alone are what COCO's evaluator takes
    for results (`loadRes`).
    """

    suffix: ClassVar[str] = ".coco.json"
    _noun: ClassVar[str] = "coco"
    _waiting: ClassVar[str] = "images"

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        super().begin(info, labels)
        self._count = 0

    def _add_things(self, image: ImageRecord, things: Sequence[tuple[Segment, RunLengths]]) -> None:
        assert self._lists is not None
        self._lists.add("images", image)
        for segment, mask in things:
            self._count += 1  # COCO's evaluator takes number 0 for no match
            row: dict[str, object] = {
                "id": self._count,
                "image_id": image["id"],
                "category_id": segment.class_id,
                "segmentation": mask,
                "area": segment.area,
                "bbox": list(segment.box),
                "iscrowd": int(segment.is_crowd),
                "track_id": segment.id,
            }
            if segment.score is not None:
                row["score"] = round(segment.score, 4)
            self._lists.add("annotations", row)


@dataclass(slots=True)
class _Life:
    """The votes and scores of a thing."""

    votes: dict[int, int] = field(default_factory=dict)  # frames by class id
    score: float = 0.0
    scored: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    """A thing in one frame, as it waits in a file: these fields, then the JSON of its mask."""

    frame: int
    area: int
    box: tuple[int, int, int, int]


class YouTubeVis(_Instances):
    """YouTube-VIS: one annotation per thing, with a mask or null for every frame.

    Its id is the thing's in the video, its class the one with the most votes. Masks wait in a file
    until the end.
    """

    suffix: ClassVar[str] = ".ytvis.json"
    _noun: ClassVar[str] = "ytvis"
    _waiting: ClassVar[str] = "videos"

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._size_hw = info.size_hw
        self._lives: dict[int, _Life] = {}
        self._done = 0, 0  # frames, and bytes of their names: set at once, for interrupts
        self._masks, self._names = Chains(self.target.name), Rows(self.target.name)
        super().begin(info, labels)

    def _add_things(self, image: ImageRecord, things: Sequence[tuple[Segment, RunLengths]]) -> None:
        size_hw = image["height"], image["width"]
        if size_hw != self._size_hw:
            advice = "YouTube-VIS has one size per video, use --save coco"
            raise other_size(self.target.name, size_hw, self._size_hw, advice)

        frame = self._done[0]
        for segment, mask in things:
            life = self._lives.setdefault(segment.id, _Life())
            head = _ENTRY.pack(frame, segment.area, *segment.box)
            self._masks.add(segment.id, head + encoded(dumped(mask)))
            life.votes[segment.class_id] = life.votes.get(segment.class_id, 0) + 1
            if segment.score is not None:
                life.score += segment.score
                life.scored += 1

        name = dumped(image["file_name"])
        self._names.add(encoded(f",{name}" if frame else name))

        # Count the frame in one assignment: an interrupt before it leaves out all of the frame.
        self._done = frame + 1, self._names.size

    def _add_last(self, lists: JsonLists) -> None:
        length, names_size = self._done
        for number, life in self._lives.items():
            if places := self._places(number):
                lists.add_parts("annotations", self._annotation(number, life, places))
        height, width = self._size_hw
        head = {"id": _VIDEO, "width": width, "height": height, "length": length}
        lists.add_parts("videos", [f'{dumped(head)[:-1]},"file_names":['])
        for block in self._names.blocks(names_size):
            lists.add_bytes("videos", block)
        lists.add_bytes("videos", b"]}")

    def _annotation(self, number: int, life: _Life, places: array[int]) -> Iterator[str]:
        """The JSON of a thing, in parts of which none is large."""
        (height, width), length = self._size_hw, self._done[0]
        head: dict[str, object] = {
            "id": number,
            "video_id": _VIDEO,
            "category_id": min(life.votes, key=lambda one: (-life.votes[one], one)),
            "iscrowd": 0,
            "width": width,
            "height": height,
            "length": length,
        }
        if life.scored:
            head["score"] = round(life.score / life.scored, 4)
        yield dumped(head)[:-1]

        # Read the entries anew for each list: masks of a long life need not fit in memory.
        fields: dict[str, Callable[[int, _Entry], str]] = {
            "segmentations": lambda place, _: self._mask_at(place),
            "bboxes": lambda _, entry: dumped(list(entry.box)),
            "areas": lambda _, entry: str(entry.area),
        }
        for key, text_of in fields.items():
            yield f',"{key}":['
            next_frame = 0
            for place in places:
                entry = self._entry(place)
                comma = "," if next_frame else ""
                if next_frame < entry.frame:
                    yield comma + ",".join(["null"] * (entry.frame - next_frame))
                    comma = ","
                yield comma + text_of(place, entry)
                next_frame = entry.frame + 1
            yield ",null" * (length - next_frame) + "]"
        yield "}"

    def _places(self, number: int) -> array[int]:
        """Places of a thing's entries, in the order of frames, less a frame that was cut off."""
        places = self._masks.places(number)
        while places and self._entry(places[-1]).frame >= self._done[0]:
            places.pop()
        return places

    def _entry(self, place: int) -> _Entry:
        frame, area, x, y, w, h = _ENTRY.unpack(self._masks.read(place, _ENTRY.size))
        return _Entry(frame, area, (x, y, w, h))

    def _mask_at(self, place: int) -> str:
        return self._masks.read(place)[_ENTRY.size :].decode()

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        try:
            return super().end(keep=keep, complete=complete, packets=packets)
        finally:
            self._masks.close()
            self._names.close()
