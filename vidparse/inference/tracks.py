"""Objects of a frame, tracks of those seen before and their motion, and how they go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidparse.inference.appearance import Thumbnail
from vidparse.maps import Segment

_LEAST_VARIANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Tracking:
    """When two sightings are one object.

    A pair of a track and an object scores the logarithm of how much likelier it is that they are
    one than that they are two, from motion, look and overlap, which add up. "Sizes" are square
    roots of an object's area in the picture.

    longest_s: seconds that an object may be hidden for.
    place_noise, place_noise_px: standard deviation of the centre of a box, in sizes and in pixels.
    shape_noise: that of the logarithms of its width and height.
    rate_noise: that of the unknown velocity of a new object, in sizes per second; shape_rate_noise:
        likewise of the logarithms, per second.
    unrest: by how much a velocity has changed after a second, in sizes per second; shape_unrest:
        likewise. These make the uncertainty of a hidden object grow.
    hidden_side: how far the centre of a box is off where a side is hidden, in hidden lengths.
    gate: greatest squared Mahalanobis distance of a box from where its object is expected.
    look_even: distance of two looks (0 the same, 1 nothing in common) that scores 0.
    look_weight: the score of looks without any difference.
    look_memory_s: time constant of the mean look of an object, in seconds.
    overlap_even, overlap_weight: IoU of masks in successive frames that scores 0, and the score
        that grows with what is above it.
    shapes: how many different widths, and heights, objects have, for those of no track.
    least_score: of a pair that is one object.
    """

    longest_s: float = 2.0
    place_noise: float = 0.1
    place_noise_px: float = 1.0
    shape_noise: float = 0.4
    rate_noise: float = 1.5
    shape_rate_noise: float = 0.3
    unrest: float = 0.7
    shape_unrest: float = 0.3
    hidden_side: float = 0.5
    gate: float = 25.0
    look_even: float = 0.28
    look_weight: float = 7.0
    look_memory_s: float = 0.5
    overlap_even: float = 0.2
    overlap_weight: float = 8.0
    shapes: float = 20.0
    least_score: float = 0.0

    def deviations(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of boxes (..., 4), their rates, and the change of rates per second: (..., 4) each."""
        size = np.exp((boxes[..., 2] + boxes[..., 3]) / 2)
        shape = np.ones_like(size)

        def each(place: np.ndarray, of_shape: float) -> np.ndarray:
            return np.stack([place, place, of_shape * shape, of_shape * shape], axis=-1)

        # Let noise grow with the size of an object, but for the pixel that small ones are off by.
        return (
            each(np.hypot(self.place_noise * size, self.place_noise_px), self.shape_noise),
            each(self.rate_noise * size, self.shape_rate_noise),
            each(self.unrest * size, self.shape_unrest),
        )

    def box_noise(self, expected: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Standard deviations (..., 4) of boxes as seen, where others were expected.

        A side of a box that is much shorter or longer is likely to be partly hidden, now or then,
        and its centre off by half the difference.
        """
        noise, _, _ = self.deviations(seen)
        sides = np.exp(seen[..., 2:]) - np.exp(expected[..., 2:])
        noise = np.broadcast_to(noise, np.broadcast_shapes(seen.shape, expected.shape)).copy()
        noise[..., :2] = np.hypot(noise[..., :2], self.hidden_side * sides)
        return noise


@dataclass(frozen=True, slots=True)
class Sightings:
    """M objects of one frame.

    classes: int64 (M,). boxes: float64 (M, 4), as in :class:`Motion`.
    looks: float32 (M, D), of length 1, or zeros where it is not known.
    """

    classes: np.ndarray
    boxes: np.ndarray
    looks: np.ndarray

    @classmethod
    def of(
        cls,
        things: Sequence[Segment],
        view: Thumbnail,
        slots: np.ndarray,
        keys: Mapping[int, np.ndarray],
    ) -> Sightings:
        """The things of a frame, in their order.

        Args:
            slots: integers (H, W): the place of a thing in the list + 1, 0 elsewhere.
            keys: by the id of a thing; where there are any, looks are they, and no colours.
        """
        classes = np.array([one.class_id for one in things], np.int64)
        x, y, width, height = np.array([one.box for one in things], np.float64).reshape(-1, 4).T
        sides = np.log(np.maximum(width, 1)), np.log(np.maximum(height, 1))
        boxes = np.stack([x + width / 2, y + height / 2, *sides], axis=1)
        if not keys:
            return cls(classes, boxes, view.looks(slots, len(things)))

        # A thing without a key has a look of zeros, which resembles nothing.
        looks = np.zeros((len(things), len(next(iter(keys.values())))), np.float32)
        for place, one in enumerate(things):
            key = keys.get(one.id, looks[place])
            looks[place] = key / max(float(np.linalg.norm(key)), 1e-12)
        return cls(classes, boxes, looks)

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, rows: np.ndarray) -> Sightings:
        """Some of the objects."""
        return Sightings(self.classes[rows], self.boxes[rows], self.looks[rows])


@dataclass(frozen=True, slots=True)
class Tracks:
    """N objects that may be seen again.

    ids, classes: int64 (N,). seen_s: when each was last seen, (N,). present: seen in the last
        frame, bool (N,).
    motion: at the time of the last frame. looks: as in :class:`Sightings`.
    """

    ids: np.ndarray
    classes: np.ndarray
    seen_s: np.ndarray
    present: np.ndarray
    motion: Motion
    looks: np.ndarray

    @classmethod
    def begun(cls, ids: np.ndarray, seen: Sightings, time_s: float, how: Tracking) -> Tracks:
        """Tracks of objects seen for the first time."""
        noise, rate_noise, _ = how.deviations(seen.boxes)
        motion = Motion.begun(seen.boxes, noise, rate_noise)
        times, present = np.full(len(seen), time_s), np.ones(len(seen), bool)
        return cls(ids, seen.classes, times, present, motion, seen.looks)

    @classmethod
    def none(cls) -> Tracks:
        """No track at all."""
        seen = Sightings(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros((0, 0), np.float32))
        return cls.begun(np.zeros(0, np.int64), seen, 0.0, Tracking())

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Tracks:
        """Some of the tracks."""
        return Tracks(
            self.ids[rows], self.classes[rows], self.seen_s[rows], self.present[rows],
            self.motion.take(rows), self.looks[rows],
        )  # fmt: skip

    def joined(self, other: Tracks) -> Tracks:
        """These tracks and then the others."""
        if not len(self) or not len(other):
            return self if len(self) else other
        return Tracks(
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.classes, other.classes]),
            np.concatenate([self.seen_s, other.seen_s]),
            np.concatenate([self.present, other.present]),
            self.motion.joined(other.motion),
            np.concatenate([self.looks, other.looks]),
        )

    def comparable(self, seen: Sightings) -> Tracks:
        """The same tracks, whose looks are not known where they are of another kind."""
        shape = len(self), seen.looks.shape[1]
        if not len(seen) or self.looks.shape == shape:
            return self
        return replace(self, looks=np.zeros(shape, np.float32))

    def expected(self, seconds: float, camera: np.ndarray, how: Tracking) -> Tracks:
        """The tracks where they should be after `seconds`, as `camera` moved (2, 3)."""
        _, _, unrest = how.deviations(self.motion.value)
        return replace(self, motion=self.motion.after(seconds, unrest).moved(camera))

    def seen(self, rows: np.ndarray, seen: Sightings, time_s: float, how: Tracking) -> Tracks:
        """All tracks after a frame in which those at `rows` (M,) were seen, and no others.

        No row occurs twice.
        """
        if not len(rows):
            return replace(self, present=np.zeros(len(self), bool))
        mine = self.take(rows)
        noise = how.box_noise(mine.motion.value, seen.boxes)
        motion = mine.motion.seen(seen.boxes, noise)

        # A look that is known for long changes slowly, and one that is not known not at all.
        share = 1 - np.exp(-np.maximum(time_s - mine.seen_s, 0) / how.look_memory_s)[:, None]
        share[~mine.looks.any(1)] = 1
        share[~seen.looks.any(1)] = 0
        looks = (1 - share) * mine.looks + share * seen.looks
        looks /= np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-12)

        times, present, all_looks = self.seen_s.copy(), np.zeros(len(self), bool), self.looks.copy()
        times[rows], present[rows], all_looks[rows] = time_s, True, looks
        motions = self.motion.replaced(rows, motion)
        return replace(self, seen_s=times, present=present, motion=motions, looks=all_looks)

    def scores(
        self, seen: Sightings, overlaps: np.ndarray, area_px: int, how: Tracking
    ) -> np.ndarray:
        """The log odds that a track and an object are one and not two.

        Args:
            overlaps: IoU (N, M) of the masks, 0 for tracks that are not present.
            area_px: pixels of the frame: where an object of no track may be.

        Returns:
            logarithms (N, M), -inf for pairs that cannot be.
        """
        rows, places = np.nonzero(self._in_reach(seen, how) | (overlaps > 0))  # (P,) pairs
        scores = np.full(overlaps.shape, -np.inf)

        # Drop pairs of two classes before the part that costs.
        same = self.classes[rows] == seen.classes[places]
        rows, places = rows[same], places[same]

        motion, boxes, shared = self.motion.take(rows), seen.boxes[places], overlaps[rows, places]
        squared, near = motion.distances(boxes, how.box_noise(motion.value, boxes))

        # Hold against it that the object is a new one, at any place and of any shape.
        anywhere = -np.log(area_px) - 2 * np.log(how.shapes)

        looks, others = self.looks[rows], seen.looks[places]  # (P, D)
        apart = np.sqrt(np.clip(1 - (looks * others).sum(1), 0, 1))
        known = looks.any(1) & others.any(1)
        look = np.where(known, how.look_weight * (1 - apart / how.look_even), 0)

        overlap = how.overlap_weight * (shared - how.overlap_even)
        score = near - anywhere + look + np.where(self.present[rows], overlap, 0)

        # Let overlap pass the gate, too: the box of an object that is half covered jumps.
        possible = (squared <= how.gate) | (shared >= how.overlap_even)
        scores[rows, places] = np.where(possible, score, -np.inf)
        return scores

    def _in_reach(self, seen: Sightings, how: Tracking) -> np.ndarray:
        """Pairs bool (N, M) whose centres may pass the gate: of a thousand objects few do."""
        expected, boxes = self.motion.value, seen.boxes
        noise, _, _ = how.deviations(boxes)
        reach = np.ones((len(self), len(seen)), bool)
        for axis in (0, 1):
            # Bound the noise by the longer side, so that no pair is lost that the gate lets pass.
            side = np.maximum(np.exp(expected[:, None, axis + 2]), np.exp(boxes[:, axis + 2]))
            variance = self.motion.spread[:, None, axis, 0] + noise[:, axis] ** 2
            off = boxes[:, axis] - expected[:, None, axis]
            reach &= off**2 <= how.gate * (variance + (how.hidden_side * side) ** 2)
        return reach


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

        # Grow as white noise in the acceleration does: by t^3 / 3, t^2 / 2 and t.
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

        # Scale the spread of places only: a factor shifts logarithms and leaves their spread.
        spread = self.spread.copy()
        spread[:, :2] *= growth**2
        return Motion(value, rate, spread)

    def seen(self, boxes: np.ndarray, noise: np.ndarray) -> Motion:
        """The same objects once their boxes were seen.

        Args:
            boxes: (N, 4) as in `value`; noise: their standard deviations (N, 4).
        """
        value, cross, rate = np.moveaxis(self.spread, 2, 0)

        # Correct the rate by its covariance with the value: rates are never seen themselves.
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
