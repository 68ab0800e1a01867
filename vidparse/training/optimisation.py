"""Parameter groups, optimisers, the learning rate's course, and the average of the weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vidparse.errors import counted
from vidparse.models.network import VideoNetwork
from vidparse.training.objectives import Objective
from vidparse.training.recipe import Recipe

GROUPS = ("backbone", "backbone, not decayed", "head", "head, not decayed")


def make_optimizer(
    objective: Objective, recipe: Recipe
) -> tuple[torch.optim.Optimizer, list[float]]:
    """The optimiser and the full learning rate of each of its groups, which are GROUPS.

    Weight decay is not for biases, nor for norms unless decay_norms says so. What is trained beside
    the network belongs to the head; so does all of a network that names no backbone.
    """

    table = recipe.optimiser

    def decayed(name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim > 1 or (table.decay_norms and not name.endswith("bias"))

    backbone = {id(parameter) for parameter in objective.network.groups()[0]}
    groups: list[dict[str, object]] = []
    rates: list[float] = []
    for in_backbone, rate in ((True, table.lr_backbone), (False, table.lr_head)):
        for decays in (True, False):
            chosen = [
                parameter
                for name, parameter in objective.named_parameters()
                if (id(parameter) in backbone) == in_backbone
                and decayed(name, parameter) == decays
                and parameter.requires_grad
            ]
            decay = table.weight_decay if decays else 0.0
            groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
            rates.append(rate)
    if table.kind == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(groups)
    return optimizer, rates


def rate_factor(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then (1 - step / steps) ** power."""
    warm = min(1.0, (step + 1) / max(1, recipe.optimiser.warmup_steps))
    return warm * (1 - step / steps) ** recipe.optimiser.poly_power


def warmup_note(recipe: Recipe, steps: int) -> str | None:
    """For a user whose run of `steps` steps ends before its learning rates are reached."""
    warmup_steps = recipe.optimiser.warmup_steps
    if warmup_steps <= steps:
        return None
    return (
        f"warmup_steps {warmup_steps}: the run has {counted(steps, 'step')}, so its full "
        f"learning rates are never reached; perhaps --set warmup_steps={max(1, steps // 10)}"
    )


class Average:
    """Exponential moving average of parameters and norm statistics; warms up with the steps.

    network: a copy in eval mode that holds the average; it takes no gradient.
    """

    def __init__(self, network: VideoNetwork, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Move towards the weights (a state dict, in full) after step `step` (from 0)."""
        mine = self.network.state_dict()
        fractional = [name for name, tensor in weights.items() if tensor.is_floating_point()]
        towards = get_ema_multi_avg_fn(min(self.decay, (step + 1) / (step + 11)))
        towards([mine[name] for name in fractional], [weights[name] for name in fractional], step)
        for name in weights.keys() - set(fractional):  # counts of batches
            mine[name].copy_(weights[name])
