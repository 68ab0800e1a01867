"""Index maps as PNG, written with zlib alone: exact ids, and quicker than image libraries."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE = 0, 2, 3
_FILTER_UP = 2  # each row minus the one above: label maps turn into long runs of zeros


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
