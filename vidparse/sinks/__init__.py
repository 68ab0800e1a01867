"""Outputs: one class each, listed in SINKS; :func:`make_sinks` names them and makes them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from vidparse.requests.outputs import RunHeader, SinkOptions
from vidparse.sinks.coco import Coco, CocoPanoptic, YouTubeVis
from vidparse.sinks.masks import ClassMasks, GrayMasks, Ids, IdVideo, MaskVideo
from vidparse.sinks.names import is_output_name
from vidparse.sinks.overlay import Overlay
from vidparse.sinks.records import Csv, Jsonl, TracksCsv, TracksJson
from vidparse.sinks.sink import Sink
from vidparse.sinks.submission import Submission, VipSegFolder, VspwFolder
from vidparse.sinks.targets import Protected, plan_sinks
from vidparse.video import Input

SINKS: dict[str, type[Sink]] = {
    "overlay": Overlay,
    "masks": ClassMasks,
    "masks-gray": GrayMasks,
    "mask-video": MaskVideo,
    "jsonl": Jsonl,
    "csv": Csv,
    "panoptic": CocoPanoptic,
    "ids": Ids,
    "id-video": IdVideo,
    "tracks": TracksCsv,
    "tracks-json": TracksJson,
    "coco": Coco,
    "ytvis": YouTubeVis,
    "vspw": VspwFolder,
    "vipseg": VipSegFolder,
}


def is_output(path: Path) -> bool:
    """By name: what vidparse writes by default, or left when it was killed."""
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
    """The sinks of one input, by names in SINKS; see :func:`plan_sinks`."""
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
