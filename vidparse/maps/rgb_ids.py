"""Segment ids as colours of RGB pictures: COCO panoptic and VIPSeg keep them so."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vidparse.errors import InputError
from vidparse.limits import check_png

MAX_ID = (1 << 24) - 1


def ids_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Segment ids (H, W) to RGB uint8 (H, W, 3): id = R + 256 G + 65536 B.

    Raises:
        ValueError: an id does not fit 24 bits.
    """
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        raise ValueError(f"segment ids must lie in 0..{MAX_ID}, found {ids.min()}..{ids.max()}")
    if ids.size == 0:
        return np.zeros((*ids.shape, 3), np.uint8)
    little_endian = np.ascontiguousarray(ids, "<u4").view(np.uint8).reshape(*ids.shape, 4)
    return cv2.cvtColor(little_endian, cv2.COLOR_RGBA2RGB)  # the fourth byte goes


def rgb_to_ids(rgb: np.ndarray) -> np.ndarray:
    """The inverse of :func:`ids_to_rgb`; uint32 (H, W)."""
    if rgb.size == 0:
        return np.zeros(rgb.shape[:2], np.uint32)
    wide = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2RGBA)  # (H, W, 4)
    return (wide.view("<u4")[..., 0] & MAX_ID).astype(np.uint32, copy=False)


def read_panoptic_png(path: Path) -> np.ndarray:
    """Segment ids uint32 (H, W) of a panoptic PNG.

    Raises:
        InputError: missing, damaged, too large, or not a colour picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the folder") from error
    check_png(str(path), data)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if pixels is None:
        raise InputError(f"{path}: damaged picture; fetch or make it again")
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise InputError(f"{path}: one channel; panoptic ids need a colour (RGB) PNG")
    if pixels.dtype != np.uint8:
        raise InputError(f"{path}: 16 bits a channel; panoptic ids need 8")
    back = cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return rgb_to_ids(cv2.cvtColor(pixels, back))
