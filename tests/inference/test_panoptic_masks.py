"""Scored masks merged into segments: as transformers does it, and through a session."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import Masks, Runner, Session
from vidparse.inference.masks import merge_masks
from vidparse.labels import load_labels
from vidparse.models.description import PANOPTIC, Description, Preprocess

SIZE_HW = (150, 210)


def discs(*rows: tuple[float, float, float], size_hw: tuple[int, int] = (38, 53)) -> np.ndarray:
    """Mask logits float32 (N, h, w) of discs (x, y, radius), all as fractions of the width.

    The first one lies behind the others.
    """
    height, width = size_hw
    y, x = np.mgrid[:height, :width] / width
    grain = np.random.default_rng(4).normal(0, 0.4, (len(rows), height, width))
    far = [60 * (radius - np.hypot(x - cx, y - cy)) for cx, cy, radius in rows]
    far[0] = np.minimum(far[0], -np.max(far[1:], axis=0))
    return (np.stack(far) + grain).astype(np.float32)


def answer() -> tuple[np.ndarray, np.ndarray]:
    """Class logits (Q, 6), the last one for nothing, and mask logits (Q, h, w) of a picture."""
    rows = [  # class, its logit, disc
        (0, 6, (0.5, 0.0, 0.9)),  # stuff behind everything
        (3, 4, (0.25, 0.3, 0.14)),
        (3, 5, (0.45, 0.3, 0.12)),  # overlaps the one before
        (5, 8, (0.8, 0.5, 0.2)),  # nothing
        (2, 7, (0.7, 0.2, 0.1)),
        (2, 3, (0.7, 0.2, 0.09)),  # inside the one before: loses all of its pixels
        (1, 5, (0.05, 0.6, 0.12)),
        (1, 4, (0.95, 0.6, 0.12)),  # the same stuff elsewhere
        (4, 0.5, (0.5, 0.6, 0.1)),  # not sure enough
        (4, 6, (0.6, 0.55, 0.1)),
    ]
    classes = np.zeros((len(rows), 6), np.float32)
    for row, (kind, logit, _) in zip(classes, rows, strict=True):
        row[kind] = logit
    return classes, discs(*(disc for _, _, disc in rows))


def merged(masks: Masks, size_hw: tuple[int, int], *, things: Collection[int]) -> Any:
    """Ids and segments of a clip of one frame."""
    (frame,) = merge_masks(masks, size_hw, things=things)
    return frame.ids, frame.segments


@pytest.mark.parametrize("name", ("MaskFormerImageProcessorPil", "Mask2FormerImageProcessorPil"))
def test_segments_are_those_of_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch = pytest.importorskip("torch")
    from vidparse.inference.runners.transformers.checkpoint import Architecture
    from vidparse.inference.runners.transformers.networks import found_masks

    classes, masks = (torch.from_numpy(array) for array in answer())
    outputs = SimpleNamespace(class_queries_logits=classes[None], masks_queries_logits=masks[None])
    # Nothing fused here: transformers' ids are not unique after it has fused stuff.
    (expected,) = getattr(transformers, name)().post_process_panoptic_segmentation(
        outputs, label_ids_to_fuse=set(), target_sizes=[SIZE_HW]
    )
    if "2" in name:  # it brings the masks to this size before it reads them
        masks = torch.nn.functional.interpolate(
            masks[None], (384, 384), mode="bilinear", align_corners=False
        )[0]
    answer_of = found_masks(classes, masks, Architecture(name, {}, masks=True), PANOPTIC)
    found = Masks(
        answer_of.logits.sigmoid().numpy(), answer_of.scores.numpy(), answer_of.class_ids.numpy()
    )
    ids, segments = merged(found, SIZE_HW, things=range(6))
    theirs = [(row["id"], row["label_id"], row["score"]) for row in expected["segments_info"]]
    assert [(s.id, s.class_id) for s in segments] == [row[:2] for row in theirs]
    assert [s.score for s in segments] == pytest.approx([row[2] for row in theirs], abs=2e-6)
    assert 5 <= len(segments) < len(found.scores)
    assert (ids == expected["segmentation"].numpy()).mean() >= 0.9999

    fused, kept = merged(found, SIZE_HW, things={2, 3, 4})
    assert [s.class_id for s in kept if not s.is_thing] == [0, 1]
    for segment in kept:
        parts = [s.id for s in segments if s.class_id == segment.class_id]
        assert segment.is_thing or np.array_equal(fused == segment.id, np.isin(ids, parts))
    assert np.array_equal(fused == 0, ids == 0)


def test_segments_say_how_large_they_are_and_where() -> None:
    ids, segments = merged(masks_at(0.2, 0.5), SIZE_HW, things={8})
    assert [segment.id for segment in segments] == [1, 2, 3]
    for segment in segments:
        ys, xs = (ids == segment.id).nonzero()
        assert segment.area == len(ys)
        assert segment.box == (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)


def test_a_mask_that_lost_too_much_leaves_nothing() -> None:
    masks = np.full((2, 10, 10), 0.01, np.float32)
    masks[0] = 0.9
    masks[1, :, :5] = 0.95  # takes half of the first one's pixels
    found = Masks(masks[:, None], np.array([0.9, 0.9]), np.array([0, 1]))
    ids, segments = merged(found, (10, 10), things={0, 1})
    assert [segment.class_id for segment in segments] == [1]
    assert (ids[:, :5] == 1).all() and not ids[:, 5:].any()


def test_nothing_found() -> None:
    empty = Masks(np.zeros((0, 1, 4, 4), np.float32), np.zeros(0), np.zeros(0, np.int64))
    ids, segments = merged(empty, (9, 11), things=())
    assert ids.shape == (9, 11) and not ids.any() and segments == ()


def masks_at(*centres: float) -> Masks:
    """Cars of CamVid at these places, over road."""
    logits = discs((0.5, 0.4, 2.0), *((x, 0.3, 0.11) for x in centres))
    probability = 1 / (1 + np.exp(-logits))
    probability[0] *= 0.8
    count = len(centres)
    return Masks(
        probability[:, None], np.array([0.9] + [0.95] * count), np.array([3] + [8] * count)
    )


class Drive(Runner):
    """A panoptic runner: two cars, one of which drives; what it is given is counted, no more."""

    backend, device, precision, engine = "test", "cpu", "fp32", "test"
    description = Description(
        Path("none"), "", "drive", {}, load_labels("camvid"), Preprocess(32), {}, task="panoptic"
    )

    remembers = True  # how far it has gone

    def __init__(self) -> None:
        self.time = 0

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Masks:
        self.time += 1
        return masks_at(0.2 + 0.05 * self.time, 0.8)

    def reset(self) -> None:
        self.time = 0


def picture(seed: int) -> Rgb:
    coarse = np.random.default_rng(seed).integers(0, 256, (15, 21, 3), np.uint8)
    return Rgb(coarse.repeat(10, axis=0).repeat(10, axis=1))


def test_ids_last_through_a_video_and_end_at_a_cut() -> None:
    session = Session(Drive())
    frames = [Frame(i, i, picture(1 + (i == 6))) for i in range(7)]
    *seen, after = (prediction for _, prediction in session.run(frames))
    for prediction in seen:
        assert [(s.id, s.class_id) for s in prediction.segments or ()] == [(1, 3), (2, 8), (3, 8)]
    moving = [p.segments[1].box[0] for p in seen if p.segments]
    assert moving == sorted(moving) and moving[0] + 40 < moving[-1]
    assert [s.id for s in after.segments or ()] == [1, 4, 5]  # stuff is the same everywhere
    ((_, again),) = session.run([Frame(0, 0, picture(1))])
    assert [s.id for s in again.segments or ()] == [1, 2, 3]


def test_without_cuts_ids_go_on() -> None:
    session = Session(Drive(), cut=None)
    _, (_, after) = session.run([Frame(0, 0, picture(1)), Frame(1, 1, picture(2))])
    assert [s.id for s in after.segments or ()] == [1, 2, 3]


def test_only_the_requested_classes_are_kept() -> None:
    ((_, prediction),) = Session(Drive(), classes=(8,)).run([Frame(0, 0, picture(1))])
    assert [(s.id, s.class_id) for s in prediction.segments or ()] == [(1, 8), (2, 8)]
    assert (prediction.ids > 0).sum() == sum(s.area for s in prediction.segments or ())
