"""Everybody can distinguish class colours; measured with formulas of the test's own."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from vidparse.image import BT709, Rgb
from vidparse.labels import Labels, available_labels, common_classes, load_labels
from vidparse.labels.colours import (
    class_colours,
    distinct_colours,
    drawn_colours,
    hue_wheel,
    uncoloured,
)
from vidparse.labels.vision import as_seen, difference, least_differences
from vidparse.maps import Prediction, Segment, SegmentMap
from vidparse.sinks.legend import Legend
from vidparse.sinks.overlay import VOID_SLOT, Painter, SlotMaker

# Least CIEDE2000: for eyes with all cones, without green ones, without red ones.
LEAST = {
    "300vw": (30, 17, 17),
    "camvid": (19, 13, 13),
    "idd-lite": (24, 13, 13),
    "cityscapes": (14.9, 10, 10),
    "voc": (10.5, 9.7, 9.7),
    "camvid-32": (8.5, 7.7, 7.7),
    "vspw": (3.5, 3.3, 3.3),
    "ade20k": (3, 2.9, 2.9),
    "davis": (0, 0, 0),
}
COMMON = {"vspw": (9, 9, 9), "ade20k": (10.5, 8.5, 8.5)}  # the same, of classes seen together
MACHADO = {
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
}
VIENOT = {  # Viénot, Brettel, Mollon 1999: one plane of colours, in linear RGB
    "deuteranopia": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "protanopia": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
}


def lab(rgb: np.ndarray, view: list[list[float]] | None = None) -> np.ndarray:
    """CIE Lab (N, 3) of RGB (N, 3) of 0 to 255."""
    encoded = np.asarray(rgb, np.float64) / 255
    linear = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    if view is not None:
        linear = np.clip(linear @ np.array(view).T, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(to_xyz).T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


def ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """Of two colours, by Sharma et al., step by step."""
    (l1, a1, b1), (l2, a2, b2) = one.tolist(), other.tolist()
    mean = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    stretch = 1 + 0.5 * (1 - math.sqrt(mean**7 / (mean**7 + 25**7)))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))

    dh, h = h2 - h1, (h1 + h2) / 2
    if c1 * c2 == 0:
        dh, h = 0, h1 + h2
    elif abs(dh) > 180:
        dh += 360 if dh < 0 else -360
        h += 180 if h1 + h2 < 360 else -180
    turned = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(dh / 2))

    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    waves = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.2, 4, -63))
    t = 1 + sum(k * math.cos(math.radians(n * h + at)) for k, n, at in waves)
    s_l = 1 + 0.015 * (light - 50) ** 2 / math.sqrt(20 + (light - 50) ** 2)
    s_c, s_h = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    theta = 30 * math.exp(-(((h - 275) / 25) ** 2))
    r = -2 * math.sqrt(chroma**7 / (chroma**7 + 25**7)) * math.sin(math.radians(2 * theta))
    x, y, z = (l2 - l1) / s_l, (c2 - c1) / s_c, turned / s_h
    return math.sqrt(x * x + y * y + z * z + r * y * z)


def least(rgb: np.ndarray, view: list[list[float]] | None = None) -> float:
    colours = lab(rgb, view)
    return min((ciede2000(*pair) for pair in combinations(colours, 2)), default=math.inf)


def coloured(labels: Labels) -> list[int]:
    return [i for i, name in enumerate(labels.classes) if name != "background"]


def test_the_measure_gives_what_is_known() -> None:
    assert lab(np.array([[255, 255, 255]]))[0] == pytest.approx([100, 0, 0], abs=0.1)
    assert lab(np.array([[255, 0, 0]]))[0] == pytest.approx([53.2, 80.1, 67.2], abs=0.2)
    red_and_green = np.array([[200, 60, 40], [110, 120, 30]])
    assert least(red_and_green) > 40
    assert least(red_and_green, VIENOT["deuteranopia"]) < 10


def test_differences_are_those_that_sharma_published() -> None:
    """Sharma, Wu and Dalal 2005, table 1: all 34 pairs, to its four decimals."""
    table = np.loadtxt(Path(__file__).with_name("sharma2005.csv"), delimiter=",", skiprows=1)
    assert table.shape == (34, 7)
    for one, other, known in zip(table[:, :3], table[:, 3:6], table[:, 6], strict=True):
        assert ciede2000(one, other) == pytest.approx(known, abs=6e-5)
    for pairs in ((table[:, :3], table[:, 3:6]), (table[:, 3:6], table[:, :3])):
        assert difference(*pairs) == pytest.approx(table[:, 6], abs=6e-5)


def test_greys_and_equal_colours_have_a_difference() -> None:
    greys = lab(np.array([[0, 0, 0], [255, 255, 255]]))
    assert difference(greys[0], greys[1]) == pytest.approx(100, abs=0.1)
    assert difference(greys, greys).tolist() == [0, 0]


def test_eyes_of_the_package_see_what_those_of_the_tests_do() -> None:
    colours = np.random.default_rng(3).integers(0, 256, (50, 3))
    for seen, view in zip(as_seen(colours), (None, *MACHADO.values()), strict=True):
        assert seen == pytest.approx(lab(colours, view), abs=0.3)
    whites = as_seen(np.array([[255, 255, 255]]))
    assert whites[:, 0] == pytest.approx(np.array([[100, 0, 0]] * 3), abs=0.1)


def test_every_label_set_is_measured() -> None:
    assert set(LEAST) == set(available_labels())


@pytest.mark.parametrize("name", sorted(LEAST))
def test_colours_of_overlays_are_apart_in_everybodys_eyes(name: str) -> None:
    labels = load_labels(name)
    drawn = drawn_colours(labels, None)[coloured(labels)]
    published = class_colours(labels, None)[coloured(labels)]
    common = drawn_colours(labels, None)[list(common_classes(labels))]
    for kind, least_one in zip((None, *MACHADO), COMMON.get(name, (0, 0, 0)), strict=True):
        assert least(common, MACHADO[kind] if kind else None) >= least_one
    wanted = dict(zip(("all", "deuteranopia", "protanopia"), LEAST[name], strict=True))
    assert least(drawn) >= max(wanted["all"], least(published) if len(drawn) > 1 else 0)
    for kind in ("deuteranopia", "protanopia"):
        assert least(drawn, MACHADO[kind]) >= wanted[kind]
        assert least(drawn, VIENOT[kind]) >= (0.6 if len(drawn) < 100 else 0.3) * wanted[kind]
        assert least(drawn, MACHADO[kind]) >= least(published, MACHADO[kind])
    lightness = lab(drawn)[:, 0]
    assert lightness.min() >= 29 and lightness.max() <= 94  # shows on dark and bright pictures


def test_few_classes_keep_the_look_that_was_published() -> None:
    labels = load_labels("camvid")
    moved = np.linalg.norm(
        lab(drawn_colours(labels, None)) - lab(class_colours(labels, None)), axis=1
    )
    assert np.median(moved) < 15


@pytest.mark.parametrize(("count", "wanted"), [(3, 13), (8, 13), (20, 9), (80, 4.2), (150, 2.7)])
def test_distinct_colours(count: int, wanted: float) -> None:
    colours = distinct_colours(count)
    assert min(least(colours), *(least(colours, view) for view in MACHADO.values())) >= wanted
    assert (colours == distinct_colours(count)).all()
    assert np.hypot(*lab(colours)[:, 1:].T).min() > 19.5  # none is grey


def test_no_class_of_a_street_is_grey_by_distinct_colours() -> None:
    """Grey cars on a street look like pixels without a class."""
    colours = class_colours(load_labels("camvid"), "distinct")
    assert np.hypot(*lab(colours)[:, 1:].T).min() > 19.5
    assert min(least(colours), *(least(colours, view) for view in MACHADO.values())) >= 12


def test_one_colour_and_none() -> None:
    assert distinct_colours(0).shape == (0, 3)
    assert distinct_colours(1).shape == (1, 3)


def test_more_classes_than_colours_still_have_some() -> None:
    labels = Labels("many", tuple(map(str, range(3000))), ((1, 1, 1),) * 3000, frozenset())
    assert drawn_colours(labels, "distinct").shape == (3000, 3)


def test_the_summary_of_a_palette_is_its_least_differences() -> None:
    colours = distinct_colours(8)
    found = [least(colours), *(least(colours, view) for view in MACHADO.values())]
    assert least_differences(colours) == pytest.approx(found, abs=0.05)
    assert least_differences(colours[:1]) == (math.inf,) * 3


class TestWhichColours:
    def test_published_ones_stay_in_files_and_by_name(self) -> None:
        labels = load_labels("camvid")
        assert class_colours(labels, None).tolist() == [list(c) for c in labels.colours]
        for palette in ("published", "camvid"):
            assert drawn_colours(labels, palette).tolist() == [list(c) for c in labels.colours]

    def test_the_default_has_a_name(self) -> None:
        for name in ("camvid", "voc", "cityscapes"):
            labels = load_labels(name)
            assert (class_colours(labels, "apart") == drawn_colours(labels, None)).all()
        assert class_colours(load_labels("voc"), "apart")[0].tolist() == [0, 0, 0]

    def test_colours_of_ones_own_stay(self) -> None:
        labels = Labels("mine", ("a", "b"), ((200, 0, 0), (190, 0, 0)), frozenset())
        assert drawn_colours(labels, None).tolist() == [[200, 0, 0], [190, 0, 0]]

    def test_colours_that_vidparse_made_up_move(self) -> None:
        rows = tuple(map(tuple, hue_wheel(12).tolist()))
        labels = Labels("any", tuple("abcdefghijkl"), rows, frozenset())
        assert (drawn_colours(labels, None) == distinct_colours(12)).all()


class TestBackground:
    VOC = load_labels("voc")

    def test_is_void_to_the_eye(self) -> None:
        assert uncoloured(self.VOC) == {0}
        ids = np.zeros((8, 8), np.uint8)
        ids[2:6, 2:6] = 15
        image = Rgb(np.full((8, 8, 3), 90, np.uint8)).yuv420(BT709, False)
        for contours in (False, True):
            painter = Painter(self.VOC, drawn_colours(self.VOC, None), contours=contours)
            painted = painter.paint(image, Prediction(0, SegmentMap(ids, None), self.VOC))
            assert (painted.y[ids == 0] == image.y[ids == 0]).all()
            assert (painted.y[ids == 15] != image.y[ids == 15]).all()

    def test_of_segments_and_of_wide_ids(self) -> None:
        ids = np.array([[1, 1, 2, 2]], np.uint16)
        segments = (
            Segment(1, 0, False, None, 2, (0, 0, 2, 1)),
            Segment(2, 15, True, None, 2, (2, 0, 2, 1)),
        )
        maker = SlotMaker(self.VOC, drawn_colours(self.VOC, None))
        slots = maker(Prediction(0, SegmentMap(ids, segments), self.VOC))
        assert (slots.map[0, :2] == VOID_SLOT).all() and (slots.map[0, 2:] != VOID_SLOT).all()
        names = ("background", *map(str, range(299)))
        wide = Labels("wide", names, ((9, 9, 9),) * 300, frozenset())
        slots = SlotMaker(wide, class_colours(wide, None))(
            Prediction(0, SegmentMap(np.array([[0, 299]], np.uint16), None), wide)
        )
        assert slots.map[0, 0] == VOID_SLOT != slots.map[0, 1]

    def test_is_not_in_the_legend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn: list[list[str]] = []
        monkeypatch.setattr(
            "vidparse.sinks.legend._tile", lambda entries, *_: drawn.append(entries)
        )
        colours = drawn_colours(self.VOC, None)
        legend = Legend(self.VOC.classes, colours)
        ids = np.zeros((64, 64), np.uint8)
        ids[20:40, 20:40] = 15
        image = Rgb(np.full((64, 64, 3), 90, np.uint8)).yuv420(BT709, False)
        painter = Painter(self.VOC, colours, legend=legend)
        painter.paint(image, Prediction(0, SegmentMap(ids, None), self.VOC))
        assert [[name for name, _ in entries] for entries in drawn] == [["person"]]


def panel(size_hw: tuple[int, int], pixel_aspect: float = 1.0) -> np.ndarray:
    """Where a legend of CamVid's longest names lies: the columns and rows that it changes."""
    labels = load_labels("camvid")
    image = Rgb(np.full((*size_hw, 3), 128, np.uint8)).yuv420(BT709, True)
    legend = Legend(labels.classes, drawn_colours(labels, None), pixel_aspect=pixel_aspect)
    slots = np.tile(np.array([6, 9], np.uint8), (image.u.shape[0], image.u.shape[1]))
    before = image.y.copy()
    legend.draw(image, slots, np.arange(256))
    return image.y.astype(int) - before


class TestLegend:
    def test_letters_of_anamorphic_video_look_as_others(self) -> None:
        """A panel on pixels twice as wide as tall has half the columns, and the same rows."""
        square, flat = panel((480, 640)), panel((480, 640), 2.0)
        (rows, columns), (flat_rows, flat_columns) = (
            (np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0)))
            for found in (square, flat)
        )
        assert len(flat_rows) == len(rows)
        assert len(flat_columns) == pytest.approx(len(columns) / 2, abs=3)
        tall = np.flatnonzero(panel((480, 640), 0.5).any(axis=0))
        assert len(tall) == pytest.approx(2 * len(columns), abs=4)

    @pytest.mark.parametrize("width", [64, 90, 120])
    def test_names_fit_narrow_pictures(self, width: int) -> None:
        found = panel((160, width))
        columns = np.flatnonzero(found.any(axis=0))
        assert columns[0] > 0 and columns[-1] < width - 1
        inside = found[:, : columns[-1] + 1]
        bright = np.flatnonzero((inside > 60).any(axis=0))  # letters
        assert columns[-1] - bright[-1] >= 2  # the last letter ends before the panel does
