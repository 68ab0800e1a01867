"""The far backdrop: the sky with its clouds, and the skyline at the street's end."""

from __future__ import annotations

import numpy as np

from vidparse.scenes.quads import BUILDING, SKY, TREE, Layer, Quads, join, make_quads
from vidparse.scenes.textures import HAZE_RGB, Sheet, TextureBank, soft_noise

_SKY_M = (2800.0, 1000.0)
_SKYLINE_M = (900.0, 26.0)


def _sky(seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([seed, 51]))
    hw = (400, 1120)
    y = ((np.arange(hw[0]) + 0.5) / hw[0])[:, None]  # 0 at the top
    high, low = np.array([132.0, 178.0, 226.0]), np.array([228.0, 236.0, 242.0])
    colour = high + (low - high) * (np.clip(y * 1.25, 0, 1) ** 0.8)[..., None]  # (h, 1, 3)
    cloud = sum(
        soft_noise(rng, hw, (3 * 2**octave, 4 * 2**octave)) / 1.7**octave for octave in range(5)
    )
    cover = rng.uniform(-0.6, 0.4)
    amount = np.clip(0.5 * (cloud + cover + 0.4 * y), 0, 1)[..., None] ** 0.9
    under = np.clip(1.0 - 0.07 * (cloud - 0.6), 0.9, 1.0)[..., None]
    colour = colour * (1 - amount) + np.array([246.0, 247.0, 248.0]) * under * amount
    pixels = np.full((*hw, 4), 255, np.uint8)
    pixels[..., :3] = np.round(np.clip(colour, 0, 255))
    return pixels


def _far_roofs(seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([seed, 52]))
    width, height = _SKYLINE_M
    sheet = Sheet(width, height, 3)
    x = 0.0
    while x < width:
        wide, tall = rng.uniform(8, 20), rng.uniform(7, 14)
        tone = HAZE_RGB * 0.62 + rng.uniform(30, 80, 3) * 0.38
        sheet.rect(x, height - tall, wide, tall, tone)
        peak = height - tall - rng.uniform(1.5, 4)
        sheet.polygon(
            [(x - 0.5, height - tall), (x + wide / 2, peak), (x + wide + 0.5, height - tall)],
            tone * 0.9,
        )
        x += wide * rng.uniform(0.7, 1.3)
    return sheet.texture()


def _far_trees(seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([seed, 53]))
    width, height = _SKYLINE_M
    sheet = Sheet(width, height, 3)
    for _ in range(900):
        x, tall = rng.uniform(0, width), rng.uniform(1, 9) * rng.uniform(0.4, 1)
        tone = HAZE_RGB * 0.6 + np.array((62, 78, 44)) * rng.uniform(0.25, 0.45)
        sheet.ellipse(x, height - tall * 0.5, rng.uniform(2, 5), tall * 0.6 + 1, tone)
    return sheet.texture()


def add_backdrop(bank: TextureBank, seed: int) -> Quads:
    """Sky and skyline round a camera at the origin; shift them along with the camera."""
    textures = [
        bank.add(f"sky {seed}", lambda: _sky(seed), (1120, 400)),
        bank.add(f"far roofs {seed}", lambda: _far_roofs(seed), (2700, 78)),
        bank.add(f"far trees {seed}", lambda: _far_trees(seed), (2700, 78)),
    ]

    rows = []
    spans = [(_SKY_M, 1000.0, -60.0), (_SKYLINE_M, 480.0, -4.0), (_SKYLINE_M, 470.0, -4.0)]
    for number, ((width, height), distance, bottom) in enumerate(spans):
        rows.append(
            make_quads(
                np.array([[-width / 2, bottom + height, distance]]),
                np.array([[width, 0.0, 0.0]]),
                np.array([[0.0, -height, 0.0]]),
                texture=textures[number],
                surface=1 + number,
                class_id=(SKY, BUILDING, TREE)[number],
                layer=Layer.SKY if number == 0 else Layer.SKYLINE,
                moving=True,
            )
        )
    return join(rows)
