"""Outputs: one class each, listed in SINKS; :func:`make_sinks` names them and makes them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vidparse.requests.outputs import RunHeader, SinkOptions
from vidparse.tables import Table, public_member

if TYPE_CHECKING:
    from vidparse.sinks.sink import Sink
    from vidparse.sinks.submission import Submission, VipSegFolder, VspwFolder
    from vidparse.sinks.targets import Protected
    from vidparse.video.inputs import Input

SINKS: Table[type[Sink]] = Table(
    {
        "overlay": "vidparse.sinks.overlay:Overlay",
        "masks": "vidparse.sinks.masks:ClassMasks",
        "masks-gray": "vidparse.sinks.masks:GrayMasks",
        "mask-video": "vidparse.sinks.masks:MaskVideo",
        "jsonl": "vidparse.sinks.records:Jsonl",
        "csv": "vidparse.sinks.records:Csv",
        "panoptic": "vidparse.sinks.coco:CocoPanoptic",
        "ids": "vidparse.sinks.masks:Ids",
        "id-video": "vidparse.sinks.masks:IdVideo",
        "tracks": "vidparse.sinks.records:TracksCsv",
        "tracks-json": "vidparse.sinks.records:TracksJson",
        "coco": "vidparse.sinks.coco:Coco",
        "ytvis": "vidparse.sinks.coco:YouTubeVis",
        "cvat": "vidparse.sinks.cvat:CvatVideo",
        "cvat-images": "vidparse.sinks.cvat:CvatImages",
        "label-studio": "vidparse.sinks.label_studio:LabelStudio",
        "label-studio-video": "vidparse.sinks.label_studio_video:LabelStudioVideo",
        "labelme": "vidparse.sinks.outlines:LabelMe",
        "yolo-seg": "vidparse.sinks.outlines:YoloSeg",
        "folder": "vidparse.sinks.plain_folder:PlainFolder",
        "vspw-set": "vidparse.sinks.split_set:VspwSet",
        "vipseg-set": "vidparse.sinks.split_set:VipsegSet",
        "coco-panoptic": "vidparse.sinks.split_set:CocoPanopticSet",
        "matte": "vidparse.sinks.mattes:MatteVideo",
        "matte-png": "vidparse.sinks.mattes:MattePictures",
        "trimap": "vidparse.sinks.mattes:Trimaps",
        "cutout-prores": "vidparse.sinks.cutouts:CutoutProRes",
        "cutout-vp9": "vidparse.sinks.cutouts:CutoutVp9",
        "cutout-png": "vidparse.sinks.cutouts:CutoutPictures",
        "background": "vidparse.sinks.background:Background",
        "redact": "vidparse.sinks.redact:Redact",
        "vspw": "vidparse.sinks.submission:VspwFolder",
        "vipseg": "vidparse.sinks.submission:VipSegFolder",
    }
)
# Public name -> module; loaded on first use.
_PUBLIC = {
    "Protected": "vidparse.sinks.targets",
    "Sink": "vidparse.sinks.sink",
    "Submission": "vidparse.sinks.submission",
    "VipSegFolder": "vidparse.sinks.submission",
    "VspwFolder": "vidparse.sinks.submission",
}


def is_output(path: Path) -> bool:
    """By name: what vidparse writes by default, or left when it was killed."""
    from vidparse.sinks.names import is_output_name

    return is_output_name(SINKS, path)


def make_sinks(
    names: Sequence[str],
    *,
    source: str | Path | Input,
    out: str | os.PathLike[str] | None,
    options: SinkOptions,
    stdout: BinaryIO | None = None,
    taken: Mapping[str, str] | None = None,
    protected: Protected | None = None,
    video: str | None = None,
) -> list[Sink]:
    """The sinks of one input, by names in SINKS; see :func:`vidparse.sinks.targets.plan_sinks`."""
    from vidparse.sinks.targets import plan_sinks
    from vidparse.video.inputs import Input

    return plan_sinks(
        SINKS,
        names,
        source=source if isinstance(source, Input) else Input.named(str(source)),
        out=out,
        options=options,
        stream=stdout,
        taken=taken or {},
        protected=protected,
        video=video,
    )


__all__ = [
    "SINKS",
    "Protected",
    "RunHeader",
    "Sink",
    "SinkOptions",
    "Submission",
    "VipSegFolder",
    "VspwFolder",
    "is_output",
    "make_sinks",
]


def __getattr__(name: str) -> object:
    return public_member(_PUBLIC, __name__, name)
