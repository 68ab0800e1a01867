"""Textures: drawn once in metres, kept as premultiplied RGBA, handed out shrunk, lit and hazed.

A surface far away needs a small texture, or it would shimmer; one seen at a slant needs it small
in one direction only. So each texture is halved along x and y independently ("rip-maps").
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import cv2
import numpy as np

Colour = Sequence[float] | np.ndarray  # RGB 0..255
Points = Sequence[Sequence[float] | np.ndarray] | np.ndarray  # (K, 2), metres on a sheet

HAZE_RGB = np.array([203.0, 212.0, 222.0])
HAZE_LENGTH_M = 210.0  # haze takes 63 % of the contrast of what is this far away
HAZE_STEPS, LIGHT_STEPS = 64, 24
MAX_LEVEL = 7  # halvings
_DRAWN_BYTES, _VARIANT_BYTES = 64 << 20, 64 << 20


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

    def _texels(self, points: np.ndarray) -> np.ndarray:
        """Metres (..., 2) to sixteenths of drawing pixels, int32."""
        return np.round((points * self._scale - 0.5) * 16).astype(np.int32)

    def polygon(self, points: Points, colour: Colour) -> None:
        """Fill a polygon, (K, 2) metres."""
        corners = self._texels(np.asarray(points, np.float64))
        cv2.fillPoly(self._pixels, [corners], _opaque(colour), cv2.LINE_8, 4)

    def rect(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill an upright rectangle given by its top left corner."""
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse given by its centre and radii."""
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        self.polygon(np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], 1), colour)

    def line(self, points: Points, width: float, colour: Colour) -> None:
        """Draw an open line with round joints."""
        corners = self._texels(np.asarray(points, np.float64))
        thickness = max(1, round(width * self._scale[0]))
        cv2.polylines(self._pixels, [corners], False, _opaque(colour), thickness, cv2.LINE_8, 4)

    def polygons(self, points: np.ndarray, colours: np.ndarray) -> None:
        """Fill many convex polygons (N, K, 2) metres, one after the other; colours (N, 3)."""
        corners = self._texels(points)
        opaque = np.full((len(points), 4), 255.0)
        opaque[:, :3] = np.clip(np.round(colours), 0, 255)
        for corner, colour in zip(corners, opaque.tolist(), strict=True):
            cv2.fillConvexPoly(self._pixels, corner, colour, cv2.LINE_8, 4)

    def texture(self, shade: np.ndarray | None = None) -> np.ndarray:
        """The drawing as premultiplied RGBA uint8 (h, w, 4).

        shade: factor of brightness, (h, w) or (h, w, 3).
        """
        height, width = self.texels_hw

        # Average the supersampled drawing, which gives edges their soft alpha.
        pixels = cv2.resize(self._pixels, (width, height), interpolation=cv2.INTER_AREA)
        if shade is not None:
            shade = shade[..., None] if shade.ndim == 2 else shade
            colour = np.minimum(pixels[..., :3] * np.maximum(shade, 0), pixels[..., 3:])
            pixels[..., :3] = np.round(colour)
        return pixels

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

    # Wrap the cells round, so that tiled textures show no seam.
    coarse = rng.standard_normal((rows, columns))
    padded = np.pad(coarse, 2, mode="wrap").astype(np.float32)  # (rows + 4, columns + 4)
    scale_y, scale_x = texels_hw[0] / rows, texels_hw[1] / columns
    y = ((np.arange(texels_hw[0]) + 0.5) / scale_y + 1.5).astype(np.float32)
    x = ((np.arange(texels_hw[1]) + 0.5) / scale_x + 1.5).astype(np.float32)
    grid_x, grid_y = np.meshgrid(x, y)
    return cv2.remap(padded, grid_x, grid_y, cv2.INTER_CUBIC).astype(np.float64)


class _Cache:
    """Arrays by key; the least recently used ones go when they are too many bytes together.

    Threads may share it; two that need the same at once may both make it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self.nbytes = 0

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]

        # Make it outside the lock: drawing takes long, and others need not wait.
        made = make()
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = made
                self.nbytes += made.nbytes

            # Keep one array at least, however large: it is needed now.
            while self.nbytes > self._most_bytes and len(self._arrays) > 1:
                self.nbytes -= self._arrays.popitem(last=False)[1].nbytes
        return made


_DRAWN = _Cache(_DRAWN_BYTES)  # of all scenes, by name: most textures are in each of them


class TextureBank:
    """Textures by number, drawn when first needed; they and their variants in bounded caches.

    A texture that was dropped is drawn again when needed, the same to the bit.
    """

    def __init__(self) -> None:
        self._makers: list[Callable[[], np.ndarray]] = []
        self._tiled: list[bool] = []
        self._names: dict[str, int] = {}
        self._name_of: list[str] = []
        self._variants = _Cache(_VARIANT_BYTES)
        self.sizes = np.zeros((0, 2))  # float64 (N, 2): texels (w, h) of every texture

    def add(
        self,
        name: str,
        maker: Callable[[], np.ndarray],
        texels_wh: tuple[int, int],
        tiled: bool = False,
    ) -> int:
        """Register what `maker` draws: premultiplied RGBA uint8 (h, w, 4), opaque if tiled.

        `name` is its identity in every scene: for one known already the earlier number is
        returned, and what another scene has drawn is taken.
        """
        if name not in self._names:
            self._names[name] = len(self._makers)
            self._name_of.append(name)
            self._makers.append(maker)
            self._tiled.append(tiled)
            self.sizes = np.vstack([self.sizes, np.array(texels_wh, np.float64)])
        return self._names[name]

    def is_tiled(self, number: int) -> bool:
        return self._tiled[number]

    def variant(self, number: int, level_x: int, level_y: int, haze: int, light: int) -> np.ndarray:
        """RGBA uint8, shrunk by 2**level, lit, hazed; with a clear border of 1 unless tiled."""

        def make() -> np.ndarray:
            pixels = self._shrunk(number, level_x, level_y)
            lit, clear = light / LIGHT_STEPS, 1 - haze / HAZE_STEPS

            # Add haze by alpha, since colours are premultiplied.
            alpha = pixels[..., 3:].astype(np.float32)
            colour = np.minimum(pixels[..., :3] * np.float32(lit), alpha) * np.float32(clear)
            colour += alpha * (HAZE_RGB * ((1 - clear) / 255)).astype(np.float32)
            return np.concatenate([np.round(colour).astype(np.uint8), pixels[..., 3:]], axis=2)

        return self._variants.get((number, level_x, level_y, haze, light), make)

    def coverage(self, number: int, level_x: int, level_y: int) -> np.ndarray:
        """The alpha channel alone, uint8, of the same size as the variant."""
        return self._variants.get(
            (number, level_x, level_y),
            lambda: cv2.extractChannel(self._shrunk(number, level_x, level_y), 3),
        )

    def _shrunk(self, number: int, level_x: int, level_y: int) -> np.ndarray:
        pixels = _DRAWN.get(self._name_of[number], self._makers[number])
        height, width = pixels.shape[:2]
        size = max(1, width >> level_x), max(1, height >> level_y)
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        if self._tiled[number]:
            return small
        return cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
