"""Textures: drawn once in metres, kept as premultiplied RGBA, handed out shrunk, lit and hazed.

A surface far away needs a small texture, or it would shimmer; one seen at a slant needs it small
in one direction only. So each texture is halved along x and y independently ("rip-maps").
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Colour = Sequence[float]  # RGB 0..255

HAZE_RGB = np.array([203.0, 212.0, 222.0])
HAZE_LENGTH_M = 210.0  # haze takes 63 % of the contrast of what is this far away
HAZE_STEPS, LIGHT_STEPS = 64, 24
MAX_LEVEL = 7  # halvings


@dataclass(frozen=True, slots=True)
class Texture:
    """pixels: premultiplied RGBA uint8 (h, w, 4). Tiled textures are opaque and wrap round."""

    pixels: np.ndarray
    tiled: bool = False


class Sheet:
    """A drawing surface in metres (x right, y down), supersampled three times."""

    oversampling = 3

    def __init__(self, width_m: float, height_m: float, texels_per_m: float) -> None:
        self.size_m = (width_m, height_m)
        self.texels_hw = (
            max(4, round(height_m * texels_per_m)),
            max(4, round(width_m * texels_per_m)),
        )
        height, width = (n * self.oversampling for n in self.texels_hw)
        self._scale = np.array([width / width_m, height / height_m])
        self._pixels = np.zeros((height, width, 4), np.uint8)

    def polygon(self, points: Sequence[Sequence[float]] | np.ndarray, colour: Colour) -> None:
        """Fill a polygon, (K, 2) metres."""
        corners = np.asarray(points, np.float64) * self._scale - 0.5
        cv2.fillPoly(
            self._pixels, [np.int32(np.round(corners * 16))], _opaque(colour), cv2.LINE_8, 4
        )

    def rect(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill an upright rectangle given by its top left corner."""
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse given by its centre and radii."""
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        self.polygon(np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], 1), colour)

    def line(self, points: Sequence[Sequence[float]], width: float, colour: Colour) -> None:
        """Draw an open line with round joints."""
        corners = np.int32(np.round((np.asarray(points, np.float64) * self._scale - 0.5) * 16))
        thickness = max(1, round(width * self._scale[0]))
        cv2.polylines(self._pixels, [corners], False, _opaque(colour), thickness, cv2.LINE_8, 4)

    def polygons(self, points: np.ndarray, colours: np.ndarray) -> None:
        """Fill many convex polygons (N, K, 2) metres, one after the other; colours (N, 3)."""
        corners = np.int32(np.round((points * self._scale - 0.5) * 16))
        opaque = np.full((len(points), 4), 255.0)
        opaque[:, :3] = np.clip(np.round(colours), 0, 255)
        for corner, colour in zip(corners, opaque.tolist(), strict=True):
            cv2.fillConvexPoly(self._pixels, corner, colour, cv2.LINE_8, 4)

    def texture(self, shade: np.ndarray | None = None, tiled: bool = False) -> Texture:
        """The finished drawing, brightness multiplied by `shade` (h, w) or (h, w, 3) texels."""
        height, width = self.texels_hw
        pixels = cv2.resize(self._pixels, (width, height), interpolation=cv2.INTER_AREA)
        if shade is not None:
            shade = shade[..., None] if shade.ndim == 2 else shade
            colour = np.minimum(pixels[..., :3] * np.maximum(shade, 0), pixels[..., 3:])
            pixels[..., :3] = np.round(colour)
        return Texture(pixels, tiled)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x (1, w) and y (h, 1) of the texel centres, each 0..1 across the sheet."""
        height, width = self.texels_hw
        return (np.arange(width)[None] + 0.5) / width, (np.arange(height)[:, None] + 0.5) / height


def _opaque(colour: Colour) -> tuple[int, ...]:
    return (*(min(max(round(float(c)), 0), 255) for c in colour), 255)


def soft_noise(
    rng: np.random.Generator, texels_hw: tuple[int, int], cells_hw: tuple[int, int]
) -> np.ndarray:
    """Smooth noise of unit deviation that wraps round; float64 (h, w), cells set its coarseness."""
    rows, columns = (max(1, min(n, t)) for n, t in zip(cells_hw, texels_hw, strict=True))
    coarse = rng.standard_normal((rows, columns))
    padded = np.pad(coarse, 2, mode="wrap").astype(np.float32)  # (rows + 4, columns + 4)
    scale_y, scale_x = texels_hw[0] / rows, texels_hw[1] / columns
    y = ((np.arange(texels_hw[0]) + 0.5) / scale_y + 1.5).astype(np.float32)
    x = ((np.arange(texels_hw[1]) + 0.5) / scale_x + 1.5).astype(np.float32)
    grid_x, grid_y = np.meshgrid(x, y)
    return cv2.remap(padded, grid_x, grid_y, cv2.INTER_CUBIC).astype(np.float64)


class TextureBank:
    """Textures by number, made when first needed, and their variants in a cache of bounded size."""

    def __init__(self, cache_bytes: int = 96 << 20) -> None:
        self._makers: list[Callable[[], Texture]] = []
        self._names: dict[str, int] = {}
        self._made: dict[int, Texture] = {}
        self._variants: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._bytes, self._cache_bytes = 0, cache_bytes
        self.sizes = np.zeros((0, 2))  # float64 (N, 2): texels (w, h) of every texture

    def add(self, name: str, maker: Callable[[], Texture], texels_wh: tuple[int, int]) -> int:
        """Register a texture; `name` is its identity, the number of an earlier one is returned."""
        if name not in self._names:
            self._names[name] = len(self._makers)
            self._makers.append(maker)
            self.sizes = np.vstack([self.sizes, np.array(texels_wh, np.float64)])
        return self._names[name]

    def __getitem__(self, number: int) -> Texture:
        if number not in self._made:
            self._made[number] = self._makers[number]()
        return self._made[number]

    @property
    def cached_bytes(self) -> int:
        return self._bytes

    def is_tiled(self, number: int) -> bool:
        return self[number].tiled

    def variant(self, number: int, level_x: int, level_y: int, haze: int, light: int) -> np.ndarray:
        """RGBA uint8, shrunk by 2**level, lit, hazed; with a clear border of 1 unless tiled."""
        return self._cached((number, level_x, level_y, haze, light), self._make_variant)

    def coverage(self, number: int, level_x: int, level_y: int) -> np.ndarray:
        """The alpha channel alone, uint8, of the same size as the variant."""
        return self._cached((number, level_x, level_y), self._make_coverage)

    def _cached(self, key: tuple, make: Callable[..., np.ndarray]) -> np.ndarray:
        found = self._variants.get(key)
        if found is not None:
            self._variants.move_to_end(key)
            return found
        made = make(*key)
        self._variants[key] = made
        self._bytes += made.nbytes
        while self._bytes > self._cache_bytes and len(self._variants) > 1:
            self._bytes -= self._variants.popitem(last=False)[1].nbytes
        return made

    def _shrunk(self, number: int, level_x: int, level_y: int) -> np.ndarray:
        texture = self[number]
        height, width = texture.pixels.shape[:2]
        size = max(1, width >> level_x), max(1, height >> level_y)
        small = cv2.resize(texture.pixels, size, interpolation=cv2.INTER_AREA)
        return small if texture.tiled else cv2.copyMakeBorder(small, 1, 1, 1, 1, 0, value=0)

    def _make_variant(
        self, number: int, level_x: int, level_y: int, haze: int, light: int
    ) -> np.ndarray:
        pixels = self._shrunk(number, level_x, level_y)
        lit, clear = light / LIGHT_STEPS, 1 - haze / HAZE_STEPS
        alpha = pixels[..., 3:].astype(np.float32)
        colour = np.minimum(pixels[..., :3] * np.float32(lit), alpha) * np.float32(clear)
        colour += alpha * (HAZE_RGB * ((1 - clear) / 255)).astype(np.float32)
        return np.concatenate([np.round(colour).astype(np.uint8), pixels[..., 3:]], axis=2)

    def _make_coverage(self, number: int, level_x: int, level_y: int) -> np.ndarray:
        return cv2.extractChannel(self._shrunk(number, level_x, level_y), 3)
