"""Masks as annotation tools store them: CVAT's counts, and the packed bits of Label Studio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_WORD = 8  # bits of a value
_SIZES = (3, 4, 8, 16)  # bits that a length may take
_CHANNELS = 4  # red, green, blue and alpha of a pixel, one after the other
_OPAQUE = 128  # a pixel is painted from half of full alpha on


def row_counts(mask: np.ndarray) -> list[int]:
    """Lengths of runs along the rows of a mask, bool (H, W); the first is of unset pixels, maybe 0.

    The form of CVAT's masks, of the part of a picture that their box has.
    """
    flat = mask.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *counts] if flat.size and flat[0] else counts


def from_row_counts(counts: Sequence[int], size_hw: tuple[int, int]) -> np.ndarray:
    """The mask of :func:`row_counts`, bool (H, W).

    Raises:
        ValueError: the counts are not of that size.
    """
    pixels = size_hw[0] * size_hw[1]
    if any(count < 0 for count in counts) or sum(counts) != pixels:
        raise ValueError(f"{sum(counts)} pixels in runs, {size_hw[1]}x{size_hw[0]} in its box")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size_hw)


def packed_brush(mask: np.ndarray) -> list[int]:
    """Bytes of Label Studio's brush: the runs of its RGBA picture, packed into bits.

    After the number of values (32 bits), the width of a value and four widths of lengths come
    runs: a bit that marks them, the number of a width (2 bits), the length less one, the value.

    Args:
        mask: bool (H, W).
    """
    flat = mask.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], edges]).astype(np.int64)
    lengths = np.diff(np.append(starts, flat.size)) * _CHANNELS

    # Write the head, then every run in the least bits that its length fits in.
    bits = [f"{flat.size * _CHANNELS:032b}", f"{_WORD - 1:05b}", *(f"{n - 1:04b}" for n in _SIZES)]
    longest = 1 << _SIZES[-1]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        value = 255 if flat[start] else 0
        while length > 0:
            part = min(length, longest)
            width = next(i for i, size in enumerate(_SIZES) if part <= 1 << size)
            bits.append(f"1{width:02b}{part - 1:0{_SIZES[width]}b}{value:0{_WORD}b}")
            length -= part

    text = "".join(bits)
    text += "0" * (8 - len(text) % 8)  # one to eight, as the tool's own code does
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def from_packed_brush(data: Sequence[int], size_hw: tuple[int, int]) -> np.ndarray:
    """The mask of a Label Studio brush, bool (H, W): pixels of at least half of full alpha.

    Raises:
        ValueError: bytes that are no such brush, or one of another size.
    """
    try:
        reader = _Bits(bytes(data))
    except ValueError:
        raise ValueError("an rle is a list of bytes, 0 to 255") from None
    count, word = reader.take(32), reader.take(5) + 1
    sizes = [reader.take(4) + 1 for _ in range(4)]
    height, width = size_hw
    if count != height * width * _CHANNELS or word != _WORD:
        raise ValueError(f"an rle of {count} values, {width}x{height} pixels have {_CHANNELS} each")

    # Take runs of one value, and runs of values that differ.
    values = np.empty(count, np.uint8)
    done = 0
    while done < count:
        is_run = reader.take(1)
        length = min(reader.take(sizes[reader.take(2)]) + 1, count - done)
        if is_run:
            values[done : done + length] = reader.take(_WORD)
        else:
            values[done : done + length] = np.frombuffer(reader.take_bytes(length), np.uint8)
        done += length
    alpha = values.reshape(height, width, _CHANNELS)[..., 3]
    return alpha >= _OPAQUE


class _Bits:
    """Bits of bytes, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._text = f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}" if data else ""
        self._place = 0

    def take(self, count: int) -> int:
        """The next bits as a number. Raises: ValueError: there are no more."""
        return int(self._next(count), 2)

    def take_bytes(self, count: int) -> bytes:
        """The next 8 * count bits. Raises: ValueError: there are no more."""
        return int(self._next(8 * count), 2).to_bytes(count, "big")

    def _next(self, count: int) -> str:
        text = self._text[self._place : self._place + count]
        if len(text) < count:
            raise ValueError("an rle that ends too early")
        self._place += count
        return text
