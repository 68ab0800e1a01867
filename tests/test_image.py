"""Colour conversion follows the ITU equations, whatever the matrix and range."""

from __future__ import annotations

import numpy as np
import pytest

from vidparse.image import (
    BT601_525,
    BT709,
    BT2020,
    ColourTags,
    Rgb,
    Yuv420,
    effective_matrix,
)


@pytest.mark.parametrize("matrix", [BT601_525, BT709, BT2020])
@pytest.mark.parametrize("full_range", [False, True])
def test_flat_colours_survive_both_ways(matrix: int, full_range: bool) -> None:
    for colour in [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (12, 200, 99)]:
        flat = np.full((6, 8, 3), colour, np.uint8)
        back = Rgb(flat).yuv420(matrix, full_range).rgb()
        assert np.abs(back.astype(int) - flat).max() <= 3  # 8-bit YUV has no finer steps


def test_known_values_of_red() -> None:
    red = Rgb(np.full((2, 2, 3), (255, 0, 0), np.uint8))
    sd, hd, full = red.yuv420(BT601_525, False), red.yuv420(BT709, False), red.yuv420(BT709, True)
    assert (sd.y[0, 0], sd.u[0, 0], sd.v[0, 0]) == (81, 90, 240)
    assert (hd.y[0, 0], hd.u[0, 0], hd.v[0, 0]) == (63, 102, 240)
    assert (full.y[0, 0], full.u[0, 0]) == (54, 99)


def test_odd_sizes_round_chroma_up() -> None:
    picture = Rgb(np.zeros((5, 7, 3), np.uint8)).yuv420(BT709, False)
    assert picture.y.shape == (5, 7)
    assert picture.u.shape == picture.v.shape == (3, 4)
    assert picture.rgb().shape == (5, 7, 3)


def test_small_rgb_equals_full_rgb_shrunk() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 200, (9, 16, 3), np.uint8)
    smooth = Rgb(coarse).rgb((144, 256))
    picture = Rgb(smooth).yuv420(BT709, False)
    direct = picture.rgb((36, 64)).astype(int)
    by_full_size = Rgb(picture.rgb()).rgb((36, 64)).astype(int)
    assert np.abs(direct - by_full_size).max() <= 4


def test_same_colour_space_is_not_touched() -> None:
    planes = np.zeros((4, 4), np.uint8), np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8)
    picture = Yuv420(*planes, BT709, False)
    assert picture.yuv420(BT709, False) is picture
    assert picture.yuv420(BT709, True) is not picture


def test_unspecified_matrix_is_guessed_as_players_do() -> None:
    assert effective_matrix(ColourTags(), 480) == BT601_525
    assert effective_matrix(ColourTags(), 720) == BT709
    assert effective_matrix(ColourTags(matrix=BT2020), 480) == BT2020
