"""Mattes that do not flicker: the last ones, brought along the motion, and mixed in where it holds.

    V = strength * exp(-(d / tolerance)^2)        mixed = (1 - V) now + V past(x + F(x))

d is the difference of the two pictures in colour after the flow F, the mean of a small window:
where something was covered or came into view it is large, and the past does not count. Nor does it
where the flow forth and the flow back do not cancel out (Sundaram, Brox and Keutzer, ECCV 2010),
and where it comes from outside the picture. Nothing is carried over a cut.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from vidparse.flow import DisFlow

STRENGTH = 0.6
TOLERANCE = 0.08  # of colours, in values 0..1
_WINDOW = 3
_NOT_BACK = 1.0  # pixels of the small picture that forth and back may be apart, and a share


class Motion:
    """The places of a small picture's pixels in the one before, and how far they can be trusted.

    Args:
        now, before: RGB uint8 (h, w, 3).
    """

    def __init__(self, now: np.ndarray, before: np.ndarray, estimator: DisFlow) -> None:
        height, width = now.shape[:2]
        flow = estimator.between(now, before)  # (2, h, w)
        self._x = np.arange(width, dtype=np.float32)[None] + flow[0]
        self._y = np.arange(height, dtype=np.float32)[:, None] + flow[1]

        difference = cv2.absdiff(now, self.brought(before)).max(axis=2)
        wide = cv2.blur(difference, (_WINDOW, _WINDOW)).astype(np.float32) / 255
        trust = np.exp(-((wide / TOLERANCE) ** 2)) * np.float32(STRENGTH)

        # Ask the flow back: a surface that was hidden has come from nowhere.
        back = estimator.between(before, now)
        returned = flow + np.stack([self.brought(back[0]), self.brought(back[1])])
        length = np.square(flow).sum(axis=0) + np.square(returned - flow).sum(axis=0)
        trust[np.square(returned).sum(axis=0) > 0.01 * length + _NOT_BACK] = 0
        outside = (self._x < 0) | (self._x > width - 1) | (self._y < 0) | (self._y > height - 1)
        trust[outside] = 0
        self.trust: NDArray[np.float32] = trust  # (h, w), how much the past counts

    def brought(self, values: np.ndarray) -> np.ndarray:
        """Values of the picture before, (h, w) or (h, w, C), at their places now."""
        return cv2.remap(
            values, self._x, self._y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )


class Smoother:
    """The memory of mattes from frame to frame, by their names.

    All that is remembered is one small picture, and a small matte for each name in view.
    """

    def __init__(self) -> None:
        self._estimator = DisFlow("ultrafast")
        self._picture: np.ndarray | None = None
        self._past: dict[str, NDArray[np.float32]] = {}

    def reset(self) -> None:
        """A new video or shot: forget the past."""
        self._picture, self._past = None, {}

    def step(
        self, picture: np.ndarray, masks: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float32]]:
        """The masks of the next frame, made steadier.

        Args:
            picture: RGB uint8 (h, w, 3). masks: float32 (h, w) in 0..1, by name.
        """
        before, past = self._picture, self._past
        motion = None
        if before is not None and before.shape == picture.shape and past.keys() & masks.keys():
            motion = Motion(picture, before, self._estimator)

        steadier = dict(masks)
        for name in past.keys() & masks.keys() if motion is not None else ():
            assert motion is not None
            mixed = masks[name] + motion.trust * (motion.brought(past[name]) - masks[name])
            steadier[name] = mixed.astype(np.float32, copy=False)
        self._picture, self._past = picture, steadier
        return steadier
