"""A data set in the classes of a coarser label set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vidparse.data.dataset import Dataset, FrameRecord
from vidparse.data.values import IGNORE
from vidparse.errors import UsageError
from vidparse.labels import Labels, class_ids_in


def in_labels(dataset: Dataset, labels: Labels) -> Dataset:
    """A data set whose masks hold the classes of `labels`; objects are no longer told apart.

    Raises:
        UsageError: its classes are not known as parts of those, or are more than 8 bits hold.
    """
    class_ids = class_ids_in(dataset.labels, labels)
    if class_ids is None:
        return dataset
    if len(labels) > IGNORE:
        raise UsageError(
            f"labels '{labels.name}': {len(labels)} classes; masks hold {IGNORE} at most"
        )
    table = np.full(IGNORE + 1, IGNORE, np.uint8)
    table[: len(class_ids)] = class_ids
    masks = _RegroupedMasks(dataset, table)
    return replace(
        dataset,
        labels=labels,
        values=None,
        read_mask=masks,
        read_segments=None,
        read_objects=None,
    )


@dataclass(frozen=True, slots=True)
class _RegroupedMasks:
    """Masks of a data set with every id replaced by its entry in a table, uint8 (256,)."""

    dataset: Dataset
    table: np.ndarray

    def __call__(self, frame: FrameRecord) -> np.ndarray:
        return self.table[self.dataset.load_mask(frame)]
