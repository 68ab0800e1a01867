"""Mattes are steadier along the motion, and nothing of the past stays where it does not belong."""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.matting.smoothing import Smoother

RNG = np.random.default_rng(5)
WALL = cv2.GaussianBlur(RNG.integers(0, 256, (180, 240, 3), dtype=np.uint8), (0, 0), 2)
COAT = cv2.GaussianBlur(RNG.integers(0, 256, (60, 40, 3), dtype=np.uint8), (0, 0), 1.5)


def shown(x: int) -> tuple[np.ndarray, np.ndarray]:
    """A coat in front of a wall, and its exact mask."""
    picture, mask = WALL.copy(), np.zeros(WALL.shape[:2], np.float32)
    picture[60:120, x : x + 40] = 255 - COAT
    mask[60:120, x : x + 40] = 1
    return picture, mask


def test_a_mask_that_flickers_before_a_still_picture_becomes_steady() -> None:
    smoother, rng = Smoother(), np.random.default_rng(0)
    picture, mask = shown(80)
    noisy, steady = [], []
    for _ in range(12):
        now = np.clip(mask + 0.4 * rng.standard_normal(mask.shape), 0, 1).astype(np.float32)
        noisy.append(now)
        steady.append(smoother.step(picture, {"coat": now})["coat"])
    change = [np.abs(np.diff(np.stack(ones)[4:], axis=0)).mean() for ones in (noisy, steady)]
    assert change[1] < 0.6 * change[0]


def test_a_moving_object_drags_nothing_behind_it() -> None:
    smoother = Smoother()
    for step in range(8):
        picture, mask = shown(40 + 6 * step)
        found = smoother.step(picture, {"coat": mask})["coat"]
    wrong = np.abs(found - mask)
    assert wrong.mean() < 0.004  # 16 pixels of 43 200 per percent
    assert wrong[60:120, 40:70].max() < 0.1  # where it was six frames ago


def test_after_a_cut_the_past_is_forgotten() -> None:
    smoother = Smoother()
    picture, mask = shown(80)
    smoother.step(picture, {"coat": mask})
    smoother.reset()
    nothing = np.zeros_like(mask)
    assert not smoother.step(picture, {"coat": nothing})["coat"].any()


def test_an_object_that_vanishes_from_the_masks_is_forgotten() -> None:
    smoother = Smoother()
    picture, mask = shown(80)
    smoother.step(picture, {"coat": mask})
    assert smoother.step(picture, {}) == {}
    back = smoother.step(picture, {"coat": 0.5 * mask})["coat"]
    np.testing.assert_array_equal(back, 0.5 * mask)
