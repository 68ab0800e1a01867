"""Where a run starts: its weights, and how its network sees pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vidparse.errors import ModelError, UsageError
from vidparse.hub import resolve
from vidparse.labels import Labels
from vidparse.models.checkpoint import Preprocess, load_network, read_description
from vidparse.models.netwarp import NetWarp, load_flow
from vidparse.training.objectives import Teacher
from vidparse.training.resume import below


def init_tensors(init: str) -> dict[str, Tensor]:
    """Named tensors to start from.

    Args:
        init: a .safetensors or .pth file, a known model's name or hf:owner/repo.

    Raises:
        ModelError: missing, damaged, or holding no tensors, or more than them.
    """
    from vidparse.convert import by_our_names, read_tensors

    path = Path(init)
    if not path.is_file() and path.suffix not in (".safetensors", ".pth", ".pt", ".bin"):
        files = resolve(init)
        if files.weights is None:
            raise ModelError(f"{init}: has no .safetensors weights of vidparse to start from")
        path = files.weights
    tensors = read_tensors(path)
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
