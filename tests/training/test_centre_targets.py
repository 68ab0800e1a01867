"""Targets of ViP-DeepLab against a plain form of them, and worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidparse.training.objectives.deeplab import CentreTargets, centre_targets


def plain(objects: np.ndarray, sigma: float) -> dict[str, np.ndarray]:
    """The targets of one clip (T, H, W), pixel by pixel."""
    length, height, width = objects.shape
    made = {
        "heat": np.zeros(objects.shape),
        "areas": np.zeros(objects.shape, int),
        "offsets": np.zeros((length, 2, height, width)),
        "earlier_offsets": np.zeros((length, 2, height, width)),
        "follows": np.zeros(objects.shape, bool),
    }
    reach = 3 * sigma + 1
    for t in range(length):
        for number in set(objects[t].flat) - {0}:
            pixels = np.argwhere(objects[t] == number)
            centre = pixels.mean(axis=0)
            for y, x in np.ndindex(height, width):
                away = np.array([y, x]) - centre
                if np.abs(away).max() <= reach:
                    value = np.exp(-(away**2).sum() / (2 * sigma**2))
                    made["heat"][t, y, x] = max(made["heat"][t, y, x], value)

            before = np.argwhere(objects[t - 1] == number) if t else np.zeros((0, 2))
            for y, x in pixels:
                made["areas"][t, y, x] = len(pixels)
                made["offsets"][t, :, y, x] = centre - (y, x)
                if len(before):
                    made["follows"][t, y, x] = True
                    made["earlier_offsets"][t, :, y, x] = before.mean(axis=0) - (y, x)
    return made


def of(*frames: np.ndarray, sigma: float = 2.0) -> CentreTargets:
    """Targets of one clip."""
    return centre_targets(torch.from_numpy(np.stack(frames)).long()[None], sigma=sigma)


def blank() -> np.ndarray:
    return np.zeros((16, 24), np.uint16)


@pytest.mark.parametrize("sigma", [0.7, 2.0, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_targets_are_those_of_the_plain_form(seed: int, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    objects = np.zeros((2, 3, 20, 28), np.int64)
    for clip, frame, number in np.ndindex(2, 3, 5):
        if rng.random() < 0.3:
            continue  # away
        top, left = rng.integers(0, 16), rng.integers(0, 20)
        high, wide = rng.integers(1, 12, 2)
        objects[clip, frame, top : top + high, left : left + wide] = 3 * number + 1

    found = centre_targets(torch.from_numpy(objects), sigma=sigma)
    for clip in range(2):
        for name, expected in plain(objects[clip], sigma).items():
            value = getattr(found, name)[clip].numpy()
            np.testing.assert_allclose(value, expected, atol=2e-5, err_msg=name)


def test_a_centre_is_the_mean_of_the_pixels() -> None:
    frame = blank()
    frame[4:9, 6:17] = 3
    found = of(frame)
    assert found.heat[0, 0].argmax().item() == 6 * 24 + 11
    assert found.heat[0, 0, 6, 11] == 1
    assert found.offsets[0, 0, :, 4, 6].tolist() == [2, 5]
    assert found.offsets[0, 0, :, 8, 16].tolist() == [-2, -5]
    assert found.offsets[0, 0, :, 0, 0].tolist() == [0, 0]
    assert found.areas[0, 0, 4, 6] == 55 and found.areas[0, 0, 3, 6] == 0


def test_of_two_centres_that_are_near_the_greater_stays() -> None:
    frame = blank()
    frame[5, 5], frame[5, 9] = 1, 2
    heat = of(frame).heat[0, 0, 5]
    assert heat[5] == heat[9] == 1
    assert heat[7].item() == pytest.approx(np.exp(-0.5))


def test_offsets_of_the_frame_before_lead_to_where_a_thing_was() -> None:
    first, second = blank(), blank()
    first[2:5, 2:5], second[4:7, 8:11] = 7, 7
    found = of(first, second)
    assert not found.follows[0, 0].any() and found.follows[0, 1].sum() == 9
    assert found.earlier_offsets[0, 1, :, 4, 8].tolist() == [-1, -5]
    assert found.offsets[0, 1, :, 4, 8].tolist() == [1, 1]
    assert not found.earlier_offsets[0, 0].any()


def test_a_thing_that_was_away_has_no_way_back() -> None:
    first, second = blank(), blank()
    first[2:5, 2:5], second[4:7, 8:11] = 7, 8
    found = of(first, second, first)
    assert not found.follows.any() and not found.earlier_offsets.any()
    assert (found.areas > 0).sum() == 27


def test_clips_of_one_batch_know_nothing_of_each_other() -> None:
    first, second = blank(), blank()
    first[2:5, 2:5], second[4:7, 8:11] = 7, 7
    both = torch.from_numpy(np.stack([[first, blank()], [second, blank()]])).long()
    found = centre_targets(both, sigma=2.0)
    assert not found.follows.any()


def test_a_clip_without_things() -> None:
    found = of(blank(), blank())
    assert not any(getattr(found, name).any() for name in CentreTargets.__slots__)
    assert found.heat.shape == (1, 2, 16, 24) and found.offsets.shape == (1, 2, 2, 16, 24)


def test_a_gaussian_ends_at_the_border_of_the_picture() -> None:
    frame = blank()
    frame[0, 0] = frame[15, 23] = 1
    frame[15, 0] = 2
    heat = of(frame, sigma=8.0).heat[0, 0]
    assert heat[15, 0] == 1 and heat.min() > 0
