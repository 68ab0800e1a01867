"""Picture files that hold more than one picture: animated WebP, PNG and AVIF, TIFF with pages."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image as Pillow

from vidparse.errors import InputError, TruncatedError, counted
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.limits import check_size
from vidparse.video.source import Selection, Source

_MILLISECOND = Fraction(1, 1000)
# Raised by Pillow at damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error)
_WORDS = 64  # entries that are looked through for the size of a page
_TIFF_HEADS: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}


def is_moving_webp(data: bytes) -> bool:
    """An animated WebP, which FFmpeg does not decode."""
    return data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and bool(data[20:21][0] & 2)


def is_moving_container(data: bytes) -> bool:
    """An animated PNG or AVIF, which FFmpeg reads as a video."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        place = data.find(b"acTL")
        return 0 < place < data.find(b"IDAT")
    return data[4:12] == b"ftypavis"


def pages_of(data: bytes) -> int:
    """The number of pages that a TIFF has; 1 for other files and for pages of mixed sizes."""
    places = _directories(data)
    sizes = {_page_size(data, place) for place in places}
    return len(places) if len(sizes) == 1 and len(places) > 1 else 1


def _page_size(data: bytes, place: int) -> tuple[int, int]:
    """Width and height by a directory: tags 256 and 257, of 16 or 32 bits."""
    order, found = _TIFF_HEADS[data[:4]], {256: 0, 257: 0}
    for entry in range(place + 2, min(place + 2 + 12 * _WORDS, len(data) - 11), 12):
        tag = int.from_bytes(data[entry : entry + 2], order)
        if tag in found:
            wide = 2 if int.from_bytes(data[entry + 2 : entry + 4], order) == 3 else 4
            found[tag] = int.from_bytes(data[entry + 8 : entry + 8 + wide], order)
        if tag >= 257:  # they are sorted
            break
    return found[256], found[257]


def page_of(data: bytes, page: int) -> bytes:
    """A TIFF whose first page is the one of that number, from 1."""
    order = _TIFF_HEADS[data[:4]]
    return data[:4] + _directories(data)[page - 1].to_bytes(4, order) + data[8:]


def holds_several(data: bytes) -> bool:
    """A picture file has more pictures than a still one."""
    return is_moving_webp(data) or is_moving_container(data) or len(_directories(data)) > 1


def _directories(data: bytes) -> list[int]:
    """Places of the pages' directories in a TIFF; each names the next (TIFF 6.0, 2)."""
    order = _TIFF_HEADS.get(data[:4])
    if order is None:
        return []
    places: list[int] = []
    place = int.from_bytes(data[4:8], order)
    while 8 <= place < len(data) and place not in places:
        places.append(place)
        after = place + 2 + 12 * int.from_bytes(data[place : place + 2], order)
        place = int.from_bytes(data[after : after + 4], order)
    return places


def first_of_webp(data: bytes) -> np.ndarray:
    """RGB uint8 (H, W, 3). Raises: ValueError: it is damaged."""
    try:
        with Pillow.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGB"))
    except _DAMAGED as error:
        raise ValueError(str(error)) from error


class WebpSource(Source):
    """Yields the pictures of an animated WebP, with the times that it gives, in milliseconds."""

    def __init__(self, name: str, path: Path, selection: Selection) -> None:
        """Raises: InputError: it cannot be read, or is too large."""
        self._name, self._selection = name, selection

        try:
            picture: Any = Pillow.open(path)
            self._picture = picture
            size_hw = self._picture.height, self._picture.width
            check_size(name, size_hw)
            frames = int(self._picture.n_frames)
            self._picture.load()  # the duration of a picture is known with its pixels
        except (*_DAMAGED, Pillow.DecompressionBombError) as error:
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
        except _DAMAGED as error:
            raise TruncatedError(
                f"{self._name}: damaged after {counted(number, 'frame')} ({error}); they are kept, "
                "get another copy"
            ) from error
        return pixels, max(1, round(self._picture.info.get("duration", 100)))

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._picture.close()
