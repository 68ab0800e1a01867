"""The contents of a media file, for `vidparse info`: headers and one frame are read, no more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import av

from vidparse.errors import counted
from vidparse.frame import VideoInfo
from vidparse.video.demux import CopiedStream, copied_streams
from vidparse.video.inputs import Input, open_video


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One audio or subtitle stream, in words."""

    index: int
    kind: str  # "audio" or "subtitle"
    codec: str
    language: str | None
    detail: str  # "48000 Hz, stereo"; empty for subtitles
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class MediaReport:
    """The video as `segment` would see it, the streams beside it, and the warnings so far."""

    video: VideoInfo
    streams: tuple[StreamReport, ...]
    notes: tuple[str, ...]


def probe(source: str | Path | Input) -> VideoInfo:
    """Facts of a source before its first frame. `copied` is empty: nothing stays open.

    Raises:
        InputError: the source cannot be read.
    """
    return report_media(source).video


def report_media(source: str | Path | Input, *, track: int | None = None) -> MediaReport:
    """Everything `vidparse info` shows of one input.

    Raises:
        InputError: the source cannot be read.
    """
    opened = open_video(source, track=track)
    try:
        streams = tuple(_describe(stream) for stream in copied_streams(opened.info))
        video = replace(opened.info, copied=())
        return MediaReport(video, streams, tuple(opened.notes))
    finally:
        opened.close()


def _describe(stream: CopiedStream) -> StreamReport:
    detail = ""
    if isinstance(stream.template, av.AudioStream):
        context = stream.template.codec_context
        layout = getattr(context.layout, "name", "") or counted(context.channels, "channel")
        detail = f"{context.sample_rate} Hz, {layout}"
    return StreamReport(
        index=stream.index,
        kind=stream.kind,
        codec=stream.codec,
        language=stream.language and _printable(stream.language),
        detail=detail,
        duration_s=stream.duration_s,
    )


def _printable(words: str) -> str:
    """Bytes that are no UTF-8, which PyAV 19 has as surrogates, as U+FFFD."""
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
