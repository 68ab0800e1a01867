"""The metrics by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vidparse.errors import UsageError
from vidparse.evaluation.metrics.boundary import BoundaryConsistency, BoundaryIoU
from vidparse.evaluation.metrics.consistency import MAX_CLIP, TemporalConsistency, VideoConsistency
from vidparse.evaluation.metrics.measure import Measure
from vidparse.evaluation.metrics.objects import ObjectQuality
from vidparse.evaluation.metrics.panoptic import VideoPanopticQuality
from vidparse.evaluation.metrics.semantic import Segmentation
from vidparse.evaluation.metrics.tracking import SegmentationTrackingQuality
from vidparse.labels import Labels


@dataclass(frozen=True, slots=True)
class Setting:
    """Facts of the data that metrics need."""

    labels: Labels
    ignore: int  # id of void
    windows: tuple[int, ...]  # of VPQ, in frames

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    @property
    def things(self) -> list[int]:
        return sorted(self.labels.things)

    @property
    def stuff(self) -> list[int]:
        return sorted(set(range(len(self.labels))) - self.labels.things)


Factory = Callable[[Setting], Measure]


def _video_consistency(clip_length: int, mode: str) -> Factory:
    return lambda to: VideoConsistency(clip_length=clip_length, mode=mode, ignore=to.ignore)


def _tracking(mode: str) -> Factory:
    return lambda to: SegmentationTrackingQuality(
        num_classes=to.num_classes, thing_ids=to.things, mode=mode
    )


# Clips of other lengths than 8 and 16 go by the same names: vc4, vc32-strict.
METRICS: dict[str, Factory] = {
    "miou": lambda to: Segmentation(num_classes=to.num_classes, ignore=to.ignore),
    "vc8": _video_consistency(8, "published"),
    "vc16": _video_consistency(16, "published"),
    "vc8-strict": _video_consistency(8, "strict"),
    "vc16-strict": _video_consistency(16, "strict"),
    "tc": lambda to: TemporalConsistency(num_classes=to.num_classes, ignore=to.ignore),
    "boundary": lambda to: BoundaryIoU(num_classes=to.num_classes, ignore=to.ignore),
    "tc-boundary": lambda to: BoundaryConsistency(num_classes=to.num_classes, ignore=to.ignore),
    "jf": lambda to: ObjectQuality(ignore=to.ignore),
    "jf-semi": lambda to: ObjectQuality(ignore=to.ignore, semi=True),
    "vpq": lambda to: VideoPanopticQuality(
        windows=to.windows, thing_ids=to.things, stuff_ids=to.stuff
    ),
    "stq": _tracking("published"),
    "stq-clean": _tracking("clean"),
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
    setting = Setting(labels, labels.void if ignore is None else ignore, tuple(windows))
    return {name: _factory(name)(setting) for name in names}


def _factory(name: str) -> Factory:
    if name in METRICS:
        return METRICS[name]
    clip = re.fullmatch(r"vc([1-9]\d*)(-strict)?", name)
    if clip and 2 <= int(clip[1]) <= MAX_CLIP:
        return _video_consistency(int(clip[1]), "strict" if clip[2] else "published")
    if clip:
        raise UsageError(f"metric '{name}': clips have 2 to {MAX_CLIP} frames; try vc8 or vc16")
    near = difflib.get_close_matches(name.casefold(), METRICS, n=3) or list(METRICS)
    raise UsageError(f"metric '{name}': unknown; try {', '.join(near)}")
