"""One session a video: frames in, predictions out, in order.

The three steps are separate so that the pipeline can run them in threads of their own; `step` is
the three in a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vidparse.frame import Frame, Prediction
from vidparse.inference.cuts import DEFAULT_THRESHOLD, CutDetector
from vidparse.inference.preprocess import network_size, to_clip
from vidparse.inference.runners import Runner
from vidparse.inference.upsample import upsample_argmax
from vidparse.labels import Labels


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame with its network input, float32 (1, 3, h, w)."""

    frame: Frame
    clip: np.ndarray
    begins_shot: bool = False  # the network must forget what came before


@dataclass(frozen=True, slots=True)
class Scored:
    """A frame with the network's scores at feature resolution, float32 (K, h, w)."""

    frame: Frame
    scores: np.ndarray


class Session:
    """Semantic segmentation of one video.

    Args:
        runner: the network on its device.
        size: short side or exact (h, w) of the network's input; None: what it was trained at.
        classes: only these ids are kept, the rest becomes void; None keeps all.
        sample_aspect_ratio: of the video, so that the network sees undistorted pictures.
        cut: threshold of the :class:`CutDetector` that makes a network with a memory forget at hard
            cuts; None: it never forgets within a video.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        size: int | tuple[int, int] | None = None,
        classes: tuple[int, ...] | None = None,
        sample_aspect_ratio: Fraction = Fraction(1),
        cut: float | None = DEFAULT_THRESHOLD,
    ) -> None:
        self._runner = runner
        self._cuts = CutDetector(cut) if cut is not None and runner.remembers else None
        self._size = size or runner.description.preprocess.short_side
        self._sample_aspect_ratio = sample_aspect_ratio
        self.labels: Labels = runner.description.labels
        self._keep = _keep_table(self.labels, classes)

    def input_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Size (h, w) of the network's input for frames of `size_hw`."""
        if isinstance(self._size, tuple):
            return self._size
        return network_size(size_hw, self._size, self._sample_aspect_ratio)

    def prepare(self, frame: Frame) -> Prepared:
        size_hw = self.input_size(frame.image.size_hw)
        preprocess = self._runner.description.preprocess
        clip = to_clip(frame.image, size_hw, preprocess)
        if self._cuts is None:
            return Prepared(frame, clip)
        green = clip[0, 1] * preprocess.std[1] + preprocess.mean[1]
        return Prepared(frame, clip, self._cuts.is_cut(green))

    def infer(self, prepared: Prepared) -> Scored:
        if prepared.begins_shot:
            self._runner.reset()
        return Scored(prepared.frame, self._runner.run(prepared.clip))

    def finish(self, scored: Scored) -> Prediction:
        ids = upsample_argmax(
            scored.scores, scored.frame.image.size_hw, dtype=self.labels.dtype.type
        )
        if self._keep is not None:
            ids = self._keep[ids]
        return Prediction(scored.frame.index, ids)

    def step(self, frame: Frame) -> list[Prediction]:
        """Predictions that became ready: for per-frame networks always the one of `frame`."""
        return [self.finish(self.infer(self.prepare(frame)))]

    def flush(self) -> list[Prediction]:
        """What a clip network still owes at the end; nothing here."""
        return []

    def reset(self) -> None:
        """A new video: forget the past."""
        self._runner.reset()
        if self._cuts is not None:
            self._cuts.reset()


def _keep_table(labels: Labels, classes: tuple[int, ...] | None) -> np.ndarray | None:
    """id -> itself or void, for every id the labels' type can hold."""
    if classes is None:
        return None
    table = np.full(labels.void + 1, labels.void, labels.dtype)
    table[list(classes)] = classes
    return table
