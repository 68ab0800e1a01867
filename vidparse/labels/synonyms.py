"""Words that label sets use for one thing, to answer those who write another one."""

from __future__ import annotations

from collections.abc import Iterable

_GROUPS = (
    {"person", "people", "persons", "pedestrian", "pedestrians", "human", "man", "woman"},
    {"bicyclist", "cyclist", "rider"},
    {"bicycle", "bike", "cycle"},
    {"motorbike", "motorcycle", "motorcycle/moped", "motorcyclescooter"},
    {"car", "cars", "automobile", "vehicle", "vehicles"},
    {"truck", "lorry", "truck_bus"},
    {"aeroplane", "airplane", "plane", "aircraft"},
    {"tvmonitor", "tv", "television", "monitor", "screen"},
    {"sofa", "couch", "settee"},
    {"diningtable", "dining table", "table", "desk"},
    {"pottedplant", "potted plant", "plant", "houseplant"},
    {"tree", "trees", "vegetation", "plant"},
    {"pavement", "sidewalk", "footpath", "footway"},
    {"road", "street", "roadway", "drivable"},
    {"building", "buildings", "house"},
    {"signsymbol", "traffic sign", "sign", "signboard"},
    {"pole", "column_pole", "post"},
    {"fence", "fencing"},
    {"cow", "cattle"},
    {"cat", "kitten"},
    {"dog", "puppy"},
)


def classes_like(name: str, classes: Iterable[str]) -> list[str]:
    """Those of `classes` that mean what `name` does, by the words that people use for it."""
    key = name.strip().casefold()
    words = {key}.union(*(group for group in _GROUPS if key in group))
    return [one for one in classes if one.casefold() in words]
