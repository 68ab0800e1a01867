"""A run up to its first step: every check that it makes, and what it will take."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from vidparse.models.description import Preprocess
from vidparse.models.zoo import build, settings_for
from vidparse.training.clips import check_objects
from vidparse.training.estimate import Estimate, estimate
from vidparse.training.objectives import OBJECTIVES, Setting
from vidparse.training.optimisation import warmup_note
from vidparse.training.processes import check_shares
from vidparse.training.recipe import Recipe
from vidparse.training.request import TrainingRequest
from vidparse.training.sources import open_sources
from vidparse.training.start import (
    class_rows,
    load_flow_weights,
    load_matching,
    load_teacher,
    read_start,
)
from vidparse.training.validation import check_metrics, check_validation


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a run would learn from and take. notes: what a user should know before it."""

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
    sources = open_sources(request.sources, label_fraction=recipe.data.label_fraction)
    validation = request.open_validation()
    if validation is not None:
        check_validation(validation, sources.labels)
    check_shares(recipe, processes)
    recipe = recipe.with_config(**settings_for(recipe.network.arch, sources.labels))
    arch, config = recipe.network.arch, recipe.network.config

    with torch.device("meta"):  # shapes alone
        network = build(arch, dict(config))
    check_metrics(recipe.validation.metrics, sources.labels, network.task)
    notes: list[str] = []
    with warnings.catch_warnings():  # that weights go nowhere is what is wanted
        warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")
        if init is not None:
            rows = class_rows(arch, config, sources.labels)
            taken = load_matching(network, read_start(init), sources.labels.classes, rows)
            notes.append(str(taken))
        load_flow_weights(network, request.flow_weights, arch=arch)
    kind = OBJECTIVES[recipe.objective.kind]
    check_objects(kind.clips(recipe, network), sources)
    named = recipe.objective.teacher
    teacher = load_teacher(named, sources.labels) if named else None
    setting = Setting(
        recipe,
        sources.labels,
        network,
        network,
        Preprocess(recipe.network.short_side, divisor=network.alignment),
        lambda: np.ones(len(sources.labels)),  # to count takes long, and changes no check
        torch.from_numpy(sources.unions),
        teacher,
    )
    with torch.device("meta"):
        kind(setting)

    took = estimate(recipe, sources, processes=processes)
    warmup = warmup_note(recipe, took.steps)
    return Rehearsal(sources.describe(), took, (*notes, *([warmup] if warmup else [])))
