"""Label sets: ids, things, selection by name."""

from __future__ import annotations

import pytest

from vidparse.errors import UsageError
from vidparse.labels import available_labels, labels_from_json, labels_to_json, load_labels


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
