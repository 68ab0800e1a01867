"""Colour conversion follows the ITU equations, whatever the matrix and range."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vidparse.frame import Frame, VideoInfo
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


def test_a_frame_of_an_array_knows_its_time():
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    frame = Frame.from_rgb(pixels, index=3)
    assert (frame.index, frame.pts, frame.time_s) == (3, 3, 3 / 25)
    assert np.array_equal(frame.image.rgb(), pixels)
    assert Frame.from_rgb(pixels, index=3, time_s=0.5).time_s == 0.5
    assert Frame.from_rgb(pixels, time_s=1 / 3).time_s == pytest.approx(1 / 3, abs=1e-6)
    turned = Frame.from_rgb(pixels[..., ::-1])  # a view as OpenCV's users make it
    assert np.array_equal(turned.image.rgb(), pixels[..., ::-1])
    assert Frame(2, 1001, Rgb(pixels), time_base=Fraction(1, 30000)).time_s == 1001 / 30000


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 6), np.uint8), np.zeros((4, 6, 4), np.uint8), np.zeros((0, 6, 3), np.uint8),
        np.zeros((4, 6, 3), np.float32),
    ],
)  # fmt: skip
def test_an_array_that_is_no_picture_is_named(wrong):
    with pytest.raises(ValueError, match=r"give RGB as uint8 \(height, width, 3\)"):
        Frame.from_rgb(wrong)


@pytest.mark.parametrize(
    ("rate", "frames", "duration_s", "nominal"),
    [
        (Fraction(30000, 1001), 10, 1.0, Fraction(30000, 1001)),
        (None, 30, 2.0, Fraction(15)),
        (None, None, 2.0, Fraction(25)),
        (None, 1, 1e9, Fraction(25)),
    ],
)
def test_the_nominal_rate(rate, frames, duration_s, nominal):
    info = VideoInfo(
        "x", (4, 6), Fraction(1, 90000), rate, frames, duration_s, Fraction(1), ColourTags()
    )
    assert info.nominal_rate == nominal
