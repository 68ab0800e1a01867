"""The answer of a network whose kernels find the masks, as Clip-PanoFCN's do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np

from vidparse.inference.assembly import KernelSegment, merge_clip
from vidparse.inference.clip_segments import ClipSegments, PanopticAnswer, keep_wanted
from vidparse.inference.kernels import (
    Embedding,
    pooled_kernels,
    stuff_kernels,
    thing_kernels,
)
from vidparse.inference.merging import LEAST_STUFF_AREA
from vidparse.labels import Labels
from vidparse.maps import Segment, SegmentMap
from vidparse.requests.model import Merging

LEVELS = range(3, 8)  # P3 .. P7
_PUBLISHED_AREA = 1280 * 720  # of the pictures for which LEAST_STUFF_AREA was chosen


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

    def segments(self, size_hw: tuple[int, int], labels: Labels, merging: Merging) -> ClipSegments:
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
