"""A running average of a network's weights: what is validated, kept, and the mean teacher."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of parameters and norm statistics; warms up with the steps.

    network: a copy in eval mode that holds the average; it takes no gradient.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Move towards the weights (a state dict, in full) after step `step` (from 0)."""
        decay = min(self.decay, (step + 1) / (step + 11))
        mine = self.network.state_dict()
        for name, tensor in weights.items():
            if tensor.is_floating_point():
                mine[name].lerp_(tensor, 1 - decay)
            else:
                mine[name].copy_(tensor)
