"""The field's metrics by name: each streams over frames, and its counts add up over videos.

A new one is a class and a line in METRICS.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from functools import partial

from vidparse.errors import UsageError
from vidparse.evaluation.metrics.boundary import BoundaryConsistency, BoundaryIoU
from vidparse.evaluation.metrics.consistency import MAX_CLIP, TemporalConsistency, VideoConsistency
from vidparse.evaluation.metrics.measure import Counts, DataFacts, Measure, Sample
from vidparse.evaluation.metrics.objects import ObjectQuality
from vidparse.evaluation.metrics.panoptic import VideoPanopticQuality
from vidparse.evaluation.metrics.semantic import Segmentation
from vidparse.evaluation.metrics.tracking import SegmentationTrackingQuality
from vidparse.labels import Labels

Maker = Callable[[DataFacts], Measure]  # a class, or one with settings of its own

# Clips of other lengths than 8 and 16 go by the same names: vc4, vc32-strict.
METRICS: dict[str, Maker] = {
    "miou": Segmentation,
    "vc8": partial(VideoConsistency, clip_length=8),
    "vc16": partial(VideoConsistency, clip_length=16),
    "vc8-strict": partial(VideoConsistency, clip_length=8, mode="strict"),
    "vc16-strict": partial(VideoConsistency, clip_length=16, mode="strict"),
    "tc": TemporalConsistency,
    "boundary": BoundaryIoU,
    "tc-boundary": BoundaryConsistency,
    "jf": ObjectQuality,
    "jf-semi": partial(ObjectQuality, semi=True),
    "vpq": VideoPanopticQuality,
    "stq": SegmentationTrackingQuality,
    "stq-clean": partial(SegmentationTrackingQuality, mode="clean"),
}


def make_measures(
    names: Sequence[str],
    labels: Labels,
    *,
    ignore: int | None = None,
    windows: Sequence[int] = (1, 2, 4, 6),
) -> dict[str, Measure]:
    """A fresh measure for each name.

    Args:
        names: of METRICS, or vcN and vcN-strict for clips of N frames, 2 to 256.
        ignore: id of void; None: that of the labels.
        windows: of VPQ, in frames.

    Raises:
        UsageError: a name is unknown, or a number out of range.
    """
    if not windows or min(windows) < 1:
        raise UsageError(f"VPQ windows {', '.join(map(str, windows))}: must be 1 or more frames")
    void = labels.void if ignore is None else ignore
    data = DataFacts(len(labels), labels.things, ignore=void, windows=tuple(windows))
    return {name: _maker(name)(data) for name in names}


def title(score: str) -> str:
    """`vc8` -> "VC8", `miou` -> "mIoU"; an unknown name stays as it is."""
    return _words(score)[0]


def definition(score: str) -> str:
    """One sentence about a score, without its full stop; empty for an unknown name."""
    return _words(score)[1]


def _maker(name: str) -> Maker:
    if name in METRICS:
        return METRICS[name]
    clip = re.fullmatch(r"vc([1-9]\d*)(-strict)?", name)
    if clip and 2 <= int(clip[1]) <= MAX_CLIP:
        mode = "strict" if clip[2] else "published"
        return partial(VideoConsistency, clip_length=int(clip[1]), mode=mode)
    if clip:
        raise UsageError(f"metric '{name}': clips have 2 to {MAX_CLIP} frames; try vc8 or vc16")
    near = difflib.get_close_matches(name.casefold(), METRICS, n=3) or list(METRICS)
    raise UsageError(f"metric '{name}': unknown; try {', '.join(near)}")


def _words(score: str) -> tuple[str, str]:
    """Title and sentence, of the first measure that has such a score."""
    for maker in METRICS.values():
        kind = maker.func if isinstance(maker, partial) else maker
        assert isinstance(kind, type) and issubclass(kind, Measure)
        words = kind.words(score)
        if words is not None:
            return words
    return score, ""


__all__ = [
    "METRICS",
    "Counts",
    "DataFacts",
    "Measure",
    "Sample",
    "definition",
    "make_measures",
    "title",
]
