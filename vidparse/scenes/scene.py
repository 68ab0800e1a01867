"""A scene: frames with exact labels, each rendered from nothing but the spec and its index."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from vidparse.scenes.crowd import Crowd
from vidparse.scenes.flow import flow_between, flow_is_valid
from vidparse.scenes.lens import BLUR_STEP, Lens, motion_blur
from vidparse.scenes.raster import paint_colours, paint_ranks
from vidparse.scenes.spec import SceneSpec
from vidparse.scenes.street import Street
from vidparse.scenes.view import View, see

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
    """Renders any frame of a scene; frames may be asked for in any order."""

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self._world = _WORLDS[spec.name](spec)
        self._lens = Lens(spec.size_hw, spec.seed)
        self._views: OrderedDict[int, View] = OrderedDict()
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

    def _expose(self, index: int, view: View, ranks: np.ndarray, flow: np.ndarray) -> np.ndarray:
        canvas = paint_colours(view, self._world.bank, ranks)
        return self._lens.expose(motion_blur(canvas, flow), index)

    def _check(self, index: int) -> None:
        if not 0 <= index < self.spec.frames:
            raise IndexError(f"frame {index} of {self.spec}: it has {self.spec.frames} frames")

    def _view(self, index: int) -> View:
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
