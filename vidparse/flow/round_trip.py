"""The way there and back along two flows: it ends where it began where both are right.

Sundaram, Brox and Keutzer, "Dense Point Trajectories by GPU-Accelerated Large Displacement Optical
Flow" (ECCV 2010, equation 5): a point that is hidden in one of the pictures does not come back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidparse.flow import warp_image


def round_trip_error(
    flow: np.ndarray, back: np.ndarray, *, slack_px2: float, share: float
) -> NDArray[np.float32]:
    """The squared distance from where the way ends to where it began, of what is tolerated.

    |e|^2 / (slack_px2 + share |F|^2), e = F(x) + B(x + F(x)): the tolerance grows with the motion.

    Args:
        flow, back: F and B, float32 (2, H, W), from a to b and from b to a.
        slack_px2: tolerated without motion, in square pixels, above 0. share: of |F|^2.

    Returns:
        float32 (H, W), above 1 where the two flows contradict each other.
    """
    returned = warp_image(np.ascontiguousarray(back.transpose(1, 2, 0)), flow)  # (H, W, 2)
    error = (flow[0] + returned[..., 0]) ** 2 + (flow[1] + returned[..., 1]) ** 2
    length = flow[0] ** 2 + flow[1] ** 2
    found: NDArray[np.float32] = error / (slack_px2 + share * length)
    return found


def leads_outside(flow: np.ndarray) -> NDArray[np.bool_]:
    """True where a flow (2, H, W) leads beyond the middle of the edge pixels, bool (H, W)."""
    height, width = flow.shape[1:]
    x = np.arange(width, dtype=np.float32) + flow[0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[1]
    outside: NDArray[np.bool_] = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    return outside
