"""Random views of labelled frames for training; every draw comes from the generator given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from vidparse.data.pictures import IGNORE

_IDENTITY = np.eye(3)
_FOUR_BYTES_MEAN = 4 * 127.5
_FOUR_BYTES_DEVIATION = (4 * (256**2 - 1) / 12) ** 0.5
# Colours of a border that is not reflected: RGB, the second ImageNet's mean.
BORDERS = {"black": (0, 0, 0), "mean": (124, 116, 104)}
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The ways in which training views may differ."""

    crop_hw: tuple[int, int]
    short_side: int = 0  # scale 1 brings a frame's shorter side to this; 0: leaves its size
    scale_range: tuple[float, float] = (0.5, 2.0)  # drawn so that it halves as often as it doubles
    scales: tuple[float, ...] = ()  # one of these instead, when there are any
    flip: bool = True
    rotation: float = 0.0  # degrees to either side
    brightness: float = 0.3  # gain drawn from 1 +- this
    contrast: float = 0.3
    saturation: float = 0.3
    blur: float = 0.1  # probability of a slight Gaussian blur
    border: str = "reflect"  # or one of BORDERS: what a view shows beyond the frame


@dataclass(frozen=True, slots=True)
class View:
    """One draw: which part of a frame is seen, and in what colours. Serves every frame of a clip.

    matrix: float64 (3, 3), pixel (x, y, 1) of the view -> pixel of the frame.
    colour: float64 (3, 4), RGB1 -> RGB. sigma: of the blur, 0 for none.
    border: "reflect" or one of BORDERS, what is seen beyond the frame.
    """

    matrix: np.ndarray
    size_hw: tuple[int, int]
    colour: np.ndarray
    sigma: float = 0.0
    border: str = "reflect"

    @property
    def zoom(self) -> float:
        """View pixels per frame pixel; below 1 where the frame is shrunk."""
        return float(abs(np.linalg.det(self.matrix[:2, :2])) ** -0.5)

    def image(self, rgb: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) -> uint8 (h, w, 3); the border outside the frame."""
        if self.zoom < 0.8:  # else shrinking would alias
            rgb = cv2.GaussianBlur(rgb, (0, 0), 0.4 / self.zoom)
        seen = self._warp(rgb, cv2.INTER_LINEAR, None)
        seen = cv2.transform(seen, self.colour)
        seen = self.bordered(seen, rgb.shape[:2])
        return cv2.GaussianBlur(seen, (0, 0), self.sigma) if self.sigma else seen

    def bordered(self, seen: np.ndarray, frame_hw: tuple[int, ...]) -> np.ndarray:
        """uint8 (h, w, 3) with the colour of the border, where it has one, outside the frame."""
        # Paint the border in its own colour, which no change of colours is to reach.
        if self.border != "reflect":
            seen[~self.inside(frame_hw)] = BORDERS[self.border]
        return seen

    def inside(self, frame_hw: tuple[int, ...]) -> np.ndarray:
        """bool (h, w): where the view shows the frame."""
        return self._warp(np.ones(frame_hw, np.uint8), cv2.INTER_NEAREST, 0) > 0

    def mask(self, ids: np.ndarray) -> np.ndarray:
        """uint8 (H, W) -> uint8 (h, w); IGNORE outside the frame."""
        return self._warp(ids, cv2.INTER_NEAREST, IGNORE)

    def numbers(self, ids: np.ndarray) -> np.ndarray:
        """uint16 (H, W) -> uint16 (h, w); 0 outside the frame."""
        return self._warp(ids, cv2.INTER_NEAREST, 0)

    def flow(self, frame_flow: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The motion that this view shows, between two frames that it serves.

        Args:
            frame_flow: float32 (2, H, W) from one frame to the other, its pixels right and down.
            valid: bool (H, W), where it holds.

        Returns:
            float32 (2, h, w) in pixels of the view, and bool (h, w), False outside the frame.
        """
        # Take the nearest vector: a mean of two would follow neither side of an edge.
        right, down = (self._warp(part, cv2.INTER_NEAREST, 0) for part in frame_flow)
        turn = np.linalg.inv(self.matrix[:2, :2]).astype(np.float32)
        flow = np.stack([row[0] * right + row[1] * down for row in turn])
        return flow, self._warp(valid.astype(np.uint8), cv2.INTER_NEAREST, 0) > 0

    def moved(self, motion: np.ndarray) -> View:
        """The view of a camera that has moved; motion: (3, 3), its pixel -> pixel of this view."""
        return replace(self, matrix=self.matrix @ motion)

    def flow_to(self, other: View) -> np.ndarray:
        """Flow float32 (2, h, w) from this view to another of the same frame: exact."""
        there = np.linalg.inv(other.matrix) @ self.matrix - _IDENTITY
        height, width = self.size_hw
        y, x = np.mgrid[:height, :width].astype(np.float32)
        flow = [row[0] * x + row[1] * y + row[2] for row in there[:2]]
        return np.stack(flow).astype(np.float32)

    def _warp(self, picture: np.ndarray, kernel: int, outside: int | None) -> np.ndarray:
        """outside: value beyond the picture; None reflects it there, as often as it takes."""
        height, width = self.size_hw
        return cv2.warpAffine(
            picture,
            self.matrix[:2],
            (width, height),
            flags=kernel | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101 if outside is None else cv2.BORDER_CONSTANT,
            borderValue=outside or 0,  # type: ignore[arg-type]
        )


def draw_view(
    frame_hw: tuple[int, int], augmentation: Augmentation, rng: np.random.Generator
) -> View:
    """Scale, place, flip, turn, colour, blur.

    A view larger than the scaled frame lies around it at random, one that is smaller within it.
    """
    if augmentation.scales:
        scale = float(rng.choice(augmentation.scales))
    else:
        low, high = augmentation.scale_range
        scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    if augmentation.short_side:
        scale *= augmentation.short_side / min(frame_hw)

    height, width = augmentation.crop_hw
    spare_y, spare_x = frame_hw[0] * scale - height, frame_hw[1] * scale - width
    top, left = (float(rng.uniform(min(spare, 0), max(spare, 0))) for spare in (spare_y, spare_x))
    matrix = np.array(
        [
            [1 / scale, 0, (left + 0.5) / scale - 0.5],
            [0, 1 / scale, (top + 0.5) / scale - 0.5],
            [0, 0, 1],
        ]
    )

    if augmentation.flip and rng.random() < 0.5:
        matrix = matrix @ np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    if augmentation.rotation:
        degrees = float(rng.uniform(-augmentation.rotation, augmentation.rotation))
        matrix = matrix @ _about_centre(augmentation.crop_hw, 1.0, degrees)

    colour = draw_colour(augmentation, rng)
    blurred = rng.random() < augmentation.blur
    sigma = float(rng.uniform(0.3, 1.2)) if blurred else 0.0
    return View(matrix, augmentation.crop_hw, colour, sigma, augmentation.border)


def draw_colour(augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and saturation as one colour matrix (3, 4)."""

    def around_one(spread: float) -> float:
        return float(rng.uniform(1 - spread, 1 + spread))

    gain = around_one(augmentation.brightness)
    contrast = around_one(augmentation.contrast)
    saturation = around_one(augmentation.saturation)
    mix = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    offset = (1 - contrast) * 128.0
    return np.hstack([gain * contrast * mix, np.full((3, 1), offset)])


@dataclass(frozen=True, slots=True)
class CameraMotion:
    """A steady made-up camera motion, so that a still picture becomes a clip with known flow.

    Per frame: shift in view pixels, zoom as a factor, roll in degrees.
    """

    shift_xy: tuple[float, float]
    zoom: float
    roll: float

    def after(self, frames: int, size_hw: tuple[int, int]) -> np.ndarray:
        """(3, 3) for `View.moved`: where the pixels of the view `frames` later are seen now."""
        matrix = _about_centre(size_hw, self.zoom**-frames, self.roll * frames)
        matrix[0, 2] += self.shift_xy[0] * frames
        matrix[1, 2] += self.shift_xy[1] * frames
        return matrix


def draw_motion(size_hw: tuple[int, int], longest: int, rng: np.random.Generator) -> CameraMotion:
    """A motion that over `longest` frames keeps most of the view in sight.

    At most 1.5 % of the view's width and 1.5 % zoom per frame, less where `longest` is more than 6.
    """
    most = 0.015 * min(1.0, 6 / max(1, longest))
    x, y = rng.uniform(-most, most, 2) * size_hw[1]
    zoom = float(np.exp(rng.uniform(-most / 3, most)))  # forwards more than backwards
    return CameraMotion((float(x), float(y) / 3), zoom, float(rng.uniform(-15, 15) * most))


def sensor_noise(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise as between two frames of one scene: gain within 3 %, and a little per pixel."""
    gain, deviation = float(rng.uniform(0.97, 1.03)), float(rng.uniform(0, 3))
    # Four bytes added up are nearly normal, and far quicker to draw.
    noise = rng.integers(0, 256, (4, *rgb.shape), np.uint8).sum(axis=0, dtype=np.float32)
    noise = (noise - _FOUR_BYTES_MEAN) * np.float32(deviation / _FOUR_BYTES_DEVIATION)
    return cv2.addWeighted(rgb.astype(np.float32), gain, noise, 1.0, 0.0, dtype=cv2.CV_8U)


def _about_centre(size_hw: tuple[int, int], scale: float, degrees: float) -> np.ndarray:
    """(3, 3): scaled and turned about the middle of a picture."""
    height, width = size_hw
    centre = ((width - 1) / 2, (height - 1) / 2)
    return np.vstack([cv2.getRotationMatrix2D(centre, degrees, scale), [0, 0, 1]])
