"""Class and id on every thing, inside of it; one colour per id for life, however many there are."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from support.object_outputs import TOY, crowd, objects, scenes, write
from vidparse.image import BT709, Rgb, Yuv420
from vidparse.labels.colours import drawn_colours, instance_colour
from vidparse.maps import Prediction, SegmentMap
from vidparse.sinks.legend import Tile
from vidparse.sinks.overlay import Painter
from vidparse.sinks.tags import Tags

COLOURS = drawn_colours(TOY, None)


def flat(size_hw: tuple[int, int], grey: int = 128) -> Yuv420:
    return Rgb(np.full((*size_hw, 3), grey, np.uint8)).yuv420(BT709, True)


def disc(
    centre: tuple[float, float],
    radius: float,
    number: int = 12,
    size_hw: tuple[int, int] = (241, 321),
) -> SegmentMap:
    """A car of this number on the road."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    ids = np.ones(size_hw, np.uint32)
    ids[np.hypot(x - centre[0], y - centre[1]) < radius] = number
    return objects(ids, {1: 0, number: 1})


def tagged(found: SegmentMap, tags: Tags, grey: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Where tags were drawn, bool (H, W), and the luma of the picture with them."""
    image = flat(found.size_hw, grey)
    plain = image.y.copy()
    tags.draw(image, Prediction(0, found, TOY))
    return image.y != plain, image.y


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> list[Tile]:
    """The tags that are drawn."""
    drawn: list[Tile] = []
    lay = Tile.lay

    def kept(self: Tile, image: Yuv420) -> None:
        drawn.append(self)
        lay(self, image)

    monkeypatch.setattr(Tile, "lay", kept)
    return drawn


@pytest.mark.parametrize("centre", [(160, 120), (70, 60.5), (253, 181)])
@pytest.mark.parametrize("radius", [20, 33, 60])
def test_a_tag_lies_inside_its_thing(centre: tuple[float, float], radius: float) -> None:
    found = disc(centre, radius)
    drawn, _ = tagged(found, Tags(TOY.classes))
    assert drawn.sum() > 100
    assert (found.ids[drawn] == 12).all()


@pytest.mark.parametrize("grey", [0, 60, 128, 200, 255])
def test_a_tag_is_readable_on_light_and_dark(grey: int) -> None:
    drawn, luma = tagged(disc((160, 120), 60), Tags(TOY.classes), grey)
    panel = luma[drawn]
    assert np.percentile(panel, 99) - np.percentile(panel, 20) > 120


def test_less_is_written_where_there_is_less_room(tiles: list[Tile]) -> None:
    tags = Tags(TOY.classes)
    widths = []
    for radius in (60, 24, 14, 10):
        tagged(disc((160, 120), radius), tags)
        tags = Tags(TOY.classes)
        widths.append(tiles[-1].size_hw[1])
    assert widths == sorted(widths, reverse=True) and len({*widths}) >= 3
    count = len(tiles)
    assert not tagged(disc((160, 120), 3), tags)[0].any()
    assert len(tiles) == count


def test_a_tag_goes_with_its_thing_and_does_not_jump(tiles: list[Tile]) -> None:
    tags = Tags(TOY.classes)
    random = np.random.default_rng(0)
    for i in range(20):  # its outline trembles
        tagged(disc((100 + 3 * i, 120 + i), 40 + random.normal()), tags)
    places = np.array([(tile.left, tile.top) for tile in tiles])
    steps = np.diff(places, axis=0) - (3, 1)
    assert len({tile.size_hw for tile in tiles}) == 1
    assert np.abs(steps).max() <= 3, steps


def test_a_size_on_the_border_does_not_flicker(tiles: list[Tile]) -> None:
    tags = Tags(TOY.classes)
    tagged(disc((160, 120), 60), tags)
    full = tiles[-1].size_hw
    radius = next(  # the least that the full tag fits in
        r
        for r in np.arange(60, 5, -0.5)
        if tagged(disc((160, 120), r), Tags(TOY.classes))[0].any() and tiles[-1].size_hw != full
    )
    tiles.clear()
    tags = Tags(TOY.classes)
    for i in range(12):
        tagged(disc((160, 120), radius + (i % 2)), tags)
    assert len({tile.size_hw for tile in tiles}) <= 2
    changes = sum(a.size_hw != b.size_hw for a, b in pairwise(tiles))
    assert changes <= 1


def test_tags_of_a_crowd_do_not_cover_each_other(tiles: list[Tile]) -> None:
    dataset, videos = scenes()
    for maps in videos.values():
        tags = Tags(dataset.labels.classes)
        for found in maps:
            # Larger, so that there is room for some.
            large = np.kron(found.ids, np.ones((6, 6), np.uint32))
            boxes = tuple(
                replace(one, area=36 * one.area, box=tuple(6 * side for side in one.box))
                for one in found.segments
            )
            tiles.clear()
            tags.draw(flat(large.shape), Prediction(0, SegmentMap(large, boxes), dataset.labels))
            assert len(tiles) >= 2
            covered = np.zeros(large.shape, int)
            for tile in tiles:
                high, wide = tile.size_hw
                assert tile.top >= 0 and tile.left >= 0
                part = covered[tile.top : tile.top + high, tile.left : tile.left + wide]
                assert part.shape == tile.size_hw
                part += 1
            assert covered.max() == 1


@pytest.mark.parametrize("size_hw", [(1, 1), (9, 7), (31, 45)])
def test_pictures_that_are_smaller_than_a_tag(size_hw: tuple[int, int]) -> None:
    tagged(objects(np.full(size_hw, 3, np.uint16), {3: 1}), Tags(TOY.classes))


def test_stuff_has_no_tag() -> None:
    drawn, _ = tagged(objects(np.ones((240, 320), np.uint16), {1: 0}), Tags(TOY.classes))
    assert not drawn.any()


def test_pixels_that_are_not_square(tiles: list[Tile]) -> None:
    for aspect in (1.0, 2.0):
        tagged(disc((160, 120), 80), Tags(TOY.classes, pixel_aspect=aspect))
    square, wide = (tile.size_hw for tile in tiles)
    assert wide[0] == square[0] and wide[1] == pytest.approx(square[1] / 2, abs=2)


def colours_of(painter: Painter, found: SegmentMap) -> dict[int, tuple[int, ...]]:
    """The colour of each id in a solid overlay; it must be one."""
    image = flat(found.size_hw)
    painted = painter.paint(image, Prediction(0, found, TOY))
    colours = {}
    for one in found.segments or ():
        x, y, width, height = one.box
        mask = found.ids[y : y + height, x : x + width] == one.id
        inside = painted.y[y : y + height, x : x + width][mask]
        assert len(np.unique(inside)) == 1
        at = y // 2 + 1, x // 2 + 1
        colours[one.id] = int(inside[0]), int(painted.u[at]), int(painted.v[at])
    return colours


@pytest.mark.parametrize("first", [1, 70_000])
@pytest.mark.parametrize("count", [255, 256, 1500])
def test_as_many_colours_as_objects(count: int, first: int) -> None:
    painter = Painter(TOY, COLOURS, opacity=1.0)
    colours = colours_of(painter, crowd(count, first))
    expected = {
        number: Rgb(
            np.full((2, 2, 3), instance_colour(tuple(COLOURS[1].tolist()), number), np.uint8)
        )
        for number in colours
    }
    for number, rgb in expected.items():
        yuv = rgb.yuv420(BT709, True)
        wanted = int(yuv.y[0, 0]), int(yuv.u[0, 0]), int(yuv.v[0, 0])
        assert np.abs(np.subtract(colours[number], wanted)).max() <= 1
    again = colours_of(painter, crowd(9, first))
    assert again == {number: colours[number] for number in again}


def test_thousands_of_one_class_have_a_colour_each() -> None:
    for colour in ((64, 0, 128), (64, 64, 0), (255, 0, 0), (0, 0, 142), (90, 90, 90)):
        assert len({instance_colour(colour, i) for i in range(1, 3001)}) > 2990


def test_a_colour_stays_when_the_class_does_not() -> None:
    painter = Painter(TOY, COLOURS, opacity=1.0)
    before = colours_of(painter, crowd(4))
    assert colours_of(painter, crowd(4, kind=2)) == before
    other = Painter(TOY, COLOURS, opacity=1.0)
    assert colours_of(other, crowd(4, kind=2)) != before


@pytest.mark.parametrize("count", [4, 300])
def test_contours_and_void_of_many(count: int) -> None:
    found = crowd(count)
    ids = found.ids.copy()
    ids[:4, :4] = 0
    found = objects(ids, {one.id: 1 for one in found.segments if one.id > 1})
    image = flat(found.size_hw)
    painted = Painter(TOY, COLOURS, contours=True).paint(image, Prediction(0, found, TOY))
    assert (painted.y[ids == 0] == image.y[ids == 0]).all()
    assert (painted.y[ids != 0] != image.y[ids != 0]).any()


def test_option(tmp_path: Path) -> None:
    maps = [disc((160, 120), 60)]
    for labels in (False, True):
        assert write("overlay", tmp_path / f"{labels}.png", maps, labels=labels) == []
    plain, named = (
        np.asarray(Pillow.open(tmp_path / f"{labels}.png")).astype(int) for labels in (False, True)
    )
    changed = (plain != named).any(axis=2)
    assert changed.sum() > 500
    assert (maps[0].ids[changed] == 12).mean() > 0.99  # chroma is of two pixels
    semantic = SegmentMap(np.zeros((64, 64), np.uint8))
    (note,) = write("overlay", tmp_path / "x.mp4", [semantic] * 3, labels=True)
    assert note.startswith("--labels: the model is semantic")
