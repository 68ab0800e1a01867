"""An encoded video under a partial name or on stdout: a writer plus the rename at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vidparse.errors import OutputError
from vidparse.frame import VideoInfo
from vidparse.image import Yuv420
from vidparse.sinks.partial import PartialFile
from vidparse.sinks.y4m import Y4mWriter
from vidparse.video import VideoWriter


@dataclass(frozen=True, slots=True)
class Encoding:
    """How pictures are written, in FFmpeg's names; the container "y4m" is written by ourselves."""

    container: str
    codec: str
    pixel_format: str


class EncodedVideo:
    """A :class:`VideoWriter` whose file appears when complete; `target` is its path, or stdout."""

    def __init__(self, target: Path | BinaryIO) -> None:
        self._target: Path | BinaryIO = target
        self._partial: PartialFile | None = None
        if isinstance(target, Path):
            self._partial = PartialFile(target)
            self._target = self._partial.path
        self._writer: VideoWriter | Y4mWriter | None = None
        self.notes: list[str] = []

    def open(
        self,
        info: VideoInfo,
        encoding: Encoding,
        *,
        options: dict[str, str] | None = None,
        copy_streams: bool = False,
    ) -> None:
        """Start encoding, with `options` for the encoder.

        Raises:
            OutputError: the file or the encoder can not be opened.
        """
        with self._writing():
            if encoding.container == "y4m" and not isinstance(self._target, Path):
                self._writer = Y4mWriter(self._target, info, pixel_format=encoding.pixel_format)
                return
            self._writer = VideoWriter(
                self._target,
                info,
                codec=encoding.codec,
                container=encoding.container,
                pixel_format=encoding.pixel_format,
                options=options,
                copy_streams=copy_streams,
            )

    def write(self, image: Yuv420 | np.ndarray, pts: int, packets: Sequence[Any] = ()) -> None:
        """Encode one picture and mux the copied packets that came before it."""
        if self._writer is None:
            raise ValueError("write before open")
        with self._writing():
            self._writer.write(image, pts, packets)

    def close(self, *, keep: bool, packets: Sequence[Any] = ()) -> None:
        """Finish and rename into place, or abort and remove."""
        writer, self._writer = self._writer, None
        if self._partial is not None and self._partial.broken:
            keep = False
        try:
            if writer is not None and keep:
                with self._writing():
                    writer.finish(packets)
            elif writer is not None:
                writer.abort()
        finally:
            if writer is not None:
                self.notes += writer.notes
            if self._partial is not None:
                self._partial.close(keep=keep)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._partial is None:
            yield
            return
        try:
            with self._partial.writing():
                yield
        except OutputError as error:  # the writer knows the file by its temporary name only
            temporary, final = str(self._partial.path), str(self._partial.final)
            if temporary not in str(error):
                raise
            raise OutputError(str(error).replace(temporary, final)) from error
