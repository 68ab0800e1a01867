"""Relations between label sets, by class name: unions of finer classes, and parts.

The tables stand in the json of the coarser set: "unions" has, by fine set, the classes that the
pixels of each coarse class may be of (a fine class may be in several unions); "parts" has, by fine
set, the one coarse class that each fine class is part of.
"""

from __future__ import annotations

from types import MappingProxyType

from vidparse.errors import UsageError
from vidparse.labels.labels import Labels, available_labels, label_record
from vidparse.textfiles import JsonTable, as_list, as_table, as_word


def unions(coarse: str, fine: str) -> MappingProxyType[str, tuple[str, ...]]:
    """The classes of label set `fine` that pixels of each class of `coarse` may be of.

    Raises:
        UsageError: there is no table for these two.
    """
    table = _table(coarse, fine, "unions")
    if table is None:
        raise UsageError(
            f"labels '{coarse}': not known as unions of '{fine}'; known are {_known('unions')}"
        )
    return MappingProxyType(
        {
            name: tuple(as_word(one, name) for one in as_list(members, name))
            for name, members in table.items()
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


def unions_of(coarse: Labels, fine: Labels) -> dict[str, tuple[str, ...]]:
    """Like `unions`, but for label sets themselves. A subset of `fine` maps each class to itself.

    Raises:
        UsageError: they are not known as unions, or a set has the name of a known one and other
            classes.
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


def class_ids_in(labels: Labels, target: Labels) -> tuple[int, ...] | None:
    """The class of `target` that each class is part of; None where the classes are the same.

    Raises:
        UsageError: it is not known.
    """
    if labels.classes == target.classes:
        return None
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
    pairs = [
        (coarse, fine) if kind == "unions" else (fine, coarse)
        for coarse in available_labels()
        for fine in _tables(coarse, kind)
    ]
    return ", ".join(f"{one} to {other}" for one, other in sorted(pairs))
