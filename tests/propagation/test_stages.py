"""Masks between keys on pictures whose masks are known, through cuts, borders and far keys."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from vidparse.data.dataset import open_dataset
from vidparse.errors import InputError
from vidparse.flow import DisFlow
from vidparse.frame import Frame
from vidparse.labels import Labels
from vidparse.maps import SegmentMap, segments_of_ids
from vidparse.propagation.keys import Keys
from vidparse.propagation.prediction import AFTER, BEFORE, BOTH, KEY, NONE, Propagated
from vidparse.propagation.reverse import ReverseTest
from vidparse.propagation.shelf import Shelf
from vidparse.propagation.stages import Propagation

SIZE_HW = (144, 192)
LABELS = Labels("made", ("wall", "ball"), ((0, 0, 0), (200, 0, 0)), frozenset([1]))


def texture(seed: int, size_hw: tuple[int, int]) -> np.ndarray:
    """Blobs of random colours, uint8 (H, W, 3), which flow can follow."""
    import cv2

    random = np.random.default_rng(seed)
    small = random.integers(0, 255, (size_hw[0] // 12, size_hw[1] // 12, 3), np.uint8)
    return cv2.resize(small, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def ball(index: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A textured square that moves 4 pixels a frame over a wall: RGB and its mask, uint8."""
    picture, mask = texture(seed, SIZE_HW).copy(), np.zeros(SIZE_HW, np.uint8)
    x, y = 16 + 4 * index, 40 + index
    picture[y : y + 48, x : x + 48] = texture(seed + 100, (48, 48))
    mask[y : y + 48, x : x + 48] = 1
    return picture, mask


def keys_of(masks: Mapping[int, np.ndarray]) -> Keys:
    files = {number: f"{number:06d}.png" for number in masks}
    return Keys(LABELS, files, lambda number: SegmentMap(masks[number]), False)


def propagated(
    pictures: Iterable[np.ndarray],
    keys: Keys,
    *,
    cut: float | None = 0.08,
    most_bytes: int = 1 << 28,
) -> list[Propagated]:
    frames = [Frame.from_rgb(picture, index=i) for i, picture in enumerate(pictures)]
    shelf = Shelf("made", most_bytes)
    stages = Propagation(keys, DisFlow(), cut=cut, shelf=shelf, name="made")
    found = list(stages.finished(stages.answered(stages.prepared(frames))))
    shelf.close()

    # Every frame comes out once, in order, with its own picture.
    assert [frame.index for frame, _ in found] == list(range(len(frames)))
    for (frame, _), given in zip(found, frames, strict=True):
        assert (frame.image.rgb() == given.image.rgb()).all()
    return [prediction for _, prediction in found]


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def test_masks_follow_an_object_between_keys() -> None:
    frames = [ball(i) for i in range(9)]
    found = propagated([p for p, _ in frames], keys_of({0: frames[0][1], 8: frames[8][1]}))
    assert [one.origin for one in found] == [KEY, *[BOTH] * 7, KEY]
    for prediction, (_, mask) in zip(found, frames, strict=True):
        assert iou(prediction.ids == 1, mask == 1) > 0.8
    assert iou(frames[4][1] == 1, frames[0][1] == 1) < 0.5  # what a copy would give
    assert (found[0].confidence == 255).all() and found[0].disagreement is None


def test_frames_beyond_the_keys_come_from_one_side() -> None:
    frames = [ball(i) for i in range(9)]
    found = propagated([p for p, _ in frames], keys_of({4: frames[4][1]}))
    assert [one.origin for one in found] == [*[AFTER] * 4, KEY, *[BEFORE] * 4]
    for prediction, (_, mask) in zip(found, frames, strict=True):
        assert iou(prediction.ids == 1, mask == 1) > 0.7
        assert prediction.disagreement is None


def test_nothing_is_carried_over_a_cut() -> None:
    """Three shots, of which the one in the middle has no key."""
    seeds = [0] * 4 + [7] * 3 + [9] * 4
    frames = [ball(i, seed) for i, seed in enumerate(seeds)]
    keys = {0: frames[0][1], 10: frames[10][1]}
    found = propagated([p for p, _ in frames], keys_of(keys))
    assert [one.origin for one in found] == [KEY, *[BEFORE] * 3, *[NONE] * 3, *[AFTER] * 3, KEY]
    for one in found[4:7]:
        assert (one.ids == LABELS.void).all() and (one.confidence == 0).all()
    for i in (3, 7):
        assert iou(found[i].ids == 1, frames[i][1] == 1) > 0.75

    # Without cuts the keys reach over them.
    uncut = propagated([p for p, _ in frames], keys_of(keys), cut=None)
    assert [one.origin for one in uncut] == [KEY, *[BOTH] * 9, KEY]


def test_pictures_that_wait_are_in_memory_no_more() -> None:
    keys = keys_of({0: np.zeros(SIZE_HW, np.uint8), 4: np.zeros(SIZE_HW, np.uint8)})
    alive, most = set[int](), 0

    def frames() -> Iterator[Frame]:
        nonlocal most
        for i in range(5):
            picture = ball(i)[0].copy()
            alive.add(i)
            weakref.finalize(picture, alive.discard, i)
            most = max(most, len(alive))
            yield Frame.from_rgb(picture, index=i)

    shelf = Shelf("made", 0)
    stages = Propagation(keys, DisFlow(), cut=None, shelf=shelf, name="made")
    for _ in stages.finished(stages.answered(stages.prepared(frames()))):
        pass
    assert most <= 3  # this one, the one before, and the one that is made


def test_the_shelf_changes_nothing() -> None:
    frames = [ball(i) for i in range(7)]
    keys = keys_of({0: frames[0][1], 6: frames[6][1]})
    inside, outside = (
        propagated([p for p, _ in frames], keys, most_bytes=most) for most in (1 << 28, 0)
    )
    for one, other in zip(inside, outside, strict=True):
        assert (one.ids == other.ids).all() and (one.confidence == other.confidence).all()


def test_ids_are_kept_and_void_stays_void() -> None:
    """Ids beyond 16 bits; an object that only one key has; void pixels of the keys."""
    frames = [ball(i) for i in range(7)]
    class_of = {1: 0, 70_000: 1, 5: 1}

    def panoptic(mask: np.ndarray, *, extra: bool) -> SegmentMap:
        ids = np.where(mask == 1, 70_000, 1).astype(np.uint32)
        ids[:8] = 0
        if extra:
            ids[100:130, 140:180] = 5
        present = {k: v for k, v in class_of.items() if k != 5 or extra}
        return SegmentMap(ids, segments_of_ids(ids, present, things=LABELS.things))

    maps = {0: panoptic(frames[0][1], extra=True), 6: panoptic(frames[6][1], extra=False)}
    keys = Keys(LABELS, {0: "0.png", 6: "6.png"}, maps.__getitem__, True)
    found = propagated([p for p, _ in frames], keys)
    for prediction, (_, mask) in zip(found, frames, strict=True):
        assert iou(prediction.ids == 70_000, mask == 1) > 0.8
        assert (prediction.ids[:7] == 0).mean() > 0.99
        listed = {one.id: one for one in prediction.segments or ()}
        assert set(listed) == set(np.unique(prediction.ids)) - {0}
        assert listed[70_000].class_id == 1 and listed[70_000].is_thing
        assert listed[70_000].area == (prediction.ids == 70_000).sum()

    # The nearer key decides where it ends.
    has = [5 in {one.id for one in prediction.segments or ()} for prediction in found]
    assert has[:3] == [True] * 3 and has[4:] == [False] * 3


def test_keys_beyond_the_video_and_of_other_sizes_are_refused() -> None:
    frames = [ball(i) for i in range(3)]
    pictures = [p for p, _ in frames]
    with pytest.raises(InputError, match=r"^000003.png: made has no frame 3, its last is 2; "):
        propagated(pictures, keys_of({0: frames[0][1], 3: frames[0][1]}))
    with pytest.raises(InputError, match=r"^000001.png: is 64x48, its frame 192x144; "):
        propagated(pictures, keys_of({1: frames[0][1][:48, :64]}))


def test_a_rendered_street_is_better_than_its_nearest_key() -> None:
    dataset = open_dataset("sample://street?frames=7&size=256x144&videos=1", None, "train")
    (video,) = dataset.videos
    truths = [dataset.load_mask(frame) for frame in video.frames]
    keys = Keys(
        dataset.labels,
        {0: "first", 6: "last"},
        lambda number: SegmentMap(truths[number]),
        False,
    )
    found = propagated([dataset.load_image(frame) for frame in video.frames], keys)
    right = [(found[i].ids == truths[i]).mean() for i in range(1, 6)]
    copied = [(truths[0 if i < 3 else 6] == truths[i]).mean() for i in range(1, 6)]
    assert np.mean(right) > 0.96
    assert 1 - np.mean(right) < 0.5 * (1 - np.mean(copied))


def test_the_reverse_test_predicts_keys_from_frames_between(tmp_path: Path) -> None:
    frames = [ball(i) for i in range(9)]
    pictures = [Frame.from_rgb(p, index=i) for i, (p, _) in enumerate(frames)]
    keys = keys_of({i: frames[i][1] for i in (0, 4, 8)})
    shelf = Shelf("made", 0)
    test = ReverseTest(keys, shelf)
    for frame, prediction in zip(pictures, propagated([p for p, _ in frames], keys), strict=True):
        test.see(frame, prediction)
    score = test.score(pictures, DisFlow(), cut=None, name="made")
    shelf.close()
    assert score is not None and score.keys == 3
    assert 0.8 < score.miou <= 1 and set(score.class_iou) == {"wall", "ball"}
    assert score.miou == pytest.approx(np.mean(list(score.class_iou.values())))
