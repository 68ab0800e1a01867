"""Scores blended along the flow: steadier, no less right, and nothing kept that is gone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from vidparse.evaluation.metrics import make_measures
from vidparse.evaluation.metrics.measure import Sample
from vidparse.inference.stabilize import Stabilizer
from vidparse.inference.upsample import upsample_argmax
from vidparse.labels import load_labels
from vidparse.maps import SegmentMap
from vidparse.scenes import LABELS, Scene, parse_scene

SIZE_HW = (180, 320)


def noisy(classes: int, size_hw: tuple[int, int], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((classes, *size_hw)).astype(np.float32)


def texture(size_hw: tuple[int, int], seed: int = 0) -> np.ndarray:
    """float32 (H, W), 0..1: blotches that flow can hold on to."""
    rng = np.random.default_rng(seed)
    small = rng.random((max(2, size_hw[0] // 6), max(2, size_hw[1] // 6)), np.float32)
    return cv2.resize(small, size_hw[::-1], interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True, slots=True)
class Street:
    """A rendered drive: pictures, truth, exact flow, and logits as a shaky network gives them."""

    pictures: list[np.ndarray]
    truths: list[np.ndarray]
    flows: list[np.ndarray]  # each from its frame to the next
    scores: list[np.ndarray]


@pytest.fixture(scope="module")
def street() -> Street:
    scene = Scene(parse_scene(f"sample://street?frames=12&size={SIZE_HW[1]}x{SIZE_HW[0]}&seed=3"))
    frames = [scene.render(index) for index in range(len(scene))]
    num_classes = len(load_labels(LABELS))
    size_hw = (SIZE_HW[0] // 4, SIZE_HW[1] // 4)
    scores = []
    for frame in frames:
        one_hot = (frame.classes == np.arange(num_classes)[:, None, None]).astype(np.float32)
        small = [
            cv2.resize(plane, size_hw[::-1], interpolation=cv2.INTER_AREA) for plane in one_hot
        ]
        doubt = noisy(num_classes, (size_hw[0] // 3, size_hw[1] // 3), frame.index)
        rough = [cv2.resize(plane, size_hw[::-1]) for plane in doubt]
        scores.append(6 * np.stack(small) + 2.5 * np.stack(rough))
    return Street(
        pictures=[frame.rgb[..., 1].astype(np.float32) / 255 for frame in frames],
        truths=[frame.classes for frame in frames],
        flows=[frame.flow for frame in frames],
        scores=scores,
    )


def quality(street: Street, scores: list[np.ndarray]) -> dict[str, float]:
    """Scores of full-size ids, along the exact flow."""
    measures = make_measures(["miou", "vc8", "tc", "tc-boundary"], load_labels(LABELS))
    for t, (truth, values) in enumerate(zip(street.truths, scores, strict=True)):
        ids = upsample_argmax(values, SIZE_HW)
        flow = street.flows[t - 1] if t else None
        for measure in measures.values():
            measure.update(Sample("drive", str(t), t, SegmentMap(ids), SegmentMap(truth), flow))
    ended = [(measure, measure.end_video()) for measure in measures.values()]
    return {k: float(v) for measure, counts in ended for k, v in measure.scores(counts).items()}


def played(stabilizer: Stabilizer, street: Street) -> list[np.ndarray]:
    return [
        stabilizer.step(scores, picture)
        for scores, picture in zip(street.scores, street.pictures, strict=True)
    ]


def test_a_drive_gets_steadier_and_no_less_right(street: Street) -> None:
    without = quality(street, street.scores)
    stable = quality(street, played(Stabilizer(), street))
    assert stable["tc"] > without["tc"] + 0.05
    assert stable["vc8"] > without["vc8"]
    assert stable["tc_boundary"] > without["tc_boundary"] + 0.05
    assert stable["miou"] > without["miou"]


def test_strength_zero_changes_no_class(street: Street) -> None:
    for scores, steadier in zip(street.scores, played(Stabilizer(strength=0), street), strict=True):
        assert (steadier.argmax(0) == scores.argmax(0)).all()


def test_the_first_frame_is_left_as_it_is() -> None:
    scores = noisy(11, (24, 32), 0)
    assert Stabilizer().step(scores, texture((96, 128))) is scores


def test_a_still_scene_converges_to_what_most_frames_say() -> None:
    picture = texture((96, 128))
    truth = noisy(5, (24, 32), 0)
    stabilizer = Stabilizer()
    shaky, steady = 0, 0
    for seed in range(1, 30):
        scores = truth + noisy(5, (24, 32), seed)
        steadier = stabilizer.step(scores, picture)
        if seed >= 10:
            shaky += np.count_nonzero(scores.argmax(0) != truth.argmax(0))
            steady += np.count_nonzero(steadier.argmax(0) != truth.argmax(0))
    assert steady < shaky / 2


def test_the_same_frame_again_has_the_same_answer() -> None:
    scores, picture, stabilizer = noisy(5, (24, 32), 0), texture((96, 128)), Stabilizer()
    for _ in range(5):
        steadier = stabilizer.step(scores, picture)
    likely = scores - np.log(np.exp(scores).sum(0))
    assert np.allclose(steadier, likely, atol=1e-3)


def test_the_past_moves_with_the_picture() -> None:
    wide, scores = texture((128, 200), 4), np.zeros((2, 32, 40), np.float32)
    scores[1, 12:20, 16:24] = 8  # an object around column 20
    stabilizer = Stabilizer()
    stabilizer.step(scores, wide[:, 20:180])
    moved = stabilizer.step(np.zeros_like(scores), wide[:, 12:172])  # all 8 pixels to the right
    assert (moved[1, 14:18, 19:25] > moved[0, 14:18, 19:25] + 0.5).all()  # around column 22
    assert (moved[1, 14:18, 12:16] < moved[0, 14:18, 12:16] + 0.1).all()  # nothing left behind


def test_what_the_pictures_deny_is_forgotten() -> None:
    before, now = noisy(11, (24, 32), 0), noisy(11, (24, 32), 1)
    stabilizer = Stabilizer()
    stabilizer.step(9 * before, np.zeros((96, 128), np.float32))
    after = stabilizer.step(now, np.ones((96, 128), np.float32))
    assert (after.argmax(0) == now.argmax(0)).all()
    assert np.allclose(after, now - np.log(np.exp(now).sum(0)), atol=0.1)


def test_the_past_does_not_change_what_comes_into_view() -> None:
    wide = 0.3 * texture((128, 240), 5)
    wide[:, 160:] += 0.7
    before, now = noisy(3, (32, 40), 0), noisy(3, (32, 40), 1)
    stabilizer = Stabilizer()
    stabilizer.step(9 * before, wide[:, :160])
    after = np.exp(stabilizer.step(now, wide[:, 16:176]))  # 16 pixels appear: columns 36 to 39
    changed = np.abs(after - np.exp(now) / np.exp(now).sum(0)).mean(axis=(0, 1))  # (40,)
    assert changed[36:].max() < 0.01
    assert changed[:30].min() > 0.03


def test_reset_forgets() -> None:
    picture, scores = texture((96, 128)), noisy(11, (24, 32), 1)
    stabilizer = Stabilizer()
    stabilizer.step(noisy(11, (24, 32), 0), picture)
    stabilizer.reset()
    assert stabilizer.state is None
    assert stabilizer.step(scores, picture) is scores


@pytest.mark.parametrize(
    ("classes", "score_hw", "picture_hw"),
    [(11, (12, 16), (96, 128)), (11, (24, 32), (96, 160)), (12, (24, 32), (96, 128))],
    ids=["scores", "picture", "classes"],
)
def test_another_size_starts_afresh(
    classes: int, score_hw: tuple[int, int], picture_hw: tuple[int, int]
) -> None:
    stabilizer = Stabilizer()
    stabilizer.step(noisy(11, (24, 32), 0), texture((96, 128)))
    scores = noisy(classes, score_hw, 1)
    assert stabilizer.step(scores, texture(picture_hw)) is scores


def test_a_kept_state_goes_on_as_if_uninterrupted(street: Street) -> None:
    whole = played(Stabilizer(), street)
    first = Stabilizer()
    for scores, picture in zip(street.scores[:5], street.pictures[:5], strict=True):
        first.step(scores, picture)
    kept = first.state
    first.step(street.scores[9], street.pictures[9])  # must not touch what was kept
    second = Stabilizer()
    second.state = kept
    for t in range(5, 12):
        again = second.step(street.scores[t], street.pictures[t])
        assert (again == whole[t]).all()


def test_the_input_is_not_written_to(street: Street) -> None:
    stabilizer = Stabilizer()
    for scores, picture in zip(street.scores[:3], street.pictures[:3], strict=True):
        before = scores.copy(), picture.copy()
        stabilizer.step(scores, picture)
        assert (scores == before[0]).all()
        assert (picture == before[1]).all()


@pytest.mark.parametrize("classes", [1, 2, 33, 150])
def test_any_number_of_classes(classes: int) -> None:
    stabilizer, picture = Stabilizer(), texture((64, 96))
    stabilizer.step(noisy(classes, (16, 24), 0), picture)
    last = noisy(classes, (16, 24), 1)
    mixed = np.exp(stabilizer.step(last, picture))
    assert mixed.shape == last.shape
    assert np.allclose(mixed.sum(0), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("picture_hw", "score_hw"),
    [((32, 32), (8, 8)), ((33, 257), (9, 65)), ((96, 96), (96, 96)), ((130, 70), (5, 3)),
     ((64, 64), (1, 1)), ((32, 640), (1, 20))],
)  # fmt: skip
def test_small_and_odd_sizes(picture_hw: tuple[int, int], score_hw: tuple[int, int]) -> None:
    stabilizer = Stabilizer()
    for seed in range(3):
        scores = stabilizer.step(noisy(4, score_hw, seed), texture(picture_hw, seed))
        assert scores.shape == (4, *score_hw)
        assert np.isfinite(scores).all()


def test_flat_pictures_blend_in_place() -> None:
    picture = np.full((96, 128), 0.4, np.float32)
    before, now = noisy(3, (24, 32), 0), noisy(3, (24, 32), 1)
    stabilizer = Stabilizer(strength=0.5)
    stabilizer.step(before, picture)
    mixed = np.exp(stabilizer.step(now, picture))
    shares = [np.exp(scores) / np.exp(scores).sum(0) for scores in (before, now)]
    assert np.allclose(mixed, (shares[0] + shares[1]) / 2, atol=1e-3)


def test_a_broken_frame_does_not_poison_the_next() -> None:
    picture, good = texture((96, 128)), noisy(3, (24, 32), 0)
    broken = good.copy()
    broken[1, 3] = np.nan
    broken[2, 4] = np.inf
    broken[:, 5] = -np.inf
    stabilizer = Stabilizer()
    stabilizer.step(good, picture)
    for scores in (broken, good):
        steadier = stabilizer.step(scores, picture)
        assert np.isfinite(steadier).all()
        assert (steadier.argmax(0)[3:6] == good.argmax(0)[3:6]).mean() > 0.9


def test_a_class_that_must_not_win_never_does() -> None:
    picture, stabilizer = texture((96, 128)), Stabilizer()
    for seed in range(3):
        scores = noisy(3, (24, 32), seed)
        scores[1] = -np.inf
        steadier = stabilizer.step(scores, picture)
    assert np.isfinite(steadier).all()
    assert not (steadier.argmax(0) == 1).any()


@pytest.mark.parametrize(("strength", "tolerance"), [(1.0, 0.1), (-0.1, 0.1), (0.5, 0.0)])
def test_settings_out_of_range_are_refused(strength: float, tolerance: float) -> None:
    with pytest.raises(ValueError, match="strength"):
        Stabilizer(strength=strength, tolerance=tolerance)
