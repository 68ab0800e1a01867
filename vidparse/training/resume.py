"""The state of an unfinished run in one safetensors file, so that nothing is ever unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidparse.errors import ModelError
from vidparse.models.checkpoint import save_checkpoint


def write_resume(
    path: Path,
    objective: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    facts: dict[str, Any],
) -> None:
    """Weights, average of weights, optimiser moments and plain facts, written atomically."""
    tensors = {f"objective/{k}": v for k, v in objective.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in average.state_dict().items()}
    for i, slots in optimizer.state_dict()["state"].items():
        kept = {slot: v for slot, v in slots.items() if isinstance(v, Tensor)}
        tensors |= {f"optimizer/{i}/{slot}": v for slot, v in kept.items()}
    save_checkpoint(path, tensors, {"vidparse-run": json.dumps(facts)})


def read_resume(
    path: Path,
    objective: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> dict[str, Any]:
    """Put everything back in place and return the facts.

    Raises:
        ModelError: missing, damaged, or not a run of this network and objective.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = (file.metadata() or {}).get("vidparse-run")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file; check --resume") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not readable ({error}); resume from another file") from error
    if facts is None:
        raise ModelError(f"{path}: not the state of a run; give the last.safetensors of one")
    try:
        objective.load_state_dict(_below(tensors, "objective"))
        average.load_state_dict(_below(tensors, "average"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(tensors, "optimizer").items():
            i, slot = name.split("/")
            state.setdefault(int(i), {})[slot] = tensor
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        _lay_out_as_parameters(optimizer)
    except (RuntimeError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: a run of another network; give the right recipe") from error
    return json.loads(facts)


def _lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Moments get their parameter's memory layout back: another would round otherwise."""
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                slots[slot] = torch.empty_like(parameter).copy_(value)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}/")
    }
