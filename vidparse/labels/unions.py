"""How label sets contain one another, by class name: unions of finer classes, and regroupings."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from vidparse.errors import UsageError
from vidparse.labels.labels import Labels

# (coarse, fine): each coarse class and the fine ones that its pixels may be of. A fine class may
# be in several unions.
_UNIONS: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("idd-lite", "camvid"): {
        "drivable": ("Road",),
        "non-drivable": ("Pavement", "Tree"),
        "living thing": ("Pedestrian", "Bicyclist"),
        "vehicle": ("Car", "Bicyclist"),
        "roadside object": ("Pavement", "Building", "Pole", "SignSymbol", "Fence"),
        "far object": ("Building", "Tree"),
        "sky": ("Sky",),
    },
}

# (from, to): each class and the one of the other set that it is part of.
_REGROUPED: dict[tuple[str, str], dict[str, str]] = {
    ("cityscapes", "camvid"): {
        "road": "Road",
        "sidewalk": "Pavement",
        "building": "Building",
        "wall": "Building",
        "fence": "Fence",
        "pole": "Pole",
        "traffic light": "SignSymbol",
        "traffic sign": "SignSymbol",
        "vegetation": "Tree",
        "terrain": "Tree",
        "sky": "Sky",
        "person": "Pedestrian",
        "rider": "Bicyclist",
        "car": "Car",
        "truck": "Car",
        "bus": "Car",
        "train": "Car",
        "motorcycle": "Bicyclist",
        "bicycle": "Bicyclist",
    },
    ("coco", "voc"): {  # in the order of the 80 class numbers that YOLO label files use
        "person": "person",
        "bicycle": "bicycle",
        "car": "car",
        "motorcycle": "motorbike",
        "airplane": "aeroplane",
        "bus": "bus",
        "train": "train",
        "truck": "background",
        "boat": "boat",
        "traffic light": "background",
        "fire hydrant": "background",
        "stop sign": "background",
        "parking meter": "background",
        "bench": "background",
        "bird": "bird",
        "cat": "cat",
        "dog": "dog",
        "horse": "horse",
        "sheep": "sheep",
        "cow": "cow",
        "elephant": "background",
        "bear": "background",
        "zebra": "background",
        "giraffe": "background",
        "backpack": "background",
        "umbrella": "background",
        "handbag": "background",
        "tie": "background",
        "suitcase": "background",
        "frisbee": "background",
        "skis": "background",
        "snowboard": "background",
        "sports ball": "background",
        "kite": "background",
        "baseball bat": "background",
        "baseball glove": "background",
        "skateboard": "background",
        "surfboard": "background",
        "tennis racket": "background",
        "bottle": "bottle",
        "wine glass": "background",
        "cup": "background",
        "fork": "background",
        "knife": "background",
        "spoon": "background",
        "bowl": "background",
        "banana": "background",
        "apple": "background",
        "sandwich": "background",
        "orange": "background",
        "broccoli": "background",
        "carrot": "background",
        "hot dog": "background",
        "pizza": "background",
        "donut": "background",
        "cake": "background",
        "chair": "chair",
        "couch": "sofa",
        "potted plant": "pottedplant",
        "bed": "background",
        "dining table": "diningtable",
        "toilet": "background",
        "tv": "tvmonitor",
        "laptop": "background",
        "mouse": "background",
        "remote": "background",
        "keyboard": "background",
        "cell phone": "background",
        "microwave": "background",
        "oven": "background",
        "toaster": "background",
        "sink": "background",
        "refrigerator": "background",
        "book": "background",
        "clock": "background",
        "vase": "background",
        "scissors": "background",
        "teddy bear": "background",
        "hair drier": "background",
        "toothbrush": "background",
    },
}


def unions(coarse: str, fine: str) -> MappingProxyType[str, tuple[str, ...]]:
    """Of each class of label set `coarse`, the classes of `fine` that its pixels may be of.

    Raises:
        UsageError: there is no table for these two.
    """
    if (coarse, fine) not in _UNIONS:
        raise UsageError(
            f"labels '{coarse}': not known as unions of '{fine}'; known are {_known(_UNIONS)}"
        )
    return MappingProxyType(_UNIONS[coarse, fine])


def regrouped(labels_from: str, labels_to: str) -> MappingProxyType[str, str]:
    """Of each class of `labels_from`, the class of `labels_to` that it is part of.

    Raises:
        UsageError: there is no table for these two.
    """
    if (labels_from, labels_to) not in _REGROUPED:
        raise UsageError(
            f"labels '{labels_from}': can not be regrouped to '{labels_to}'; "
            f"known are {_known(_REGROUPED)}"
        )
    return MappingProxyType(_REGROUPED[labels_from, labels_to])


def unions_of(coarse: Labels, fine: Labels) -> dict[str, tuple[str, ...]]:
    """`unions` of label sets at hand: sets of the same classes are unions of one class each, and a
    set that has only the name of a known one is none.

    Raises:
        UsageError: they are not known as unions.
    """
    if set(coarse.classes) <= set(fine.classes):
        return {name: (name,) for name in coarse.classes}
    table = unions(coarse.name, fine.name)
    members = {member for names in table.values() for member in names}
    if set(coarse.classes) != set(table) or not members <= set(fine.classes):
        raise UsageError(
            f"labels '{coarse.name}' and '{fine.name}': not the classes of the known sets of these "
            "names; give a set of your own a name of its own"
        )
    return dict(table)


def _known(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{one} to {other}" for one, other in sorted(pairs))
