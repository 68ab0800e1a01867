"""The reading of an input: opened as frames, or reported with its facts (`vidparse info`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, TypedDict

import av

from vidparse.errors import InputError, UsageError, counted
from vidparse.frame import VideoInfo
from vidparse.video.animation import is_moving_container, is_moving_webp, pages_of
from vidparse.video.container import ContainerSource
from vidparse.video.demux import CopiedStream, copied_streams
from vidparse.video.folder import FolderSource, WebpSource
from vidparse.video.inputs import Input
from vidparse.video.raw import Pipe, RawPipe, RawSource
from vidparse.video.source import NVDEC, Seconds, Selection, Source, select


class ReadingOptions(TypedDict, total=False):
    """Arguments of :func:`open_video` that decide which frames are decoded, and how."""

    image_rate: Fraction | None
    track: int | None


def open_video(
    source: str | Path | Input,
    *,
    start_s: Seconds = None,
    end_s: Seconds = None,
    stride: int = 1,
    pipe: RawPipe | None = None,
    copy_streams: bool = True,
    stdin: BinaryIO | None = None,
    image_rate: Fraction | None = None,
    track: int | None = None,
    numbered: bool = True,
    device: int | None = None,
    any_size: bool = False,
) -> Source:
    """Open anything that has frames.

    Args:
        source: a video file or address; a folder, glob pattern or file of images; "-" for standard
            input (y4m, matroska, nut, ...); "sample://street" or "sample://crowd".
        start_s: first moment wanted, in seconds from the first frame.
        end_s: first moment not wanted.
        stride: deliver every n-th frame of that range.
        pipe: how to read standard input that is raw frames.
        copy_streams: let audio and subtitle packets travel in the frames.
        stdin: a stream to read instead of `sys.stdin.buffer`.
        image_rate: images per second; 25 unless given.
        track: which of several video tracks, from 1; None: the one that FFmpeg thinks best.
        numbered: frames have their number in the file; False: they count from the start of the
            range, which spares reading a file up to there.
        device: number of the CUDA device that decodes files where it can, so that their pictures
            are in its memory; None: the CPU decodes. `decoded_on` has the outcome.
        any_size: photographs of a folder or pattern may each have a size of their own.

    Raises:
        UsageError: the options contradict each other.
        InputError: the source cannot be read.
    """
    selection = select(start_s, end_s, stride, numbered=numbered)
    if track is not None and track < 1:
        raise UsageError(f"track {track}: tracks count from 1")
    given = source if isinstance(source, Input) else Input.named(str(source))
    text = given.name
    if pipe is not None and text != "-":
        raise UsageError(f"{text}: a raw pipe is read from standard input; use - as the input")
    if text == "-":
        if pipe is not None:
            _refuse_tracks("stdin", track)
            return RawSource(Pipe(stdin), pipe, selection)
        return ContainerSource(Pipe(stdin), "stdin", selection, copy_streams, track)
    if text.startswith("sample://"):
        from vidparse.video.rendered import SceneSource

        _refuse_tracks(text, track)
        return SceneSource(text, selection)
    if image_rate is not None and image_rate <= 0:
        raise UsageError(f"image rate {image_rate}: must be above zero, as in --rate 25")
    rate = None if image_rate is None else Fraction(image_rate)
    images = given.sequence()
    if images is None:
        return _from_file(given, selection, copy_streams, track, device)
    assert given.path is not None
    _refuse_tracks(text, track)
    name = given.path.name if given.path.is_file() else given.folder_name

    # Look into a file that was named alone: it may be an animation, or have pages.
    if len(images) == 1 and given.path.is_file():
        return _one_picture(name, images[0], selection, rate)
    return FolderSource(name, list(images), selection, rate, any_size=any_size)


def _from_file(
    given: Input, selection: Selection, copy_streams: bool, track: int | None, device: int | None
) -> Source:
    """A file or address, through several decoders of the device where that pays."""

    def opened() -> ContainerSource:
        target = given.address or given.name
        return ContainerSource(target, given.name, selection, copy_streams, track, device=device)

    source = opened()
    if device is None or source.decoded_on != NVDEC:
        return source
    from vidparse.video.nvdec import DECODERS, free_memory
    from vidparse.video.pieces import in_pieces

    return in_pieces(source, opened, decoders=DECODERS, memory=free_memory(device))


def _refuse_tracks(name: str, wanted: int | None) -> None:
    """Raises: InputError: a track beyond the only one of what is no video file."""
    if wanted is not None and wanted > 1:
        raise InputError(f"{name}: --track {wanted}: it has 1 video track; give one of these")


def _one_picture(name: str, path: Path, selection: Selection, rate: Fraction | None) -> Source:
    """A file that was named: with all its pictures, where it holds several."""
    try:
        data = path.read_bytes()
    except OSError:
        data = b""  # the source reports it in its own words
    if is_moving_webp(data):
        return WebpSource(str(path), path, selection)
    if is_moving_container(data):
        return ContainerSource(str(path), str(path), selection, copy_streams=False)
    pages = pages_of(data)
    return FolderSource(name, [path], selection, rate, pages=pages if pages > 1 else 0)


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


def report_media(source: str | Path | Input, *, track: int | None = None) -> MediaReport:
    """Everything `vidparse info` shows of one input; of its frames one is read, no more.

    Nothing stays open, so `copied` of the video is empty.

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
