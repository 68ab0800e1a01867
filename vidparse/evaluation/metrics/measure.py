"""What a measure is: samples in, additive counts a video out, scores from their sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from vidparse.panoptic import PanopticMap

# Arrays that add up over videos: the scores of a split are those of the sum of its videos' counts,
# so videos can be shared out among workers, kept on disk, and resampled.
Counts = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame, what is true of it and what was said of it."""

    video: str
    stem: str
    index: int  # position in the video
    said: np.ndarray  # class ids (H, W), `ignore` where nothing is said
    truth: np.ndarray | None  # training ids (H, W), `ignore` where void; None: unlabelled frame
    flow: np.ndarray | None = None  # float32 (2, H, W) from the frame before to this one
    said_panoptic: PanopticMap | None = None
    truth_panoptic: PanopticMap | None = None


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
