"""A scene: frames with exact labels and flow, each rendered from the spec and its index alone.

Each surface is flat, so it moves by a homography: the flow is exact. The lens adds to the light
what cameras do: motion blur, softness, vignetting and sensor noise.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.scenes.crowd import Crowd
from vidparse.scenes.raster import paint_colours, paint_ranks
from vidparse.scenes.spec import SceneSpec
from vidparse.scenes.street import Street
from vidparse.scenes.view import VisibleQuads, see

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

            # Leave tiles without visible motion as they are: most of a still view.
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

        # Draw one larger field of noise and shift it per frame: drawing anew costs far more.
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


_ROWS_AT_ONCE = 48  # keeps the temporaries in the processor's cache


def flow_between(
    now: VisibleQuads, after: VisibleQuads, ranks: np.ndarray, step: int = 1
) -> np.ndarray:
    """Displacements of surface points to the next view, pixels, float32 (2, h, w).

    ranks: of `now`, uint16 (H, W). step: 1, or 2 for every second row and column only.
    """
    height, width = ranks.shape
    ranks = ranks[::step, ::step]
    table = _rank_motions(now, after)  # (9, R)
    x = (np.arange(0, width, step, dtype=np.float32) - np.float32((width - 1) / 2))[None]
    y = (np.arange(0, height, step, dtype=np.float32) - np.float32((height - 1) / 2))[:, None]

    # Take some rows at a time, so that nine numbers per pixel stay small.
    flow = np.empty((2, *ranks.shape), np.float32)
    for top in range(0, len(ranks), _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        part = ranks[rows].astype(np.intp)
        m = [np.take(column, part) for column in table]  # nine of (rows, w)
        scale = 1 / (m[6] * x + m[7] * y[rows] + m[8])
        flow[0, rows] = (m[0] * x + m[1] * y[rows] + m[2]) * scale - x
        flow[1, rows] = (m[3] * x + m[4] * y[rows] + m[5]) * scale - y[rows]
    return flow


def flow_is_valid(
    now: VisibleQuads,
    after: VisibleQuads,
    ranks: np.ndarray,
    ranks_after: np.ndarray,
    flow: np.ndarray,
) -> np.ndarray:
    """False where the surface point is hidden or out of the picture in the next view; (H, W)."""
    height, width = ranks.shape

    # Compare surfaces by number: their ranks differ from view to view.
    rank_of = dict(zip(after.quads.surface.tolist(), after.rank.tolist(), strict=True))
    later = np.full(int(now.rank.max(initial=0)) + 1, -1, np.int32)  # this rank -> rank then
    later[now.rank] = [rank_of.get(surface, -1) for surface in now.quads.surface.tolist()]
    later[0] = -1
    x = np.rint(flow[0] + np.arange(width, dtype=np.float32)[None]).astype(np.int32)
    y = np.rint(flow[1] + np.arange(height, dtype=np.float32)[:, None]).astype(np.int32)

    # Clip after the test, so that points outside can be looked up and dropped.
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    np.clip(x, 0, width - 1, out=x)
    np.clip(y, 0, height - 1, out=y)
    # What is painted later hides; what is painted earlier only shows beside a rounded edge.
    return inside & (ranks_after[y, x] <= np.take(later, ranks))


def _rank_motions(now: VisibleQuads, after: VisibleQuads) -> np.ndarray:
    """Homographies between the two pictures by rank, row-major, float32 (9, R).

    Pixels are counted from the picture's middle, which float32 likes better.
    """
    first = np.full(int(now.rank.max(initial=0)) + 1, -1)
    solid = np.flatnonzero(now.rank)
    first[now.rank[solid][::-1]] = solid[::-1]  # a surface's first piece speaks for all of it
    rows = first[1:]

    # Put moving surfaces where they are in the next view.
    quads = now.quads.take(rows)
    origin, across, down = quads.origin.copy(), quads.across.copy(), quads.down.copy()
    everything = after.everything
    movers = np.flatnonzero(everything.moving)
    place = dict(zip(everything.surface[movers].tolist(), movers.tolist(), strict=True))
    for i in np.flatnonzero(quads.moving):
        j = place.get(int(quads.surface[i]))
        if j is not None:
            origin[i], across[i], down[i] = (
                everything.origin[j], everything.across[j], everything.down[j],
            )  # fmt: skip

    then = after.camera.homographies(origin, across, down)
    height, width = now.camera.size_hw
    centre = np.eye(3)
    centre[:2, 2] = (width - 1) / 2, (height - 1) / 2

    # Measure from the middle of the picture, where float32 keeps more digits.
    motion = np.einsum("nij,njk,kl->nil", then, _adjugate(now.homographies[rows]), centre)
    motion[:, 0] -= centre[0, 2] * motion[:, 2]
    motion[:, 1] -= centre[1, 2] * motion[:, 2]
    reach = np.array([width / 2, height / 2, 1.0])
    motion /= (np.abs(motion[:, 2]) * reach).sum(1)[:, None, None]

    table = np.concatenate([np.eye(3)[None], motion])  # rank 0, nothing, stays
    return table.reshape(-1, 9).T.astype(np.float32)


def _adjugate(matrices: np.ndarray) -> np.ndarray:
    """The inverses (N, 3, 3) up to a factor each, which a homography does not care about."""
    a, b, c = (matrices[:, i] for i in range(3))
    return np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=2)


LABELS = "camvid"  # the label set of `SceneFrame.classes`
_VOID = 255
_WORLDS: dict[str, type[Street] | type[Crowd]] = {"street": Street, "crowd": Crowd}
_FRAMES_KEPT = 3


@dataclass(frozen=True, slots=True)
class SceneFrame:
    """A picture and the truth about it at the middle of its exposure."""

    index: int
    rgb: np.ndarray  # uint8 (H, W, 3)
    classes: np.ndarray  # uint8 (H, W): ids of the label set LABELS, 255 = nothing there
    instances: np.ndarray  # uint16 (H, W): 0 = no thing; one id an object for the whole video
    flow: np.ndarray  # float32 (2, H, W): pixels to the right and down until the next frame
    flow_valid: np.ndarray  # bool (H, W): False where the point is hidden or outside then


class Scene:
    """Renders any frame of a scene, in any order."""

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self._world = _WORLDS[spec.name](spec)
        self._lens = Lens(spec.size_hw, spec.seed)
        self._views: OrderedDict[int, VisibleQuads] = OrderedDict()
        self._ranks: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return self.spec.frames

    def render(self, index: int) -> SceneFrame:
        """Picture, labels and flow of frame `index`.

        Raises:
            IndexError: not 0 <= index < spec.frames.
        """
        self._check(index)
        now, after = self._view(index), self._view(index + 1)
        ranks, ranks_after = self._ranks_of(index), self._ranks_of(index + 1)
        flow = flow_between(now, after, ranks)
        valid = flow_is_valid(now, after, ranks, ranks_after, flow)
        rgb = self._expose(index, now, ranks, flow[:, ::BLUR_STEP, ::BLUR_STEP])
        count = int(now.rank.max(initial=0)) + 1
        classes, instances = np.full(count, _VOID, np.uint8), np.zeros(count, np.uint16)
        solid = np.flatnonzero(now.rank)
        classes[now.rank[solid]] = now.quads.class_id[solid]
        instances[now.rank[solid]] = now.quads.instance[solid]
        return SceneFrame(
            index, rgb, np.take(classes, ranks), np.take(instances, ranks), flow, valid
        )

    def picture(self, index: int) -> np.ndarray:
        """`render(index).rgb` for less work."""
        self._check(index)
        now, after, ranks = self._view(index), self._view(index + 1), self._ranks_of(index)
        return self._expose(index, now, ranks, flow_between(now, after, ranks, BLUR_STEP))

    def _expose(
        self, index: int, view: VisibleQuads, ranks: np.ndarray, flow: np.ndarray
    ) -> np.ndarray:
        canvas = paint_colours(view, self._world.bank, ranks)
        return self._lens.expose(motion_blur(canvas, flow), index)

    def _check(self, index: int) -> None:
        if not 0 <= index < self.spec.frames:
            raise IndexError(f"frame {index} of {self.spec}: it has {self.spec.frames} frames")

    def _view(self, index: int) -> VisibleQuads:
        if index not in self._views:
            time_s = float(index / self.spec.rate)
            camera = self._world.camera(time_s)
            quads = self._world.quads(time_s, camera)
            self._views[index] = see(quads, camera, self._world.bank)
            if len(self._views) > _FRAMES_KEPT:
                self._views.popitem(last=False)
        return self._views[index]

    def _ranks_of(self, index: int) -> np.ndarray:
        if index not in self._ranks:
            self._ranks[index] = paint_ranks(self._view(index), self._world.bank)
            if len(self._ranks) > _FRAMES_KEPT:
                self._ranks.popitem(last=False)
        return self._ranks[index]
