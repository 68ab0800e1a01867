"""Segment ids of one frame, and their form as RGB pictures (COCO panoptic, VIPSeg)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
        known, inverse = np.unique(self.ids, return_inverse=True)
        category = {int(row[0]): int(row[1]) for row in self.segments} | {VOID: void}
        missing = set(known.tolist()) - category.keys()
        if missing:
            raise ValueError(f"segment id {min(missing)} is in the picture but not in its list")
        dtype = np.uint8 if void <= 255 else np.uint16
        table = np.array([category[int(segment)] for segment in known], dtype)
        return table[inverse.reshape(self.ids.shape)]


def ids_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Segment ids (H, W) to RGB uint8 (H, W, 3): id = R + 256 G + 65536 B.

    Raises:
        ValueError: an id does not fit 24 bits.
    """
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        raise ValueError(f"segment ids must lie in 0..{MAX_ID}, found {ids.min()}..{ids.max()}")
    ids = ids.astype(np.uint32)
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)


def rgb_to_ids(rgb: np.ndarray) -> np.ndarray:
    """The inverse of :func:`ids_to_rgb`; int64 (H, W)."""
    wide = rgb.astype(np.int64)
    return wide[..., 0] + (wide[..., 1] << 8) + (wide[..., 2] << 16)
