"""The pinhole camera: world metres (x right, y up, z ahead) to pixels (x right, y down).

Pixel centres lie on whole numbers, as in OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR_M = 1.0  # nothing closer than this is drawn


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera stands at one instant. rotation: world to camera axes, float64 (3, 3)."""

    position: np.ndarray  # float64 (3,), metres
    rotation: np.ndarray
    focal_px: float
    size_hw: tuple[int, int]

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Metres along the optical axis of world points (..., 3)."""
        offset = points - self.position
        axis = self.rotation[2]
        return offset[..., 0] * axis[0] + offset[..., 1] * axis[1] + offset[..., 2] * axis[2]

    def homographies(self, origin: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
        """Maps of planes onto the picture.

        The point origin + s * across + t * down, each (N, 3), lands on the pixel H (s, t, 1),
        whose third coordinate is its depth in metres. Returns float64 (N, 3, 3).
        """
        height, width = self.size_hw
        columns = np.stack([across, down, origin - self.position], axis=2)  # (N, xyz, 3)
        # Written out, because a matrix product may round differently from machine to machine.
        turned = (
            self.rotation[None, :, 0, None] * columns[:, None, 0, :]
            + self.rotation[None, :, 1, None] * columns[:, None, 1, :]
            + self.rotation[None, :, 2, None] * columns[:, None, 2, :]
        )  # (N, camera xyz, 3)
        turned[:, 0] = self.focal_px * turned[:, 0] + (width - 1) / 2 * turned[:, 2]
        turned[:, 1] = self.focal_px * turned[:, 1] + (height - 1) / 2 * turned[:, 2]
        return turned


def focal_length_px(size_hw: tuple[int, int], per_width: float = 0.8) -> float:
    """Focal length that sees about 64 degrees across a wide picture, as dashboard cameras do."""
    height, width = size_hw
    return per_width * max(width, height * 4 / 3)


def look(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """World-to-camera rotation (3, 3) from radians: yaw to the right, pitch up, roll clockwise."""
    cy, sy = np.cos(yaw), np.sin(yaw)
    cp, sp = np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    ahead = np.array([sy * cp, sp, cy * cp])
    right = np.array([cy, 0.0, -sy])
    down = np.array([sy * sp, -cp, cy * sp])
    return np.stack([cr * right + sr * down, cr * down - sr * right, ahead])
