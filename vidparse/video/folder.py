"""A folder, pattern or single file of still images, as a video with one frame an image."""

from __future__ import annotations

import errno
import io
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vidparse.errors import InputError, TruncatedError
from vidparse.frame import Frame, VideoInfo
from vidparse.limits import check_size
from vidparse.video.access import open_limited
from vidparse.video.animation import first_of_webp, holds_several, is_moving_webp, page_of
from vidparse.video.damage import whole_jpeg
from vidparse.video.decode import decoder_options
from vidparse.video.picture import Converter, check_announced
from vidparse.video.source import Selection, Source, Stamps

log = logging.getLogger(__name__)

_JPEG = b"\xff\xd8"
_NOTED = 5  # unreadable images are named up to here, then only counted

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE)


class FolderSource(Source):
    """Yields images in natural order; pts is the place in that order, even past unreadable ones.

    The pictures are decoded by FFmpeg, so a JPEG stays in its own YUV planes and EXIF orientation
    is applied.
    """

    def __init__(
        self,
        name: str,
        paths: list[Path],
        selection: Selection,
        rate: Fraction,
        *,
        pages: int = 0,
    ) -> None:
        """Open a sequence.

        Args:
            name: what messages and outputs call it.
            pages: take so many pages of the one TIFF in `paths`.

        Raises:
            InputError: none of the images can be read.
        """
        self._name, self._selection = name, selection
        # Each with its page, from 1; page 0 is the first of a file that is a picture among others.
        self._shots = [(path, page) for path in paths for page in range(1, pages + 1) or (0,)]
        self._notes: list[str] = []

        self._unreadable: set[tuple[Path, int]] = set()
        self._gone: set[tuple[Path, int]] = set()
        self._several: set[Path] = set()  # files of which only the first picture is taken

        # Take size and colours from the first picture that can be read.
        for shot in self._shots:
            first = self._decode(*shot)
            if first is not None:
                break
        else:
            why = self._notes[0].removesuffix("; skipped")
            raise InputError(
                f"{name}: none of {len(self._shots)} images can be read ({why}); check the files"
            )

        codec, frame = first
        check_size(name, (frame.height, frame.width))
        converter = Converter(frame)
        self.info = VideoInfo(
            name=name,
            size_hw=converter.size_hw,
            time_base=1 / rate,
            rate=rate,
            frames=len(self._shots),
            duration_s=float(len(self._shots) / rate) if len(self._shots) > 1 else None,
            sample_aspect_ratio=Fraction(1),
            colour=converter.tags,
            rotation=converter.degrees,
            codec=codec,
            pixel_format=frame.format.name,
        )

    @property
    def skipped(self) -> int:
        """Images that cannot be read."""
        return len(self._unreadable)

    @property
    def notes(self) -> list[str]:
        """The first of these images, and files of which one picture is taken."""
        return self._notes

    def __iter__(self) -> Iterator[Frame]:
        """Raises: InputError: an image of another size. TruncatedError: images that went away."""
        start, end = self._selection.bounds(0, self.info.time_base)
        index = 0

        for pts in range(start or 0, min(len(self._shots), end or len(self._shots))):
            path, page = self._shots[pts]
            if index % self._selection.stride:
                index += 1
                continue

            decoded = self._decode(path, page)
            if decoded is None:
                continue
            converter = Converter(decoded[1])
            if converter.size_hw != self.info.size_hw:
                (h, w), (height, width) = converter.size_hw, self.info.size_hw
                raise InputError(
                    f"{path}: is {w}x{h} but the sequence began with {width}x{height}; "
                    "give images of one size, or name them one by one"
                )

            yield Frame(
                (start or 0) + index,
                pts,
                converter.image(decoded[1]),
                name=f"{path.stem}_{page:04d}" if page else path.stem,
                duration=min(self._selection.stride, len(self._shots) - pts),
                time_base=self.info.time_base,
            )
            index += 1

        if self._gone and index:
            raise TruncatedError(
                f"{self._name}: {len(self._gone)} of {len(self._shots)} images went away while "
                "they were read; outputs hold the others"
            )
        if index == 0:
            raise self._selection.nothing(self._name, self.info.duration_s)

    def stamps(self) -> Stamps:
        start, end = self._selection.bounds(0, self.info.time_base)
        return Stamps.even(start or 0, min(len(self._shots), end or len(self._shots)))

    def _bytes_of(self, path: Path, page: int) -> bytes:
        """Raises: OSError, which is remembered when the file was listed and is no more."""
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno in _GONE:
                self._gone.add((path, page))
            raise

    def _decode(self, path: Path, page: int) -> tuple[str, av.VideoFrame] | None:
        """Codec name and picture, or None (counted once) when the file is not a whole image."""
        try:
            data = self._bytes_of(path, page)
            if page == 0 and path not in self._several and holds_several(data):
                self._several.add(path)
                self._notes.append(f"{path.name} holds several pictures, the first one is taken")
            return _picture_of(path, data, page)
        except MemoryError:
            raise
        except InputError as error:
            self._skip(path, page, f"{error}; skipped")
        except (av.error.FFmpegError, OSError, IndexError, StopIteration, ValueError) as error:
            log.info("%s: not a readable image, skipped (%s)", path, error)

            # Give the limit as the reason where the picture breaks one: the decoder only fails.
            note = f"{path.name} is no image that can be read"
            try:
                check_announced(path.name, path)
            except InputError as too_large:
                note = str(too_large)
            self._skip(path, page, f"{note}; skipped")
        return None

    def _skip(self, path: Path, page: int, note: str) -> None:
        """Count an image that is left out, once, and name the first ones."""
        if (path, page) in self._unreadable:
            return
        self._unreadable.add((path, page))
        if self.skipped <= _NOTED:
            self._notes.append(note)


def _picture_of(path: Path, data: bytes, page: int) -> tuple[str, av.VideoFrame]:
    """Codec name and picture of one image file.

    Raises:
        InputError: it is too large. FFmpegError, ValueError, LookupError: it is not whole.
    """
    if is_moving_webp(data):
        return "webp", av.VideoFrame.from_ndarray(first_of_webp(data), format="rgb24")

    # Cut a JPEG behind its last scan: what lies after it is no picture.
    whole = whole_jpeg(data) if data[:2] == _JPEG else page_of(data, page) if page else data
    if whole is None:
        raise ValueError("ends before its last scan")

    with _opened(path, whole) as container:
        stream = container.streams.video[0]
        decoder = stream.codec_context
        if decoder is None:
            raise ValueError("no decoder for it")

        if decoder.width and decoder.height:  # before any memory is taken
            check_size(path.name, (decoder.height, decoder.width))
        decoder.options = decoder_options(decoder)

        picture = next(container.decode(stream))
        if picture.is_corrupt:
            raise ValueError("the decoder filled in a part of it")
        return decoder.name, picture


def _opened(path: Path, data: bytes) -> Any:
    """From memory: FFmpeg would take a '%' or ':' in the name for a pattern or protocol."""
    try:
        return open_limited(io.BytesIO(data), str(path))
    except av.error.InvalidDataError:
        form = f"{path.suffix[1:].lower()}_pipe"  # kinds that only their names tell
        if form not in av.formats_available:
            raise
        return open_limited(io.BytesIO(data), str(path), format=form)
