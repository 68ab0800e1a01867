"""Where a run starts: its weights, and how its network sees pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidparse.errors import ModelError, UsageError
from vidparse.hub import resolve
from vidparse.labels import Labels
from vidparse.models.checkpoint import (
    Description,
    Preprocess,
    is_model,
    load_network,
    read_description,
)
from vidparse.models.netwarp import NetWarp, load_flow
from vidparse.models.zoo import build, config_of
from vidparse.training.objectives import Teacher
from vidparse.training.recipe import Recipe, load_recipe
from vidparse.training.resume import below

_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin")  # endings of files that hold tensors
DISTILLED, PLAIN = "street-student", "street-plain"  # recipes of one network


def fitting_recipe(
    init: str | None, teacher: str | None, overrides: Mapping[str, str]
) -> tuple[Recipe, str]:
    """The recipe of a run that names none, and its description for a user.

    It distils where there is a teacher, else learns from labels alone. Its network is that of
    `init` where this is a model of vidparse, so that all of its weights fit.

    Raises:
        UsageError: as `load_recipe`. ModelError: `init` is unknown or can not be read.
    """
    name = DISTILLED if teacher else PLAIN
    origin = _description_of(_init_file(init)) if init else None
    if origin is None:
        return load_recipe(name, overrides), f"recipe {name}"

    with torch.device("meta"):  # its settings in full, those that followed from its classes too
        settings = config_of(build(origin.arch, origin.config))
    config = {k: v for k, v in settings.items() if k not in ("classes", "auxiliary")}
    network: dict[str, Any] = {"arch": origin.arch, "config": config}
    if origin.preprocess.short_side:
        network["short_side"] = origin.preprocess.short_side
    recipe = load_recipe(name, overrides, network=network)
    return recipe, f"recipe {name} with the network of {init} ({recipe.arch})"


def _init_file(init: str) -> Path:
    """The file of weights that `init` names.

    Raises:
        ModelError: unknown, or without weights of vidparse.
    """
    path = Path(init)
    if path.is_file() or path.suffix in _WEIGHTS:
        return path
    files = resolve(init)
    if files.weights is None:
        raise ModelError(f"{init}: has no .safetensors weights of vidparse to start from")
    return files.weights


def _description_of(path: Path) -> Description | None:
    """Of a model of vidparse; None for weights of other code, or the state of a run."""
    if path.suffix != ".safetensors" or not is_model(path):
        return None
    return read_description(path)


def init_tensors(init: str) -> dict[str, Tensor]:
    """Named tensors to start from.

    Args:
        init: a .safetensors or .pth file, a known model's name or hf:owner/repo.

    Raises:
        ModelError: missing, damaged, or holding no tensors, or more than them.
    """
    from vidparse.convert import by_our_names, read_tensors

    tensors = read_tensors(_init_file(init))
    average = below(tensors, "average")  # of a run's last.safetensors
    return by_our_names(average or tensors)


def load_matching(network: nn.Module, weights: dict[str, Tensor]) -> int:
    """Start from weights whose names fit the network or its backbone; returns how many did.

    Raises:
        UsageError: none fits.
    """
    own = network.state_dict()
    fits = {}
    for name, tensor in weights.items():
        for candidate in (name, f"backbone.{name}"):
            if candidate in own and own[candidate].shape == tensor.shape:
                fits[candidate] = tensor
    if not fits:
        raise UsageError("--init: no tensor of that file fits this network; check the recipe")
    network.load_state_dict({**own, **fits})
    return len(fits)


def load_flow_weights(network: nn.Module, path: Path | None) -> None:
    """RAFT's weights into a NetWarp that follows motion; other networks have no use for any.

    Raises:
        UsageError: they are needed and not given, or given and not needed. ModelError: damaged.
    """
    follows = isinstance(network, NetWarp) and network.config.flow == "raft"
    if follows != (path is not None):
        if follows:
            raise UsageError("netwarp: follows RAFT's flow; give --flow-weights raft-things.pth")
        raise UsageError(f"--flow-weights {path}: this network follows no flow; leave it out")
    if isinstance(network, NetWarp) and path is not None:
        load_flow(network, path)


def load_teacher(name: str, labels: Labels) -> Teacher:
    """A frozen network to learn from.

    Raises:
        UsageError: it knows other classes, or is a network with a memory.
        ModelError: it can not be loaded.
    """
    files = resolve(name)
    if files.weights is None:
        raise ModelError(f"teacher {name}: has no .safetensors weights; give a model that has them")
    description = read_description(files.weights)
    if description.labels.classes != labels.classes:
        raise UsageError(
            f"teacher {name}: knows the {len(description.labels)} classes of "
            f"{description.labels.name}, not those of {labels.name}; choose another"
        )
    network: Any = load_network(description)
    if network.state_tensors:
        raise UsageError(f"teacher {name}: has a memory; choose a per-frame model")
    return Teacher(network.requires_grad_(False), description.preprocess)


def preprocess_for(network: Any, short_side: int) -> Preprocess:
    """Pictures with sides that the network's scores cover evenly: multiples of its stride.

    Refined heads see to the cells above stride 8 themselves.
    """
    stride = getattr(network.config, "output_stride", 1)
    refined = getattr(network.config, "skip_channels", 0) > 0
    return Preprocess(short_side, divisor=min(stride, 8) if refined else stride)
