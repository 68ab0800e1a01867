"""What a measure is: samples in, additive counts a video out, scores from their sum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np

from vidparse.maps import SegmentMap

# Arrays that add up over videos: the scores of a split are those of the sum of its videos' counts,
# so videos can be shared out among workers, kept on disk, and resampled.
Counts = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame, its prediction and its truth.

    Args:
        index: position in the video.
        truth: None of an unlabelled frame.
        flow: float32 (2, H, W) from the frame before to this one; None where there is none.
        void: class id of pixels without a class.
    """

    video: str
    stem: str
    index: int
    prediction: SegmentMap
    truth: SegmentMap | None
    flow: np.ndarray | None = None
    void: int = 255

    @cached_property
    def predicted_classes(self) -> np.ndarray:
        """Class ids (H, W), `void` where nothing is predicted."""
        return self.prediction.classes(self.void)

    @cached_property
    def true_classes(self) -> np.ndarray | None:
        """Class ids (H, W), `void` where there is no truth; None of an unlabelled frame."""
        return None if self.truth is None else self.truth.classes(self.void)


class Measure(Protocol):
    """A metric as `eval` runs it. Frames of a video come in order; `end_video` follows the last."""

    needs_flow: ClassVar[bool]
    needs_panoptic: ClassVar[bool]
    needs_every_mask: ClassVar[bool]  # consecutive frames must be labelled

    def update(self, sample: Sample) -> None: ...

    def end_video(self) -> Counts:
        """Counts of the video that ended; the next sample starts another."""

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        """Scores (fractions, NaN where undefined) by name, from summed counts.

        Counts may have leading axes (..., *own); scores then have them: (...). This is what
        resampling uses. A field named "confusion" is for show: scores do without it, since it is
        too big to keep for every video.
        """

    def per_class(self, counts: Counts) -> dict[str, np.ndarray]:
        """Scores that exist for each class, (K,) each; empty when there are none."""
