"""Segment ids of one frame, and their form as RGB pictures (COCO panoptic, VIPSeg)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.panoptic.runs import recode

VOID = 0  # the segment id of pixels that belong to nothing
MAX_ID = (1 << 24) - 1


@dataclass(frozen=True, slots=True)
class PanopticMap:
    """Which segment every pixel of a frame belongs to, and what those segments are.

    ids: int64 (H, W), VOID where there is none; an id is one object for the whole video.
    segments: int64 (N, 3), rows of segment id, category, iscrowd.
    areas: int64 (N,), pixels that a json claims for each row; None where none does.
    """

    ids: np.ndarray
    segments: np.ndarray
    areas: np.ndarray | None = None

    def classes(self, void: int = 255) -> np.ndarray:
        """Category of every pixel, `void` where there is none; uint8 (uint16 when void needs it).

        Raises:
            ValueError: an id has no row in `segments`.
        """
        listed = np.concatenate(([VOID], self.segments[::-1, 0]))
        category = np.concatenate(([void], self.segments[::-1, 1]))
        keys, rows = np.unique(listed, return_index=True)
        values = category[rows].astype(np.uint8 if void <= 255 else np.uint16)
        try:
            return recode(self.ids, keys, values)
        except KeyError as error:
            raise ValueError(
                f"segment id {error.args[0]} is in the picture but not in its list"
            ) from error


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
    """The inverse of :func:`ids_to_rgb`; int64 (H, W)."""
    if rgb.size == 0:
        return np.zeros(rgb.shape[:2], np.int64)
    wide = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2RGBA)  # (H, W, 4)
    return (wide.view("<u4")[..., 0] & MAX_ID).astype(np.int64)
