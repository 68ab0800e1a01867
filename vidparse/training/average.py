"""A running average of a network's weights: what is validated, kept, and the mean teacher."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vidparse.models.network import VideoNetwork


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
