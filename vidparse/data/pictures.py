"""Pictures of data sets: images, which EXIF may turn, and masks, and what their numbers mean.

Images are read as `segment` shows them: the EXIF orientation is applied. Masks are read as they
are stored, so the mask of a turned picture has the size of the picture that people see.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image as Pillow

from vidparse.errors import InputError, expected
from vidparse.image import PILLOW_FAULTS, decoded
from vidparse.labels import Labels
from vidparse.limits import check_size, max_pixels
from vidparse.maps import VOID, SegmentMap, count_codes, recode, segments_of_ids

if TYPE_CHECKING:
    from vidparse.data.dataset import FrameRecord

INDEX_MODES = ("1", "L", "P", "I", "I;16")  # Pillow's names for one channel
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap sides
# What Pillow raises when a file is damaged, or claims to be enormous.
_DAMAGED = (*PILLOW_FAULTS, Pillow.DecompressionBombError)
IGNORE = 255  # training id of pixels that count for nothing
_MOST = 65535  # greatest value that counts by itself; no format has a class above
_CLASSES = 256


def read_rgb(path: Path) -> np.ndarray:
    """RGB uint8 (H, W, 3), turned as EXIF has it.

    Raises:
        InputError: missing, damaged or enormous; the file is named.
    """
    data = _read_bytes(path)
    problem = _head_problem(data)
    pixels = None if problem else decoded(data, cv2.IMREAD_COLOR)
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


def check_fits(frame: FrameRecord, mask_hw: tuple[int, ...], rgb: np.ndarray) -> None:
    """Raises: InputError: the labels of a frame are not of the size of its picture (H, W, 3)."""
    (height, width), (high, wide) = mask_hw, rgb.shape[:2]
    if (height, width) != (high, wide):
        what = size_mismatch(frame.image, (height, width), (high, wide))
        raise InputError(f"{frame.mask or frame}: {what}; mend the mask")


def read_indices(path: Path) -> np.ndarray:
    """Stored values of a single-channel mask (H, W): palette indices, 8 or 16 bits, never colours.

    Raises:
        InputError: missing, damaged, or a colour picture where indices are expected.
    """
    try:
        # From memory: Pillow takes as much as a damaged file claims to hold.
        with Pillow.open(io.BytesIO(path.read_bytes())) as picture:
            if picture.mode not in INDEX_MODES:
                raise InputError(
                    f"{path}: a mask of mode {picture.mode}, not of class indices; "
                    "convert it to one channel"
                )
            check_size(str(path), (picture.height, picture.width))
            return np.asarray(picture, np.uint8 if picture.mode == "1" else None)
    except _DAMAGED as error:
        raise _unreadable(path, error, "mask") from error


def decoded_bits(data: bytes) -> np.ndarray:
    """bool (H, W): where a picture of one channel, stored within another file, is not 0.

    Raises:
        ValueError: it is damaged, enormous, or no picture of one channel.
    """
    try:
        with Pillow.open(io.BytesIO(data)) as picture:
            check_size("its mask", (picture.height, picture.width))
            mode, values = picture.mode, np.asarray(picture)
    except (*_DAMAGED, InputError) as error:
        raise ValueError(f"its mask is no picture ({_reason(error)})") from error
    if mode not in INDEX_MODES:
        raise ValueError(f"its mask is a picture of mode {mode}, not of one channel")
    found: np.ndarray = values != 0
    return found


def is_coloured(path: Path) -> bool:
    """True for a mask whose pixels are colours, not numbers, by the head of the file.

    Raises:
        InputError: missing, or no picture; the file is named.
    """
    try:
        with Pillow.open(path) as picture:
            return picture.mode not in INDEX_MODES
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
    except _DAMAGED:
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
    except MemoryError as error:
        raise expected(error) from error
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


@dataclass(frozen=True, slots=True)
class MaskValues:
    """Stored value to training id.

    table: uint8 (256,) or (65536,), IGNORE for void and for values that should not occur.
    known: bool, as long: values that the format defines, void ones included.
    rule: in words, the values that are allowed, where one that is not known is an error; "" where
        it is taken as void.
    """

    table: np.ndarray
    known: np.ndarray
    rule: str = ""

    def read(self, path: Path) -> np.ndarray:
        """Training ids uint8 (H, W) of a mask.

        Raises:
            InputError: missing, damaged, or with a value that is not known where that is an error.
        """
        raw = read_indices(path)
        strays = self.strays(self.counts(raw)) if self.rule else None
        if strays:
            raise InputError(f"{path}: holds value {min(strays)}; {self.rule}")
        return self.decode(raw)

    def decode(self, raw: np.ndarray) -> np.ndarray:
        """Training ids uint8 (H, W) of stored values (H, W); unknown ones become IGNORE."""
        if raw.dtype == np.uint8 and len(self.table) == 256:
            return cv2.LUT(raw, self.table)
        if raw.dtype.itemsize <= 2 and len(self.table) == 65536:
            return np.take(self.table, raw)
        inside = (raw >= 0) & (raw < len(self.table))
        return np.where(inside, np.take(self.table, raw, mode="clip"), IGNORE).astype(np.uint8)

    def counts(self, raw: np.ndarray) -> np.ndarray:
        """Pixels of each stored value, int64 (N,), N at least as long as the table."""
        if raw.dtype.itemsize > 2:  # a 32-bit PNG may hold anything; what it holds is no class
            raw = np.where((raw < 0) | (raw > _MOST), _MOST, raw)
        return np.bincount(raw.ravel(), minlength=len(self.table))

    def strays(self, counts: np.ndarray) -> dict[int, int]:
        """Values that should not occur and their pixels.

        Args:
            counts: as :meth:`counts` gives.
        """
        # Lengthen the table: wider masks hold values that it does not reach.
        known = np.pad(self.known, (0, len(counts) - len(self.known)))
        wrong = np.flatnonzero((counts > 0) & ~known)
        return {int(value): int(counts[value]) for value in wrong}

    def per_class(self, counts: np.ndarray) -> np.ndarray:
        """Pixels of each training id, int64 (256,).

        Args:
            counts: as :meth:`counts` gives.
        """
        ids = np.pad(self.table, (0, len(counts) - len(self.table)), constant_values=IGNORE)
        return np.bincount(ids, counts, 256).astype(np.int64)


def mask_values(
    training_ids: Mapping[int, int], *, void: Iterable[int] = (), rule: str = ""
) -> MaskValues:
    """Values of 8-bit masks: training id by stored value, and the values of void."""
    table, known = np.full(256, IGNORE, np.uint8), np.zeros(256, bool)
    table[list(training_ids)] = list(training_ids.values())
    known[[*training_ids, *void]] = True
    return MaskValues(table, known, rule)


class ColourCode:
    """Colours of masks to training ids.

    Args:
        ids: training id, or IGNORE, of each colour that occurs.
        classes: in words, what the colours stand for.
    """

    def __init__(self, ids: Mapping[tuple[int, int, int], int], classes: str) -> None:
        colours = np.array([*ids], np.int64)
        codes = colours @ (1 << 16, 1 << 8, 1)  # (N,): R, G and B as one number of 24 bits

        # Sort the codes: `recode` finds them by bisection.
        order = np.argsort(codes)
        self._codes = codes[order].astype(np.int32)
        self._ids = np.array([*ids.values()], np.uint8)[order]
        self._classes = classes

    def read_mask(self, frame: FrameRecord) -> np.ndarray:
        """Training ids uint8 (H, W) of a labelled frame.

        Raises:
            InputError: missing, damaged, or with a colour that is no class.
        """
        path = frame.mask
        assert path is not None
        rgb = read_rgb(path)

        # Pack a pixel into one number, so that its colour is found by one look-up.
        packed = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA).view("<i4")[..., 0] & 0xFFFFFF  # (H, W)
        try:
            return recode(packed, self._codes, self._ids)
        except KeyError as error:
            code = error.args[0]
            colour = (code >> 16, code >> 8 & 255, code & 255)
            raise InputError(
                f"{path}: colour {colour} is none of {self._classes}; fetch the mask again"
            ) from error


def numbered_segments(classes: np.ndarray, numbers: np.ndarray, labels: Labels) -> SegmentMap:
    """One segment per object, per stuff class, and per crowd: things without a number.

    Args:
        classes: training ids uint8 (H, W), IGNORE where nothing is known.
        numbers: of objects, integers (H, W), 0 for none; one number has one class.

    Returns:
        A map whose ids are number * 256 + class + 1.
    """
    # Put number and class into one id, so that one count finds all segments.
    ids = numbers.astype(np.uint32) * _CLASSES + classes + 1
    ids[classes == IGNORE] = VOID
    class_of = {one: one % _CLASSES - 1 for one in count_codes(ids)[0].tolist() if one != VOID}
    listed = segments_of_ids(ids, class_of, things=labels.things)
    return SegmentMap(
        ids, tuple(replace(one, is_crowd=one.is_thing and one.id <= _CLASSES) for one in listed)
    )
