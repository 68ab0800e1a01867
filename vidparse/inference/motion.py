"""Prediction of boxes that move at a constant rate, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_LEAST_VARIANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Motion:
    """The boxes of N objects at one time, each side of a box by a Kalman filter of its own.

    The model is that of a nearly constant velocity, whose acceleration is white noise (Bar-Shalom,
    Li and Kirubarajan, "Estimation with Applications to Tracking and Navigation", 2001, section
    6.2.2), so that any time may pass from one frame to the next.

    value: float64 (N, 4): centre x and y in pixels, and logarithms of width and height.
    rate: float64 (N, 4), the same per second.
    spread: float64 (N, 4, 3): variance of the value, their covariance, variance of the rate.
    """

    value: np.ndarray
    rate: np.ndarray
    spread: np.ndarray

    @classmethod
    def begun(cls, boxes: np.ndarray, noise: np.ndarray, rate_noise: np.ndarray) -> Motion:
        """Objects seen for the first time, at rest as far as one knows.

        Args:
            boxes: float64 (N, 4) as in `value`.
            noise, rate_noise: standard deviations (N, 4) of boxes and of their rates.
        """
        spread = np.stack([noise**2, np.zeros_like(noise), rate_noise**2], axis=2)
        return cls(boxes, np.zeros_like(boxes), spread)

    def take(self, rows: np.ndarray) -> Motion:
        """Some of the objects."""
        return Motion(self.value[rows], self.rate[rows], self.spread[rows])

    def joined(self, other: Motion) -> Motion:
        """These objects and then the others."""
        pairs = ((self.value, other.value), (self.rate, other.rate), (self.spread, other.spread))
        return Motion(*(np.concatenate(pair) for pair in pairs))

    def replaced(self, rows: np.ndarray, other: Motion) -> Motion:
        """These objects, with others in the place of some."""
        value, rate, spread = self.value.copy(), self.rate.copy(), self.spread.copy()
        value[rows], rate[rows], spread[rows] = other.value, other.rate, other.spread
        return Motion(value, rate, spread)

    def after(self, seconds: float, unrest: np.ndarray) -> Motion:
        """The same objects later; the longer it is, the less sure.

        Args:
            unrest: (N, 4): the standard deviation by which a rate has changed after one second.
        """
        value, cross, rate = np.moveaxis(self.spread, 2, 0)
        power = unrest**2
        spread = np.stack(
            [
                value + 2 * seconds * cross + seconds**2 * rate + power * seconds**3 / 3,
                cross + seconds * rate + power * seconds**2 / 2,
                rate + power * seconds,
            ],
            axis=2,
        )
        return Motion(self.value + seconds * self.rate, self.rate, spread)

    def moved(self, camera: np.ndarray) -> Motion:
        """The same objects after the camera has moved.

        Args:
            camera: float64 (2, 3), a similarity: where points of the background went.
        """
        turn, shift = camera[:, :2], camera[:, 2]
        growth = np.sqrt(max(float(np.linalg.det(turn)), _LEAST_VARIANCE))
        value, rate = self.value.copy(), self.rate.copy()
        value[:, :2] = value[:, :2] @ turn.T + shift
        value[:, 2:] += np.log(growth)
        rate[:, :2] = rate[:, :2] @ turn.T
        spread = self.spread.copy()
        spread[:, :2] *= growth**2
        return Motion(value, rate, spread)

    def seen(self, boxes: np.ndarray, noise: np.ndarray) -> Motion:
        """The same objects once their boxes were seen.

        Args:
            boxes: (N, 4) as in `value`; noise: their standard deviations (N, 4).
        """
        value, cross, rate = np.moveaxis(self.spread, 2, 0)
        total = value + noise**2
        gain, rate_gain = value / total, cross / total
        off = boxes - self.value
        spread = [value - gain * value, cross - gain * cross, rate - rate_gain * cross]
        return replace(
            self,
            value=self.value + gain * off,
            rate=self.rate + rate_gain * off,
            spread=np.stack(spread, axis=2),
        )

    def distances(self, boxes: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distance of a box from the predicted place of each object.

        Args:
            boxes: (N, 4) as in `value`; noise: their standard deviations (N, 4).

        Returns:
            squared Mahalanobis distances (N,), which of an object's own box have a mean of 4, and
            logarithms of the density of the box under the object (N,).
        """
        variance = self.spread[..., 0] + noise**2  # (N, 4)
        squared = ((boxes - self.value) ** 2 / variance).sum(1)
        return squared, -0.5 * (squared + np.log(2 * np.pi * variance).sum(1))
