"""A label set: what the class ids mean, which are things, and in which colour they are drawn."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from vidparse.errors import UsageError
from vidparse.textfiles import parse_json

MOST_CLASSES = 65535  # whose ids and void fit 16 bits
LABEL_FORM = (
    '{"name": "mine", "classes": [{"name": "cat", "thing": true, "colour": [220, 20, 60]}]}'
)


@dataclass(frozen=True, slots=True)
class Labels:
    """Class names by id, with drawing colours (RGB) and the ids that are countable things."""

    name: str
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    things: frozenset[int]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def void(self) -> int:
        """The id that says "nothing here": 255, or 65535 when the class ids need 16 bits."""
        return 255 if len(self.classes) <= 255 else 65535

    @property
    def dtype(self) -> np.dtype:
        """Narrowest unsigned type that holds every class id and void."""
        return np.dtype(np.uint8 if self.void == 255 else np.uint16)

    def select(self, names: Iterable[str]) -> tuple[int, ...]:
        """Class ids for names or decimal ids, case-insensitive.

        Raises:
            UsageError: a name is not in this label set; the message offers the nearest ones.
        """
        by_name = {name.casefold(): i for i, name in enumerate(self.classes)}
        chosen = []
        for name in names:
            key = name.strip().casefold()
            if key in by_name:
                chosen.append(by_name[key])
            elif key.isdecimal() and int(key) < len(self.classes):
                chosen.append(int(key))
            else:
                # Offer near spellings, or words that mean the same, before a list.
                near = [self.classes[by_name[k]] for k in difflib.get_close_matches(key, by_name)]
                near = classes_like(key, self.classes) or near
                known = near or list(self.classes[:12])
                more = ", ..." if not near and len(self.classes) > 12 else ""
                raise UsageError(
                    f"class '{name.strip()}': not in label set '{self.name}'; "
                    f"try {', '.join(known)}{more}"
                )
        return tuple(dict.fromkeys(chosen))

    def difference(self, other: Labels) -> str:
        """In words, the first way in which the classes are not those of another set."""
        for i, (mine, theirs) in enumerate(zip(self.classes, other.classes, strict=False)):
            if mine != theirs:
                return f"class {i} is '{mine}', not '{theirs}'"
        return f"{len(self)} classes, not {len(other)}"

    def palette(self) -> np.ndarray:
        """RGB uint8 (256, 3) by id; unused ids and void are black. Ids above 255 repeat colours."""
        table = np.zeros((256, 3), np.uint8)
        count = min(len(self.colours), 255)
        table[:count] = self.colours[:count]
        return table


@lru_cache(maxsize=1)
def available_labels() -> tuple[str, ...]:
    """Names of the label sets that ship with vidparse."""
    names = [entry.name for entry in files("vidparse.labels").iterdir()]
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


@lru_cache(maxsize=16)
def load_labels(name: str) -> Labels:
    """A label set by name.

    Raises:
        UsageError: there is none of that name.
    """
    return labels_from_json(label_record(name))


@lru_cache(maxsize=16)
def label_record(name: str) -> dict[str, Any]:
    """The json of a label set that ships with vidparse.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in available_labels():
        raise UsageError(f"label set '{name}': unknown; try {', '.join(available_labels())}")
    return parse_json((files("vidparse.labels") / f"{name}.json").read_bytes())


def labels_from_json(record: Any) -> Labels:
    """The inverse of :func:`labels_to_json`; this is also the form label files are written in.

    Raises:
        ValueError: of another form; the message says where.
    """
    if not isinstance(record, dict) or not _is_name(record.get("name")):
        raise ValueError("no name of the label set")
    classes = record.get("classes")
    if not isinstance(classes, list) or not classes:
        raise ValueError("no list of classes")

    for place, entry in enumerate(classes):
        if not isinstance(entry, dict) or not _is_name(entry.get("name")):
            raise ValueError(f"class {place} has no name")
        for key, fits, form in _FIELDS:
            if key not in entry:
                raise ValueError(f"class {place} has no {key}, which is to be {form}")
            if not fits(entry[key]):
                raise ValueError(f"class {place}: {key} is to be {form}")

    names = [entry["name"] for entry in classes]
    if len(names) > MOST_CLASSES:
        raise ValueError(f"{len(names)} classes are more than {MOST_CLASSES}")
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise ValueError(f"two classes are called '{twice}'")

    return Labels(
        name=record["name"],
        classes=tuple(names),
        colours=tuple(tuple(entry["colour"]) for entry in classes),
        things=frozenset(i for i, entry in enumerate(classes) if entry["thing"]),
    )


def _is_name(value: Any) -> bool:
    """True for text that can be shown and written: not blank, without half a surrogate pair."""
    if not isinstance(value, str) or not value.strip():
        return False
    return value.encode("utf-8", "replace").decode() == value


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in value)
    )


# of each class beside its name: field, check, form
_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("thing", lambda value: isinstance(value, bool), "true or false"),
    ("colour", _is_colour, "[red, green, blue], each 0 to 255"),
)


def labels_to_json(labels: Labels) -> dict:
    """Plain JSON values that travel inside checkpoints and exported models."""
    return {
        "name": labels.name,
        "classes": [
            {"name": name, "thing": i in labels.things, "colour": list(colour)}
            for i, (name, colour) in enumerate(zip(labels.classes, labels.colours, strict=True))
        ],
    }


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
