"""Label sets: what class ids mean, which are things, their colours, and how sets relate.

Relations are by class name, and stand in the json of the coarser set: "unions" has, by fine set,
the classes that the pixels of each coarse class may be of (a fine class may be in several unions);
"parts" has, by fine set, the one coarse class that each fine class is part of, which makes unions,
too. "common" lists the classes that pictures mostly show, of sets with more classes than colours
could show.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple, TypeGuard

import numpy as np

from vidparse.errors import UsageError
from vidparse.textfiles import Json, JsonTable, as_list, as_table, as_word, parse_json

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
        """The id of pixels without a class: 255, or 65535 when the class ids need 16 bits."""
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
def label_record(name: str) -> JsonTable:
    """The json of a label set that ships with vidparse.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in available_labels():
        raise UsageError(f"label set '{name}': unknown; try {', '.join(available_labels())}")
    text = (files("vidparse.labels") / f"{name}.json").read_bytes()
    return as_table(parse_json(text), "the label set")


@lru_cache(maxsize=16)
def common_classes(labels: Labels) -> tuple[int, ...]:
    """Ids of the classes of a known set that are often seen together; of other sets none.

    They are the list "common" of its json, where it has more classes than colours could show.
    """
    if labels.name not in available_labels():
        return ()
    listed = label_record(labels.name).get("common", [])
    names = [as_word(name, "common") for name in as_list(listed, "common")]
    known = {name: i for i, name in enumerate(labels.classes)}
    return tuple(known[name] for name in names if name in known)


def labels_from_json(record: Json) -> Labels:
    """The inverse of :func:`labels_to_json`; this is also the form label files are written in.

    Raises:
        ValueError: of another form; the message names the place.
    """
    table = record if isinstance(record, dict) else {}
    name, listed = table.get("name"), table.get("classes")
    if not _is_name(name):
        raise ValueError("no name of the label set")
    if not isinstance(listed, list) or not listed:
        raise ValueError("no list of classes")

    classes = [_class(place, entry) for place, entry in enumerate(listed)]
    names = [one.name for one in classes]
    if len(names) > MOST_CLASSES:
        raise ValueError(f"{len(names)} classes are more than {MOST_CLASSES}")
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise ValueError(f"two classes are called '{twice}'")

    return Labels(
        name=name,
        classes=tuple(names),
        colours=tuple(one.colour for one in classes),
        things=frozenset(i for i, one in enumerate(classes) if one.thing),
    )


class _Class(NamedTuple):
    name: str
    thing: bool
    colour: tuple[int, int, int]


def _class(place: int, entry: Json) -> _Class:
    """The entry of a class. Raises: ValueError: a field is missing, or of another form."""
    fields = entry if isinstance(entry, dict) else {}
    name, thing, colour = fields.get("name"), fields.get("thing"), fields.get("colour")
    if not _is_name(name):
        raise ValueError(f"class {place} has no name")
    for key, form in _FORMS.items():
        if key not in fields:
            raise ValueError(f"class {place} has no {key}, which is to be {form}")

    if not isinstance(thing, bool):
        raise ValueError(f"class {place}: thing is to be {_FORMS['thing']}")
    if not _is_colour(colour):
        raise ValueError(f"class {place}: colour is to be {_FORMS['colour']}")
    red, green, blue = colour
    return _Class(name, thing, (red, green, blue))


_FORMS = {"thing": "true or false", "colour": "[red, green, blue], each 0 to 255"}


def _is_name(value: Json) -> TypeGuard[str]:
    """True for text that can be shown and written: not blank, without half a surrogate pair."""
    if not isinstance(value, str) or not value.strip():
        return False
    return value.encode("utf-8", "replace").decode() == value


def _is_colour(value: Json) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in value)
    )


def labels_to_json(labels: Labels) -> dict[str, object]:
    """Plain JSON values that travel inside checkpoints and exported models."""
    return {
        "name": labels.name,
        "classes": [
            {"name": name, "thing": i in labels.things, "colour": list(colour)}
            for i, (name, colour) in enumerate(zip(labels.classes, labels.colours, strict=True))
        ],
    }


# Words that people use for one class, as `_words` has them: small letters, no spaces.
_GROUPS = (
    {"person", "people", "persons", "pedestrian", "pedestrians", "human", "man", "woman"},
    {"person", "pedestrian", "child", "children", "kid", "boy", "girl"},
    {"bicyclist", "cyclist", "rider"},
    {"bicycle", "bike", "cycle"},
    {"motorbike", "motorcycle", "motorcyclescooter", "moped", "scooter", "minibike"},
    {"car", "cars", "automobile", "vehicle", "vehicles"},
    {"car", "van", "suv", "taxi"},
    {"truck", "lorry", "truckbus"},
    {"bus", "coach", "minibus", "truckbus"},
    {"train", "tram", "streetcar"},
    {"boat", "ship"},
    {"aeroplane", "airplane", "plane", "aircraft"},
    {"tvmonitor", "tv", "television", "monitor", "screen"},
    {"computer", "laptop", "notebook"},
    {"mobilephone", "phone", "cellphone", "smartphone"},
    {"sofa", "couch", "settee"},
    {"chair", "armchair", "seat"},
    {"diningtable", "table", "desk"},
    {"pottedplant", "plant", "houseplant"},
    {"tree", "trees", "vegetation", "plant"},
    {"grass", "lawn", "terrain", "meadow"},
    {"sea", "ocean"},
    {"floor", "ground"},
    {"pavement", "sidewalk", "footpath", "footway"},
    {"road", "street", "roadway", "drivable"},
    {"building", "buildings", "house"},
    {"signsymbol", "trafficsign", "sign", "signboard"},
    {"pole", "columnpole", "post"},
    {"fence", "fencing", "guardrail"},
    {"cow", "cattle"},
    {"cat", "kitten"},
    {"dog", "puppy"},
)


def classes_like(name: str, classes: Iterable[str]) -> list[str]:
    """Those of `classes` that mean what `name` does, by the words that people use for it.

    A class of several things ("ship_or_boat") means each of them, and spaces do not count
    ("traffic light" is "TrafficLight").
    """
    wanted = _words(name)
    words = wanted.union(*(group for group in _GROUPS if wanted & group))
    return [one for one in classes if words & _words(one)]


def _words(name: str) -> set[str]:
    """The names in the name of a class, in small letters, without spaces."""
    parts = name.casefold().replace("_", " ").replace("/", " or ").split(" or ")
    return {"".join(part.split()) for part in parts}


def unions(coarse: str, fine: str) -> MappingProxyType[str, tuple[str, ...]]:
    """The classes of label set `fine` that pixels of each class of `coarse` may be of.

    Raises:
        UsageError: there is no table for these two.
    """
    table = _table(coarse, fine, "unions")
    if table is not None:
        return MappingProxyType(
            {
                name: tuple(as_word(one, name) for one in as_list(members, name))
                for name, members in table.items()
            }
        )

    # Turn the table of parts round: a class is the union of its parts.
    parts = _table(coarse, fine, "parts")
    if parts is None:
        raise UsageError(
            f"labels '{coarse}': not known as unions of '{fine}'; known are {_known('unions')}"
        )
    return MappingProxyType(
        {
            name: tuple(member for member, whole in parts.items() if whole == name)
            for name in load_labels(coarse).classes
        }
    )


def regrouped(labels_from: str, labels_to: str) -> MappingProxyType[str, str]:
    """The class of `labels_to` that each class of `labels_from` is part of.

    Raises:
        UsageError: there is no table for these two.
    """
    table = _table(labels_to, labels_from, "parts")
    if table is None:
        raise UsageError(
            f"labels '{labels_from}': cannot be regrouped to '{labels_to}'; "
            f"known are {_known('parts')}"
        )
    return MappingProxyType({name: as_word(whole, name) for name, whole in table.items()})


def are_related(one: str, other: str) -> bool:
    """Two label sets divide the same things: they are one set, or have a table."""
    pairs = ((one, other), (other, one))
    kinds = ("unions", "parts")
    return one == other or any(_table(*pair, kind) for pair in pairs for kind in kinds)


def unions_of(coarse: Labels, fine: Labels) -> dict[str, tuple[str, ...]]:
    """Like `unions`, but for label sets themselves. A subset of `fine` maps each class to itself.

    Raises:
        UsageError: they are not known as unions, or a set has the name of a known one and other
            classes.
    """
    if set(coarse.classes) <= set(fine.classes):
        return {name: (name,) for name in coarse.classes}
    table = unions(coarse.name, fine.name)

    # Compare the classes, too: somebody's own set may have the name of a known one.
    members = {member for names in table.values() for member in names}
    if set(coarse.classes) != set(table) or not members <= set(fine.classes):
        raise UsageError(
            f"labels '{coarse.name}' and '{fine.name}': not the classes of the known sets of these "
            "names; give a set of your own a name of its own"
        )
    return dict(table)


def class_ids_in(labels: Labels, target: Labels) -> tuple[int, ...] | None:
    """The class of `target` that each class is part of; None where the classes are the same.

    Raises:
        UsageError: it is not known.
    """
    if labels.classes == target.classes:
        return None

    # Match by name where only the order differs; no table is needed.
    if set(labels.classes) == set(target.classes):
        return tuple(target.classes.index(name) for name in labels.classes)

    table = regrouped(labels.name, target.name)
    strange = [name for name in table.values() if name not in target.classes]
    if strange:
        raise UsageError(
            f"labels '{target.name}': have no class '{strange[0]}', so are not the known set of "
            "that name; give a set of your own a name of its own"
        )

    missing = [name for name in labels.classes if name not in table]
    if missing:
        raise UsageError(
            f"labels '{labels.name}': class '{missing[0]}' is not part of any of '{target.name}'; "
            "use a model with the classes of that label set"
        )

    return tuple(target.classes.index(table[name]) for name in labels.classes)


def _table(coarse: str, fine: str, kind: str) -> JsonTable | None:
    if coarse not in available_labels() or fine not in _tables(coarse, kind):
        return None
    return as_table(_tables(coarse, kind)[fine], kind)


def _tables(coarse: str, kind: str) -> JsonTable:
    """The tables of a kind that a label set has, by the finer set."""
    return as_table(label_record(coarse).get(kind, {}), kind)


def _known(kind: str) -> str:
    """Pairs of label sets that have a table, from the set whose classes are given to the other."""
    as_unions = kind == "unions"
    pairs = {
        (coarse, fine) if as_unions else (fine, coarse)
        for coarse in available_labels()
        for fine in (*_tables(coarse, kind), *(_tables(coarse, "parts") if as_unions else ()))
    }
    return ", ".join(f"{one} to {other}" for one, other in sorted(pairs))
