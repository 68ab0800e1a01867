"""Looks of objects, and the motion of the camera, as small pictures show them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vidparse.image import Rgb, Yuv420
from vidparse.inference.appearance import Thumbnail, slot_ious
from vidparse.inference.overlap import mask_ious

STREET = cv2.GaussianBlur(
    np.random.default_rng(5).integers(0, 255, (400, 700, 3), np.uint8), (0, 0), 2
)


def test_looks_know_a_colour_again_in_other_light_and_tell_it_from_another() -> None:
    picture = np.zeros((60, 120, 3), np.uint8)
    ids = np.zeros((60, 120), np.uint16)
    for place, colour in enumerate([(200, 30, 30), (190, 36, 34), (30, 40, 200), (200, 30, 30)]):
        picture[10:40, 30 * place : 30 * place + 20] = colour
        ids[10:40, 30 * place : 30 * place + 20] = 7 + place
    view = Thumbnail.of(Rgb(picture))
    looks = view.looks(view.slots_of(ids, [7, 8, 9, 10, 99]), 5)
    alike = looks @ looks.T
    assert np.diag(alike)[:4] == pytest.approx(1, abs=1e-6)
    assert alike[0, 3] == pytest.approx(1, abs=1e-6)
    assert alike[0, 1] > 0.8 and alike[0, 2] < 0.4
    assert not looks[4].any()  # it has no pixel


def test_looks_are_the_same_of_rgb_and_yuv_and_of_any_size() -> None:
    ids = np.zeros((400, 700), np.uint16)
    ids[100:260, 100:300] = 3
    picture = STREET.copy()
    picture[100:260, 100:300, 0] //= 4
    large = Rgb(cv2.resize(picture, None, fx=3, fy=3))
    views = [
        Thumbnail.of(Rgb(picture)),
        Thumbnail.of(Rgb(picture).yuv420(1, True)),
        Thumbnail.of(large),
    ]
    assert isinstance(Rgb(picture).yuv420(1, True), Yuv420)
    maps = [ids, ids, cv2.resize(ids, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)]
    looks = [
        view.looks(view.slots_of(one, [3]), 1)[0] for view, one in zip(views, maps, strict=True)
    ]
    assert looks[0] @ looks[1] > 0.97 and looks[0] @ looks[2] > 0.97


@pytest.mark.parametrize(
    "matrix", [[[1, 0, 14], [0, 1, -6]], [[1.03, 0.02, -9], [-0.02, 1.03, 4]]], ids=["pan", "zoom"]
)
def test_the_camera_is_found_behind_things_that_move(matrix: list[list[float]]) -> None:
    camera = np.array(matrix, np.float64)
    after = cv2.warpAffine(STREET, camera, (700, 400), borderMode=cv2.BORDER_REFLECT)
    before = STREET.copy()
    before[120:300, 200:420], after[120:300, 300:520] = STREET[:180, :220], STREET[:180, :220]
    ids = np.zeros((400, 700), np.uint16)
    ids[120:300, 300:520] = 1
    view = Thumbnail.of(Rgb(after))
    found = view.camera_since(Thumbnail.of(Rgb(before)), view.slots_of(ids, [1]), (400, 700))
    corners = np.array([[0, 0, 1], [699, 0, 1], [0, 399, 1], [699, 399, 1]]).T
    assert np.abs((found - camera) @ corners).max() < 1.5  # pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_slots_are_places_in_the_list(dtype: type[np.unsignedinteger]) -> None:
    ids = np.zeros((800, 1280), dtype)
    ids[400:500, 10:400] = 7
    ids[100:300, 200:600] = min(int(np.iinfo(dtype).max), 70_000)
    slots = Thumbnail.of(Rgb(np.zeros((800, 1280, 3), np.uint8))).slots_of(ids, [7, int(ids.max())])
    assert slots.shape == (400, 640) and slots.dtype == np.uint16
    assert np.array_equal(slots == 1, ids[::2, ::2] == 7)
    assert np.array_equal(slots == 2, ids[::2, ::2] == ids.max())


def test_a_picture_without_corners_shows_no_motion_of_the_camera() -> None:
    view = Thumbnail.of(Rgb(np.full((90, 120, 3), 128, np.uint8)))
    slots = view.slots_of(np.zeros((90, 120), np.uint16), [])
    assert np.array_equal(view.camera_since(view, slots, (90, 120)), np.eye(2, 3))


def test_ious_of_slots_are_those_of_masks() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 5, (2, 30, 40)).astype(np.uint16)
    expected = mask_ious(a, [1, 2, 3, 4], b, [1, 2, 3, 4])
    assert slot_ious(a, 4, b, 4) == pytest.approx(expected)
