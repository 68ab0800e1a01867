"""A learner: a network with its objective, optimiser and average of weights, and a step of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vidparse.errors import VidparseError, counted
from vidparse.models.description import Preprocess
from vidparse.models.network import VideoNetwork
from vidparse.training.clips import check_objects
from vidparse.training.gradients import gradient_shares
from vidparse.training.objectives import OBJECTIVES, Objective, Setting, Teacher
from vidparse.training.processes import Processes, whole
from vidparse.training.recipe import Recipe
from vidparse.training.resume import run_tensors
from vidparse.training.stream import Batch
from vidparse.training.training_sets import TrainingSets
from vidparse.training.weights import Start, first_network

GROUPS = ("backbone", "backbone, not decayed", "head", "head, not decayed")
_Placed = TypeVar("_Placed", bound=nn.Module)


class Learner:
    """Everything that a step moves.

    Args:
        recipe: with the settings that follow from the classes.
        teacher: of a distillation.
        flow_weights: RAFT's, for NetWarp.

    Attributes:
        taken: how much of `init` fitted; None without it.
        plan: of the clips to learn from.
        average: the network with the average of the weights, in eval mode.
        shares: of the last step, the gradient of each term beside cross-entropy's (see
            `gradient_shares`); empty where the step did not look.
    """

    def __init__(
        self,
        recipe: Recipe,
        sets: TrainingSets,
        *,
        processes: Processes,
        init: Start | None = None,
        teacher: Teacher | None = None,
        flow_weights: Path | None = None,
    ) -> None:
        self.recipe, self.processes, self.device = recipe, processes, processes.device

        # Seed before the network is built: its fresh weights are drawn.
        torch.manual_seed(recipe.schedule.seed)
        self.network, self.taken = first_network(recipe, sets.labels, init, flow_weights)
        self.preprocess = Preprocess(recipe.network.short_side, divisor=self.network.alignment)
        kind = OBJECTIVES[recipe.objective.kind]
        self.plan = kind.clips(recipe, self.network)
        check_objects(self.plan, sets)

        # The optimiser takes parameters as they are once placed and, with FSDP, shared out.
        self._place(self.network)
        self._average = Average(self.network, recipe.optimiser.ema_decay)
        self.average = self._average.network
        setting = Setting(
            recipe,
            sets.labels,
            self.network,
            self.average,
            self.preprocess,
            sets.class_counts,
            torch.from_numpy(sets.unions),
            replace(teacher, network=self._place(teacher.network)) if teacher else None,
        )
        self.objective = self._place(kind(setting))
        self.wrapped = processes.wrapped(self.objective, shard=recipe.optimiser.shard)
        self.optimizer, self._rates = make_optimizer(self.objective, recipe)

        self.shares: dict[str, float] = {}

        # Scale the loss in fp16 alone: bf16 has the range of float32.
        half = recipe.optimiser.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)

    def step(self, parts: Iterable[Batch], step: int, steps: int) -> dict[str, float]:
        """Move the weights by one step.

        Args:
            parts: as many equal parts of a batch as the recipe has in `accumulate`.
            step: steps done before, of `steps` in all.

        Returns:
            The loss terms, by name.

        Raises:
            VidparseError: the loss became NaN or infinite; the clips are named.
        """
        self.objective.train()
        # Dropout and sampling must not depend on where a run was interrupted.
        torch.manual_seed(self.recipe.schedule.seed * 1_000_003 + step)
        factor = rate_factor(step, steps, self.recipe)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

        self.objective.progress = step / steps
        self.optimizer.zero_grad(set_to_none=True)
        losses: dict[str, float] = {}
        accumulate = self.recipe.schedule.accumulate
        for part in parts:
            batch = part.to(self.device)
            terms = self.wrapped(batch)

            # Divide each part, so that gradients add up to the mean of the whole batch.
            total = torch.stack(list(terms.values())).sum() / accumulate

            # Stop before the weights move: NaN in them could not be mended.
            self._check_finite(total.item(), batch, step)
            if not losses:
                self.shares = self._shares(terms, step)
            self.scaler.scale(total).backward()
            for name, term in terms.items():
                losses[name] = losses.get(name, 0.0) + term.item() / accumulate

        largest = self.recipe.optimiser.clip_gradient
        if largest:
            # Unscale before clipping: the limit is for true gradients.
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.objective.parameters(), largest)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.objective.after_step()
        self._average.update(whole(self.network.state_dict()), step)
        return losses

    def _shares(self, terms: Mapping[str, Tensor], step: int) -> dict[str, float]:
        """The shares of the first part of a batch, in the steps that look at them."""
        # Leave sharded weights out: their gradients come together in the real backward pass.
        every = self.recipe.schedule.shares_every
        if not every or step % every or self.recipe.optimiser.shard:
            return {}
        trained = [one for one in self.network.parameters() if one.requires_grad]
        scale = self.scaler.get_scale() if self.scaler.is_enabled() else 1.0
        return gradient_shares(terms, trained, scale=scale)

    @property
    def rates(self) -> dict[str, float]:
        """The learning rates of the last step, of backbone and head."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return {GROUPS[0]: rates[0], GROUPS[2]: rates[2]}

    def tensors(self) -> dict[str, Tensor]:
        """All that the next step depends on, by name; every process has to call it."""
        return run_tensors(self.objective, self.average, self.optimizer)

    def _place(self, module: _Placed) -> _Placed:
        # Lay weights out plainly for FSDP, which takes no others.
        if self.recipe.optimiser.shard:
            return module.to(self.device)
        return module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _check_finite(self, value: float, batch: Batch, step: int) -> None:
        if math.isfinite(value):
            return
        bad = []

        # Try clip by clip in a run of one process only: others would not take part.
        if self.processes.count == 1:
            self.objective.eval()
            with torch.no_grad():
                bad = [
                    name
                    for i, name in enumerate(batch.names)
                    if not all(term.isfinite() for term in self.objective(batch.only(i)).values())
                ]
        raise VidparseError(
            f"training: the loss became {value} at step {step}, with "
            f"{', '.join(bad or batch.names)}; lower the learning rates or use precision fp32"
        )


def make_optimizer(
    objective: Objective, recipe: Recipe
) -> tuple[torch.optim.Optimizer, list[float]]:
    """The optimiser and the full learning rate of each of its groups, which are GROUPS.

    Weight decay is not for biases, nor for norms unless decay_norms is set. A part trained beside
    the network belongs to the head; so does all of a network that names no backbone.
    """
    table = recipe.optimiser

    def decayed(name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim > 1 or (table.decay_norms and not name.endswith("bias"))

    # Compare by identity: == of tensors compares their values.
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

            # Keep empty groups too: rates are read by the places of GROUPS.
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

        # Warm the decay up: the first weights are random, and would stay in the average.
        towards = get_ema_multi_avg_fn(min(self.decay, (step + 1) / (step + 11)))
        towards([mine[name] for name in fractional], [weights[name] for name in fractional], step)

        # Copy counts of batches: whole numbers have no average.
        for name in weights.keys() - set(fractional):
            mine[name].copy_(weights[name])
