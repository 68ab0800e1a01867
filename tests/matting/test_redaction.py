"""What is hidden depends on means of blocks alone, and objects that were lost are found."""

from __future__ import annotations

import numpy as np
import pytest

from vidparse.errors import UsageError
from vidparse.image import BT709, Rgb, Yuv420
from vidparse.matting.gaps import GapFinder
from vidparse.matting.redaction import redacted, with_margin
from vidparse.requests.redaction import Margin, margin

SIZE = 96, 128


def noise(seed: int) -> Yuv420:
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return Rgb(pixels).yuv420(BT709, False)


def box(y: int, x: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[y : y + height, x : x + width] = 255
    return mask


@pytest.mark.parametrize("way", ["blur", "pixelate"])
def test_pixels_that_change_places_within_a_block_change_nothing(way) -> None:
    """A region of 96 pixels has blocks of 8: only their means are left."""
    image = noise(0)
    mask = box(0, 16, 96, 96)
    blocks = image.y.copy().reshape(12, 8, 16, 8).transpose(0, 2, 1, 3)
    turned = blocks[:, :, ::-1, ::-1].transpose(0, 2, 1, 3).reshape(SIZE)
    other = Yuv420(np.ascontiguousarray(turned), image.u, image.v, BT709, False)
    np.testing.assert_array_equal(
        redacted(image, mask, way).y[:, 16:112], redacted(other, mask, way).y[:, 16:112]
    )


@pytest.mark.parametrize("way", ["blur", "pixelate", "fill"])
def test_the_picture_outside_stays_and_no_detail_inside_does(way) -> None:
    image, mask = noise(1), box(20, 30, 41, 51)  # odd edges: chroma samples lie across them
    hidden = redacted(image, mask, way)
    inside = mask > 0
    np.testing.assert_array_equal(hidden.y[~inside], image.y[~inside])
    assert hidden.y[inside].std() < 0.4 * image.y[inside].std()
    chroma = mask[::2, ::2] | mask[1::2, ::2] | mask[::2, 1::2] | mask[1::2, 1::2]
    for now, before in ((hidden.u, image.u), (hidden.v, image.v)):
        np.testing.assert_array_equal(now[chroma == 0], before[chroma == 0])
        assert now[chroma > 0].std() < 0.5 * before[chroma > 0].std()


def test_odd_sizes_are_hidden_to_their_last_pixel() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (47, 63, 3), dtype=np.uint8)
    hidden = redacted(Rgb(pixels).yuv420(BT709, False), np.full((47, 63), 255, np.uint8), "fill")
    assert set(np.unique(hidden.y)) == {16} and set(np.unique(hidden.u)) == {128}


def test_a_margin_goes_to_all_sides() -> None:
    np.testing.assert_array_equal(with_margin(box(30, 40, 10, 20), 5), box(25, 35, 20, 30))
    np.testing.assert_array_equal(with_margin(box(30, 40, 10, 20), 0), box(30, 40, 10, 20))


def test_margins_are_pixels_or_a_share_of_the_height() -> None:
    assert margin("12", "--redact-margin").of(720) == 12
    assert margin("2.5%", "--redact-margin") == Margin(share=0.025)
    assert margin("2.5%", "--redact-margin").of(720) == 18
    for text in ("", "x", "-3", "60%", "2%x", "1e9", "nan%"):
        with pytest.raises(UsageError, match="not a margin; write pixels"):
            margin(text, "--redact-margin")


def gaps(views: list[np.ndarray]) -> list[tuple[int, tuple[int, ...]]]:
    finder, found = GapFinder(), []
    for mask in views:
        found += [*finder.add({"car": mask})]
    found += [*finder.finish()]
    return [(one.number, one.box) for one in found]


@pytest.mark.parametrize(("length", "is_found"), [(1, True), (3, True), (4, False)])
def test_an_object_that_is_lost_for_up_to_three_frames_is_found(length, is_found) -> None:
    here, nothing = box(30, 40, 20, 30), box(0, 0, 0, 0)
    views = [here] * 3 + [nothing] * length + [here] * 2
    wanted = [(3 + i, (40, 30, 30, 20)) for i in range(length)] if is_found else []
    assert gaps(views) == wanted


def test_one_of_two_objects_is_missed_while_the_other_stays() -> None:
    left, right = box(30, 10, 20, 20), box(30, 90, 20, 20)
    assert gaps([left | right] * 3 + [right] + [left | right] * 3) == [(3, (10, 30, 20, 20))]


def test_objects_that_move_come_and_go_leave_no_gap() -> None:
    moving = [box(30, 10 + 4 * t, 20, 12) for t in range(10)]
    assert gaps(moving) == []
    assert gaps([box(0, 0, 0, 0)] * 4 + moving + [box(0, 0, 0, 0)] * 4) == []


def test_a_gap_near_the_end_is_found_too() -> None:
    here, nothing = box(30, 40, 20, 30), box(0, 0, 0, 0)
    assert gaps([here, here, nothing, here]) == [(2, (40, 30, 30, 20))]
