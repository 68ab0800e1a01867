"""A run up to its first step: every check that it makes, and what it will take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidparse.models.description import Preprocess
from vidparse.models.network import VideoNetwork
from vidparse.models.zoo import build, settings_for
from vidparse.training.clips import check_objects
from vidparse.training.learner import warmup_note
from vidparse.training.objectives import OBJECTIVES, Objective, Setting
from vidparse.training.processes import check_shares
from vidparse.training.recipe import Recipe
from vidparse.training.stream import Schedule
from vidparse.training.training_sets import TrainingRequest, TrainingSets, open_training_sets
from vidparse.training.validation import check_measured, check_validation
from vidparse.training.weights import choose_trainable, first_network, load_teacher, read_start

_MIB = 2**20
_COPIES = {"adamw": 2, "sgd": 1}  # moments of the optimiser


@dataclass(frozen=True, slots=True)
class Estimate:
    """A run in numbers. Memory is of one process, in MiB."""

    steps: int
    steps_per_epoch: int
    clip_frames: int
    samples: int  # clips over the whole run
    parameters: int
    trained_parameters: int
    weights_mib: float  # weights, gradients, moments of the optimiser, average
    activations_mib: float  # kept by a step for its backward pass; losses come on top


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
    sets = open_training_sets(
        request.sources,
        label_fraction=recipe.data.label_fraction,
        labels_per_video=recipe.data.labels_per_video,
    )
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
    if validation is not None:
        check_measured(validation, recipe.validation.metrics)
    named = recipe.objective.teacher
    teacher = load_teacher(named, sets.labels) if named else None
    setting = Setting(
        recipe,
        sets.labels,
        network,
        network,
        Preprocess(recipe.network.short_side, divisor=network.alignment),
        # Count no pixels: that takes long, and changes no check.
        lambda: np.ones(len(sets.labels)),
        torch.from_numpy(sets.unions),
        teacher,
    )

    # Build the objective for its checks alone, without memory.
    with torch.device("meta"):
        kind(setting)

    took = estimate(recipe, sets, processes=processes)
    warmup = warmup_note(recipe, took.steps)
    return Rehearsal(sets.describe(), took, (*notes, *([warmup] if warmup else [])))


def estimate(recipe: Recipe, sets: TrainingSets, *, processes: int = 1) -> Estimate:
    """Steps of a run and the memory of one, without running it.

    A step is traced with tensors that have shapes and no content; what autograd would keep is
    added up.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    recipe = recipe.with_config(**settings_for(recipe.network.arch, sets.labels))
    kind = OBJECTIVES[recipe.objective.kind]
    table = recipe.schedule
    schedule = Schedule(
        sets,
        batch_size=table.batch_size,
        steps_per_epoch=table.steps_per_epoch,
        unlabelled_share=kind.unlabelled_share(recipe),
    )
    steps = table.epochs * schedule.steps_per_epoch

    # Build on meta: some first weights are drawn in ways that fake tensors lack.
    with torch.device("meta"):
        network = build(recipe.network.arch, dict(recipe.network.config)).train()
        choose_trainable(network, recipe)
    with FakeTensorMode():
        network._apply(lambda one: torch.empty(one.shape, dtype=one.dtype))
        plan = kind.clips(recipe, network)
        each = table.batch_size // table.accumulate // processes

        # Trace two clips at least, since batch norms refuse one, and scale to the batch.
        kept = _kept_bytes(network, kind, max(2, each), plan.length, recipe)
        kept = kept * each // max(2, each)
        parameters = sum(one.numel() for one in network.parameters())
        trained = sum(one.numel() for one in network.parameters() if one.requires_grad)

    # Count weights and their average, and of those that move the gradients and moments.
    numbers = 2 * parameters + (1 + _COPIES[recipe.optimiser.kind]) * trained
    return Estimate(
        steps,
        schedule.steps_per_epoch,
        plan.length,
        steps * table.batch_size,
        parameters,
        trained,
        4 * numbers / _MIB,
        kept / _MIB,
    )


def _kept_bytes(
    network: VideoNetwork, kind: type[Objective], batch: int, frames: int, recipe: Recipe
) -> int:
    """Bytes that autograd keeps of one pass, each storage once."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        # Count storages, not tensors: views share them.
        storage = tensor.untyped_storage()
        seen[storage._cdata] = storage.nbytes()
        return tensor

    height, width = recipe.views.crop_hw
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(recipe.optimiser.precision)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None),
    ):
        clips = torch.empty(batch, frames, 3, height, width)

        # Make each frame a clip of its own, as a training pass does.
        if network.is_per_frame:
            clips = clips.flatten(0, 1)[:, None]
        kind.training_pass(network, clips)

    # Leave the weights out: autograd keeps them, but they are counted already.
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    return sum(size for storage, size in seen.items() if storage not in own)
