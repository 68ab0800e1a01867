"""Pictures of data sets: images, which EXIF may turn, and masks of numbers. The one reader of both.

Images are read as `segment` shows them: the EXIF orientation is applied. Masks are read as they
are stored, so the mask of a turned picture has the size of the picture that people see.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from vidparse.errors import InputError
from vidparse.limits import max_pixels

INDEX_MODES = ("1", "L", "P", "I", "I;16")  # Pillow's names for one channel
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap sides
# What Pillow raises when a file is damaged, or claims to be enormous.
_DAMAGED = (OSError, SyntaxError, ValueError, struct.error, Pillow.DecompressionBombError)


def read_rgb(path: Path) -> np.ndarray:
    """RGB uint8 (H, W, 3), turned as EXIF has it.

    Raises:
        InputError: missing, damaged or enormous; the file is named.
    """
    data = _read_bytes(path)
    problem = _head_problem(data)
    pixels = None if problem else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"{path}: {problem or _damage(data)}; replace or remove it")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of what `read_rgb` gives, from the head of the file.

    Raises:
        InputError: missing, or no picture; the file is named.
    """
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: empty file; fetch it again")
        with Pillow.open(path) as picture:
            size_hw = picture.height, picture.width
            return size_hw[::-1] if _orientation(picture) in _ON_ITS_SIDE else size_hw
    except _DAMAGED as error:
        raise _unreadable(path, error, "image") from error


def size_mismatch(image: Path | None, mask_hw: tuple[int, int], image_hw: tuple[int, int]) -> str:
    """In words, how a mask differs in size from its image."""
    turned = ""
    if image is not None and mask_hw == image_hw[::-1] and _is_on_its_side(image):
        turned = " as EXIF turns it; turn the mask, too"
    return f"is {mask_hw[1]}x{mask_hw[0]}, its image {image_hw[1]}x{image_hw[0]}{turned}"


def read_indices(path: Path) -> np.ndarray:
    """Stored values of a single-channel mask (H, W): palette indices, 8 or 16 bits, never colours.

    Raises:
        InputError: missing, damaged, or a colour picture where indices are expected.
    """
    try:
        with Pillow.open(path) as picture:
            if picture.mode not in INDEX_MODES:
                raise InputError(
                    f"{path}: a mask of mode {picture.mode}, not of class indices; "
                    "convert it to one channel"
                )
            return np.asarray(picture, np.uint8 if picture.mode == "1" else None)
    except _DAMAGED as error:
        raise _unreadable(path, error, "mask") from error


def mask_size(path: Path, *, of_indices: bool) -> tuple[int, int]:
    """Height and width of a mask, from the head of the file.

    Args:
        of_indices: its pixels are numbers, not colours.

    Raises:
        InputError: not a picture, or of the other kind.
    """
    try:
        with Pillow.open(path) as picture:
            if (picture.mode in INDEX_MODES) != of_indices and picture.mode != "P":
                kind = "class indices" if of_indices else "colours"
                raise InputError(f"{path}: a mask of mode {picture.mode}, not of {kind}")
            return picture.height, picture.width
    except _DAMAGED as error:
        raise _unreadable(path, error, "mask") from error


def _is_on_its_side(path: Path) -> bool:
    with Pillow.open(path) as picture:
        return _orientation(picture) in _ON_ITS_SIDE


def _orientation(picture: Pillow.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none, or none that can be read.

    Not `getexif`, which takes XMP, too; neither OpenCV nor FFmpeg does.
    """
    stored = Pillow.Exif()
    try:
        stored.load(picture.info.get("exif", b""))
        return int(stored.get(_ORIENTATION, 1))
    except (*_DAMAGED, TypeError):
        return 1


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error, "image") from error


def _head_problem(data: bytes) -> str | None:
    """In words, the reason not to decode a picture. Kinds that Pillow does not know pass."""
    if not data:
        return "empty file"
    try:
        with Pillow.open(io.BytesIO(data)) as head:
            if head.width * head.height > max_pixels():
                return f"{head.width}x{head.height} pixels are more than {max_pixels()}"
    except Pillow.DecompressionBombError as error:
        return f"damaged image: {error}"
    except _DAMAGED:
        return None
    return None


def _damage(data: bytes) -> str:
    """In words, the reason why a picture cannot be decoded."""
    try:
        with Pillow.open(io.BytesIO(data)) as picture:
            picture.load()
    except _DAMAGED as error:
        return f"damaged image: {_reason(error)}"
    return "damaged image"


def _unreadable(path: Path, error: Exception, what: str) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such file; check the data folder")
    if isinstance(error, OSError) and error.strerror:
        return InputError(f"{path}: {error.strerror}; check its permissions")
    return InputError(f"{path}: damaged {what}: {_reason(error)}; replace or remove it")


def _reason(error: Exception) -> str:
    """Pillow's reason, without the name of the file that it quotes."""
    text = str(error)
    return "not a picture" if text.startswith("cannot identify") else text
