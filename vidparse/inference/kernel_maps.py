"""The answer of a network whose kernels find the masks, as Clip-PanoFCN's do, and its segments.

Miao et al., "Large-scale Video Panoptic Segmentation in the Wild", CVPR 2022, as its code has it,
but for the rule "intended", which is the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np

from vidparse.errors import UsageError
from vidparse.inference.clip_segments import (
    ClipSegments,
    PanopticAnswer,
    keep_wanted,
    with_margins,
)
from vidparse.inference.enlarge import STRIDE, Grid, grid_of
from vidparse.inference.kernels import (
    Embedding,
    Kernels,
    pooled_kernels,
    sigmoid,
    stuff_kernels,
    thing_kernels,
)
from vidparse.inference.merging import (
    LEAST_STUFF_AREA,
    Canvas,
    Mask,
    fill_gaps,
    fill_stuff,
    greatest,
    masks_above,
    painted,
)
from vidparse.labels import Labels
from vidparse.maps import Segment, SegmentMap
from vidparse.matting.margins import margins_of
from vidparse.requests.model import RULES, Merging

LEVELS = range(3, 8)  # P3 .. P7
_PUBLISHED_AREA = 1280 * 720  # of the pictures for which LEAST_STUFF_AREA was chosen
LEAST_PROBABILITY = 0.4  # of a pixel of a thing, which must be above it
MOST_THINGS = 100  # of a clip
LEAST_THING_SCORE = 0.2  # for the merge
_MASKS_AT_ONCE = 32

# The greatest logit whose probability, as it is rounded, is not above LEAST_PROBABILITY.
_near = np.float32(np.log(LEAST_PROBABILITY / (1 - LEAST_PROBABILITY)))
_near = _near + np.arange(-99, 100, dtype=np.float32) * np.spacing(_near)
_LEAST_LOGIT = _near[sigmoid(_near) <= LEAST_PROBABILITY].max()


@dataclass(frozen=True, slots=True)
class KernelMaps(PanopticAnswer):
    """The maps of T frames; see :func:`decode_clip` for shapes.

    centres, regions, kernels: of each level. features: at stride 4 of the padded input.
    thing_embedding, stuff_embedding: weight (D, C), bias (D,). input_hw: before it was padded.
    pooled: of networks that give it in place of the regions; see :func:`pooled_kernels`.
    """

    centres: tuple[np.ndarray, ...]
    regions: tuple[np.ndarray, ...]
    kernels: tuple[np.ndarray, ...]
    features: np.ndarray
    thing_embedding: Embedding
    stuff_embedding: Embedding
    input_hw: tuple[int, int]
    pooled: np.ndarray | None = None

    @classmethod
    def of_outputs(cls, outputs: Mapping[str, np.ndarray], input_hw: tuple[int, int]) -> Self:
        """The maps in the outputs of a network, under the names that exports give them."""
        return cls(
            tuple(outputs[f"centres{level}"] for level in LEVELS),
            () if "pooled" in outputs else tuple(outputs[f"regions{level}"] for level in LEVELS),
            tuple(outputs[f"kernels{level}"] for level in LEVELS),
            outputs["features"],
            (outputs["thing_weight"], outputs["thing_bias"]),
            (outputs["stuff_weight"], outputs["stuff_bias"]),
            input_hw,
            outputs.get("pooled"),
        )

    def first(self, frames: int) -> Self:
        return replace(
            self,
            centres=tuple(one[:frames] for one in self.centres),
            regions=tuple(one[:frames] for one in self.regions),
            kernels=tuple(one[:frames] for one in self.kernels),
            features=self.features[:frames],
            pooled=None if self.pooled is None else self.pooled[:frames],
        )

    def misfit(self, labels: Labels) -> str:
        regions = self.regions[0] if self.pooled is None else self.pooled
        things, stuff = self.centres[0].shape[1], regions.shape[1] - 1
        if (things, things + stuff) == (len(labels.things), len(labels)):
            return ""
        return f"finds {things} classes of things and {stuff} of stuff"

    @property
    def is_finite(self) -> bool:
        arrays = (
            *(*self.centres, *self.regions, *self.kernels, self.features),
            *(*self.thing_embedding, *self.stuff_embedding),
            *(() if self.pooled is None else (self.pooled,)),
        )
        # A sum is several times quicker, and not finite where a value is not.
        return all(np.isfinite(one.sum()) or np.isfinite(one).all() for one in arrays)

    def segments(
        self, size_hw: tuple[int, int], labels: Labels, merging: Merging, *, margins: bool = False
    ) -> ClipSegments:
        regions = (
            stuff_kernels(self.regions, self.kernels, self.stuff_embedding)
            if self.pooled is None
            else pooled_kernels(self.pooled, self.stuff_embedding)
        )
        ids, found = merge_clip(
            thing_kernels(self.centres, self.kernels, self.thing_embedding),
            regions,
            self.features,
            size_hw=size_hw,
            input_hw=self.input_hw,
            rule=merging.rule,
            least_stuff_area=round(LEAST_STUFF_AREA * size_hw[0] * size_hw[1] / _PUBLISHED_AREA),
        )
        things = sorted(labels.things)
        stuff = [number for number in range(len(labels)) if number not in labels.things]
        classes = {
            one.id: things[one.class_id] if one.is_thing else stuff[one.class_id - 1]
            for one in found
        }
        maps = tuple(keep_wanted(_segment_map(frame, found, classes), merging) for frame in ids)
        if margins:
            maps = tuple(
                with_margins(one, self._margins(t, found, regions)) for t, one in enumerate(maps)
            )

        # An object that is too small here, or hidden wholly, is remembered all the same.
        keys = {
            one.id: one.kernel
            for one in found
            if one.kernel is not None
            and merging.wants(classes[one.id], round(one.score, 6), is_thing=True)
        }
        seen = {one.id for frame in maps for one in frame.segments or ()}
        hidden = {number: classes[number] for number in keys if number not in seen}
        return ClipSegments(maps, keys, "kernels", hidden)

    def _margins(
        self, t: int, found: Sequence[KernelSegment], regions: Kernels
    ) -> dict[int, np.ndarray]:
        """Logits (h, w) by number: of things above their bound, of stuff the lead over the rest."""
        features = np.asarray(self.features[t], np.float32)  # (D, h, w)
        vectors = [one.kernel for one in found if one.kernel is not None]
        logits = _logits(
            np.concatenate([regions.vectors, *(one[None] for one in vectors)]), features
        )
        logits = within_input(logits, self.input_hw)
        stuff, things = logits[: len(regions.vectors)], iter(logits[len(regions.vectors) :])
        leads = margins_of(stuff, [(place,) for place in range(len(stuff))])
        lead_of = dict(zip(regions.class_ids.tolist(), leads, strict=True))
        return {
            one.id: lead_of[one.class_id] if one.kernel is None else next(things) - _LEAST_LOGIT
            for one in found
        }


def _logits(vectors: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The logits (N, h, w) of kernels (N, D) over features (D, h, w)."""
    found: np.ndarray = vectors @ features.reshape(len(features), -1)
    return found.reshape(-1, *features.shape[1:])


def within_input(planes: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    """Planes (N, h, w) at stride 4 of a padded input, without the part that is padding.

    Where the input ends between two nodes, values are read between them: the result covers the
    input, and nothing else, evenly.
    """
    height, width = (-(-side // STRIDE) for side in input_hw)
    if (height * STRIDE, width * STRIDE) == tuple(input_hw):
        return planes[:, :height, :width]
    rows, columns = (
        ((np.arange(count) + 0.5) * side / count / STRIDE - 0.5).astype(np.float32)
        for count, side in ((height, input_hw[0]), (width, input_hw[1]))
    )
    x, y = np.meshgrid(columns, rows)
    return np.stack(
        [
            cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for plane in planes
        ]
    )


def _segment_map(
    ids: np.ndarray, found: list[KernelSegment], classes: Mapping[int, int]
) -> SegmentMap:
    """One frame (H, W), with those of the clip's segments that have pixels in it."""
    segments = []
    for one in found:
        mask = cv2.inRange(ids, one.id, one.id)  # uint8 (H, W)
        area = cv2.countNonZero(mask)
        if area:
            x, y, width, height = cv2.boundingRect(mask)
            score = round(one.score, 6)
            segments.append(
                Segment(one.id, classes[one.id], one.is_thing, score, area, (x, y, width, height))
            )
    return SegmentMap(ids.astype(np.uint16), tuple(segments))


@dataclass(frozen=True, slots=True)
class KernelSegment:
    """An object or stuff class of a clip.

    id: above 0. class_id: of a thing 0..Kt - 1, of stuff 1..Ks. kernel: of a thing, (D,), not
    normalised, by which it is known again; None of stuff.
    """

    id: int
    class_id: int
    is_thing: bool
    score: float
    kernel: np.ndarray | None


def decode_clip(
    centres: Sequence[np.ndarray],
    regions: Sequence[np.ndarray],
    kernels: Sequence[np.ndarray],
    features: np.ndarray,
    *,
    thing_embedding: Embedding,
    stuff_embedding: Embedding,
    size_hw: tuple[int, int],
    input_hw: tuple[int, int],
    rule: str = "intended",
) -> tuple[np.ndarray, list[KernelSegment]]:
    """The segments of a clip of T frames.

    Things fill their pixels in falling order of score. By the rule "intended" a thing is left out
    of the frames where better ones took more than half of it, and fills what is free in the others.
    By "official", the published code's, a thing that is not left out of all frames is drawn whole
    over the others in all of them. Stuff fills what no thing took. By "filled", an addition to the
    paper, what is still free after "intended" goes to the thing that is likeliest there, where its
    probability is above LEAST_FILLING.

    Args:
        centres: logits (T, Kt, h, w) of the levels P3, P4, ... of the padded input.
        regions: logits (T, Ks + 1, h, w) likewise; channel 0 is any thing.
        kernels: (T, C, h, w) likewise.
        features: (T, D, H4, W4), at stride 4 of the padded input.
        thing_embedding, stuff_embedding: weight (D, C) and bias (D,).
        size_hw: of the result.
        input_hw: of the input before it was padded below and on the right.
        rule: "intended", "official" or "filled".

    Returns:
        ids int32 (T, H, W), 0 for nothing, and the segments: things in falling order of score, then
        stuff by class. By "official" a thing that others hide wholly is one of them, too.

    Raises:
        UsageError: there is no such rule.
    """
    return merge_clip(
        thing_kernels(centres, kernels, thing_embedding),
        stuff_kernels(regions, kernels, stuff_embedding),
        features,
        size_hw=size_hw,
        input_hw=input_hw,
        rule=rule,
    )


def merge_clip(
    found: Kernels,
    stuff: Kernels,
    features: np.ndarray,
    *,
    size_hw: tuple[int, int],
    input_hw: tuple[int, int],
    rule: str,
    least_stuff_area: int = LEAST_STUFF_AREA,
) -> tuple[np.ndarray, list[KernelSegment]]:
    """The segments of a clip of T frames by the kernels of its things and stuff.

    Args:
        found: of things, (N, D). stuff: of regions, (M, D), by class; class 0 stays empty.
        features, size_hw, input_hw, rule: see :func:`decode_clip`, which has the result and the
            error, too.
        least_stuff_area: free pixels in all frames that a class of stuff needs.
    """
    if rule not in RULES:
        raise UsageError(f"merging '{rule}': unknown; use {', '.join(RULES)}")
    features = np.asarray(features, np.float32)
    size = (features.shape[2], features.shape[3])
    grid = grid_of(size, (input_hw[0], input_hw[1]), (size_hw[0], size_hw[1]))

    # The merge takes no thing of a score below the least, and masks only lower it.
    found = found.rows(np.flatnonzero(found.scores >= LEAST_THING_SCORE))
    scores, masks, values = _scored_masks(grid, features, found, stuff)

    # Draw the things.
    canvas = Canvas(grid, len(features), rule=rule)
    segments: list[KernelSegment] = []
    falling = np.argsort(-scores, kind="stable")[:MOST_THINGS]
    for i in falling[scores[falling] >= LEAST_THING_SCORE].tolist():
        if canvas.draw(Mask.joined([frame[i] for frame in masks])):
            class_id, score = int(found.class_ids[i]), float(scores[i])
            number = len(segments) + 1
            segments.append(KernelSegment(number, class_id, True, score, found.vectors[i]))

    # Fill the rest with stuff.
    table, winners = np.zeros(len(stuff.class_ids), np.int32), []
    if len(table):
        winners = [greatest(grid, one, canvas.free(t)) for t, one in enumerate(values)]
        for i in fill_stuff(canvas, winners, stuff.class_ids, least_area=least_stuff_area):
            table[i] = number = len(segments) + 1
            class_id, score = int(stuff.class_ids[i]), float(stuff.scores[i])
            segments.append(KernelSegment(number, class_id, False, score, None))

    ids = painted(canvas, winners, table)
    if rule == "filled":
        drawn = np.array([one.kernel for one in segments if one.kernel is not None], np.float32)
        for frame, maps in zip(ids, features, strict=True):
            fill_gaps(grid, frame, maps, drawn)
    return ids, segments


def _scored_masks(
    grid: Grid, features: np.ndarray, things: Kernels, stuff: Kernels
) -> tuple[np.ndarray, list[list[Mask]], np.ndarray]:
    """The masks of kernels over a clip's features (T, D, h, w).

    Returns:
        of each of M things the score, float32 (M,): its own times the mean of its mask where it is
        above LEAST_PROBABILITY, in all frames. Its mask in each frame. The probabilities of C
        classes of stuff, float32 (T, C, h, w).
    """
    frames, width, *size = features.shape
    count = len(stuff.vectors)
    vectors = np.concatenate([stuff.vectors, things.vectors])  # features are read once for both
    values = np.empty((frames, count, *size), np.float32)
    masks: list[list[Mask]] = [[] for _ in range(frames)]
    sums, areas = np.zeros(len(things.scores)), np.zeros(len(things.scores), np.int64)
    room = np.empty((min(len(vectors), _MASKS_AT_ONCE), size[0] * size[1]), np.float32)
    for t, frame in enumerate(features):
        for first in range(0, len(vectors), _MASKS_AT_ONCE):
            block = vectors[first : first + _MASKS_AT_ONCE]
            logits = np.matmul(block, frame.reshape(width, -1), out=room[: len(block)])
            logits = logits.reshape(-1, *size)
            begin = max(count - first, 0)
            sigmoid(logits[:begin], out=values[t, first : first + begin])
            logits = logits[begin:]
            if not len(logits):
                continue

            # Compare logits: probabilities are then needed only of the few nodes above the bound.
            high = logits > _LEAST_LOGIT
            masks[t] += masks_above(grid, logits, high, LEAST_PROBABILITY, t)
            rows = slice(first + begin - count, first + begin - count + len(logits))
            where = np.flatnonzero(high)
            ends = np.searchsorted(where, np.arange(len(logits) + 1) * logits[0].size)

            # Sum per mask by differences of one running sum over all of them.
            total = np.zeros(len(where) + 1)
            np.cumsum(sigmoid(logits.reshape(-1)[where]), out=total[1:])
            sums[rows] += np.diff(total[ends])
            areas[rows] += np.diff(ends)
    scores = things.scores * (sums / np.maximum(areas, 1))
    return scores.astype(np.float32), masks, values
