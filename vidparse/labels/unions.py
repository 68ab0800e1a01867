"""How label sets contain one another, by class name: unions of finer classes, and regroupings."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from vidparse.errors import UsageError

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


def _known(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{one} to {other}" for one, other in sorted(pairs))
