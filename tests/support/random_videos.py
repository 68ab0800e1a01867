"""Small random videos with everything that a measure can need."""

from __future__ import annotations

import numpy as np

from vidparse.evaluation.metrics.measure import Sample
from vidparse.labels import Labels
from vidparse.maps import SegmentMap, segments_of_ids

VOID = 255
LABELS = Labels(
    name="toy",
    classes=("road", "sky", "car", "dog", "cat"),
    colours=((0, 0, 0),) * 5,
    things=frozenset({2, 3, 4}),
)


def ids_of_category(category: int) -> tuple[int, ...]:
    """Segment ids 1 to 8 that have it: one for stuff, two for a thing."""
    return (category + 1,) if category < 2 else (2 * category - 1, 2 * category)


CATEGORY = {segment: c for c in range(5) for segment in ids_of_category(c)}


def panoptic(ids: np.ndarray, category: dict[int, int] = CATEGORY) -> SegmentMap:
    """Segments listed by id; id 0 is void."""
    class_of = {s: category[s] for s in np.unique(ids).tolist() if s}
    return SegmentMap(ids, segments_of_ids(ids, class_of, things=LABELS.things))


def random_ids(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Blocky segment ids, some void."""
    coarse = rng.integers(0, 9, [-(-n // 3) for n in shape[-2:]])
    fine = np.kron(coarse, np.ones((3, 3), np.int64))[: shape[-2], : shape[-1]]
    ids = np.broadcast_to(fine, shape)
    return np.where(rng.random(shape) < 0.2, rng.integers(0, 9, shape), ids)


def sample(index: int, truth: np.ndarray, predicted: np.ndarray, flow: np.ndarray | None) -> Sample:
    """A frame from two maps of segment ids."""
    return Sample("v", str(index), index, panoptic(predicted), panoptic(truth), flow)


def semantic(truth: np.ndarray | None, predicted: np.ndarray, index: int = 0) -> Sample:
    """A frame from two maps of class ids."""
    known = None if truth is None else SegmentMap(truth)
    return Sample("v", str(index), index, SegmentMap(predicted), known)


def random_video(seed: int, *, frames: int = 5, size_hw: tuple[int, int] = (7, 9)) -> list[Sample]:
    """The prediction agrees with the truth in most pixels."""
    rng = np.random.default_rng(seed)
    truth = random_ids(rng, (frames, *size_hw))
    truth[0, 0, :2] = 1, 2  # stuff is listed first, so no thing is number 0 of the published STQ
    wrong = random_ids(rng, truth.shape)
    predicted = np.where(rng.random(truth.shape) < 0.7, truth, wrong)
    flows = rng.normal(0, 1.5, (frames, 2, *size_hw)).astype(np.float32)
    return [sample(t, truth[t], predicted[t], flows[t] if t else None) for t in range(frames)]
