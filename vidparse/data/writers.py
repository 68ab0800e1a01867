"""Formats that data sets are written in: a new one is a sink, and one line in WRITERS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from vidparse.tables import member_at

if TYPE_CHECKING:
    from vidparse.sinks.sink import Sink


@dataclass(frozen=True, slots=True)
class Writer:
    """A format that data sets are written in.

    place: the class of its sink, as a :class:`Table` has it: it is loaded when it is used. A
        `PictureSet` takes all videos of a split, others one each.
    read_as: the name for `--dataset` that reads it; "": its own.
    loses: in words, what it cannot hold, by the kind of data set that has it: "ids", "videos",
        "stuff", "crowds", "void" (beside a class `background`), "any"; and of data that marks
        classes as things and has no objects "things" or "objects".
    """

    place: str
    read_as: str = ""
    loses: tuple[tuple[str, str], ...] = ()

    @property
    def sink(self) -> type[Sink]:
        return cast("type[Sink]", member_at(self.place))


_NO_IDS = ("ids", "holds classes alone, so ids of objects are left out")
_NO_THINGS = (
    "things",
    "marks things by objects; this data has none, so no class is one",
)
_NO_STUFF = ("stuff", "holds things alone, so classes that are no things are left out")
_NO_VOID = ("void", "holds no shape of 'background', so void pixels are of it, too")
_NO_CROWDS = ("crowds", "holds no crowds, so each is an object like others")
_NO_CLASSES = (
    "objects",
    "holds objects, of which this data has none, so all pixels of a class are one",
)
_NO_VIDEOS = ("videos", "holds photographs, so each frame is one by itself")
_NEAR = ("any", "outlines are simplified, to at least 0.98 IoU of each")
# name -> how it is written
WRITERS = {
    "coco": Writer("vidparse.sinks.coco:Coco", loses=(_NO_STUFF, _NO_VOID)),
    "coco-panoptic": Writer(
        "vidparse.sinks.split_set:CocoPanopticSet", loses=(_NO_VIDEOS, _NO_CLASSES)
    ),
    "cvat": Writer("vidparse.sinks.cvat:CvatVideo", loses=(_NO_THINGS, _NO_CROWDS)),
    "cvat-images": Writer(
        "vidparse.sinks.cvat:CvatImages", read_as="cvat", loses=(_NO_THINGS, _NO_CROWDS)
    ),
    "folder": Writer("vidparse.sinks.plain_folder:PlainFolder", loses=(_NO_IDS,)),
    "label-studio": Writer(
        "vidparse.sinks.label_studio:LabelStudio", loses=(_NO_THINGS, _NO_CROWDS)
    ),
    "label-studio-video": Writer(
        "vidparse.sinks.label_studio_video:LabelStudioVideo",
        read_as="label-studio",
        loses=(_NO_STUFF, _NO_VOID, _NO_CROWDS),
    ),
    "labelme": Writer("vidparse.sinks.outlines:LabelMe", loses=(_NO_THINGS, _NO_CROWDS, _NEAR)),
    "vipseg": Writer("vidparse.sinks.split_set:VipsegSet", loses=(_NO_CLASSES,)),
    "vspw": Writer("vidparse.sinks.split_set:VspwSet", loses=(_NO_IDS,)),
    "yolo-seg": Writer(
        "vidparse.sinks.outlines:YoloSeg", loses=(_NO_IDS, _NO_THINGS, _NO_VOID, _NEAR)
    ),
    "ytvis": Writer("vidparse.sinks.coco:YouTubeVis", loses=(_NO_STUFF, _NO_VOID, _NO_CROWDS)),
}
