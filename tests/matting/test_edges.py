"""Edges of mattes: the guided filter is the least squares of its windows, and alpha finds edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vidparse.frame import Frame
from vidparse.labels import load_labels
from vidparse.maps import Matte, SegmentMap
from vidparse.matting.foreground import foreground_colours
from vidparse.matting.guided import GuidedFilter, applied
from vidparse.matting.margins import margins_of
from vidparse.matting.matter import Matter
from vidparse.matting.selection import Selection
from vidparse.matting.specks import without_specks
from vidparse.matting.trimap import INSIDE, OUTSIDE, UNKNOWN, trimap_of

CAMVID = load_labels("camvid")
CAR = CAMVID.classes.index("Car")


def least_squares(
    guide: np.ndarray, mask: np.ndarray, radius: int, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and value at black of each whole window, solved one by one."""
    height, width = mask.shape
    slopes, rest = np.zeros((height, width, 3)), np.zeros((height, width))
    for y in range(radius, height - radius):
        for x in range(radius, width - radius):
            window = np.s_[y - radius : y + radius + 1, x - radius : x + radius + 1]
            colours, values = guide[window].reshape(-1, 3), mask[window].ravel()
            centred = colours - colours.mean(axis=0)
            joint = centred.T @ (values - values.mean()) / len(values)
            spread = centred.T @ centred / len(values) + penalty * np.eye(3)
            slopes[y, x] = np.linalg.solve(spread, joint)
            rest[y, x] = values.mean() - slopes[y, x] @ colours.mean(axis=0)
    return slopes, rest


def test_lines_are_the_means_of_least_squares_in_each_window() -> None:
    rng = np.random.default_rng(3)
    guide = rng.random((19, 21, 3)).astype(np.float32)
    mask = (guide[..., 0] > 0.5).astype(np.float32)
    radius, penalty = 2, 1e-2
    lines = GuidedFilter(guide, radius, penalty).lines(mask)
    slopes, rest = least_squares(guide.astype(float), mask.astype(float), radius, penalty)
    wanted = np.concatenate([slopes, rest[..., None]], axis=2)
    y, x = 9, 10  # all windows that hold it are whole
    mean = wanted[y - radius : y + radius + 1, x - radius : x + radius + 1].mean(axis=(0, 1))
    np.testing.assert_allclose(lines[y, x], mean, atol=2e-4)


def test_a_mask_without_edges_stays() -> None:
    guide = np.random.default_rng(0).random((40, 50, 3)).astype(np.float32)
    picture = (guide * 255).astype(np.uint8)
    windows = GuidedFilter(guide, 3, 1e-4)
    for value in (0.0, 1.0):
        mask = np.full((40, 50), value, np.float32)
        np.testing.assert_allclose(applied(windows.lines(mask), picture), value, atol=1e-3)


def disc(size_hw: tuple[int, int], radius: float, dx: float = 0) -> np.ndarray:
    """A disc with soft edges, float32 (H, W)."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]].astype(np.float32)
    away = np.hypot(y - size_hw[0] / 2, x - size_hw[1] / 2 - dx)
    return np.clip(radius - away + 0.5, 0, 1)


def test_alpha_goes_from_a_coarse_mask_to_the_edge_of_the_picture() -> None:
    """Scores at an eighth, moved by 2 pixels: alpha is nearer to the object than the mask."""
    true = disc((240, 320), 60)
    colours = true[..., None] * (210, 60, 50) + (1 - true[..., None]) * (40, 90, 160)
    picture = np.rint(colours).astype(np.uint8)
    coarse = cv2.resize(disc((240, 320), 60, dx=2), (40, 30), interpolation=cv2.INTER_AREA)
    scores = np.stack([8 * (coarse - 0.5), np.zeros_like(coarse)])
    margins = margins_of(scores, [(0,)])
    hard = cv2.resize(margins[0].astype(np.float32), (320, 240)) > 0

    found = SegmentMap(np.where(hard, CAR, CAMVID.void).astype(np.uint8), margins=margins)
    matter = Matter(CAMVID, Selection("Car", (CAR,)))
    (matte,) = matter.mattes(Frame.from_rgb(picture), found)
    assert np.abs(matte.alpha / 255 - true).sum() < 0.6 * np.abs(hard - true).sum()
    assert matte.alpha[120, 160] == 255 and matte.alpha[10, 10] == 0


def test_a_map_without_scores_gets_soft_edges_too() -> None:
    true = disc((240, 320), 60)
    picture = np.rint(true[..., None] * (200, 180, 90) + 30).astype(np.uint8)
    ids = np.where(disc((240, 320), 60, dx=3) > 0.5, CAR, CAMVID.void).astype(np.uint8)
    (matte,) = Matter(CAMVID, Selection("Car", (CAR,))).mattes(
        Frame.from_rgb(picture), SegmentMap(ids)
    )
    hard = ids == CAR
    assert np.abs(matte.alpha / 255 - true).sum() < 0.7 * np.abs(hard - true).sum()


def test_margins_are_above_zero_exactly_where_a_group_wins() -> None:
    scores = np.random.default_rng(1).standard_normal((5, 6, 7)).astype(np.float32)
    winner = scores.argmax(axis=0)
    for groups in ([(0, 2), (1,), (3, 4)], [(k,) for k in range(5)]):
        margins = margins_of(scores, groups)
        for margin, group in zip(margins, groups, strict=True):
            np.testing.assert_array_equal(margin > 0, np.isin(winner, group))


def test_the_object_keeps_its_colour_where_the_background_shines_through() -> None:
    alpha = np.rint(255 * np.clip((np.arange(320) - 150) / 12, 0, 1)).astype(np.uint8)
    alpha = np.tile(alpha, (480, 1))
    share = alpha[..., None] / 255
    red, green = np.array([200, 30, 30]), np.array([20, 180, 40])
    picture = np.rint(share * red + (1 - share) * green).astype(np.uint8)
    clean = foreground_colours(picture, alpha)
    edge = (alpha > 20) & (alpha < 250)
    assert np.abs(clean[edge].astype(int) - red).mean() < 12
    assert np.abs(picture[edge].astype(int) - red).mean() > 50
    np.testing.assert_array_equal(clean[alpha == 255], picture[alpha == 255])
    np.testing.assert_array_equal(clean[:, :80], picture[:, :80])


def test_specks_go_and_thin_lines_that_touch_the_object_stay() -> None:
    alpha = np.zeros((360, 640), np.uint8)  # a speck has less than 11.5 pixels
    alpha[100:200, 100:200] = 255
    alpha[50:100, 150] = 200  # a hair, one pixel wide
    object_alone = alpha.copy()
    alpha[150:153, 220:223] = 180  # beside it
    alpha[150, 150], alpha[160, 140:144] = 90, 0  # in it
    np.testing.assert_array_equal(without_specks(alpha, alpha.size, 1), object_alone)

    # A larger spot is an object; so is this one in a part of a frame that is larger still.
    alpha[300:304, 300:304] = 255
    assert without_specks(alpha, alpha.size, 1)[300:304, 300:304].all()
    assert not without_specks(alpha, 4 * alpha.size, 1)[300, 300]


def test_single_pixels_go_where_the_picture_is_finer_than_what_was_looked_at() -> None:
    alpha = np.zeros((720, 1280), np.uint8)
    alpha[100:600, 100:600] = 255
    toothed = alpha.copy()
    toothed[200:500:4, 600] = 255  # teeth of a pixel on its side
    np.testing.assert_array_equal(without_specks(toothed, alpha.size, 1), toothed)
    smooth = without_specks(toothed, alpha.size, 2)
    np.testing.assert_array_equal(smooth[150:550], alpha[150:550])


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 4), (4, 1), (2, 2), (3, 2), (33, 17)])
@pytest.mark.parametrize("edges", ["guided", "scores"])
def test_the_smallest_pictures_have_mattes(size_hw, edges) -> None:
    """Of a picture that is the object all over; OpenCV takes arrays of up to 4 for scalars."""
    ids = np.full(size_hw, CAR, np.uint8)
    margins = np.full((1, *size_hw), 9, np.float16)
    picture = np.full((*size_hw, 3), 70, np.uint8)
    frame = Frame.from_rgb(picture)
    matter = Matter(CAMVID, Selection("Car", (CAR,)), edges=edges)
    for _ in range(2):  # the second has a past
        (matte,) = matter.mattes(frame, SegmentMap(ids, margins=margins))
        np.testing.assert_array_equal(matte.alpha, np.full(size_hw, 255))
        np.testing.assert_array_equal(trimap_of(matte), np.full(size_hw, INSIDE))
        np.testing.assert_array_equal(foreground_colours(picture, matte.alpha), picture)
        soft = np.full(size_hw, 100, np.uint8)
        assert foreground_colours(picture, soft).shape == picture.shape
        assert trimap_of(Matte("Car", soft, soft)).shape == size_hw


def test_the_unknown_band_is_as_wide_as_the_edge_is_unsure() -> None:
    ramp = np.clip((np.arange(320) - 100) / 40, 0, 1)
    steep = np.clip((np.arange(320) - 118) / 4, 0, 1)
    widths = []
    for edge in (ramp, steep):
        inside = np.tile(np.rint(255 * edge), (480, 1)).astype(np.uint8)
        trimap = trimap_of(Matte("car", np.where(inside > 127, 255, 0).astype(np.uint8), inside))
        assert set(np.unique(trimap)) == {OUTSIDE, UNKNOWN, INSIDE}
        assert trimap[0, 0] == OUTSIDE and trimap[0, -1] == INSIDE
        widths.append(int((trimap[0] == UNKNOWN).sum()))
    assert widths[1] == 6  # 1 + 480 // 240 to both sides
    assert 20 <= widths[0] <= 28  # 480 / 36 to both sides: it would be wider


def test_an_empty_matte_has_no_unknown_pixel() -> None:
    nothing = np.zeros((48, 64), np.uint8)
    assert not trimap_of(Matte("car", nothing, nothing[::2, ::2])).any()


def test_closed_form_edges_find_the_object() -> None:
    pytest.importorskip("pymatting")
    true = disc((120, 160), 30)
    colours = true[..., None] * (210, 60, 50) + (1 - true[..., None]) * (40, 90, 160)
    coarse = cv2.resize(disc((120, 160), 30, dx=2), (20, 15), interpolation=cv2.INTER_AREA)
    margins = margins_of(np.stack([8 * (coarse - 0.5), np.zeros_like(coarse)]), [(0,)])
    hard = cv2.resize(margins[0].astype(np.float32), (160, 120)) > 0
    found = SegmentMap(np.where(hard, CAR, CAMVID.void).astype(np.uint8), margins=margins)
    matter = Matter(CAMVID, Selection("Car", (CAR,)), edges="closed-form")
    (matte,) = matter.mattes(Frame.from_rgb(np.rint(colours).astype(np.uint8)), found)
    assert np.abs(matte.alpha / 255 - true).sum() < 0.3 * np.abs(hard - true).sum()
