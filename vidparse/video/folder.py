"""Still images as a video: a folder, a pattern, a single file, or a file that holds several.

Those are animated WebP, PNG and AVIF, and TIFF with pages.
"""

from __future__ import annotations

import errno
import io
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from vidparse.errors import InputError, TruncatedError, counted
from vidparse.frame import NOMINAL_RATE, Frame, VideoInfo
from vidparse.image import PILLOW_FAULTS, ColourTags, Rgb
from vidparse.limits import check_size
from vidparse.video.access import open_limited
from vidparse.video.animation import holds_several, is_moving_webp, page_of
from vidparse.video.damage import whole_jpeg
from vidparse.video.decode import decoder_options
from vidparse.video.picture import Converter, check_announced
from vidparse.video.source import Selection, Source, Stamps

log = logging.getLogger(__name__)

_JPEG = b"\xff\xd8"
_NOTED = 5  # unreadable images are named up to here, then only counted

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE)
_MILLISECOND = Fraction(1, 1000)


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
        rate: Fraction | None,
        *,
        pages: int = 0,
        any_size: bool = False,
    ) -> None:
        """Open a sequence.

        Args:
            name: for messages and outputs.
            rate: images per second; None: not known, and 25 is the usual one.
            pages: take so many pages of the one TIFF in `paths`.
            any_size: each image may have its own size; `info` has the first one's.

        Raises:
            InputError: none of the images can be read.
        """
        self._name, self._selection, self._any_size = name, selection, any_size
        self._is_timed, rate = rate is not None, rate or NOMINAL_RATE
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

            # Leave out before decoding: unlike in a video, no picture needs another.
            if index % self._selection.stride:
                index += 1
                continue

            decoded = self._decode(path, page)
            if decoded is None:
                continue
            converter = Converter(decoded[1])
            if converter.size_hw != self.info.size_hw and not self._any_size:
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
                file=None if page else path,
                is_timed=self._is_timed,
            )
            index += 1

        # Fail only now: the others are delivered, but a lost folder is no success.
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
            # Let missing memory through: the picture would count as damaged, with exit status 0.
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


def _opened(path: Path, data: bytes) -> InputContainer:
    """From memory: FFmpeg would take a '%' or ':' in the name for a pattern or protocol."""
    try:
        return open_limited(io.BytesIO(data), str(path))
    except av.error.InvalidDataError:
        form = f"{path.suffix[1:].lower()}_pipe"  # kinds that only their names show
        if form not in av.formats_available:
            raise
        return open_limited(io.BytesIO(data), str(path), format=form)


def first_of_webp(data: bytes) -> np.ndarray:
    """RGB uint8 (H, W, 3). Raises: ValueError: it is damaged."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGB"))
    except PILLOW_FAULTS as error:
        raise ValueError(str(error)) from error


class WebpSource(Source):
    """Yields the pictures of an animated WebP, with the times that it gives, in milliseconds."""

    def __init__(self, name: str, path: Path, selection: Selection) -> None:
        """Raises: InputError: it cannot be read, or is too large."""
        from PIL import Image as Pillow

        self._name, self._selection = name, selection
        try:
            self._picture = Pillow.open(path)
            size_hw = self._picture.height, self._picture.width
            check_size(name, size_hw)
            frames = int(getattr(self._picture, "n_frames", 1))
            self._picture.load()  # the duration of a picture is known with its pixels
        except (*PILLOW_FAULTS, Pillow.DecompressionBombError) as error:
            raise InputError(f"{name}: damaged ({error}); get another copy") from error

        self.info = VideoInfo(
            name=path.name,
            size_hw=size_hw,
            time_base=_MILLISECOND,
            rate=None,
            frames=frames,
            duration_s=None,
            sample_aspect_ratio=Fraction(1),
            colour=ColourTags(),
            codec="webp",
            pixel_format="rgb24",
        )

    def __iter__(self) -> Iterator[Frame]:
        """Raises: TruncatedError: damaged from here on. InputError: the range holds no frame."""
        start, end = self._selection.bounds(0, _MILLISECOND)
        pts = index = 0
        for number in range(self.info.frames or 0):
            # Decode pictures before the range, too: only so are their durations known.
            pixels, lasts = self._decoded(number)
            if end is not None and pts >= end:
                break
            if start is None or pts >= start:
                if index % self._selection.stride == 0:
                    over = min(end, pts + lasts) if end is not None else pts + lasts
                    image = Rgb(pixels)
                    yield Frame(number, pts, image, duration=over - pts, time_base=_MILLISECOND)
                index += 1
            pts += lasts
        if index == 0:
            raise self._selection.nothing(self._name, pts / 1000)

    def _decoded(self, number: int) -> tuple[np.ndarray, int]:
        """RGB uint8 (H, W, 3) and milliseconds, at least one."""
        try:
            self._picture.seek(number)
            pixels = np.asarray(self._picture.convert("RGB"))
        except PILLOW_FAULTS as error:
            raise TruncatedError(
                f"{self._name}: damaged after {counted(number, 'frame')} ({error}); they are kept, "
                "get another copy"
            ) from error
        return pixels, max(1, round(self._picture.info.get("duration", 100)))

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._picture.close()
