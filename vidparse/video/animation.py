"""Animations: files of several pictures, as moving WebP, PNG and AVIF, and TIFF with pages."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

_WORDS = 64  # entries that are looked through for the size of a page
_TIFF_HEADS: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}


def is_still(path: Path) -> bool:
    """One picture is in a file, or nobody can read it.

    A TIFF whose further pages are of other sizes is one picture, too.
    """
    try:
        status = path.stat()
    except OSError:
        return True
    return _is_still(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _is_still(path: Path, changed_ns: int, size: int) -> bool:
    """By the bytes; each version of a file is read once, since every output wants to know."""
    try:
        data = path.read_bytes()
    except OSError:
        return True
    return not is_moving_webp(data) and not is_moving_container(data) and pages_of(data) == 1


def is_moving_webp(data: bytes) -> bool:
    """An animated WebP, which FFmpeg does not decode."""
    is_extended = data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) > 20
    return is_extended and bool(data[20] & 2)


def is_moving_container(data: bytes) -> bool:
    """An animated PNG or AVIF, which FFmpeg reads as a video."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        # Look ahead of the pixels alone: behind them the same bytes can stand by chance.
        place = data.find(b"acTL")
        return 0 < place < data.find(b"IDAT")
    return data[4:12] == b"ftypavis"


def pages_of(data: bytes) -> int:
    """The number of pages that a TIFF has; 1 for other files and for pages of mixed sizes."""
    # Count pages of one size only: a smaller one mostly is a preview of the first.
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
    # Rewrite the head alone: it names the page that is decoded.
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

    # Stop at a page that was met before: damaged files may name them in a ring.
    while 8 <= place < len(data) and place not in places:
        places.append(place)
        after = place + 2 + 12 * int.from_bytes(data[place : place + 2], order)
        place = int.from_bytes(data[after : after + 4], order)
    return places
