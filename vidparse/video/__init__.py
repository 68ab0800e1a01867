"""Video in and out: the only place that touches PyAV."""

from vidparse.video.inputs import Input, expand_inputs
from vidparse.video.maskvideo import read_id_video, read_mask_video
from vidparse.video.raw import RawPipe
from vidparse.video.reading import MediaReport, ReadingOptions, open_video, report_media
from vidparse.video.source import Source, Stamps
from vidparse.video.writer import VideoWriter

__all__ = [
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
