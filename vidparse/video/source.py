"""Where frames come from: one function that takes anything, one protocol that it returns."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

from vidparse.errors import UsageError
from vidparse.frame import NOMINAL_RATE, Frame, VideoInfo
from vidparse.video.animation import (
    WebpSource,
    is_moving_container,
    is_moving_webp,
    pages_of,
)
from vidparse.video.container import ContainerSource
from vidparse.video.folder import FolderSource
from vidparse.video.inputs import Input
from vidparse.video.raw import Pipe, RawPipe, RawSource
from vidparse.video.selection import Selection, select


class Source(Protocol):
    """Frames in presentation order, one pass, nothing kept."""

    @property
    def info(self) -> VideoInfo:
        """Known before the first frame."""

    @property
    def skipped(self) -> int:
        """Damaged packets or images passed over so far."""

    @property
    def notes(self) -> list[str]:
        """One-line warnings for the user; complete after iterating."""

    def __iter__(self) -> Iterator[Frame]:
        """Raises: TruncatedError after the last good frame; InputError."""

    def trailing_packets(self) -> list[Any]:
        """After iterating: packets of `info.copied` streams behind the last frame."""

    def close(self) -> None:
        """Release everything. Idempotent."""

    def __enter__(self) -> Self:
        """The source itself."""

    def __exit__(self, *_: object) -> None:
        """Closes it."""


def open_video(
    source: str | Path | Input,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    stride: int = 1,
    pipe: RawPipe | None = None,
    copy_streams: bool = True,
    stdin: BinaryIO | None = None,
    image_rate: Fraction | None = None,
    track: int | None = None,
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
        stdin: what to read instead of `sys.stdin.buffer`.
        image_rate: images a second; 25 unless given.
        track: which of several video tracks, from 1; None: the one that FFmpeg thinks best.

    Raises:
        UsageError: the options contradict each other.
        InputError: the source cannot be read.
    """
    selection = select(start_s, end_s, stride)
    if track is not None and track < 1:
        raise UsageError(f"track {track}: tracks count from 1")
    given = source if isinstance(source, Input) else Input.named(str(source))
    text = given.name
    if pipe is not None and text != "-":
        raise UsageError(f"{text}: a raw pipe is read from standard input; use - as the input")
    if text == "-":
        if pipe is not None:
            return RawSource(Pipe(stdin), pipe, selection)
        return ContainerSource(Pipe(stdin), "stdin", selection, copy_streams, track)
    if text.startswith("sample://"):
        from vidparse.video.rendered import SceneSource

        return SceneSource(text, selection)
    rate = image_rate or NOMINAL_RATE
    if rate <= 0:
        raise UsageError(f"image rate {rate}: must be above zero")
    images = given.sequence()
    if images is None:
        return ContainerSource(text, text, selection, copy_streams, track)
    assert given.path is not None
    # A sequence is called by its folder: "shots/*.png" is "shots".
    folder = given.path.resolve().name or "images"
    name = given.path.name if given.path.is_file() else folder
    if len(images) == 1 and given.path.is_file():
        return _one_picture(name, images[0], selection, Fraction(rate))
    return FolderSource(name, list(images), selection, Fraction(rate))


def _one_picture(name: str, path: Path, selection: Selection, rate: Fraction) -> Source:
    """A file that was named: with all its pictures, where it holds several."""
    try:
        data = path.read_bytes()
    except OSError:
        data = b""  # the source says it in its own words
    if is_moving_webp(data):
        return WebpSource(str(path), path, selection)
    if is_moving_container(data):
        return ContainerSource(str(path), str(path), selection, copy_streams=False)
    pages = pages_of(data)
    return FolderSource(name, [path], selection, rate, pages=pages if pages > 1 else 0)
