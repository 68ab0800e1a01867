"""Training clips: which frames stand beside a target, and how all of them are seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from vidparse.data import IGNORE, FrameRecord
from vidparse.data.augment import (
    BORDERS,
    Augmentation,
    View,
    draw_colour,
    draw_motion,
    draw_view,
    sensor_noise,
)
from vidparse.data.pictures import size_mismatch
from vidparse.errors import InputError
from vidparse.flow import DisFlow
from vidparse.models.network import VideoNetwork
from vidparse.training.recipe import Recipe
from vidparse.training.sources import Source


class Sample(NamedTuple):
    """One training clip as it comes out of a worker.

    frames: uint8 (T, h, w, 3). labels: uint8 (T, h, w), IGNORE where nothing is known.
    inside: bool (T, h, w), where the view shows the picture and not its border.
    flow: float32 (2, h, w) from the target to the next frame, for the temporal loss.
    strong: uint8 (T, h, w, 3), the same views in far other colours, for the mean teacher's student.
    """

    frames: np.ndarray
    labels: np.ndarray
    inside: np.ndarray
    flow: np.ndarray | None
    strong: np.ndarray | None
    name: str


class Neighbours(Protocol):
    """The frames of a clip; a plain record, for processes that hold neither network nor losses."""

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Frames relative to the target (0), in the order of the clip; always as many."""
        ...


@dataclass(frozen=True, slots=True)
class Companions:
    """The frames that a network takes beside a target, some of the time backwards in time."""

    network: type[VideoNetwork]
    config: Any  # that it was built from
    reverse: float = 0.0  # how often

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Frames relative to the target, which comes last."""
        offsets = self.network.companions(self.config, rng)
        if len(offsets) == 1:
            return offsets
        sign = -1 if rng.random() < self.reverse else 1
        return tuple(sign * offset for offset in offsets)


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """The clips of a run.

    neighbours: which frames a clip holds. simulated: a camera that moves over the target takes the
    place of its neighbours. with_flow: the motion to the frame after the target is wanted;
    with_strong: the views in far other colours.
    """

    neighbours: Neighbours
    augmentation: Augmentation
    simulated: bool = False
    with_flow: bool = False
    with_strong: bool = False

    @property
    def length(self) -> int:
        """Frames of a clip."""
        return len(self.neighbours.draw(np.random.default_rng(0)))


def views_of(recipe: Recipe) -> Augmentation:
    """How the pictures of a run are seen."""
    return Augmentation(
        recipe.crop_hw,
        short_side=recipe.short_side,
        scale_range=recipe.scale_range,
        scales=recipe.scales,
        flip=recipe.flip,
        rotation=recipe.rotation,
        brightness=recipe.colour,
        contrast=recipe.colour,
        saturation=recipe.colour,
        blur=recipe.blur,
        border=recipe.border,
    )


def load_clip(
    source: Source,
    frame: FrameRecord,
    plan: ClipPlan,
    rng: np.random.Generator,
    *,
    labelled: bool,
) -> Sample:
    """One clip around a frame, every frame of it in the same view.

    Frames before the start or after the end of a video are its first or last.

    Args:
        labelled: whether the target's labels may be looked at.

    Raises:
        InputError: a file cannot be used; it is named.
    """
    offsets = plan.neighbours.draw(rng)
    if len(offsets) == 1 or plan.simulated:
        clip = _from_still(source, frame, plan, offsets, rng, labelled=labelled)
    else:
        clip = _from_video(source, frame, plan, offsets, rng, labelled=labelled)
    if not plan.with_strong:
        return clip
    wild = Augmentation(plan.augmentation.crop_hw, brightness=0.6, contrast=0.6, saturation=1.0)
    colour = draw_colour(wild, rng)
    widest = max(0.1, plan.augmentation.crop_hw[0] / 240)  # of the blur; 2 at a height of 480
    sigma = float(rng.uniform(0.1, widest)) if rng.random() < 0.5 else 0.0
    strong = np.stack([_strong(one, colour, sigma) for one in clip.frames])
    if plan.augmentation.border != "reflect":
        strong[~clip.inside] = BORDERS[plan.augmentation.border]
    return clip._replace(strong=strong)


def _from_still(
    source: Source,
    frame: FrameRecord,
    plan: ClipPlan,
    offsets: tuple[int, ...],
    rng: np.random.Generator,
    *,
    labelled: bool,
) -> Sample:
    """A made-up camera motion over one frame; its labels and its flow are exact."""
    rgb, ids = _load(source, frame, labelled=labelled)
    view = draw_view(rgb.shape[:2], plan.augmentation, rng)
    if len(offsets) == 1:
        within = view.inside(rgb.shape[:2])[None]
        return Sample(view.image(rgb)[None], view.mask(ids)[None], within, None, None, str(frame))
    motion = draw_motion(view.size_hw, max(map(abs, offsets)), rng)
    views = [view.moved(motion.after(offset, view.size_hw)) for offset in offsets]
    frames = [one.bordered(sensor_noise(one.image(rgb), rng), rgb.shape[:2]) for one in views]
    inside = np.stack([one.inside(rgb.shape[:2]) for one in views])
    at = offsets.index(0)
    flow = views[at].flow_to(views[at + 1]) if plan.with_flow else None
    labels = np.stack([one.mask(ids) for one in views])
    return Sample(np.stack(frames), labels, inside, flow, None, str(frame))


def _from_video(
    source: Source,
    frame: FrameRecord,
    plan: ClipPlan,
    offsets: tuple[int, ...],
    rng: np.random.Generator,
    *,
    labelled: bool,
) -> Sample:
    """Real neighbours; those whose labels are hidden or missing have none."""
    frames = source.video_of(frame).frames
    pictures: dict[int, np.ndarray] = {}  # by offset
    labels: dict[int, np.ndarray] = {}
    inside: dict[int, np.ndarray] = {}
    view: View | None = None
    for offset in sorted(set(offsets), key=abs):  # the target first: it decides the view
        other = frames[min(max(frame.index + offset, 0), len(frames) - 1)]
        seen = labelled if offset == 0 else source.may_see(other)
        rgb, ids = _load(source, other, labelled=seen)
        view = view or draw_view(rgb.shape[:2], plan.augmentation, rng)
        pictures[offset], labels[offset] = view.image(rgb), view.mask(ids)
        inside[offset] = view.inside(rgb.shape[:2])
    clip, targets, within = (
        np.stack([pieces[offset] for offset in offsets]) for pieces in (pictures, labels, inside)
    )
    flow = None
    if plan.with_flow:
        at = offsets.index(0)
        flow = DisFlow("fast").between(clip[at], clip[at + 1])
    return Sample(clip, targets, within, flow, None, str(frame))


def _load(source: Source, frame: FrameRecord, *, labelled: bool) -> tuple[np.ndarray, np.ndarray]:
    rgb = source.dataset.load_image(frame)
    if not labelled:
        return rgb, np.full(rgb.shape[:2], IGNORE, np.uint8)
    ids = source.load_labels(frame)
    if rgb.shape[:2] != ids.shape:
        what = size_mismatch(
            frame.image, (ids.shape[0], ids.shape[1]), (rgb.shape[0], rgb.shape[1])
        )
        raise InputError(f"{frame.mask or frame}: {what}; mend the mask")
    return rgb, ids


def _strong(rgb: np.ndarray, colour: np.ndarray, sigma: float) -> np.ndarray:
    other = cv2.transform(rgb, colour)
    return cv2.GaussianBlur(other, (0, 0), sigma) if sigma else other
