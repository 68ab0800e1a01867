"""The state of an unfinished run in one safetensors file, so that nothing is ever unpickled."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vidparse.errors import ModelError, UsageError
from vidparse.models.checkpoint import save_checkpoint
from vidparse.models.description import RUN
from vidparse.textfiles import JsonTable, as_list, as_table, parse_json
from vidparse.training.processes import placed_like, whole
from vidparse.training.recipe import Recipe
from vidparse.training.recipe_file import recipe_from
from vidparse.training.training_sets import TrainingRequest, request_from

_FACTS = {"step", "score", "best", "scaler", "recipe", "data"}  # that every run has


def run_tensors(
    objective: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Weights, average of weights and moments by name, in full; every process has to call it."""
    tensors = {f"objective/{k}": v for k, v in objective.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in average.state_dict().items()}
    for i, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{i}/{k}": v for k, v in slots.items() if isinstance(v, Tensor)}
    return whole(tensors)


def write_resume(path: Path, tensors: dict[str, Tensor], facts: Mapping[str, object]) -> None:
    """`run_tensors` and plain facts, written atomically; a score that is NaN counts as none."""
    # Write null for NaN, which JSON does not have.
    plain = {
        name: None if isinstance(fact, float) and math.isnan(fact) else fact
        for name, fact in facts.items()
    }
    save_checkpoint(path, tensors, {RUN: json.dumps(plain)})


def read_resume(
    path: Path,
    objective: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> JsonTable:
    """Put everything back in place and return the facts.

    Raises:
        ModelError: missing, damaged, or not a run of this network and objective.
    """
    facts, tensors = _read(path, with_tensors=True)
    try:
        own = objective.state_dict()
        weights = below(tensors, "objective")
        objective.load_state_dict({k: placed_like(v, own[k]) for k, v in weights.items()})
        average.load_state_dict(below(tensors, "average"))
        _restore_moments(optimizer, below(tensors, "optimizer"))
    except (RuntimeError, KeyError, ValueError, IndexError) as error:
        raise ModelError(f"{path}: a run of another network; give the right recipe") from error
    return facts


def recorded_run(path: Path) -> tuple[Recipe, TrainingRequest | None]:
    """The recipe of a run that goes on, and its data; None where an older version wrote it.

    Raises:
        ModelError: missing, damaged, or not the state of a run.
    """
    facts, _ = _read(path, with_tensors=False)
    try:
        recipe = recipe_from(as_table(facts["recipe"], "recipe"), str(path))
        request = facts.get("request")
        if request is None:
            return recipe, None
        return recipe, request_from(as_table(request, "request"))
    except (UsageError, KeyError, TypeError, ValueError) as error:
        message = f"{path}: damaged, or of another version ({error}); resume from another file"
        raise ModelError(message) from error


def classes_of_run(path: Path) -> tuple[str, ...] | None:
    """Names of a run's classes; None where the file is no state of a run, or an older one's."""
    try:
        facts, _ = _read(path, with_tensors=False)
        return tuple(map(str, as_list(facts["classes"], "classes")))
    except (ModelError, KeyError, TypeError):
        return None


def _read(path: Path, *, with_tensors: bool) -> tuple[JsonTable, dict[str, Tensor]]:
    """Facts of a run and, where they are wanted, its tensors."""
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        raise ModelError(f"{path}: is a folder; name the last.safetensors in it")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(RUN)
            names = file.keys() if with_tensors else ()
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file; check --resume") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not readable ({error}); resume from another file") from error
    try:
        facts = parse_json(text or "")
        if not isinstance(facts, dict) or not facts.keys() >= _FACTS:
            raise ValueError
    except ValueError as error:
        message = f"{path}: not the state of a run; give the last.safetensors of one"
        raise ModelError(message) from error
    return facts, tensors


def _restore_moments(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    """Every moment in its parameter's memory layout and place: another would round otherwise."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in moments.items():
        i, slot = name.split("/")
        parameter = parameters[int(i)]
        if value.shape == parameter.shape:
            # Follow the parameter's memory layout: sums in another order round otherwise.
            value = torch.empty_like(parameter).copy_(placed_like(value, parameter))
        state.setdefault(int(i), {})[slot] = value

    # Keep this run's groups: their rates come from the recipe, not from the file.
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of one part of a run, without its name before theirs."""
    return {
        name.removeprefix(f"{prefix}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}/")
    }
