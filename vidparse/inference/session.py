"""One session a video: frames in, predictions out, in order.

The three steps are separate so that the pipeline can run them in threads of their own; `step` is
the three in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vidparse.frame import Frame
from vidparse.inference.cuts import DEFAULT_THRESHOLD, CutDetector
from vidparse.inference.linking import SegmentLinker
from vidparse.inference.panoptic import ScoredMasks, merge_masks
from vidparse.inference.preprocess import input_size, to_clip
from vidparse.inference.runners import DeviceArgmax, Runner
from vidparse.inference.stabilize import Stabilizer
from vidparse.inference.upsample import upsample_argmax
from vidparse.labels import Labels
from vidparse.maps import Prediction, SegmentMap

MICRO_BATCH = 4  # frames of a video that a GPU takes at once


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame with its network input, float32 (1, 3, h, w)."""

    frame: Frame
    clip: np.ndarray
    begins_shot: bool = False  # the network must forget what came before
    green: np.ndarray | None = None  # float32 (h, w), 0..1: what cuts and motion are seen in


@dataclass(frozen=True, slots=True)
class Scored:
    """A frame with what the network says of it at feature resolution.

    scores: float32 (K, h, w) of a semantic network, masks of a panoptic one, or class ids.
    """

    frame: Frame
    scores: np.ndarray | ScoredMasks
    begins_shot: bool = False
    green: np.ndarray | None = None  # as in Prepared, where scores are to be stabilized
    is_final: bool = False  # scores are class ids (H, W) already: the device did the rest


class Session:
    """Semantic or panoptic segmentation of one video.

    Args:
        runner: the network on its device.
        size: short side or exact (h, w) of the network's input; None: what it was trained at.
        classes: only these ids are kept, the rest becomes void; None keeps all.
        sample_aspect_ratio: of the video, so that the network sees undistorted pictures.
        cut: threshold of the :class:`CutDetector` that makes a network with a memory forget at hard
            cuts, and ids of things end there; None: nothing is forgotten within a video.
        stabilize: blend the scores of semantic networks with those of the frames before, along the
            motion (see :class:`Stabilizer`).
    """

    def __init__(
        self,
        runner: Runner,
        *,
        size: int | tuple[int, int] | None = None,
        classes: tuple[int, ...] | None = None,
        sample_aspect_ratio: Fraction = Fraction(1),
        cut: float | None = DEFAULT_THRESHOLD,
        stabilize: bool = False,
    ) -> None:
        self._runner = runner
        self._stabilizer = Stabilizer() if stabilize else None
        on_device = isinstance(runner, DeviceArgmax) and runner.argmax_on_device
        self._on_device = on_device and not stabilize  # blending needs the scores here
        self._linker = SegmentLinker()  # for panoptic networks
        remembers = runner.remembers or stabilize or runner.description.task == "panoptic"
        self._cuts = CutDetector(cut) if cut is not None and remembers else None
        self._size = size
        self._sample_aspect_ratio = sample_aspect_ratio
        self.labels: Labels = runner.description.labels
        self._classes = classes
        self._keep = _keep_table(self.labels, classes)

    def input_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Size (h, w) of the network's input for frames of `size_hw`."""
        return input_size(
            size_hw,
            self._runner.description.preprocess,
            wanted=self._size,
            sample_aspect_ratio=self._sample_aspect_ratio,
        )

    def prepare(self, frame: Frame) -> Prepared:
        size_hw = self.input_size(frame.image.size_hw)
        preprocess = self._runner.description.preprocess
        clip = to_clip(frame.image, size_hw, preprocess)
        if self._cuts is None and self._stabilizer is None:
            return Prepared(frame, clip)
        green = clip[0, 1] * preprocess.std[1] + preprocess.mean[1]
        begins_shot = self._cuts is not None and self._cuts.is_cut(green)
        return Prepared(frame, clip, begins_shot, green)

    @property
    def batch(self) -> int:
        """Frames that `infer_many` is best given at once; more than 1 on a GPU without memory."""
        return MICRO_BATCH if self._on_device and not self._runner.remembers else 1

    def infer_many(self, group: Sequence[Prepared]) -> list[Scored]:
        """As `infer` on each in turn; frames of one size in one pass where `batch` is above 1."""
        if len(group) == 1 or self.batch == 1:
            return [self.infer(prepared) for prepared in group]
        assert isinstance(self._runner, DeviceArgmax)  # or the batch would be 1
        clips = np.concatenate([prepared.clip for prepared in group])  # (N, 3, h, w)
        maps = self._runner.classes(clips, group[0].frame.image.size_hw)  # (N, H, W)
        return [
            Scored(prepared.frame, ids, prepared.begins_shot, is_final=True)
            for prepared, ids in zip(group, maps, strict=True)
        ]

    def infer(self, prepared: Prepared) -> Scored:
        if prepared.begins_shot:
            self._runner.reset()
        if self._on_device:
            assert isinstance(self._runner, DeviceArgmax)
            ids = self._runner.classes(prepared.clip, prepared.frame.image.size_hw)[0]
            return Scored(prepared.frame, ids, prepared.begins_shot, is_final=True)
        scores = self._runner.run(prepared.clip)
        return Scored(prepared.frame, scores, prepared.begins_shot, prepared.green)

    def finish(self, scored: Scored) -> Prediction:
        if isinstance(scored.scores, ScoredMasks):
            return self._linked(scored.frame, scored.scores, scored.begins_shot)
        ids = scored.scores
        if self._stabilizer is not None:
            assert scored.green is not None  # made where there is a stabilizer
            if scored.begins_shot:
                self._stabilizer.reset()
            ids = self._stabilizer.step(ids, scored.green)
        if not scored.is_final:
            ids = upsample_argmax(ids, scored.frame.image.size_hw, dtype=self.labels.dtype.type)
        if self._keep is not None:
            ids = self._keep[ids]
        return Prediction(scored.frame.index, SegmentMap(ids), self.labels)

    def _linked(self, frame: Frame, masks: ScoredMasks, begins_shot: bool) -> Prediction:
        """A panoptic prediction whose ids last through the video."""
        if begins_shot:
            self._linker.cut()
        ids, segments = merge_masks(masks, frame.image.size_hw, things=self.labels.things)
        if self._classes is not None:
            segments = tuple(one for one in segments if one.class_id in self._classes)
        linked = self._linker.link(ids, segments)
        return Prediction(frame.index, SegmentMap(*linked), self.labels)

    def step(self, frame: Frame) -> list[Prediction]:
        """Predictions that became ready: for per-frame networks always the one of `frame`."""
        return [self.finish(self.infer(self.prepare(frame)))]

    def flush(self) -> list[Prediction]:
        """What a clip network still owes at the end; nothing here."""
        return []

    def reset(self) -> None:
        """A new video: forget the past."""
        self._runner.reset()
        self._linker = SegmentLinker()
        if self._stabilizer is not None:
            self._stabilizer.reset()
        if self._cuts is not None:
            self._cuts.reset()


def _keep_table(labels: Labels, classes: tuple[int, ...] | None) -> np.ndarray | None:
    """id -> itself or void, for every id the labels' type can hold."""
    if classes is None:
        return None
    table = np.full(labels.void + 1, labels.void, labels.dtype)
    table[list(classes)] = classes
    return table
