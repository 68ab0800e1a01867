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
    network: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    facts: dict[str, Any],
) -> None:
    """Network, average of weights, optimiser moments and plain facts, written atomically."""
    tensors = {f"network/{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in average.items()}
    for i, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{i}/{slot}": v for slot, v in slots.items()}
    save_checkpoint(path, tensors, {"vidparse-run": json.dumps(facts)})


def read_resume(
    path: Path,
    network: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> dict[str, Any]:
    """Put everything back in place and return the facts.

    Raises:
        ModelError: missing, damaged, or not a run of this network.
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
        network.load_state_dict(_below(tensors, "network"))
        for name, tensor in _below(tensors, "average").items():
            average[name].copy_(tensor)
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(tensors, "optimizer").items():
            i, slot = name.split("/")
            state.setdefault(int(i), {})[slot] = tensor
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (RuntimeError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: a run of another network; give the right recipe") from error
    return json.loads(facts)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}/")
    }
