"""Mattes that do not flicker: the last ones, brought along the motion, and mixed in where it holds.

    V = strength * exp(-(d / tolerance)^2)        mixed = (1 - V) now + V past(x + F(x))

d is the difference of the two pictures in colour after the flow F, the mean of a small window:
where something was covered or came into view it is large, and the past does not count. Nor does it
where the flow forth and the flow back do not cancel out, and where it comes from outside the
picture. Nothing is carried over a cut.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from vidparse.flow import DisFlow, warp_image
from vidparse.flow.round_trip import leads_outside, round_trip_error
from vidparse.matting.past import Past

STRENGTH = 0.6
TOLERANCE = 0.08  # of colours, in values 0..1
_WINDOW = 3
_SLACK_PX2, _SHARE = 1.0, 0.02  # of the small picture, as far as forth and back may be apart


def trusted(
    now: np.ndarray, before: np.ndarray, flow: np.ndarray, back: np.ndarray
) -> NDArray[np.float32]:
    """The share of the past in each pixel, float32 (h, w), at most STRENGTH.

    Args:
        now, before: RGB uint8 (h, w, 3). flow, back: float32 (2, h, w), there and back.
    """
    difference = cv2.absdiff(now, warp_image(before, flow)).max(axis=2)
    wide = cv2.blur(difference, (_WINDOW, _WINDOW)).astype(np.float32) / 255
    trust = np.exp(-((wide / TOLERANCE) ** 2)) * np.float32(STRENGTH)

    # Check the flow back: a surface that was hidden has come from nowhere.
    trust[round_trip_error(flow, back, slack_px2=_SLACK_PX2, share=_SHARE) > 1] = 0
    trust[leads_outside(flow)] = 0
    return trust


class Smoother:
    """The memory of mattes from frame to frame, by their names.

    Attributes:
        state: its memory, to be kept and set again; None before the first frame.
    """

    def __init__(self) -> None:
        self._estimator = DisFlow("ultrafast")
        self.state: Past | None = None

    def reset(self) -> None:
        """A new video or shot: forget the past."""
        self.state = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the masks that are remembered."""
        return () if self.state is None else tuple(self.state.masks)

    def keep(self, names: Collection[str]) -> None:
        """Forget all masks but these."""
        if self.state is not None:
            masks = {name: one for name, one in self.state.masks.items() if name in names}
            self.state = Past(self.state.picture, masks)

    def step(
        self, picture: np.ndarray, masks: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float32]]:
        """The masks of the next frame, made steadier.

        Args:
            picture: RGB uint8 (h, w, 3). masks: float32 (h, w) in 0..1, by name.
        """
        last = self.state
        steadier = dict(masks)
        known = last.masks.keys() & masks.keys() if last is not None else set[str]()
        if known and last is not None and last.picture.shape == picture.shape:
            flow = self._estimator.between(picture, last.picture)
            back = self._estimator.between(last.picture, picture)
            trust = trusted(picture, last.picture, flow, back)
            for name in known:
                mixed = masks[name] + trust * (warp_image(last.masks[name], flow) - masks[name])
                steadier[name] = mixed.astype(np.float32, copy=False)
        self.state = Past(picture, steadier)
        return steadier
