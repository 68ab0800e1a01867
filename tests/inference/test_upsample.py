"""upsample_argmax against torch's interpolate + argmax, and on cases whose answer is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vidparse.inference import upsample
from vidparse.inference.upsample import upsample_argmax

SIDE = st.integers(1, 9)
OUT_SIDE = st.integers(1, 40)


def torch_scores(scores: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Full-size scores (C, H, W) by the reference."""
    batch = torch.from_numpy(scores)[None]
    return F.interpolate(batch, size_hw, mode="bilinear", align_corners=False)[0].numpy()


def smooth_noise(seed: int, shape: tuple[int, int, int], sigma: float) -> np.ndarray:
    """Gaussian random fields (C, h, w) of unit variance; `sigma` in nodes, 0 for white noise."""
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    if sigma:
        noise = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in noise])
        noise /= noise.std() or 1
    return noise


def network_like(seed: int, classes: int, size_hw: tuple[int, int], regions: float) -> np.ndarray:
    """Logits (C, h, w) of random regions some `regions` nodes wide, confident away from borders."""
    scores = 4 * smooth_noise(seed, (classes, *size_hw), regions)
    return scores + 0.5 * smooth_noise(seed + 1, (classes, *size_hw), 1.0)


def assert_argmax(ids: np.ndarray, scores: np.ndarray, size_hw: tuple[int, int], most: int) -> None:
    """`ids` wins everywhere, up to float rounding at no more than `most` pixels."""
    full = torch_scores(scores, size_hw)
    expected = full.argmax(axis=0)
    assert ids.shape == size_hw
    assert ids.flags.c_contiguous
    different = ids != expected
    assert np.count_nonzero(different) <= most
    y, x = different.nonzero()
    behind = full[expected[y, x], y, x] - full[ids[y, x], y, x]
    assert np.all(behind <= 4e-6 * np.abs(scores).max())


@pytest.mark.parametrize(
    ("classes", "in_hw", "out_hw"),
    [
        (11, (90, 160), (720, 1280)),
        (11, (45, 80), (360, 640)),
        (124, (60, 107), (720, 1280)),
        (124, (60, 107), (480, 853)),
        (19, (128, 256), (512, 1024)),
        (40, (60, 107), (60, 107)),
        (33, (61, 107), (123, 211)),
        (20, (97, 131), (64, 57)),
        (20, (40, 131), (240, 57)),
    ],
)
@pytest.mark.parametrize("regions", [12.0, 2.5])
def test_network_like_scores_equal_torch(classes, in_hw, out_hw, regions):
    scores = network_like(classes, classes, in_hw, regions)
    assert_argmax(upsample_argmax(scores, out_hw), scores, out_hw, most=10)


def test_white_noise_where_many_classes_meet_in_every_cell():
    scores = smooth_noise(5, (60, 12, 17), 0)
    assert_argmax(upsample_argmax(scores, (144, 203)), scores, (144, 203), most=2)


@settings(max_examples=150, deadline=None)
@given(
    classes=st.one_of(st.integers(1, 12), st.integers(30, 36), st.just(300)),
    in_hw=st.tuples(SIDE, SIDE),
    out_hw=st.tuples(OUT_SIDE, OUT_SIDE),
    sigma=st.sampled_from([0.0, 1.0, 3.0]),
    offset=st.sampled_from([0.0, -50.0, 50.0]),
    seed=st.integers(0, 1000),
)
def test_any_shape_equals_torch(classes, in_hw, out_hw, sigma, offset, seed):
    scores = smooth_noise(seed, (classes, *in_hw), sigma) + np.float32(offset)
    ids = upsample_argmax(scores, out_hw, dtype=np.uint16)
    assert ids.dtype == np.uint16
    assert_argmax(ids, scores, out_hw, most=2)


@settings(max_examples=150, deadline=None)
@given(
    classes=st.sampled_from([2, 3, 5, 40]),
    in_hw=st.tuples(SIDE, SIDE),
    factors=st.tuples(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8])),
    levels=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_ties_give_the_lowest_id(classes, in_hw, factors, levels, seed):
    # Small integers and powers of two: no rounding anywhere, so ties are true ties.
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels, (classes, *in_hw)).astype(np.float32)
    out_hw = in_hw[0] * factors[0], in_hw[1] * factors[1]
    expected = torch_scores(scores, out_hw).argmax(axis=0)  # numpy: the first of equals
    np.testing.assert_array_equal(upsample_argmax(scores, out_hw), expected)


def test_a_class_can_win_between_nodes_where_it_wins_at_none():
    scores = np.float32([[[4, 0]], [[0, 4]], [[3, 3]]])  # (3, 1, 2)
    assert upsample_argmax(scores, (1, 8)).tolist() == [[0, 0, 0, 2, 2, 1, 1, 1]]
    upright = scores.transpose(0, 2, 1)
    assert upsample_argmax(upright, (8, 1)).ravel().tolist() == [0, 0, 0, 2, 2, 1, 1, 1]


def test_saddle_of_two_classes():
    scores = np.float32([[[0, 0], [0, 0]], [[1, -1], [-1, 1]]])  # 1 leads on one diagonal only
    assert upsample_argmax(scores, (6, 6)).tolist() == [
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
    ]


def test_margins_repeat_the_outermost_nodes():
    scores = np.float32([[[1, 0]], [[0, 1]]])
    assert upsample_argmax(scores, (3, 10)).tolist() == 3 * [[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]]


def test_same_size_is_plain_argmax():
    scores = smooth_noise(2, (7, 23, 31), 0)
    np.testing.assert_array_equal(upsample_argmax(scores, (23, 31)), scores.argmax(axis=0))


def test_one_class_one_node_one_pixel():
    assert not upsample_argmax(np.float32([[[-3]]]), (5, 4)).any()
    assert not upsample_argmax(smooth_noise(0, (1, 6, 5), 0), (50, 40)).any()
    assert upsample_argmax(np.float32([[[-3]], [[-2]], [[-2]]]), (2, 2)).tolist() == [[1, 1]] * 2
    scores = smooth_noise(0, (5, 4, 6), 0)
    assert upsample_argmax(scores, (1, 1)) == torch_scores(scores, (1, 1)).argmax(axis=0)


def test_few_nodes_to_a_large_picture():
    scores = smooth_noise(3, (4, 2, 3), 0)
    assert_argmax(upsample_argmax(scores, (700, 900)), scores, (700, 900), most=10)


def test_bands_and_blocks_leave_no_seams(monkeypatch):
    scores = network_like(9, 40, (31, 23), 2.5)
    whole = upsample_argmax(scores, (211, 190))
    monkeypatch.setattr(upsample, "_BAND_SCORES", 40 * 23 * 3)
    monkeypatch.setattr(upsample, "_BLOCK_VALUES", 700)
    np.testing.assert_array_equal(upsample_argmax(scores, (211, 190)), whole)
    assert_argmax(whole, scores, (211, 190), most=2)


@pytest.mark.parametrize("out_hw", [(64, 80), (8, 10), (3, 4)])
def test_a_class_at_minus_infinity_never_wins(out_hw):
    scores = smooth_noise(4, (6, 8, 10), 1.0)
    masked = scores.copy()
    masked[[0, 3]] = -np.inf
    kept = [1, 2, 4, 5]
    expected = np.array(kept)[upsample_argmax(scores[kept], out_hw)]
    np.testing.assert_array_equal(upsample_argmax(masked, out_hw), expected)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("classes", [6, 40])
def test_ids_are_classes_even_where_scores_are_nan_or_infinite(classes):
    scores = smooth_noise(4, (classes, 8, 10), 0)
    bad = np.random.default_rng(0).random(scores.shape)
    scores[bad < 0.1] = np.nan
    scores[bad > 0.9] = np.inf
    scores[:, 2:4, 2:4] = np.nan
    assert upsample_argmax(scores, (64, 80)).max() < classes


def test_wide_ids():
    scores = network_like(6, 300, (9, 14), 1.0)
    ids = upsample_argmax(scores, (72, 112), dtype=np.uint16)
    assert ids.max() > 255
    assert_argmax(ids, scores, (72, 112), most=2)


def test_other_layouts_and_precisions_are_taken():
    scores = network_like(7, 12, (20, 30), 3.0)
    expected = upsample_argmax(scores, (160, 240))
    strided = np.ascontiguousarray(scores.transpose(1, 2, 0)).transpose(2, 0, 1)
    np.testing.assert_array_equal(upsample_argmax(strided, (160, 240)), expected)
    np.testing.assert_array_equal(upsample_argmax(scores.astype(np.float64), (160, 240)), expected)


def test_scores_are_left_as_they_were_and_threads_agree():
    scores = network_like(8, 15, (30, 40), 3.0)
    before = scores.copy()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: upsample_argmax(scores, (240, 321)), range(6)))
    np.testing.assert_array_equal(scores, before)
    for ids in results:
        np.testing.assert_array_equal(ids, results[0])


@pytest.mark.parametrize(
    ("shape", "size_hw", "dtype"),
    [
        ((4, 4), (8, 8), np.uint8),
        ((0, 4, 4), (8, 8), np.uint8),
        ((3, 4, 0), (8, 8), np.uint8),
        ((3, 4, 4), (8, 0), np.uint8),
        ((257, 4, 4), (8, 8), np.uint8),
        ((3, 4, 4), (8, 8), np.int32),
    ],
)
def test_what_makes_no_sense_is_refused(shape, size_hw, dtype):
    with pytest.raises(ValueError, match=r"scores|classes"):
        upsample_argmax(np.zeros(shape, np.float32), size_hw, dtype=dtype)
