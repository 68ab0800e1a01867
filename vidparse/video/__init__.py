"""Video in and out: the only place that touches PyAV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidparse.tables import public_member
from vidparse.video.inputs import Input, expand_inputs
from vidparse.video.raw import RawPipe
from vidparse.video.reading import MediaReport, ReadingOptions, open_video, report_media
from vidparse.video.source import NVDEC, Source, Stamps

if TYPE_CHECKING:
    from vidparse.video.maskvideo import read_id_video, read_mask_video
    from vidparse.video.writer import VideoWriter

# Public name -> module; loaded on first use, as not every run reads or writes such a file.
_PUBLIC = {
    "VideoWriter": "vidparse.video.writer",
    "read_id_video": "vidparse.video.maskvideo",
    "read_mask_video": "vidparse.video.maskvideo",
}
__all__ = [
    "NVDEC",
    "Input",
    "MediaReport",
    "RawPipe",
    "ReadingOptions",
    "Source",
    "Stamps",
    "VideoWriter",
    "expand_inputs",
    "open_video",
    "read_id_video",
    "read_mask_video",
    "report_media",
]


def __getattr__(name: str) -> object:
    return public_member(_PUBLIC, __name__, name)
