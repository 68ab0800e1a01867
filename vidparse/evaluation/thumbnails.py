"""Small pictures for reports: frames, class maps, wrong pixels and heat maps as JPEG or PNG."""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.sinks.pictures import palette_png

HOTTEST = 0.3  # share of frame pairs at which the heat map ends
_HEAT_FAINT = 0.06  # below this share the backdrop shines through
_JPEG_QUALITY = 80
_BACKDROP = 0.55  # brightness of the grey picture behind wrong pixels and heat
_VOID_SHADE = 0.35  # what is not labelled is darker still
_WRONG = (255, 72, 40)  # RGB


def small_size(size_hw: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) whose longer side is at most `side`."""
    scale = min(1.0, side / max(size_hw))
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def small_picture(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """RGB uint8 (H, W, 3) averaged down."""
    return cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_AREA)


def small_ids(ids: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Class ids (H, W) at the nearest pixels."""
    return cv2.resize(ids, size_hw[::-1], interpolation=cv2.INTER_NEAREST)


def jpeg(image: np.ndarray, *, sharp_colours: bool = False) -> bytes:
    """RGB uint8 (H, W, 3) as JPEG; with colours at full resolution, or half as is usual."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    if sharp_colours:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()


def class_png(ids: np.ndarray, palette: np.ndarray) -> bytes:
    """Class ids (H, W) in colours RGB uint8 (256, 3); ids above 255 repeat them."""
    return palette_png((ids & 255).astype(np.uint8), palette)


def wrong_jpeg(image: np.ndarray | None, wrong: np.ndarray, known: np.ndarray) -> bytes:
    """Wrong pixels over the grey picture.

    Args:
        image: RGB uint8 (H, W, 3), or None.
        wrong: bool (H, W). known: bool (H, W), False where nothing is labelled.
    """
    canvas = _backdrop(image, wrong.shape)
    canvas[~known] *= _VOID_SHADE
    canvas[wrong] = _WRONG
    return jpeg(canvas.astype(np.uint8), sharp_colours=True)


def heat_jpeg(image: np.ndarray | None, share: np.ndarray) -> bytes:
    """The frequency of an event at each pixel, over the grey picture.

    Args:
        image: RGB uint8 (H, W, 3), or None.
        share: (H, W) 0..1.
    """
    return jpeg(_heated(_backdrop(image, share.shape), share), sharp_colours=True)


def heat_colours(count: int) -> list[tuple[int, int, int]]:
    """RGB at `count` equal steps from never to HOTTEST, for a key."""
    share = np.linspace(0, HOTTEST, count)[None]  # (1, count)
    red, green, blue = _heated(_backdrop(None, share.shape), share)[0].T.tolist()
    return list(zip(red, green, blue, strict=True))


def _heated(backdrop: np.ndarray, share: np.ndarray) -> np.ndarray:
    """RGB uint8 (H, W, 3): rare changes let the backdrop, float (H, W, 3), shine through."""
    steps = np.rint(np.clip(share / HOTTEST, 0, 1) * 255).astype(np.uint8)
    heat = cv2.cvtColor(cv2.applyColorMap(steps, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    opacity = np.clip(share / _HEAT_FAINT, 0, 1)[..., None]  # (H, W, 1)
    return (backdrop * (1 - opacity) + heat * opacity).astype(np.uint8)


def _backdrop(image: np.ndarray | None, size_hw: tuple[int, ...]) -> np.ndarray:
    """float32 (H, W, 3), grey."""
    if image is None:
        return np.full((*size_hw, 3), 255 * _BACKDROP / 2, np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.repeat(grey[..., None] * _BACKDROP, 3, axis=2)
