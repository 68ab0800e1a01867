"""Middlebury .flo files: a tag, the size, and pairs (right, down) row by row, little endian."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from vidparse.errors import InputError
from vidparse.files import whole_file

_TAG = b"PIEH"  # 202021.25 as float32
_HEADER = struct.Struct("<4sii")  # tag, width, height
_LONGEST_SIDE = 99_999  # as in Middlebury's own reader


def read_flo(path: Path) -> np.ndarray:
    """Flow float32 (2, H, W), bit for bit what the file holds.

    Raises:
        InputError: missing, damaged, or another format; the file is named.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            held = os.fstat(file.fileno()).st_size - _HEADER.size

            # Compare the size with the header before any memory is taken.
            width, height = _size(path, header)
            if held != width * height * 8:
                raise InputError(
                    f"{path}: {held} bytes of flow where {width}x{height} needs "
                    f"{width * height * 8}; delete it and make it again"
                )
            data = file.read()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path") from error

    pairs = np.frombuffer(data, "<f4").reshape(height, width, 2)
    return np.ascontiguousarray(pairs.transpose(2, 0, 1), np.float32)  # (2, H, W)


def _size(path: Path, header: bytes) -> tuple[int, int]:
    """Width and height; the header alone decides, so that no size is trusted with memory."""
    if len(header) < _HEADER.size or not header.startswith(_TAG):
        raise InputError(f"{path}: not a .flo file (no PIEH tag); delete it and make it again")
    _, width, height = _HEADER.unpack(header)
    if not (1 <= width <= _LONGEST_SIDE and 1 <= height <= _LONGEST_SIDE):
        raise InputError(f"{path}: says {width}x{height} pixels; delete it and make it again")
    return width, height


def write_flo(path: Path, flow: np.ndarray) -> None:
    """Write flow float32 (2, H, W) atomically: a reader sees all of it or the file before.

    Raises:
        OutputError: the folder cannot be written.
    """
    if flow.dtype != np.float32 or flow.ndim != 3 or flow.shape[0] != 2:
        raise ValueError(f"flow is {flow.dtype} {flow.shape}: use float32 (2, H, W)")
    height, width = flow.shape[1:]
    if not (1 <= width <= _LONGEST_SIDE and 1 <= height <= _LONGEST_SIDE):
        raise ValueError(f"flow is {flow.shape}: sides must be 1 to {_LONGEST_SIDE}")
    pairs = np.ascontiguousarray(flow.transpose(1, 2, 0), "<f4")  # (H, W, 2)
    with whole_file(path) as part, part.open("wb") as file:
        file.write(_HEADER.pack(_TAG, width, height))
        file.write(pairs.data)
