"""CVAT's XML 1.1, for videos and for images: a mask per segment, exact to the pixel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar
from xml.sax.saxutils import escape, quoteattr

from vidparse.errors import OutputError
from vidparse.filenames import text_name
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels
from vidparse.maps import Prediction, Segment, SegmentMap, object_map
from vidparse.maps.brushes import row_counts
from vidparse.sinks.sink import Sink, other_size
from vidparse.sinks.stream import ByteStream, Rows, encoded

TRACK_ID = "track_id"  # the attribute that carries an object's id through CVAT
DUMPED_BY = "vidparse"
_UNPRINTABLE = re.compile(
    "[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)  # as XML 1.0 has it


class _Cvat(Sink):
    """An XML whose rows are written as frames come, behind a head that is known at the end.

    Of a panoptic prediction every object is a mask, with its id as group and as the attribute
    `track_id`; of a semantic one every class. Pixels of nothing have no mask.
    """

    is_text: ClassVar[bool] = True
    by_ending: ClassVar[bool] = False
    mode: ClassVar[str]  # of CVAT's task
    _rows: Rows | None = None

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._info, self._labels = info, labels
        self._stream = ByteStream(self.target)
        self._stream.open()
        self._rows = Rows(self.target.name)
        self._done = 0, 0  # frames up to the last one, and bytes: set at once, for interrupts
        self._is_panoptic = self._is_broken = False

    def add(self, frame: Frame, prediction: Prediction) -> None:
        assert self._rows is not None
        self._is_panoptic |= prediction.segments is not None
        found = object_map(prediction.map, self._labels)

        # Keep nothing after a failure: half of an XML would look like all of it.
        try:
            self._rows.add(encoded("".join(self.rows(frame, found))))
        except OutputError:
            self._is_broken = True
            raise
        self._done = frame.index + 1, self._rows.size

    def rows(self, frame: Frame, found: SegmentMap) -> Iterator[str]:
        """The XML of a frame, in parts."""
        raise NotImplementedError

    def mask(self, found: SegmentMap, segment: Segment, **before: str) -> str:
        """The element of a segment's mask, with the attributes that come first."""
        x, y, width, height = segment.box
        inside = found.ids[y : y + height, x : x + width] == segment.id
        fields = {
            **before,
            "occluded": "0",
            "rle": ", ".join(map(str, row_counts(inside))),
            **{"left": str(x), "top": str(y), "width": str(width), "height": str(height)},
            "z_order": "0",
        }
        attribute = ""
        if self._is_panoptic and segment.is_thing:
            attribute = f'<attribute name="{TRACK_ID}">{segment.id}</attribute>'
        return f"<mask{_attributes(fields)}>{attribute}</mask>"

    def group(self, segment: Segment) -> dict[str, str]:
        """The attribute that CVAT knows an object by; nothing of a class."""
        is_object = self._is_panoptic and segment.is_thing
        return {"group_id": str(segment.id)} if is_object else {}

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        rows, self._rows = self._rows, None
        keep = keep and rows is not None and not self._is_broken
        try:
            if rows is not None and keep:
                frames, size = self._done
                self._stream.write(encoded(self._head(frames)))
                for block in rows.blocks(size):
                    self._stream.write(block)
                self._stream.write(b"</annotations>\n", flush=True)
        except BaseException:
            keep = False
            raise
        finally:
            if rows is not None:
                rows.close()
            left = self._stream.close(keep=keep, complete=complete)
        return left

    def _head(self, frames: int) -> str:
        """Everything before the first row: the task and its labels, as CVAT writes them."""
        height, width = self._info.size_hw
        fields = {
            "name": self._info.name,
            "size": str(frames),
            "mode": self.mode,
            "start_frame": "0",
            "stop_frame": str(max(frames - 1, 0)),
        }
        size = f"<width>{width}</width><height>{height}</height>"

        # Keep CVAT's order: readers take labels where they expect them.
        task = [
            *(f"<{name}>{_text(value)}</{name}>" for name, value in fields.items()),
            "<labels>",
            *(self._label(i) for i in range(len(self._labels))),
            "</labels>",
            f"<original_size>{size}</original_size>",
            f"<source>{_text(self._info.name)}</source>",
        ]
        lines = "\n".join(task)
        return (
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
            f"<meta>\n<task>\n{lines}\n</task>\n<dumped_by>{DUMPED_BY}</dumped_by>\n</meta>\n"
        )

    def _label(self, class_id: int) -> str:
        red, green, blue = self._labels.colours[class_id]
        attributes = ""
        if self._is_panoptic and class_id in self._labels.things:
            attributes = (
                f"<attribute><name>{TRACK_ID}</name><mutable>False</mutable>"
                "<input_type>number</input_type><default_value>0</default_value>"
                "<values>0\n16777215\n1</values></attribute>"
            )
        return (
            f"<label><name>{_text(self._labels.classes[class_id])}</name>"
            f"<color>#{red:02x}{green:02x}{blue:02x}</color><type>any</type>"
            f"<attributes>{attributes}</attributes></label>"
        )


class CvatVideo(_Cvat):
    """CVAT for video 1.1: a track per mask, as CVAT itself writes masks.

    CVAT imports one mask of a track alone, so an object has a track in every frame, and its id as
    an attribute.
    """

    suffix: ClassVar[str] = ".cvat.xml"
    mode: ClassVar[str] = "interpolation"

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        super().begin(info, labels)
        self._tracks = 0

    def rows(self, frame: Frame, found: SegmentMap) -> Iterator[str]:
        if found.size_hw != self._info.size_hw:
            advice = "use cvat-images, which holds pictures"
            raise other_size(self.target.name, found.size_hw, self._info.size_hw, advice)
        for segment in found.segments or ():
            fields = {
                "id": str(self._tracks),
                "label": self._labels.classes[segment.class_id],
                "source": "auto",
                **self.group(segment),
            }
            self._tracks += 1
            place = {"frame": str(frame.index), "keyframe": "1", "outside": "0"}
            yield f"<track{_attributes(fields)}>\n{self.mask(found, segment, **place)}\n</track>\n"


class CvatImages(_Cvat):
    """CVAT for images 1.1: an entry per picture, and its masks.

    Pictures have their file's name, or frame_000000 as CVAT calls frames of videos.
    """

    suffix: ClassVar[str] = ".cvat-images.xml"
    mode: ClassVar[str] = "annotation"

    def rows(self, frame: Frame, found: SegmentMap) -> Iterator[str]:
        height, width = found.size_hw
        fields = {
            "id": str(frame.index),
            "name": picture_name(frame),
            "width": str(width),
            "height": str(height),
        }
        yield f"<image{_attributes(fields)}>\n"
        for segment in found.segments or ():
            before = {"label": self._labels.classes[segment.class_id], "source": "auto"}
            yield f"{self.mask(found, segment, **before, **self.group(segment))}\n"
        yield "</image>\n"


def picture_name(frame: Frame) -> str:
    """The name that CVAT knows a picture by: its file's, in the folder that its name has."""
    if frame.name is None:
        return f"frame_{frame.index:06d}"
    path = PurePosixPath(frame.name)
    return text_name(str(path if frame.file is None else path.with_name(frame.file.name)))


def _attributes(fields: Mapping[str, str]) -> str:
    pairs = (f"{name}={quoteattr(_UNPRINTABLE.sub('_', value))}" for name, value in fields.items())
    return "".join(f" {pair}" for pair in pairs)


def _text(value: str) -> str:
    return escape(_UNPRINTABLE.sub("_", value))
