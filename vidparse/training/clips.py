"""Training clips: a target and the frames beside it, and how all of them are seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
from vidparse.data.degrade import degrade
from vidparse.data.pictures import check_fits
from vidparse.errors import UsageError
from vidparse.flow import DisFlow
from vidparse.maps import count_codes, recode
from vidparse.training.neighbours import Neighbours
from vidparse.training.recipe import Recipe
from vidparse.training.training_sets import TrainingSet, TrainingSets


class TrainingClip(NamedTuple):
    """One training clip as it comes out of a worker.

    frames: uint8 (T, h, w, 3). labels: uint8 (T, h, w), IGNORE where nothing is known.
    inside: bool (T, h, w), where the view shows the picture and not its border.
    flow: float32 (2, h, w) from the target to the next frame, for the temporal loss.
    flow_valid: bool (h, w), False where the next frame is known not to show what the target does.
    strong: uint8 (T, h, w, 3), the same views in far other colours, for the mean teacher's student.
    clean: uint8 (T, h, w, 3), the frames before noise and degradation; None where they are these.
    worse: bool (T,), the frames that were degraded.
    objects: uint16 (T, h, w), 0 or the number of a thing, which is one and the same in all frames.
    """

    frames: np.ndarray
    labels: np.ndarray
    inside: np.ndarray
    flow: np.ndarray | None
    strong: np.ndarray | None
    name: str
    objects: np.ndarray | None = None
    clean: np.ndarray | None = None
    worse: np.ndarray | None = None
    flow_valid: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """The clips of a run.

    neighbours: which frames a clip holds. simulated: a camera that moves over the target takes the
    place of its neighbours. with_flow: the motion to the frame after the target is wanted;
    with_strong: the views in far other colours; with_objects: which thing is where; with_clean: the
    frames as they were before noise. degrade: what is done to each frame by itself, one of
    DEGRADATIONS; "none": nothing.
    """

    neighbours: Neighbours
    augmentation: Augmentation
    simulated: bool = False
    with_flow: bool = False
    with_strong: bool = False
    with_objects: bool = False
    with_clean: bool = False
    degrade: str = "none"

    @property
    def length(self) -> int:
        """Frames of a clip."""
        # Count one draw: every draw has as many frames.
        return len(self.neighbours.draw(np.random.default_rng(0)))


def check_objects(plan: ClipPlan, sets: TrainingSets) -> None:
    """Raises: UsageError: the plan needs objects that a data set does not distinguish."""
    for part in sets.parts:
        if plan.with_objects and not part.dataset.is_panoptic:
            raise UsageError(
                f"data set {part.dataset.name}: does not distinguish objects, which this objective "
                "learns; use one with segments, as vipseg, cityscapes-vps or sample://street"
            )


def views_of(recipe: Recipe) -> Augmentation:
    """The views of a run's pictures."""
    views = recipe.views
    return Augmentation(
        views.crop_hw,
        short_side=recipe.network.short_side,
        scale_range=views.scale_range,
        scales=views.scales,
        flip=views.flip,
        rotation=views.rotation,
        brightness=views.colour,
        contrast=views.colour,
        saturation=views.colour,
        blur=views.blur,
        border=views.border,
    )


def plan_of(recipe: Recipe, neighbours: Neighbours) -> ClipPlan:
    """The plan of a run whose clips hold these frames."""
    return ClipPlan(
        neighbours,
        views_of(recipe),
        simulated=recipe.data.neighbours == "simulated",
        degrade=recipe.data.degrade,
    )


def load_clip(
    part: TrainingSet,
    frame: FrameRecord,
    plan: ClipPlan,
    rng: np.random.Generator,
    *,
    labelled: bool,
) -> TrainingClip:
    """One clip around a frame, every frame of it in the same view.

    Frames before the start or after the end of a video are its first or last.

    Args:
        labelled: True if the target's labels may be used.

    Raises:
        InputError: a file cannot be used; it is named.
    """
    # Draw each kind of thing from numbers of its own: whatever clips hold beside their targets,
    # these are seen alike, so that networks that take one frame or several can be compared.
    for_offsets, for_view, for_frames, for_strong = rng.spawn(4)
    offsets = plan.neighbours.draw(for_offsets)
    draws = _FrameDraws(offsets, plan.degrade, for_frames)

    # Move a camera over pictures that are no video: those beside one show something else.
    still = part.video_of(frame).interval_s == math.inf
    if len(offsets) == 1 or plan.simulated or still:
        clip = _from_still(part, frame, plan, offsets, for_view, draws, labelled=labelled)
    else:
        clip = _from_video(part, frame, plan, offsets, for_view, draws, labelled=labelled)
    if not plan.with_strong:
        return clip

    # Draw strong colours once, so that all frames of the clip keep one look.
    wild = Augmentation(plan.augmentation.crop_hw, brightness=0.6, contrast=0.6, saturation=1.0)
    colour = draw_colour(wild, for_strong)
    widest = max(0.1, plan.augmentation.crop_hw[0] / 240)  # of the blur; 2 at a height of 480
    sigma = float(for_strong.uniform(0.1, widest)) if for_strong.random() < 0.5 else 0.0
    strong = np.stack([_strong(one, colour, sigma) for one in clip.frames])

    # Lay the border on again: the colours changed it, and it is no part of the picture.
    if plan.augmentation.border != "reflect":
        strong[~clip.inside] = BORDERS[plan.augmentation.border]
    return clip._replace(strong=strong)


class _FrameDraws:
    """The draws of each frame of a clip, the target's first.

    Args:
        kind: of degradation, or "none".
    """

    def __init__(self, offsets: tuple[int, ...], kind: str, rng: np.random.Generator) -> None:
        self._kind = kind
        nearest = sorted({*offsets}, key=lambda offset: (abs(offset), offset))
        self._clip = rng.integers(0, 1 << 32, 4).tolist()
        own = dict(zip(nearest, rng.spawn(len(nearest)), strict=True))
        self._draws = {offset: (*one.spawn(2),) for offset, one in own.items()}

    def degraded(self, offset: int, rgb: np.ndarray) -> tuple[np.ndarray, bool]:
        """The view of a frame, degraded or not, and which of the two."""
        if self._kind == "none":
            return rgb, False
        key = self._draws[offset][0].integers(0, 1 << 32, 4).tolist()
        return degrade(rgb, self._kind, self._clip, key)

    def noisy(self, offset: int, rgb: np.ndarray) -> np.ndarray:
        """The view of a frame with the noise of a sensor."""
        return sensor_noise(rgb, self._draws[offset][1])


def _from_still(
    part: TrainingSet,
    frame: FrameRecord,
    plan: ClipPlan,
    offsets: tuple[int, ...],
    rng: np.random.Generator,
    draws: _FrameDraws,
    *,
    labelled: bool,
) -> TrainingClip:
    """A made-up camera motion over one frame; its labels and its flow are exact."""
    seen = _load(part, frame, labelled=labelled, with_objects=plan.with_objects)
    numbers = _numbered([seen.objects])[0] if seen.objects is not None else None
    size_hw = (seen.rgb.shape[0], seen.rgb.shape[1])

    view = draw_view(size_hw, plan.augmentation, rng)
    motion = draw_motion(view.size_hw, max(map(abs, offsets)), rng)
    views = [view.moved(motion.after(offset, view.size_hw)) for offset in offsets]
    clean = [one.image(seen.rgb) for one in views]
    at = offsets.index(0)
    flow = views[at].flow_to(views[at + 1]) if plan.with_flow else None

    frames, worse = [], []
    for offset, one, rgb in zip(offsets, views, clean, strict=True):
        shown, is_worse = draws.degraded(offset, rgb)

        # Add noise to each frame by itself: moved copies would match too well for a video. Where
        # a plan has neighbours, its stills have it, too.
        if len(offsets) > 1 or plan.simulated:
            shown = draws.noisy(offset, shown)
        frames.append(shown if shown is rgb else one.bordered(shown, size_hw))
        worse.append(is_worse)

    return TrainingClip(
        np.stack(frames),
        np.stack([one.mask(seen.labels) for one in views]),
        np.stack([one.inside(size_hw) for one in views]),
        flow,
        None,
        str(frame),
        None if numbers is None else np.stack([one.numbers(numbers) for one in views]),
        np.stack(clean) if plan.with_clean else None,
        np.array(worse),
        None if flow is None else np.ones(view.size_hw, bool),  # a still hides nothing
    )


def _from_video(
    part: TrainingSet,
    frame: FrameRecord,
    plan: ClipPlan,
    offsets: tuple[int, ...],
    rng: np.random.Generator,
    draws: _FrameDraws,
    *,
    labelled: bool,
) -> TrainingClip:
    """Real neighbours; those whose labels are hidden or missing have none."""
    frames = part.video_of(frame).frames
    loaded: dict[int, _Seen] = {}  # by offset

    # Load the target first, so that its errors come first.
    for offset in sorted(set(offsets), key=abs):
        other = frames[min(max(frame.index + offset, 0), len(frames) - 1)]

        # Hide labels of neighbours too where the recipe's fraction left them out.
        known = labelled if offset == 0 else part.may_see(other)
        loaded[offset] = _load(part, other, labelled=known, with_objects=plan.with_objects)
    size_hw = (loaded[0].rgb.shape[0], loaded[0].rgb.shape[1])
    view = draw_view(size_hw, plan.augmentation, rng)

    # See each frame once, however often it is in the clip.
    clean = {offset: view.image(one.rgb) for offset, one in loaded.items()}
    shown = {offset: draws.degraded(offset, rgb) for offset, rgb in clean.items()}
    pictures = {
        offset: view.bordered(rgb, loaded[offset].rgb.shape[:2]) if is_worse else rgb
        for offset, (rgb, is_worse) in shown.items()
    }
    labels = {offset: view.mask(one.labels) for offset, one in loaded.items()}
    inside = {offset: view.inside(one.rgb.shape[:2]) for offset, one in loaded.items()}
    clip, targets, within = (
        np.stack([pieces[offset] for offset in offsets]) for pieces in (pictures, labels, inside)
    )
    objects = None
    if plan.with_objects:
        # Number the things of all frames together: one thing has one number in its clip.
        ids = [one.objects for one in loaded.values() if one.objects is not None]
        numbers = dict(zip(loaded, map(view.numbers, _numbered(ids)), strict=True))
        objects = np.stack([numbers[offset] for offset in offsets])

    flow, valid = None, None
    if plan.with_flow:
        after = offsets[offsets.index(0) + 1]
        other = frames[min(max(frame.index + after, 0), len(frames) - 1)]
        flow, valid = _followed(part, frame, other, view, (clean[0], clean[after]))
    is_clean = plan.degrade == "none" or not plan.with_clean
    return TrainingClip(
        clip,
        targets,
        within,
        flow,
        None,
        str(frame),
        objects,
        None if is_clean else np.stack([clean[offset] for offset in offsets]),
        np.array([shown[offset][1] for offset in offsets]),
        valid,
    )


def _followed(
    part: TrainingSet,
    frame: FrameRecord,
    other: FrameRecord,
    view: View,
    seen: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Flow (2, h, w) from one view to the other, and where it holds (h, w).

    seen: both views, uint8 (h, w, 3), without degradation, which would hide the motion.
    """
    read = part.dataset.read_flow
    if read is not None and other.index == frame.index + 1:
        return view.flow(*read(frame))

    # Estimate unknown motion; only the pictures show then which points are hidden.
    return DisFlow("fast").between(*seen), np.ones(view.size_hw, bool)


class _Seen(NamedTuple):
    """A frame as it is stored.

    rgb: uint8 (H, W, 3). labels: uint8 (H, W). objects: unsigned (H, W), None if not wanted.
    """

    rgb: np.ndarray
    labels: np.ndarray
    objects: np.ndarray | None


def _load(part: TrainingSet, frame: FrameRecord, *, labelled: bool, with_objects: bool) -> _Seen:
    rgb = part.dataset.load_image(frame)
    if not labelled:
        nothing = np.zeros(rgb.shape[:2], np.uint16) if with_objects else None
        return _Seen(rgb, np.full(rgb.shape[:2], IGNORE, np.uint8), nothing)
    objects = None
    if with_objects:
        ids, objects = part.load_objects(frame)
    else:
        ids = part.load_labels(frame)
    check_fits(frame, ids.shape, rgb)
    return _Seen(rgb, ids, objects)


def _numbered(objects: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Maps of things (H, W) of one clip with their ids as 1, 2, ... in uint16; 0 stays."""
    listed = np.unique(np.concatenate([count_codes(one)[0] for one in objects]))
    listed = listed[listed > 0]

    # Count anew from 1: ids of data sets may pass what uint16 holds.
    numbers = np.arange(1, len(listed) + 1, dtype=np.uint16)
    return [recode(one, listed, numbers, otherwise=0) for one in objects]


def _strong(rgb: np.ndarray, colour: np.ndarray, sigma: float) -> np.ndarray:
    other = cv2.transform(rgb, colour)
    return cv2.GaussianBlur(other, (0, 0), sigma) if sigma else other
