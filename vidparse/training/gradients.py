"""Gradients of loss terms beside each other: which of them move the network at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

REFERENCE = "ce"  # cross-entropy, which the others are measured by


def gradient_shares(
    terms: Mapping[str, Tensor], parameters: Sequence[nn.Parameter], *, scale: float = 1.0
) -> dict[str, float]:
    """The norm of each term's gradient, as a share of that of cross-entropy.

    A term whose share is below a hundredth is decoration; one near 1 pulls as hard as the labels.
    It costs a backward pass per term, and leaves gradients and the graph as they are.

    Args:
        terms: losses by name, with their weights.
        parameters: of the network; what is trained beside it does not count.
        scale: factor that keeps gradients of half types from vanishing; it cancels out.

    Returns:
        By name, without cross-entropy itself; NaN where that has no gradient.
    """
    if REFERENCE not in terms or len(terms) < 2:
        return {}
    norms = {name: _norm(scale * term, parameters) for name, term in terms.items()}
    by = norms.pop(REFERENCE)

    # Keep the names in any case: processes have to agree on them.
    return {name: norm / by if by else math.nan for name, norm in norms.items()}


def _norm(term: Tensor, parameters: Sequence[nn.Parameter]) -> float:
    """The length of the gradient of a term; 0 where nothing of it depends on the parameters."""
    if not term.requires_grad:
        return 0.0
    found = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
    lengths = [one.float().norm() for one in found if one is not None]
    return torch.stack(lengths).norm().item() if lengths else 0.0
