"""The one contract of every network: a pure function of (clip, state)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from vidparse.models.state import State, StateTensor


class Outputs(NamedTuple):
    """What a semantic network says of a clip.

    logits: (B, K, h, w) scores at feature resolution; the caller brings them to full size.
    auxiliary: (B, K, h', w') of the auxiliary classifier, in training mode only; of several
        classifiers, one after another: (A * B, K, h', w').
    """

    logits: Tensor
    auxiliary: Tensor | None = None


class Network(Protocol):
    """Network: normalised RGB in, scores out, and whatever it remembers in and out."""

    window: int  # frames one call takes: 1 for per-frame and streaming networks
    # What it remembers, () for nothing; :func:`zero_state` makes the state before the first frame.
    state_tensors: tuple[StateTensor, ...]

    def forward(self, clip: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """clip: (B, 3, H, W) for window 1. State out has the shapes of state in."""
        ...
