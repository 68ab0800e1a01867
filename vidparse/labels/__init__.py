"""Label sets: one json a set, and the record they are read into."""

from vidparse.labels.labels import (
    Labels,
    available_labels,
    labels_from_json,
    labels_to_json,
    load_labels,
)

__all__ = ["Labels", "available_labels", "labels_from_json", "labels_to_json", "load_labels"]
