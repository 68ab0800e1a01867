"""Masks of key frames carried to the frames between them, along the motion, without training.

The label propagation of VSPW (Miao et al., CVPR 2021, appendix): each frame gets its masks from the
key frames on both sides. Points are traced to a key step by step by optical flow, and a trace whose
way back leads elsewhere counts for little: what the object hides in one direction, the key on the
other side shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidparse.sinks import SINKS
from vidparse.tables import Table, public_member

if TYPE_CHECKING:
    from vidparse.propagation.request import Propagations, VideoResult, propagate
    from vidparse.sinks import Sink

# Outputs of `vidparse propagate`: those of `segment`, and its own.
OUTPUTS: Table[type[Sink]] = Table(
    {
        **SINKS.places,
        "confidence": "vidparse.propagation.outputs:Confidence",
        "confidence-video": "vidparse.propagation.outputs:ConfidenceVideo",
        "report": "vidparse.propagation.outputs:Report",
    }
)
# Of a network's scores, which propagation has none of.
_OF_SCORES = ("matte", "matte-png", "trimap", "background")


def saved_names() -> tuple[str, ...]:
    """Outputs that propagation can make, for help and completion."""
    return tuple(
        name for name in OUTPUTS if name not in _OF_SCORES and not name.startswith("cutout")
    )


_PUBLIC = dict.fromkeys(
    ("Propagations", "VideoResult", "propagate"), "vidparse.propagation.request"
)
__all__ = ["OUTPUTS", "Propagations", "VideoResult", "propagate"]


def __getattr__(name: str) -> object:
    return public_member(_PUBLIC, __name__, name)
