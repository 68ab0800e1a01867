"""Label sets: ids, things, selection by name."""

from __future__ import annotations

import contextlib
import itertools
import time

import pytest

from vidparse.errors import UsageError
from vidparse.labels import (
    are_related,
    available_labels,
    labels_from_json,
    labels_to_json,
    load_labels,
    unions,
    unions_of,
)


def test_vspw_is_the_published_list() -> None:
    labels = load_labels("vspw")
    assert len(labels) == 124
    assert len(labels.things) == 58
    assert labels.classes[60] == "person"
    assert labels.colours[48] == (140, 140, 140)
    assert labels.void == 255 and labels.dtype == "uint8"


def test_camvid_order_and_things() -> None:
    labels = load_labels("camvid")
    assert labels.classes[:3] == ("Sky", "Building", "Pole")
    assert {labels.classes[i] for i in labels.things} == {"Car", "Pedestrian", "Bicyclist"}


@pytest.mark.parametrize("name", available_labels())
def test_json_round_trip(name: str) -> None:
    labels = load_labels(name)
    assert labels_from_json(labels_to_json(labels)) == labels


def test_selection_by_name_and_id() -> None:
    labels = load_labels("camvid")
    assert labels.select(["car", " Pedestrian ", "0", "CAR"]) == (8, 9, 0)


def test_unknown_class_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"class 'Pedestrain': .*pedestrian|Pedestrian"):
        load_labels("camvid").select(["Pedestrain"])


def test_more_than_255_classes_use_16_bits() -> None:
    classes = [{"name": f"c{i}", "thing": False, "colour": [i % 256, 0, 0]} for i in range(300)]
    labels = labels_from_json({"name": "many", "classes": classes})
    assert labels.void == 65535
    assert labels.dtype == "uint16"
    assert labels.palette().shape == (256, 3)


def test_unknown_label_set() -> None:
    with pytest.raises(UsageError, match="camvid"):
        load_labels("camvidd")


CAT = {"name": "cat", "thing": True, "colour": [1, 2, 3]}


@pytest.mark.parametrize(
    ("record", "word"),
    [
        ([], "no name of the label set"),
        ({"name": 5, "classes": [CAT]}, "no name of the label set"),
        ({"name": "mine", "classes": []}, "no list of classes"),
        ({"name": "mine", "classes": ["cat"]}, "class 0 has no name"),
        ({"name": "mine", "classes": [CAT, CAT]}, "two classes are called 'cat'"),
        ({"name": "mine", "classes": [CAT | {"thing": "yes"}]}, "true or false"),
        ({"name": "mine", "classes": [CAT | {"colour": "red"}]}, r"\[red, green, blue\]"),
        ({"name": "mine", "classes": [CAT | {"colour": [300, 1, 1]}]}, "0 to 255"),
        ({"name": "mine", "classes": [CAT | {"colour": [3, 1]}]}, "0 to 255"),
        ({"name": "mine", "classes": [CAT | {"colour": [True, 1, 1]}]}, "0 to 255"),
        ({"name": "mine", "classes": [CAT | {"colour": [1.5, 1, 1]}]}, "0 to 255"),
        (
            {"name": "mine", "classes": [CAT | {"thing": 1}]},
            "class 0: thing is to be true or false",
        ),
        (
            {"name": "mine", "classes": [CAT, {"name": "dog", "colour": [1, 2, 3]}]},
            "class 1 has no thing, which is to be true or false",
        ),
        (
            {"name": "mine", "classes": [{"name": "cat", "thing": False, "color": [1, 2, 3]}]},
            r"class 0 has no colour, which is to be \[red, green, blue\]",
        ),
        ({"name": "mine", "classes": {"0": CAT}}, "no list of classes"),
        ({"name": "mine", "classes": [CAT | {"name": " "}]}, "class 0 has no name"),
        ({"name": "mine", "classes": [CAT | {"name": "\ud800"}]}, "class 0 has no name"),
        ({"name": " ", "classes": [CAT]}, "no name of the label set"),
        ({"name": "mine", "classes": [CAT] * 65536}, "65536 classes are more than 65535"),
    ],
)
def test_the_error_for_a_record_of_another_form_names_what_is_wrong(
    record: object, word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        labels_from_json(record)


def test_a_set_with_a_known_name_alone_is_no_union() -> None:
    camvid, idd = load_labels("camvid"), load_labels("idd-lite")
    assert unions_of(idd, camvid) == unions("idd-lite", "camvid")
    assert unions_of(camvid, camvid)["Car"] == ("Car",)
    mine = labels_from_json({"name": "idd-lite", "classes": [CAT]})
    with pytest.raises(UsageError, match="a name of its own"):
        unions_of(mine, camvid)
    assert camvid.difference(idd) == "class 0 is 'Sky', not 'drivable'"
    few = labels_from_json({"name": "few", "classes": labels_to_json(camvid)["classes"][:3]})
    assert few.difference(camvid) == "3 classes, not 11"


def test_a_class_is_the_union_of_its_parts() -> None:
    camvid, cityscapes = load_labels("camvid"), load_labels("cityscapes")
    table = unions_of(camvid, cityscapes)
    assert tuple(table) == camvid.classes
    assert table["Car"] == ("car", "truck", "bus", "train")
    assert table["Bicyclist"] == ("rider", "motorcycle", "bicycle")
    assert table["Road"] == ("road",)
    members = [member for names in table.values() for member in names]
    assert sorted(members) == sorted(cityscapes.classes)
    for coarse, fine in itertools.product(available_labels(), repeat=2):
        with contextlib.suppress(UsageError):
            assert all(unions(coarse, fine).values()), (coarse, fine)
    assert are_related("camvid", "cityscapes") and are_related("cityscapes", "camvid")
    assert are_related("voc", "voc") and not are_related("voc", "camvid")
    assert not are_related("mine", "camvid")
    with pytest.raises(UsageError, match=r"camvid to cityscapes, .*idd-lite to cityscapes"):
        unions("camvid", "voc")


def test_many_classes_are_read_in_no_time() -> None:
    classes = [{"name": f"class {i}", "thing": False, "colour": [1, 2, 3]} for i in range(40_000)]
    began = time.process_time()
    assert len(labels_from_json({"name": "mine", "classes": classes})) == 40_000
    assert time.process_time() - began < 3  # looking each name up among all took 17 s


@pytest.mark.parametrize(
    ("label_set", "name", "offered"),
    [
        ("voc", "people", "person"),
        ("voc", "Plane", "aeroplane"),
        ("voc", "couch", "sofa"),
        ("camvid", "person", "Pedestrian"),
        ("camvid", "sidewalk", "Pavement"),
        ("cityscapes", "pavement", "sidewalk"),
        ("cityscapes", "motorbike", "motorcycle"),
        ("camvid", "kid", "Pedestrian"),
        ("voc", "coach", "bus"),
        ("ade20k", "TrafficLight", "traffic light"),
        ("vspw", "ship", "ship_or_boat"),
        ("vspw", "cell phone", "Mobile_phone"),
        ("camvid", "Raod", "Road"),
    ],
)
def test_other_words_for_a_class_are_understood(label_set: str, name: str, offered: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_labels(label_set).select([name])
    assert str(caught.value) == f"class '{name}': not in label set '{label_set}'; try {offered}"
