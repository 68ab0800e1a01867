"""The label set of a checkpoint: names from its config, colours and things from what is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vidparse.labels import Labels, available_labels, load_labels
from vidparse.labels.colours import hue_wheel
from vidparse.textfiles import JsonTable, as_list, as_table, as_whole

_LARGE, _ALIKE = 100, 0.8  # large sets are known by most names: synonyms are many
_COCO_THINGS, _COCO_PANOPTIC = 80, 133


def labels_of(config: JsonTable, processor: JsonTable, *, name: str, panoptic: bool) -> Labels:
    """Names come from id2label. One of vidparse's own sets lends its colours when names agree.

    Things are those that the processor lists; else those of the known set; else, for COCO's names,
    its 80 things. Nothing known: each mask of a panoptic network is a thing of its own, as in
    transformers without `label_ids_to_fuse`.

    Raises:
        ValueError, TypeError: damaged config.
    """
    classes = _names(config)
    known = _known_set(classes)

    # Keep the checkpoint's own words where most of them agree with a known set.
    if known is not None and _agreement(known, classes) == 1:
        labels = known
    elif known is not None:
        labels = Labels(known.name, classes, known.colours, known.things)
    else:
        rows = hue_wheel(len(classes)).tolist()
        colours = tuple((red, green, blue) for red, green, blue in rows)
        everything = frozenset(range(len(classes))) if panoptic else frozenset()
        things = _coco_things(classes)
        labels = Labels(name, classes, colours, everything if things is None else things)

    listed = _listed_things(processor, len(classes))
    return labels if listed is None else replace(labels, things=listed)


def _names(config: JsonTable) -> tuple[str, ...]:
    listed = as_table(config.get("id2label") or {}, "id2label")
    by_id = {int(key): str(value).strip() for key, value in listed.items()}
    count = max(by_id, default=as_whole(config.get("num_labels", 2), "num_labels") - 1) + 1
    if min(by_id, default=0) < 0 or not 1 <= count <= 65535:
        raise ValueError(f"id2label has ids {min(by_id, default=0)} to {count - 1}")
    return tuple(by_id.get(i, f"LABEL_{i}") for i in range(count))


def _known_set(classes: Sequence[str]) -> Labels | None:
    for name in available_labels():
        labels = load_labels(name)
        if len(labels) == len(classes):
            enough = _ALIKE if len(classes) >= _LARGE else 1.0
            if _agreement(labels, classes) >= enough:
                return labels
    return None


def _agreement(labels: Labels, classes: Sequence[str]) -> float:
    """Share of ids whose first synonym is the same."""
    pairs = zip(labels.classes, classes, strict=True)
    return sum(_first(ours) == _first(theirs) for ours, theirs in pairs) / len(classes)


def _first(name: str) -> str:
    return name.split(",")[0].split(";")[0].strip().casefold()


def _coco_things(classes: Sequence[str]) -> frozenset[int] | None:
    last = _COCO_THINGS - 1
    if len(classes) not in (_COCO_THINGS, _COCO_PANOPTIC):
        return None
    if (classes[0], classes[last]) != ("person", "toothbrush"):
        return None
    return frozenset(range(_COCO_THINGS))


def _listed_things(processor: JsonTable, count: int) -> frozenset[int] | None:
    """OneFormer's processors carry them."""
    listed = as_table(processor.get("metadata") or {}, "metadata").get("thing_ids")
    if listed is None:
        return None
    things = frozenset(as_whole(one, "thing_ids") for one in as_list(listed, "thing_ids"))
    if not all(0 <= one < count for one in things):
        raise ValueError(f"thing_ids go to {max(things)}, classes to {count - 1}")
    return things
