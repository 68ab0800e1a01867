"""Random views of a labelled image for training; every draw comes from the generator given."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.data.values import IGNORE


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What a training view may differ in."""

    crop_hw: tuple[int, int]
    scale_range: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    brightness: float = 0.3  # gain drawn from 1 +- this
    contrast: float = 0.3
    saturation: float = 0.3
    blur: float = 0.1  # probability of a slight Gaussian blur


def training_view(
    rgb: np.ndarray, mask: np.ndarray, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scale, crop (padding with black and IGNORE), flip, colour.

    Args:
        rgb: uint8 (H, W, 3). mask: uint8 (H, W) training ids.

    Returns:
        rgb uint8 (h, w, 3) and mask uint8 (h, w) of size `augmentation.crop_hw`.
    """
    low, high = augmentation.scale_range
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))  # as often halved as doubled
    rgb, mask = _scaled_crop(rgb, mask, scale, augmentation.crop_hw, rng)
    if augmentation.flip and rng.random() < 0.5:
        rgb, mask = rgb[:, ::-1], mask[:, ::-1]
    rgb = _recolour(np.ascontiguousarray(rgb), augmentation, rng)
    if rng.random() < augmentation.blur:
        rgb = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.3, 1.2)))
    return rgb, np.ascontiguousarray(mask)


def _scaled_crop(
    rgb: np.ndarray,
    mask: np.ndarray,
    scale: float,
    crop_hw: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the source rectangle first and resize only that; pad what falls outside."""
    height, width = crop_hw
    full_h, full_w = round(mask.shape[0] * scale), round(mask.shape[1] * scale)
    # Source rectangle in scaled pixels; when the image is smaller than the crop, all of it.
    take_h, take_w = min(height, full_h), min(width, full_w)
    top = int(rng.integers(0, full_h - take_h + 1))
    left = int(rng.integers(0, full_w - take_w + 1))
    matrix = np.array(
        [
            [1 / scale, 0, (left + 0.5) / scale - 0.5],
            [0, 1 / scale, (top + 0.5) / scale - 0.5],
        ]
    )
    flags = cv2.WARP_INVERSE_MAP
    source = cv2.GaussianBlur(rgb, (0, 0), 0.4 / scale) if scale < 0.8 else rgb
    small = cv2.warpAffine(
        source,
        matrix,
        (take_w, take_h),
        flags=flags | cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    small_mask = cv2.warpAffine(
        mask,
        matrix,
        (take_w, take_h),
        flags=flags | cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    pad_top = int(rng.integers(0, height - take_h + 1))
    pad_left = int(rng.integers(0, width - take_w + 1))
    view = np.zeros((height, width, 3), np.uint8)
    view_mask = np.full((height, width), IGNORE, np.uint8)
    inside = np.s_[pad_top : pad_top + take_h, pad_left : pad_left + take_w]
    view[inside], view_mask[inside] = small, small_mask
    return view, view_mask


def _recolour(rgb: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and saturation as one 3x4 colour matrix."""

    def around_one(spread: float) -> float:
        return float(rng.uniform(1 - spread, 1 + spread))

    gain = around_one(augmentation.brightness)
    contrast = around_one(augmentation.contrast)
    saturation = around_one(augmentation.saturation)
    luma = np.array([0.299, 0.587, 0.114])
    mix = saturation * np.eye(3) + (1 - saturation) * np.tile(luma, (3, 1))
    offset = (1 - contrast) * 128.0
    matrix = np.hstack([gain * contrast * mix, np.full((3, 1), offset)])
    return cv2.transform(rgb, matrix)
