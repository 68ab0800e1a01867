"""A run up to its first step: every check that it makes, and what it will take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vidparse.models.description import Preprocess
from vidparse.models.zoo import settings_for
from vidparse.training.clips import check_objects
from vidparse.training.estimate import Estimate, estimate
from vidparse.training.objectives import OBJECTIVES, Setting
from vidparse.training.optimisation import warmup_note
from vidparse.training.processes import check_shares
from vidparse.training.recipe import Recipe
from vidparse.training.request import TrainingRequest
from vidparse.training.training_sets import open_training_sets
from vidparse.training.validation import check_validation
from vidparse.training.weights import first_network, load_teacher, read_start


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The data, steps and memory of a run. notes: for the user to read before it."""

    data: list[dict[str, object]]
    estimate: Estimate
    notes: tuple[str, ...]


def rehearse(
    recipe: Recipe, request: TrainingRequest, *, init: str | None = None, processes: int = 1
) -> Rehearsal:
    """Check a run as `fit` does, without a network in memory and without a step.

    What depends on the device is not checked: a run for GPUs may be planned elsewhere.

    Raises:
        VidparseError: as `fit`.
    """
    sets = open_training_sets(request.sources, label_fraction=recipe.data.label_fraction)
    validation = request.open_validation()
    if validation is not None:
        check_validation(validation, sets.labels)
    check_shares(recipe, processes)
    recipe = recipe.with_config(**settings_for(recipe.network.arch, sets.labels))
    start = read_start(init) if init is not None else None
    network, taken = first_network(
        recipe, sets.labels, start, request.flow_weights, shapes_only=True
    )
    notes = [] if taken is None else [str(taken)]

    kind = OBJECTIVES[recipe.objective.kind]
    check_objects(kind.clips(recipe, network), sets)
    named = recipe.objective.teacher
    teacher = load_teacher(named, sets.labels) if named else None
    setting = Setting(
        recipe,
        sets.labels,
        network,
        network,
        Preprocess(recipe.network.short_side, divisor=network.alignment),
        lambda: np.ones(len(sets.labels)),  # to count takes long, and changes no check
        torch.from_numpy(sets.unions),
        teacher,
    )
    with torch.device("meta"):
        kind(setting)

    took = estimate(recipe, sets, processes=processes)
    warmup = warmup_note(recipe, took.steps)
    return Rehearsal(sets.describe(), took, (*notes, *([warmup] if warmup else [])))
