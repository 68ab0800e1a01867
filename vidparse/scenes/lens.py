"""What a camera adds to the light: motion blur, a soft lens, vignetting and sensor noise."""

from __future__ import annotations

import cv2
import numpy as np

SHUTTER = 0.2  # open for this share of the frame interval, about its middle
BLUR_STEP = 2  # motion blur takes the flow of every second pixel
_TILE_PX = 96
_SHORTEST_BLUR_PX = 1.2
_NOISE_MEAN, _NOISE_DEVIATION = 24, 2.3
_NOISE_SPARE_PX = 61


def motion_blur(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Average an RGBA uint8 (H, W, 4) picture along the flow while the shutter is open.

    flow: of every BLUR_STEP-th pixel, (2, H / BLUR_STEP, W / BLUR_STEP) rounded up. Works in
    tiles, with as many samples as the longest blur in the tile needs.
    """
    height, width = picture.shape[:2]
    blurred = picture.copy()
    for y in range(0, height, _TILE_PX):
        for x in range(0, width, _TILE_PX):
            y_to, x_to = min(y + _TILE_PX, height), min(x + _TILE_PX, width)
            coarse = flow[
                :, y // BLUR_STEP : -(-y_to // BLUR_STEP), x // BLUR_STEP : -(-x_to // BLUR_STEP)
            ]
            longest = SHUTTER * float(np.abs(coarse[:, ::4, ::4]).max())
            if longest < _SHORTEST_BLUR_PX:
                continue
            pairs = 1 if longest < 4 else 2 if longest < 10 else 3
            size = x_to - x, y_to - y
            dx, dy = (cv2.resize(part, size, interpolation=cv2.INTER_NEAREST) for part in coarse)
            grid_x = np.arange(x, x_to, dtype=np.float32)[None]
            grid_y = np.arange(y, y_to, dtype=np.float32)[:, None]
            mean = picture[y:y_to, x:x_to].astype(np.float32)
            # With many samples the mean hides that each is a whole pixel, at a third of the cost.
            mode = cv2.INTER_LINEAR if pairs == 1 else cv2.INTER_NEAREST
            for step in range(-pairs, pairs + 1):
                if step == 0:
                    continue
                share = np.float32(step * SHUTTER / (2 * pairs + 1))
                taken = cv2.remap(
                    picture, grid_x + share * dx, grid_y + share * dy, mode,
                    borderMode=cv2.BORDER_REPLICATE,
                )  # fmt: skip
                cv2.accumulate(taken, mean)
            scale = 1 / (2 * pairs + 1)
            blurred[y:y_to, x:x_to] = cv2.convertScaleAbs(mean, alpha=scale)
    return blurred


class Lens:
    """Turns a blurred RGBA picture into what the sensor reads. Same seed and index: same noise."""

    def __init__(self, size_hw: tuple[int, int], seed: int) -> None:
        height, width = size_hw
        self._seed = seed
        x = (np.arange(width) - (width - 1) / 2) / (width / 2)
        y = (np.arange(height) - (height - 1) / 2) / (width / 2)
        fall = 1 / (1 + 0.09 * (x[None] ** 2 + y[:, None] ** 2)) ** 2
        self._vignette = cv2.merge([np.round(255 * fall).astype(np.uint8)] * 3)
        rng = np.random.Generator(np.random.PCG64([seed, 61]))
        spare = _NOISE_SPARE_PX
        noise = rng.standard_normal((height + spare, width + spare, 3), np.float32)
        noise = _NOISE_MEAN + _NOISE_DEVIATION * noise
        self._noise = np.clip(np.round(noise), 0, 255).astype(np.uint8)

    def expose(self, picture: np.ndarray, index: int) -> np.ndarray:
        """RGB uint8 (H, W, 3) from RGBA (H, W, 4)."""
        rgb = cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB)
        rgb = cv2.GaussianBlur(rgb, (3, 3), 0.42)
        rgb = cv2.multiply(rgb, self._vignette, scale=1 / 255)
        rng = np.random.Generator(np.random.PCG64([self._seed, 62, index]))
        dy, dx = rng.integers(0, _NOISE_SPARE_PX, 2)
        height, width = rgb.shape[:2]
        noise = self._noise[dy : dy + height, dx : dx + width]
        return cv2.addWeighted(rgb, 1.0, noise, 1.0, -_NOISE_MEAN)
