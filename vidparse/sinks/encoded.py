"""An encoded video under a partial name or on stdout: VideoWriter plus the rename at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vidparse.frame import VideoInfo
from vidparse.image import Yuv420
from vidparse.sinks.partial import PartialFile
from vidparse.video.writer import VideoWriter


class EncodedVideo:
    """A :class:`VideoWriter` whose file appears when complete.

    Args:
        target: final path, or an open stream.
        container: FFmpeg's name of the container.
    """

    def __init__(self, target: Path | BinaryIO, container: str) -> None:
        self._stream = None if isinstance(target, Path) else target
        self._partial = PartialFile(target) if isinstance(target, Path) else None
        self._container = container
        self._writer: VideoWriter | None = None
        self.notes: list[str] = []

    def open(
        self,
        info: VideoInfo,
        *,
        codec: str,
        pixel_format: str,
        options: dict[str, str],
        copy_streams: bool = False,
    ) -> None:
        """Start encoding. Raises OutputError when the file or the encoder can not be opened."""

        def start(target: Path | BinaryIO) -> VideoWriter:
            return VideoWriter(
                target,
                info,
                codec=codec,
                container=self._container,
                pixel_format=pixel_format,
                options=options,
                copy_streams=copy_streams,
            )

        if self._partial is None:
            assert self._stream is not None
            self._writer = start(self._stream)
        else:
            with self._partial.writing():
                self._writer = start(self._partial.path)

    def write(self, image: Yuv420 | np.ndarray, pts: int, packets: Sequence[Any] = ()) -> None:
        """Encode one picture and mux the copied packets that came before it."""
        if self._writer is None:
            raise ValueError("write before open")
        if self._partial is None:
            self._writer.write(image, pts, packets)
            return
        with self._partial.writing():
            self._writer.write(image, pts, packets)

    def close(self, *, keep: bool, packets: Sequence[Any] = ()) -> None:
        """Finish and rename into place, or abort and remove."""
        writer, self._writer = self._writer, None
        if self._partial is not None and self._partial.broken:
            keep = False
        try:
            if writer is not None and keep:
                self._finish(writer, packets)
            elif writer is not None:
                writer.abort()
        finally:
            if writer is not None:
                self.notes += writer.notes
            if self._partial is not None:
                self._partial.close(keep=keep)

    def _finish(self, writer: VideoWriter, packets: Sequence[Any]) -> None:
        if self._partial is None:
            writer.finish(packets)
            return
        with self._partial.writing():
            writer.finish(packets)
