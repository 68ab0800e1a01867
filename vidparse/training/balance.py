"""How much each class weighs in the cross-entropy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vidparse.errors import UsageError, counted
from vidparse.training.losses import class_weights_from_counts
from vidparse.training.recipe import Recipe
from vidparse.training.sources import Sources


def class_weights(recipe: Recipe, sources: Sources) -> Tensor | None:
    """As the recipe gives them, (K,), or from the pixels of the first data set; None for none.

    Raises:
        UsageError: the recipe gives more or fewer than classes. InputError: a mask is damaged.
    """
    classes = len(sources.labels)
    given = recipe.class_weights
    if given and len(given) != classes:
        raise UsageError(
            f"class_weights: {len(given)} of them for {counted(classes, 'class')}; give one a class"
        )
    if given:
        return torch.tensor(given)
    if not recipe.class_weight_offset:
        return None
    counts = np.zeros(256, np.int64)
    source = sources.first  # the others may be many, and labelled by a network
    for frame in source.labelled:
        counts += np.bincount(source.load_labels(frame).ravel(), minlength=256)
    pixels = torch.from_numpy(counts[:classes])
    return class_weights_from_counts(pixels, offset=recipe.class_weight_offset)
