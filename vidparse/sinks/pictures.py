"""Pictures as outputs, one per frame: encoded as PNG, and put in their place.

They go to a folder, lie numbered beside each other, or are a single one. Index maps are written
by hand, with zlib alone: exact ids, in a third of the time that Pillow takes.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vidparse.errors import OutputError
from vidparse.files import WholeFile, WholeFolder, check_folder, check_place, kind_of
from vidparse.frame import Frame
from vidparse.video.inputs import is_image

_MASK_NAME = re.compile(r"\d{6,}\.png")
NUMBER = re.compile(r"%0?(\d*)d")  # the place for the number of the frame
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE = 0, 2, 3
_FILTER_UP = 2  # each row minus the one above: label maps turn into long runs of zeros


class Pictures(Protocol):
    """The place that the pictures of an output go to."""

    def create(self) -> None:
        """Raises: OutputError: it cannot be made."""

    def write(self, frame: Frame, data: bytes) -> Path:
        """Add an encoded picture, whole or not at all; where it lies for now.

        Raises:
            OutputError: disk full and the like, or a picture that has no place.
        """

    def close(self, *, keep: bool, complete: bool = True) -> Path | None:
        """Put in place, or remove; see :class:`WholeFile`."""


def pictures_at(
    path: Path, *, digits: int, replace: bool, endings: tuple[str, ...] = (".png",)
) -> Pictures:
    """By the path: x_%04d.png is numbered, x.png is one picture, all else is a folder."""
    if path.suffix.lower() not in endings:
        return PictureFolder(path, digits=digits, replace=replace)
    numbered = is_numbered(path)
    return (NumberedPictures if numbered else OnePicture)(path, replace=replace)


def is_numbered(path: Path) -> bool:
    """True if a name has a place for the number of the frame, as x_%04d.png has."""
    return places_of_number(path) > 0


def places_of_number(path: Path) -> int:
    """Places for the number of the frame in the name of a picture; 0 for other files."""
    return len(NUMBER.findall(path.name)) if is_image(path) else 0


def is_there(path: str) -> bool:
    """True where an output is at a path; a picture, where the path has the place of a number."""
    return any(numbered_files(Path(path))) if is_numbered(Path(path)) else Path(path).exists()


def numbered_files(path: Path) -> Iterator[Path]:
    """The files at a name with a place for a number."""
    before, _, after = NUMBER.split(path.name, maxsplit=1)
    name = re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")
    if path.parent.is_dir():
        yield from (entry for entry in path.parent.iterdir() if name.fullmatch(entry.name))


class PictureFolder:
    """PNGs under a partial folder name.

    Args:
        final: the folder's name in the end.
        digits: of the frame index, which names a frame that has no name of its own.
        replace: it may take the place of an older folder.
    """

    def __init__(self, final: Path, *, digits: int, replace: bool = True) -> None:
        self.partial = WholeFolder(final, replace=replace)
        self._digits = digits

    def stem(self, frame: Frame) -> str:
        """The picture's own name when the input is a folder of pictures, else the index."""
        return f"{frame.index:0{self._digits}d}" if frame.name is None else Path(frame.name).name

    def create(self) -> None:
        """Raises: OutputError: the folder cannot be made."""
        self.partial.create()

    def write(self, frame: Frame, png: bytes) -> Path:
        """Add a whole picture or none; where it lies for now.

        Raises:
            OutputError: disk full and the like, or two frames of one name.
        """
        path = self.partial.path / f"{self.stem(frame)}.png"

        # Open only files that are new: a second picture of that name must not replace the first.
        with self.partial.writing():
            try:
                file = path.open("xb")
            except FileExistsError as error:
                raise OutputError(
                    f"{self.partial.final}: two pictures are called '{path.stem}'; "
                    "rename one or give them as separate inputs"
                ) from error

            try:
                with file:
                    file.write(png)
            except BaseException:
                path.unlink(missing_ok=True)  # after an interrupt the folder is kept: whole files
                raise
        return path

    def close(self, *, keep: bool, complete: bool = True) -> Path | None:
        """Put in place, or remove; see :class:`WholeFolder`."""
        return self.partial.close(keep=keep, complete=complete)


class NumberedPictures:
    """Pictures called by the number of their frame; they lie in a folder until they are whole."""

    def __init__(self, path: Path, *, replace: bool) -> None:
        self._path = path
        self._folder = _Numbered(path, replace=replace)

    def create(self) -> None:
        self._folder.create()

    def write(self, frame: Frame, data: bytes) -> Path:
        name = NUMBER.sub(lambda match: f"{frame.index:0{match[1] or 1}d}", self._path.name, 1)
        path = self._folder.path / name
        with self._folder.writing():
            path.write_bytes(data)
        return path

    def close(self, *, keep: bool, complete: bool = True) -> Path | None:
        return self._folder.close(keep=keep, complete=complete)


class _Numbered(WholeFolder):
    """A folder whose files go to the folder round it."""

    def _has_older(self) -> bool:
        return any(numbered_files(self._place))

    def _move(self) -> None:
        older = {path.name for path in numbered_files(self._place)}
        if older and not self._replace:
            raise self._appeared()

        # Replace before anything is removed: a kill leaves no number without a picture.
        for path in sorted(self.path.iterdir()):
            path.replace(self._place.with_name(path.name))
            older.discard(path.name)
        for name in older:  # of a longer video
            self._place.with_name(name).unlink(missing_ok=True)
        self._remove(self.path)


class OnePicture:
    """The picture of an input that is one."""

    def __init__(self, path: Path, *, replace: bool) -> None:
        self._file = WholeFile(path, replace=replace)
        self._is_written = False

    def create(self) -> None:
        self._file.create()

    def write(self, frame: Frame, data: bytes) -> Path:
        if self._is_written:
            name = self._file.final
            raise OutputError(
                f"{name}: holds one picture and there are more; number them, as in "
                f"-o {name.stem}_%04d{name.suffix}"
            )
        with self._file.writing():
            self._file.path.write_bytes(data)
        self._is_written = True
        return self._file.path

    def close(self, *, keep: bool, complete: bool = True) -> Path | None:
        return self._file.close(keep=keep, complete=complete)


def is_made(final: Path, *, is_folder: bool) -> bool:
    """True if an output of this name was made before.

    Outputs appear whole, so that an empty file or folder, or one in place of the other, is none.
    """
    if is_numbered(final):
        return any(path.stat().st_size for path in numbered_files(final))
    if kind_of(final) != ("a directory" if is_folder else "a file"):
        return False
    return any(final.iterdir()) if is_folder else final.stat().st_size > 0


def is_empty(final: Path) -> bool:
    """True if a file, folder or numbered pictures of this name are there, with nothing in them."""
    if is_numbered(final):
        sizes = [path.stat().st_size for path in numbered_files(final)]
        return bool(sizes) and not any(sizes)
    return any(
        kind_of(final) == kind and not is_made(final, is_folder=is_folder)
        for kind, is_folder in (("a directory", True), ("a file", False))
    )


def check_target(
    final: Path,
    *,
    overwrite: bool,
    is_folder: bool,
    of_pictures: bool = False,
    beside: Sequence[str] = (),
    directory: Path | None = None,
) -> None:
    """Refuse, before any work, an output that must not or cannot be written.

    Args:
        final: the output's name.
        overwrite: an existing output may be replaced.
        is_folder: the output is a folder of mask pictures.
        of_pictures: the masks have the names of the input's pictures, which may be any.
        beside: names of other files in the folder.
        directory: must be writable, and is made; the folder round `final` unless given.

    Raises:
        OutputError: the output exists, or lies where nothing can be written.
    """
    if is_numbered(final):
        if not overwrite and any(numbered_files(final)):
            raise OutputError(f"{final}: such files exist; use --overwrite or -o")
        check_folder(final, final.parent, make=True)
        return

    check_place(final, is_folder=is_folder)
    if final.exists() or final.is_symlink():
        if not overwrite:
            raise OutputError(f"{final}: exists; use --overwrite or -o")
        _check_replaceable(final, is_folder, any_name=of_pictures, beside=beside)
    check_folder(final, directory or final.parent, make=True)


def _check_replaceable(
    final: Path, is_folder: bool, *, any_name: bool, beside: Sequence[str]
) -> None:
    if not is_folder:
        return

    # Replace a folder of masks alone: any other file in it would be lost.
    for entry in os.scandir(final) if final.exists() else ():
        is_mask = entry.name.endswith(".png") if any_name else _MASK_NAME.fullmatch(entry.name)
        ours = is_mask and entry.is_file(follow_symlinks=False)
        if not (ours or entry.name in beside) or entry.is_symlink():
            raise OutputError(
                f"{final}: holds '{entry.name}', which is no mask of ours, so it is not replaced; "
                "remove the folder or use -o"
            )


def palette_png(ids: np.ndarray, palette: np.ndarray) -> bytes:
    """An 8-bit palette PNG whose indices are the ids.

    Args:
        ids: uint8 (H, W).
        palette: RGB uint8 (256, 3), the colour of each id.
    """
    if ids.dtype != np.uint8:
        raise TypeError(f"palette_png needs uint8 ids, not {ids.dtype}")
    return _png(ids, bit_depth=8, colour_type=_PALETTE, palette=palette)


def gray_png(ids: np.ndarray) -> bytes:
    """A gray PNG whose samples are the ids (H, W): 8 bits for uint8, 16 for uint16."""
    if ids.dtype != np.uint8:
        return gray16_png(ids)
    return _png(ids, bit_depth=8, colour_type=_GRAY, palette=None)


def gray16_png(ids: np.ndarray) -> bytes:
    """A 16-bit gray PNG whose samples are the ids, uint16 (H, W)."""
    if ids.dtype != np.uint16:
        raise TypeError(f"gray16_png needs uint16 ids, not {ids.dtype}")
    big_endian = ids.astype(">u2").view(np.uint8)  # (H, 2W)
    return _png(big_endian, bit_depth=16, colour_type=_GRAY, palette=None)


def rgb_png(rgb: np.ndarray) -> bytes:
    """An 8-bit colour PNG of RGB uint8 (H, W, 3)."""
    if rgb.dtype != np.uint8:
        raise TypeError(f"rgb_png needs uint8 samples, not {rgb.dtype}")
    rows = rgb.reshape(rgb.shape[0], -1)  # (H, 3W)
    return _png(rows, bit_depth=8, colour_type=_RGB, palette=None)


def _png(
    rows: np.ndarray, *, bit_depth: int, colour_type: int, palette: np.ndarray | None
) -> bytes:
    height, width_bytes = rows.shape
    pixel_bits = bit_depth * (3 if colour_type == _RGB else 1)
    filtered = np.empty((height, width_bytes + 1), np.uint8)
    filtered[:, 0] = _FILTER_UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # wraps modulo 256, as PNG wants
    # Z_RLE only looks for runs, which is nearly all there is here, and is much the fastest.
    packer = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    data = packer.compress(filtered.data) + packer.flush()
    header = struct.pack(
        ">IIBBBBB", width_bytes * 8 // pixel_bits, height, bit_depth, colour_type, 0, 0, 0
    )
    chunks = [_chunk(b"IHDR", header)]
    if palette is not None:
        chunks.append(_chunk(b"PLTE", palette.tobytes()))
    return b"".join([_SIGNATURE, *chunks, _chunk(b"IDAT", data), _chunk(b"IEND", b"")])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
