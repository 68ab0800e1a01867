"""Label sets: one json a set, and the record they are read into."""

from vidparse.labels.labels import (
    LABEL_FORM,
    Labels,
    available_labels,
    class_ids_in,
    classes_like,
    labels_from_json,
    labels_to_json,
    load_labels,
    regrouped,
    unions,
    unions_of,
)

__all__ = [
    "LABEL_FORM",
    "Labels",
    "available_labels",
    "class_ids_in",
    "classes_like",
    "labels_from_json",
    "labels_to_json",
    "load_labels",
    "regrouped",
    "unions",
    "unions_of",
]
