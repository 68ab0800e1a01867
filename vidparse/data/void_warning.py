"""A class that was stored as void: the pixels of a data set's masks show it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from vidparse.data.dataset import Dataset, FrameRecord, labelled_frames
from vidparse.data.folders import is_painted
from vidparse.data.pictures import IGNORE
from vidparse.labels import Labels, available_labels, load_labels

_MOST_MASKS = 300  # read before training and scoring; a set with all classes needs a few
_LEAST_VOID = 0.01  # share of the pixels; boundaries and doubtful spots are often less
_NAMED = 3  # classes that the warning names


def void_warning(labels: Labels, pixels: np.ndarray, void: int) -> str | None:
    """A sentence if void may be a class in truth: some never occurs, and void covers pixels.

    Masks of 0 and 255 are the usual case, where 255 was meant as the object. Label sets that ship
    with vidparse often lack classes in a small split, so of those it takes masks of one class.

    Args:
        pixels: int64 (K,), of each class. void: pixels of none.
    """
    total = int(pixels.sum()) + void
    unseen = [name for i, name in enumerate(labels.classes) if not pixels[i]]
    if not void or not unseen or _is_usual(labels, pixels):
        return None

    # Let a little void pass: it is boundaries and doubtful spots.
    if np.count_nonzero(pixels) > 1 and void < _LEAST_VOID * total:
        return None

    names = ", ".join(f"'{name}'" for name in unseen[:_NAMED])
    more = f" and {len(unseen) - _NAMED} more" if len(unseen) > _NAMED else ""
    plural = len(unseen) > 1
    first = labels.classes.index(unseen[0])
    return (
        f"void covers {void / total:.1%} of the labelled pixels, and class{'es' * plural} {names}"
        f"{more} never occur{'s' * (not plural)}; if {IGNORE} stands for '{unseen[0]}', store "
        f"{first} in its place"
    )


def survey(dataset: Dataset, frames: Sequence[FrameRecord] | None = None) -> str | None:
    """`void_warning` of a data set's masks: of all, or of some hundred evenly spread ones.

    Reading ends with the first mask after which it cannot be one.

    Args:
        frames: labelled ones; all of the split if not given.

    Raises:
        InputError: a mask cannot be read, or holds values that it must not.
    """
    frames = labelled_frames(dataset) if frames is None else frames

    # Pass by rendered masks, which are whole, and shapes, around which all is void.
    frames = [frame for frame in frames if is_painted(frame)]

    # Spread the sample over the split: masks at its beginning may be of one video.
    step = max(1, -(-len(frames) // _MOST_MASKS))
    looked_at = frames[::step]
    counts = np.zeros(IGNORE + 1, np.int64)
    for frame in looked_at:
        counts += np.bincount(dataset.load_mask(frame).ravel(), minlength=IGNORE + 1)
        if _is_usual(dataset.labels, counts[: len(dataset.labels)]):
            return None

    warning = void_warning(dataset.labels, counts[: len(dataset.labels)], int(counts[IGNORE]))
    part = f" (in {len(looked_at)} of {len(frames)} masks)" if step > 1 else ""
    return f"{dataset.name} {dataset.split}{part}: {warning}" if warning else None


def _is_usual(labels: Labels, pixels: np.ndarray) -> bool:
    """True if masks with these pixels per class can be no sign of a class taken for void."""
    seen = np.count_nonzero(pixels)
    return bool(seen == len(labels) or (seen > 1 and labels.classes in _shipped_classes()))


@lru_cache(maxsize=1)
def _shipped_classes() -> frozenset[tuple[str, ...]]:
    return frozenset(load_labels(name).classes for name in available_labels())
