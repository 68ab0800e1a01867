"""`--matte` names classes and objects; one line names what cannot be had."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from vidparse.errors import UsageError
from vidparse.labels import load_labels
from vidparse.maps import Segment, SegmentMap
from vidparse.matting.matter import Matter
from vidparse.matting.selection import select_mattes

CAMVID = load_labels("camvid")
CAR, ROAD = CAMVID.classes.index("Car"), CAMVID.classes.index("Road")
IDS = np.array([[7, 7, 8], [0, 9, 9]], np.uint16)
OBJECTS = SegmentMap(
    IDS,
    (
        Segment(7, CAR, True, 0.9, 2, (0, 0, 2, 1)),
        Segment(8, CAR, True, 0.9, 1, (2, 0, 1, 1)),
        Segment(9, ROAD, False, 0.9, 2, (1, 1, 2, 1)),
    ),
)


def masks(words: tuple[str, ...] | None, found: SegmentMap) -> dict[str, list[list[int]]]:
    chosen = select_mattes(words, CAMVID, is_panoptic=found.segments is not None, kept=None)
    return {name: (mask // 255).tolist() for name, mask in chosen.masks(found, CAMVID).items()}


def test_classes_and_objects_make_one_matte() -> None:
    assert masks(("car", "Road"), OBJECTS) == {"car+Road": [[1, 1, 1], [0, 1, 1]]}
    assert masks(("car:8", "road"), OBJECTS) == {"car-8+road": [[0, 0, 1], [0, 1, 1]]}
    assert masks(("road:8",), OBJECTS) == {"road-8": [[0, 0, 0], [0, 0, 0]]}  # 8 is a car
    assert masks(None, OBJECTS) == {"things": [[1, 1, 1], [0, 0, 0]]}


def test_each_gives_a_matte_for_every_object_and_class() -> None:
    assert masks(("each",), OBJECTS) == {
        "Car-7": [[1, 1, 0], [0, 0, 0]],
        "Car-8": [[0, 0, 1], [0, 0, 0]],
        "Road": [[0, 0, 0], [0, 1, 1]],
    }
    classes = SegmentMap(np.array([[CAR, ROAD, CAMVID.void]], np.uint8))
    assert masks(("each",), classes) == {"Car": [[1, 0, 0]], "Road": [[0, 1, 0]]}


@pytest.mark.parametrize(
    ("words", "kept", "message"),
    [
        (("cra",), None, "class 'cra': not in label set 'camvid'; try Car"),
        (("car:x",), None, "--matte car:x: not an object; write class:id"),
        (("car:7",), None, "the model finds classes and no objects"),
        (("each", "car"), None, "--matte each: stands alone"),
        (("car",), (ROAD,), "--matte Car: --classes leaves it out"),
        (None, (ROAD,), "--matte: --classes keeps no countable things .* as in --matte Road"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(words, kept, message) -> None:
    with pytest.raises(UsageError, match=message):
        select_mattes(words, CAMVID, is_panoptic=False, kept=kept)


def test_an_object_of_a_class_that_is_left_out_is_refused() -> None:
    with pytest.raises(UsageError, match="--matte Car: --classes leaves it out"):
        select_mattes(("car:7",), CAMVID, is_panoptic=True, kept=(ROAD,))


@pytest.mark.skipif(find_spec("pymatting") is not None, reason="pymatting is installed")
def test_closed_form_edges_need_their_library() -> None:
    chosen = select_mattes(("Car",), CAMVID, is_panoptic=False, kept=None)
    with pytest.raises(UsageError, match=r"needs pymatting; pip install 'vidparse\[matting\]'"):
        Matter(CAMVID, chosen, edges="closed-form")
